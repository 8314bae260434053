"""Layers of a Keras model."""

from __future__ import annotations

from typing import Any

from edgecnn._tf import is_wrapper_state
from edgecnn.inspect.layers import Constant, Layer, counts, positions

_WEIGHTED = (
    "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "Dense",
)  # fmt: skip
# Every input position, not every output position, meets the whole kernel.
_TRANSPOSED = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")


def layers(model: Any) -> list[Layer]:
    """Return one row per layer; tfmot's quantization wrappers are seen through."""
    return [_row(layer) for layer in model.layers]


def _row(layer: Any) -> Layer:
    inner = getattr(layer, "layer", layer)
    kind = type(inner).__name__
    constants = {w.name: Constant(w.numpy()) for w in layer.weights if not is_wrapper_state(w.name)}
    kernels = [c for name, c in constants.items() if "kernel" in name.rsplit("/", 1)[-1]]
    swept = layer.input_shape if kind in _TRANSPOSED else layer.output_shape
    return Layer(
        name=layer.name,
        kind=kind,
        output_shape=_sizes(layer.output_shape),
        uses=positions(_sizes(swept), _channels(inner)) if kernels else 0,
        **counts(list(constants.values()), kernels if kind in (*_WEIGHTED, *_TRANSPOSED) else []),
    )


def _sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape with -1 for what is open; of several, as an input layer states them, the first."""
    first = shape[0] if isinstance(shape, list) else shape
    return tuple(-1 if n is None else int(n) for n in first)


def _channels(layer: Any) -> int:
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1
