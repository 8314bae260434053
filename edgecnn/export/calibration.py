"""Calibration: which range of values each activation's int8 steps cover, chosen from what calibration images show.

`minmax` covers all that was seen, which is what the converters do by themselves. The others give up the rarest values
for smaller steps: `percentile` cuts off 0.01 % of the values, half at either end; `mse` takes the range with the least
squared error of clipping and rounding (M. Nagel et al., "A White Paper on Neural Network Quantization", 2021, 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.config.settings import CALIBRATIONS
from edgecnn.errors import ConfigError, unknown

Range = tuple[float, float]
_BINS = 4096  # 16 an int8 step, so that the error of rounding shows
_CUT_OFF = 1e-4  # share of the values outside the range of `percentile`
_LEAST_SHARE = 0.2  # of the whole range that `mse` may choose
_STEPS = 255


@dataclass(frozen=True)
class Histogram:
    """How often values fell into equal bins between two ends."""

    counts: NDArray[np.int64]
    low: float
    high: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        return self.low + (np.arange(len(self.counts)) + 0.5) * (self.high - self.low) / len(self.counts)


def check(scheme: str, inputs: NDArray[np.float32] | None, calibration: str) -> None:
    """Raise `ConfigError` unless there are images to calibrate with and the method is known and fits the scheme."""
    if calibration not in CALIBRATIONS:
        raise unknown("calibration", calibration, CALIBRATIONS)
    if inputs is None or not len(inputs):
        raise ConfigError(f"export {scheme}: 0 calibration images; needs at least 1; pass --calibration-images")
    if scheme != "int8" and calibration != "minmax":
        raise ConfigError(
            f"export {scheme}: calibration {calibration}; expected minmax, for 16 bits are fine enough for all values; "
            f"pass --calibration minmax"
        )


def chosen_ranges(
    activations: Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]],
    inputs: NDArray[np.float32],
    *,
    calibration: str,
) -> dict[str, Range]:
    """Return the range of each activation by its name; `activations` gives their values for an input [1, ...].

    The inputs, [N, ...], are run twice: what lies between is counted only once the ends are known.
    """
    ends: dict[str, Range] = {}
    for place in range(len(inputs)):
        for name, values in activations(inputs[place : place + 1]).items():
            low, high = ends.get(name, (0.0, 0.0))  # a range holds zero, so that padding and pruned weights are exact
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    if calibration == "minmax":
        return ends
    counts = {name: np.zeros(_BINS, np.int64) for name in ends}
    for place in range(len(inputs)):
        for name, values in activations(inputs[place : place + 1]).items():
            counts[name] += np.histogram(values, bins=_BINS, range=ends[name])[0]
    choose = {"percentile": _percentile, "mse": _least_error}[calibration]
    return {name: choose(Histogram(counts[name], *ends[name])) for name in ends}


def _percentile(seen: Histogram) -> Range:
    """Return the range without the rarest values at either end."""
    below = np.cumsum(seen.counts) / seen.counts.sum()
    edges = np.linspace(seen.low, seen.high, len(seen.counts) + 1)
    low = edges[np.searchsorted(below, _CUT_OFF / 2, side="right")]
    high = edges[np.searchsorted(below, 1 - _CUT_OFF / 2) + 1]
    return min(0.0, float(low)), max(0.0, float(high))


def _least_error(seen: Histogram) -> Range:
    """Return the range with the least squared error, among those that are the whole one made smaller as it is."""
    candidates = [(seen.low * share, seen.high * share) for share in np.linspace(_LEAST_SHARE, 1, 81)]
    return min(candidates, key=lambda ends: squared_error(seen, *ends))


def squared_error(seen: Histogram, low: float, high: float) -> float:
    """Return the sum of squared errors of values clipped to [low, high] and rounded to one of its 255 steps."""
    step = (high - low) / _STEPS
    if not step:
        return 0.0
    values = seen.centres
    rounded = np.rint((values.clip(low, high) - low) / step) * step + low
    return float((seen.counts * np.square(values - rounded)).sum())
