"""Median and quantiles. numpy's own import numpy.ma, which takes longer than reading a digit does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quantile(values: NDArray[Any], share: float) -> float:
    """Return the level that `share` of the values are below, between two of them if need be; at least one is given."""
    place = share * (values.size - 1)
    low = int(place)
    parted = np.partition(values, (low, min(low + 1, values.size - 1)), axis=None)
    below, above = float(parted[low]), float(parted[min(low + 1, values.size - 1)])
    return below + (above - below) * (place - low)


def median(values: NDArray[Any]) -> float:
    """Return the middle of at least one value, or the mean of the two nearest to it."""
    return quantile(values, 0.5)
