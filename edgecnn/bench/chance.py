"""Whether a classifier knows more than a guess: balanced accuracy, its interval, and the classes it never gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2_000
_QUANTILES = (0.025, 0.975)
# A network that was never trained does not read exactly 1/classes: its few answers go with the ink or the brightness
# of a class. edge35k with its first weights reads 13.97 % of 6,000 images of Fashion-MNIST, interval 13.5 to 14.4 %.
# So what lies no further from a guess than this share of the way to 1 is nothing learned, as in `curves`; of many
# classes, where such a share is several guesses, half a guess.
_LEARNED = 0.05


@dataclass(frozen=True)
class BalancedAccuracy:
    """The mean recall of the classes that have images, the bounds of its 95 % interval, and whether that is chance.

    All are fractions. `at_chance`: the interval is not wholly above what a network reads that learned nothing: it
    holds 1/classes or comes as near, or it lies below, as where the labels are those of another order.
    """

    balanced_top1: float
    balanced_low: float
    balanced_high: float
    at_chance: bool


def balanced_accuracy(
    predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int, seed: int = 0
) -> BalancedAccuracy:
    """Return how `predicted` classes [N] do against `labels` [N], both from 0 to `classes` - 1.

    Unlike top-1 it is 1/classes for a predictor that always gives the same class, however many images have it.
    Classes without images do not count, in a resample too. The interval is the percentile bootstrap's over images
    (B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13), the same for the same `seed`.
    Raises `ValueError` where there are no images.
    """
    if len(labels) == 0:
        raise ValueError("balanced_accuracy: 0 images; expected at least 1")
    right = np.bincount(labels[predicted == labels], minlength=classes)
    images = np.bincount(labels, minlength=classes)
    present = images > 0
    resampled = _mean_recall(*_resamples(right[present], images[present], seed))
    low, high = (float(bound) for bound in np.quantile(resampled, _QUANTILES))
    own = float(_mean_recall(right[present], images[present]))
    # One class alone cannot tell reading from guessing: it is judged as one of two.
    return BalancedAccuracy(own, low, high, low <= chance_level(max(2, int(present.sum()))))


def chance_level(classes: int) -> float:
    """Return the balanced accuracy up to which a network of so many classes shows nothing that it learned."""
    guess = 1 / classes
    return guess + min(guess / 2, _LEARNED * (1 - guess))


def never_predicted(predicted: NDArray[np.int64], labels: NDArray[np.int64], *, classes: int) -> list[int]:
    """Return the classes that images have by their `labels` [N] and no prediction [N] gives."""
    shown = np.bincount(labels, minlength=classes) > 0
    given = np.bincount(predicted, minlength=classes) > 0
    return [int(c) for c in np.flatnonzero(shown & ~given)]


def _resamples(
    right: NDArray[np.int64], images: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return `right` and `images` [resamples, classes] of so many draws of as many images, with replacement.

    An image counts by its class and whether it was read, and by nothing else. How often each such kind is drawn is
    therefore one draw from a multinomial distribution, which costs the same for ten images and for a million.
    """
    kinds = np.concatenate([right, images - right])
    drawn = np.random.default_rng(seed).multinomial(images.sum(), kinds / images.sum(), size=_RESAMPLES)
    drawn_right, drawn_wrong = drawn[:, : len(right)], drawn[:, len(right) :]
    return drawn_right, drawn_right + drawn_wrong


def _mean_recall(right: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over the last axis of right/images, of the classes that have images."""
    recall = right / np.maximum(images, 1)
    means: NDArray[np.float64] = recall.sum(axis=-1) / (images > 0).sum(axis=-1)
    return means
