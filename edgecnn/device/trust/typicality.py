"""Does an image look like one of the classes at all? A network of three small convolutions, in numpy, says.

It was trained on the model's training images and on pictures that are none, and lies in the model's record: about
10,000 weights of 8 bits. Its last class is "none of them".
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import unit

Floats = NDArray[np.float32]
_WINDOW, _STRIDE = 3, 2


@dataclass(frozen=True)
class Layer:
    """A kernel [inputs, outputs], of a convolution with its window unrolled row by row, and a bias [outputs]."""

    kernel: Floats
    bias: Floats


def log_probabilities(pixels: NDArray[np.uint8], layers: Sequence[Layer]) -> Floats:
    """Return the log of how likely each image is of each class, or of none: [N, classes + 1], of uint8 [N, 28, 28].

    All layers but the last are convolutions with ReLU that halve the sides.
    """
    values = unit(pixels[..., None])
    for layer in layers[:-1]:
        windows = _windows(values)
        rows = windows.reshape(-1, len(layer.kernel)) @ layer.kernel  # one product of two matrices, which is fast
        values = np.maximum(rows + layer.bias, 0).reshape(*windows.shape[:3], -1)
    scores = values.reshape(len(values), -1) @ layers[-1].kernel + layers[-1].bias
    scores -= scores.max(axis=1, keepdims=True)
    logs: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return logs


def packed(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return the layers as a record keeps them, each kernel's column in 8 bits; `unpacked` reads them back."""
    kept = []
    for layer in layers:
        scale = np.abs(layer.kernel).max(axis=0).clip(1e-8) / 127
        steps = np.rint(layer.kernel / scale).astype(np.int8)
        kept.append(
            {
                "inputs": len(layer.kernel),
                "scale": [float(f"{value:.5g}") for value in scale],
                "bias": [float(f"{value:.5g}") for value in layer.bias],
                "kernel": b2a_base64(steps.tobytes(), newline=False).decode(),
            }
        )
    return kept


def unpacked(kept: Sequence[dict[str, Any]]) -> tuple[Layer, ...]:
    """Return the layers that `packed` wrote; raises `ValueError`, `KeyError` or `TypeError` for anything else."""
    layers = []
    for one in kept:
        steps = np.frombuffer(a2b_base64(one["kernel"], strict_mode=True), np.int8)
        scale, bias = (np.array(one[name], np.float32) for name in ("scale", "bias"))
        layers.append(Layer(steps.reshape(one["inputs"], len(scale)) * scale, bias.reshape(len(scale))))
    return tuple(layers)


def _windows(values: Floats) -> Floats:
    """Return all windows [N, rows, columns, 3, 3, channels] at every other pixel, from the first on."""
    even = [side % _STRIDE == 0 for side in values.shape[1:3]]  # a border of zeros for the last window
    padded = np.pad(values, ((0, 0), (0, int(even[0])), (0, int(even[1])), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (_WINDOW, _WINDOW), axis=(1, 2))
    return view[:, ::_STRIDE, ::_STRIDE].transpose(0, 1, 2, 4, 5, 3)
