"""Top-1 accuracy with its 95 % Wilson interval, where it goes wrong, how sure it is, and whether two models differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

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


def log_loss(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean of -ln(probability of the right class), of `probabilities` [N, classes]; the least is 1e-7."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(right, 1e-7)).mean())


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


def confusion_matrix(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return counts [classes, classes]: true class down, predicted class across."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def per_class_recall(confusion: NDArray[np.int64]) -> list[float | None]:
    """Return the share of each class that was found; None for a class that has no image."""
    return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(confusion)]


def are_probabilities(scores: NDArray[np.float32]) -> bool:
    """Return whether each row of `scores` [N, classes] is in [0, 1] and adds up to 1, nearly: int8 rounds."""
    sums = scores.sum(axis=1)
    return bool(scores.min() >= -0.01 and scores.max() <= 1.01 and sums.min() > 0.9 and sums.max() < 1.1)


@dataclass(frozen=True)
class Bin:
    """Images on which a model was about equally sure: its mean confidence there, and how often it was right."""

    confidence: float
    top1: float
    images: int


def calibration_curve(probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, bins: int = 15) -> list[Bin]:
    """Return the bins of equal width that hold images, from unsure to sure; a calibrated model has confidence = top1.

    M. P. Naeini et al. (2015); C. Guo et al., "On Calibration of Modern Neural Networks" (2017), with 15 bins.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)
    members = [index == b for b in range(bins)]
    return [Bin(float(confidence[m].mean()), float(right[m].mean()), int(m.sum())) for m in members if m.any()]


def expected_calibration_error(curve: Sequence[Bin]) -> float:
    """Return the mean distance between confidence and accuracy over the bins of a curve, weighted by their images."""
    images = sum(b.images for b in curve)
    return sum(abs(b.confidence - b.top1) * b.images for b in curve) / images


@dataclass(frozen=True)
class Mistake:
    """A test image (by its place in the set) that was taken for another class, and how sure the model was."""

    image: int
    label: int
    predicted: int
    probability: float


def worst_mistakes(probabilities: NDArray[np.float32], labels: NDArray[np.int64], *, most: int = 20) -> list[Mistake]:
    """Return the mistakes on which the model was surest, at most `most`, the surest first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [Mistake(int(i), int(labels[i]), int(predicted[i]), float(confidence[i])) for i in order]


def mcnemar_exact(right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> float:
    """Return the two-sided p of McNemar's exact test for two models on the same images (bool [N] each).

    Only images that one reads and the other does not tell them apart; under no difference each is a coin toss
    (Q. McNemar, 1947; exact binomial form). A p near 1 says: this difference is noise.
    """
    only, other_only = int((right & ~other_right).sum()), int((~right & other_right).sum())
    tosses = only + other_only
    tail = sum(comb(tosses, k) for k in range(min(only, other_only) + 1))
    return float(min(1.0, 2 * tail / 2**tosses))


@dataclass(frozen=True)
class AccuracyDelta:
    """How a model did against its parent on the same images: top-1 as fractions, the drop in percentage points.

    A negative drop is a gain; `mcnemar_p` says how likely so large a difference is where there is none.
    """

    parent_top1: float
    top1: float
    drop_pp: float
    mcnemar_p: float
    images: int

    def __str__(self) -> str:
        """Say it in one line: ``99.18 % of 6,000 validation images, parent 99.20 %: -0.02 pp, p 1.00``."""
        return (
            f"{self.top1 * 100:.2f} % of {self.images:,} validation images, parent {self.parent_top1 * 100:.2f} %: "
            f"{0.0 - self.drop_pp:+.2f} pp, p {_p(self.mcnemar_p)}"
        )


def accuracy_delta(parent: NDArray[np.float32], own: NDArray[np.float32], labels: NDArray[np.int64]) -> AccuracyDelta:
    """Return how class probabilities `own` [N, classes] do against `parent` [N, classes], given `labels` [N]."""
    parent_right, right = parent.argmax(axis=1) == labels, own.argmax(axis=1) == labels
    return AccuracyDelta(
        parent_top1=float(parent_right.mean()),
        top1=float(right.mean()),
        drop_pp=round((int(parent_right.sum()) - int(right.sum())) / len(labels) * 100, 6),
        mcnemar_p=mcnemar_exact(right, parent_right),
        images=len(labels),
    )


def _p(value: float) -> str:
    """Return a p with two digits behind the point, or two that count where it is smaller than that."""
    return f"{value:.2f}" if value >= 0.01 else f"{value:.1e}"
