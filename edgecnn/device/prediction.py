"""What is said of an image, and how long each step took. No numpy, and nothing else that takes long to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from edgecnn.device.errors import ModelError


def judged(
    probabilities: Sequence[float], labels: Sequence[str], timings_us: dict[str, float], *, model: Path
) -> dict[str, Any]:
    """Return what `Prediction` says, by its names, given a model's probabilities in the order of `labels`.

    Whatever ran the model, this judges. Raises `ModelError` for scores that are no probabilities.
    """
    low, high = min(probabilities), max(probabilities)
    if low < -0.01 or not 0.9 < sum(probabilities) < 1.1:  # int8 scores add up to 1 nearly
        raise ModelError(
            f"{model}: scores from {low:.3g} to {high:.3g} are no probabilities; give a model that ends in softmax"
        )
    return {
        "label": labels[probabilities.index(high)],
        "probability": high,
        "probabilities": tuple(probabilities),
        "accepted": True,
        "reason": "",
        "timings_us": timings_us,
    }


@contextmanager
def timed(timings_us: dict[str, float], step: str) -> Iterator[None]:
    """Note how many microseconds the block took."""
    started = perf_counter()
    yield
    timings_us[step] = round((perf_counter() - started) * 1e6, 1)
