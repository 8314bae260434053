"""What belongs to every prediction: the time of its steps, and a look at the scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from time import perf_counter

from edgecnn.device.errors import ModelError


@contextmanager
def timed(timings_us: dict[str, float], step: str) -> Iterator[None]:
    """Note how many microseconds the block took."""
    started = perf_counter()
    yield
    timings_us[step] = round((perf_counter() - started) * 1e6, 1)


def check_probabilities(low: float, high: float, total: float, *, model: Path) -> None:
    """Raise `ModelError` for scores, from `low` to `high` and together `total`, that are no probabilities."""
    if not isfinite(total):
        raise ModelError(
            f"{model}: scores from {low:.3g} to {high:.3g} are no finite numbers; train or export it again"
        )
    if low < -0.01 or not 0.9 < total < 1.1:  # int8 scores add up to 1 nearly
        raise ModelError(
            f"{model}: scores from {low:.3g} to {high:.3g} are no probabilities; give a model that ends in softmax"
        )
