"""Layers of a Keras model."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from edgecnn._tf import is_wrapper_state
from edgecnn.inspect.layers import Layer, convolution_macs


def layers(model: Any) -> list[Layer]:
    """Return one row per layer; tfmot's quantization wrappers are seen through."""
    return [_row(layer) for layer in model.layers]


def _row(layer: Any) -> Layer:
    inner = getattr(layer, "layer", layer)
    weights = [w.numpy() for w in layer.weights if not is_wrapper_state(w.name)]
    shape = tuple(-1 if n is None else int(n) for n in layer.output_shape)
    return Layer(
        name=layer.name,
        kind=type(inner).__name__,
        output_shape=shape,
        parameters=sum(w.size for w in weights),
        nonzero_parameters=sum(int(np.count_nonzero(w)) for w in weights),
        macs=_macs(type(inner).__name__, shape, weights),
        weight_bytes=sum(w.nbytes for w in weights),
    )


def _macs(kind: str, shape: tuple[int, ...], weights: list[Any]) -> int:
    if kind in ("Conv2D", "DepthwiseConv2D"):
        return convolution_macs(prod(shape[1:3]), weights[0].shape)
    return weights[0].size if kind == "Dense" else 0
