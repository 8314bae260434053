"""Batch normalization folded into the convolution before it, so that a network that was trained with it runs without.

In inference it is a constant scale and shift per channel, gamma / sqrt(variance + epsilon) and beta - mean * scale
(S. Ioffe and C. Szegedy, "Batch Normalization", 2015), which the convolution's weights can hold. What comes after then
sees plain layers: pruning counts weights, QAT and the exporters need no pattern of three layers, and the parameters of
the Keras model are those of the file.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from edgecnn._tf import keras

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


def without_batch_norm(model: Any) -> Any:
    """Return `model` with each BatchNormalization folded that alone follows a convolution without activation.

    A ReLU layer that alone follows becomes the convolution's activation. A model that has no such place, or uses a
    layer twice, is returned as it is; outputs change by rounding only.
    """
    after = _followers(model)
    if after is None:
        return model
    folds = {name: norm for name, norm in after.items() if _folds(model.get_layer(name), norm)}
    if not folds:
        return model
    activated = {}  # convolution -> its ReLU
    for name, norm in folds.items():
        relu: Any = after.get(norm.name)
        if type(relu) is keras.layers.ReLU and relu.get_config() == _plain_relu(relu):
            activated[name] = relu
    gone = {layer.name for layer in (*folds.values(), *activated.values())}
    kept = [layer for layer in model.layers if layer.name not in gone]
    rebuilt = {layer.name: _rebuilt(layer, folded=layer.name in folds, relu=layer.name in activated) for layer in kept}
    folded = _joined(model, rebuilt)
    for layer in kept:
        weights = layer.get_weights()
        folded.get_layer(layer.name).set_weights(_merged(layer, folds[layer.name]) if layer.name in folds else weights)
    return folded


def _followers(model: Any) -> dict[str, Any] | None:
    """Return the layer behind each layer, by name, where it is the only one; None where a layer is used twice."""
    if isinstance(model, keras.Sequential):
        return {before.name: behind for before, behind in pairwise(model.layers)}
    if not model._is_graph_network or any(_is_irregular(layer) for layer in model.layers):
        return None
    readers: dict[str, list[Any]] = {}
    for layer in model.layers:
        for node in layer.inbound_nodes[0].parent_nodes:
            readers.setdefault(node.layer.name, []).append(layer)
    outputs = set(model.output_names)
    return {name: behind[0] for name, behind in readers.items() if len(behind) == 1 and name not in outputs}


def _is_irregular(layer: Any) -> bool:
    """Return whether a layer is used twice, or is an operation of TensorFlow, which takes more than tensors."""
    return len(layer.inbound_nodes) != 1 or type(layer).__module__.endswith("tf_op_layer")


def _joined(model: Any, layers: dict[str, Any]) -> Any:
    """Return a model of `layers`, by name, joined as in `model`; a layer that is not among them is left out."""
    if isinstance(model, keras.Sequential):
        pixels = keras.layers.Input(model.input_shape[1:], name=model.input_names[0])
        return keras.Sequential([pixels, *layers.values()], name=model.name)
    outputs: dict[str, Any] = {}
    for layer in model.layers:  # those that a layer reads come before it
        given = [outputs[node.layer.name] for node in layer.inbound_nodes[0].parent_nodes]
        if not given:
            outputs[layer.name] = layers[layer.name].output
        elif layer.name in layers:
            outputs[layer.name] = layers[layer.name](given if len(given) > 1 else given[0])
        else:
            (outputs[layer.name],) = given
    return keras.Model(
        [outputs[name] for name in model.input_names], [outputs[name] for name in model.output_names], name=model.name
    )


def _folds(layer: Any, norm: Any) -> bool:
    is_linear = getattr(layer, "activation", None) is keras.activations.linear
    return type(layer) in _CONVOLUTIONS and is_linear and type(norm) is keras.layers.BatchNormalization


def _plain_relu(layer: Any) -> dict[str, Any]:
    """Return the configuration of a ReLU without slope, limit or threshold."""
    return dict(keras.layers.ReLU(name=layer.name).get_config())


def _rebuilt(layer: Any, *, folded: bool, relu: bool) -> Any:
    config = layer.get_config()
    if folded:
        config |= {"use_bias": True} | ({"activation": "relu"} if relu else {})
    return type(layer).from_config(config)


def _merged(layer: Any, norm: Any) -> list[Any]:
    """Return kernel and bias of a convolution with the normalization behind it; a depthwise one scales its channels."""
    kernel, bias = (*layer.get_weights(), np.float32(0))[:2]
    gamma = norm.gamma.numpy() if norm.scale else np.float32(1)
    beta = norm.beta.numpy() if norm.center else np.float32(0)
    scale = gamma / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    # Depthwise kernels are [height, width, channels, multiplier], and the channels put out lie in that order.
    merged = kernel * scale.reshape(kernel.shape[2:] if type(layer) is keras.layers.DepthwiseConv2D else -1)
    return [merged, beta + (bias - norm.moving_mean.numpy()) * scale]
