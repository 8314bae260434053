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
    """Return `model` with each BatchNormalization folded that directly follows a convolution without activation.

    A ReLU layer behind it becomes the convolution's activation. A model that has no such place, or is not Sequential,
    is returned as it is; outputs change by rounding only.
    """
    if not isinstance(model, keras.Sequential):
        return model
    folds = {before.name: norm for before, norm in pairwise(model.layers) if _folds(before, norm)}
    if not folds:
        return model
    gone = {norm.name for norm in folds.values()}
    activated = {}  # convolution -> its ReLU
    for norm, after in pairwise(model.layers):
        if norm.name in gone and type(after) is keras.layers.ReLU and after.get_config() == _plain_relu(after):
            activated[next(name for name, own in folds.items() if own is norm)] = after.name
    kept = [layer for layer in model.layers if layer.name not in gone | set(activated.values())]
    folded = keras.Sequential(
        [keras.layers.Input(model.input_shape[1:], name=model.input_names[0])]
        + [_rebuilt(layer, folded=layer.name in folds, relu=layer.name in activated) for layer in kept],
        name=model.name,
    )
    for layer in kept:
        weights = layer.get_weights()
        folded.get_layer(layer.name).set_weights(_merged(layer, folds[layer.name]) if layer.name in folds else weights)
    return folded


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
