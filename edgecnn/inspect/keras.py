"""Layers of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import is_wrapper_state, keras, tf
from edgecnn.device.modelfiles.leading import range_before
from edgecnn.inspect.layers import Constant, Layer, counts, has_open_size, positions
from edgecnn.inspect.numbers import Numbers

_WEIGHTED = (
    "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense",
)  # fmt: skip
# Every input position, not every output position, meets the whole kernel.
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
# Their weights scale, shift or are looked up.
_WITHOUT_MACS = (
    "BatchNormalization", "SyncBatchNormalization", "LayerNormalization", "GroupNormalization", "Normalization",
    "PReLU", "Embedding",
)  # fmt: skip
_OF_ACTIVATIONS = ("Dot", "Attention", "AdditiveAttention")


def layers(model: Any) -> list[Layer]:
    """Return one row per layer; tfmot's quantization wrappers are seen through."""
    return [_row(layer) for layer in model.layers]


def plain_kernels(model: Any) -> dict[str, NDArray[np.float32]]:
    """Return the kernel of every convolution and dense layer by its layer's name; tfmot's wrappers are seen through."""
    return {
        layer.name: weight.numpy()
        for layer in model.layers
        if type(getattr(layer, "layer", layer)).__name__ in (*_WEIGHTED, *_TRANSPOSED)
        for weight in layer.weights
        if "kernel" in weight.name.rsplit("/", 1)[-1] and not is_wrapper_state(weight.name)
    }


def leading_range(model: Any) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and std of the pixels that a model takes, as its leading scaling or normalization layers tell.

    None where there is no such layer, or it fits several ranges.
    """
    scale, offset, is_learnt = np.ones(1), np.zeros(1), False
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in _PASSING:
            continue
        found = _affine(layer, kind)
        if found is None:
            break
        scale, offset = scale * found[0], offset * found[0] + found[1]
        is_learnt = is_learnt or kind == "BatchNormalization"
    if (scale == 1).all() and not offset.any():
        return None
    return range_before(scale, offset, is_learnt=is_learnt)


# Layers in front of a first scaling that leave pixels as they are.
_PASSING = ("InputLayer", "Reshape", "Permute", "Flatten", "ZeroPadding2D", "Cropping2D", "Resizing", "Dropout")


def _affine(layer: Any, kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return scale and offset of a layer that scales and shifts its input, per channel or for all; None for others."""
    if kind == "Rescaling":
        return tuple(np.atleast_1d(np.asarray(one, np.float64)) for one in (layer.scale, layer.offset))  # type: ignore[return-value]
    if kind == "Normalization" and getattr(layer, "mean", None) is not None:  # else nobody adapted it
        mean, variance = (np.asarray(one, np.float64).ravel() for one in (layer.mean, layer.variance))
        deviation = np.sqrt(np.maximum(variance, 1e-14))
        return 1 / deviation, -mean / deviation
    if kind == "BatchNormalization":
        mean, variance = (one.numpy().astype(np.float64) for one in (layer.moving_mean, layer.moving_variance))
        if not mean.any() and (variance == 1).all():  # untrained: it says nothing
            return None
        deviation = np.sqrt(variance + layer.epsilon)
        return 1 / deviation, -mean / deviation
    return None


def last_activation(model: Any) -> str | None:
    """Return the name of the activation behind the last layer with weights, "linear" for none; else None."""
    for layer in reversed(model.layers):
        inner = getattr(layer, "layer", layer)
        kind = type(inner).__name__
        if kind == "Softmax":
            return "softmax"
        activation = getattr(getattr(inner, "activation", None), "__name__", None)
        if kind in ("Dropout", "Reshape", "Flatten") or (kind == "Activation" and activation == "linear"):
            continue
        return activation if kind in ("Activation", *_WEIGHTED) else None
    return None


def numbers(model: Any) -> list[Numbers]:
    """Return all weights of a Keras model, those of models in it by their own layers."""
    return [
        one for layer in model.layers for one in (numbers(layer) if hasattr(layer, "layers") else _numbers_of(layer))
    ]


def watched(model: Any) -> tuple[list[str], Any]:
    """Return the names of a Keras model's layers, and a model that says of each image and layer if all is finite.

    It takes what `model` takes and returns float32 [N, layers], 1 for finite and 0 where a layer puts out NaN or
    infinity. Layers that put out more than one tensor of real numbers, or are called more than once, are left out.
    """
    outputs = {layer.name: _only_output(layer) for layer in model.layers}
    named = {name: output for name, output in outputs.items() if output is not None}
    columns = [_all_finite(output) for output in named.values()]
    return list(named), keras.Model(model.inputs, tf.stack(columns, axis=1))


def _only_output(layer: Any) -> Any:
    try:
        output = layer.output
    except AttributeError:  # of a layer that is called more than once
        return None
    return output if keras.backend.is_keras_tensor(output) and output.dtype.is_floating else None


def _all_finite(output: Any) -> Any:
    """Return float32 [N]: 1 for each image whose part of `output` [N, ...] is finite, else 0."""
    is_finite = tf.math.is_finite(output)
    return tf.cast(tf.reduce_all(is_finite, axis=list(range(1, len(output.shape)))), tf.float32)


def _numbers_of(layer: Any) -> list[Numbers]:
    return [Numbers(layer.name, "weights", weight.numpy()) for weight in layer.weights]


def _row(layer: Any) -> Layer:
    inner = getattr(layer, "layer", layer)
    kind = type(inner).__name__
    constants = {w.name: Constant(w.numpy()) for w in layer.weights if not is_wrapper_state(w.name)}
    kernels = [c for name, c in constants.items() if "kernel" in name.rsplit("/", 1)[-1]]
    return Layer(
        name=layer.name,
        kind=kind,
        output_shape=_sizes(layer.output_shape),
        uses=_uses(layer, inner) if constants or kind in _OF_ACTIVATIONS else 0,
        **counts(list(constants.values()), kernels if kind in (*_WEIGHTED, *_TRANSPOSED) else []),
    )


def _uses(layer: Any, inner: Any) -> int | None:
    """Return how often each weight of the kernel is used, None where that is unknown."""
    kind = type(inner).__name__
    if kind in _WITHOUT_MACS:
        return 0
    if kind not in (*_WEIGHTED, *_TRANSPOSED):
        return None
    swept = _sizes(layer.input_shape if kind in _TRANSPOSED else layer.output_shape)
    return None if has_open_size(swept, []) else positions(swept, _channels(inner))


def _sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape with -1 for what is open; of several, as an input layer states them, the first."""
    first = shape[0] if isinstance(shape, list) else shape
    return tuple(-1 if n is None else int(n) for n in first)


def _channels(layer: Any) -> int:
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1
