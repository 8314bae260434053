"""Top-1 accuracy with its 95 % Wilson interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """Top-1 accuracy and the bounds of its 95 % Wilson interval, as fractions, over `images` images."""

    top1: float
    top1_low: float
    top1_high: float
    images: int


def top1_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> Accuracy:
    """Return the accuracy of `probabilities` [N, classes] against `labels` [N]; a tie counts for the lower class."""
    correct = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = wilson_interval(correct, len(labels))
    return Accuracy(correct / len(labels), low, high, len(labels))


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval for a proportion (E. B. Wilson, 1927), as fractions.

    Unlike the normal approximation it stays inside [0, 1] and does not collapse at 100 %.
    """
    if not 0 <= correct <= total or total == 0:
        raise ValueError(f"wilson_interval: {correct} of {total}; expected 0 <= correct <= total, total >= 1")
    share, spread = correct / total, _Z * _Z / total
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    # At the ends the bound is exact; rounding must not push it past.
    return (0.0 if correct == 0 else centre - half), (1.0 if correct == total else centre + half)
