"""The kernels of an exported file beside those of its Keras parent, whatever the format and scheme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.inspect.layers import Constant

# How files lay out what Keras has as [height, width, inputs, filters], also depthwise, or as [inputs, units].
_LAYOUTS = {4: ((3, 0, 1, 2), (3, 2, 0, 1), (2, 3, 0, 1), (2, 0, 1, 3)), 2: ((0, 1), (1, 0))}


def as_in_keras(
    kernels: Mapping[str, NDArray[np.float32]], stored: Sequence[Constant]
) -> dict[str, NDArray[np.float64]] | None:
    """Return a file's kernels as real values in Keras's layout, by layer name; None unless they match one to one.

    `kernels` are the Keras model's by layer name, `stored` those of the file, in the same order. Of the layouts that
    fit the one most like the Keras kernel is taken, so that filters may be scaled, as folding BatchNormalization does.
    """
    if len(kernels) != len(stored):
        return None
    found = {}
    for (name, kernel), constant in zip(kernels.items(), stored, strict=True):
        fitting = _arrangements(constant.real(), kernel)
        if not fitting:
            return None
        found[name] = max(fitting, key=lambda values: _likeness(values, kernel))
    return found


def lost_zeros(kernels: Mapping[str, NDArray[np.float32]], stored: Sequence[Constant]) -> dict[str, tuple[int, int]]:
    """Return (zeros lost, zeros there were) of each layer whose kernel lost any in the file; more are no loss.

    Where the kernels do not match one to one nothing can be compared.
    """
    lost = {}
    for name, values in (as_in_keras(kernels, stored) or {}).items():
        zeros = kernels[name] == 0
        if count := int(np.count_nonzero(values[zeros])):
            lost[name] = count, int(zeros.sum())
    return lost


def _arrangements(values: NDArray[np.float64], kernel: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    return [
        values.transpose(np.argsort(axes))
        for axes in _LAYOUTS.get(kernel.ndim, ())
        if tuple(kernel.shape[axis] for axis in axes) == values.shape
    ]


def _likeness(values: NDArray[Any], kernel: NDArray[Any]) -> float:
    """Return how much alike the magnitudes are: folding may turn the sign of a filter."""
    return float(np.abs(values * kernel).sum())
