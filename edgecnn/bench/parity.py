"""Whether two models say the same about the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Parity:
    """Share of images with the same top-1 class, the largest difference of any probability, and who disagrees.

    `disagreeing` holds the places of the images whose top-1 differs, in order.
    """

    top1_agreement: float
    max_abs_error: float
    images: int
    disagreeing: tuple[int, ...]


def compare(reference: NDArray[np.float32], candidate: NDArray[np.float32]) -> Parity:
    """Return the parity of two arrays of probabilities [N, classes]; raises `ValueError` for different shapes."""
    if reference.shape != candidate.shape:
        raise ValueError(f"compare: {list(reference.shape)} and {list(candidate.shape)}; expected the same shape")
    same = reference.argmax(axis=1) == candidate.argmax(axis=1)
    largest = float(np.abs(reference - candidate).max())
    return Parity(float(same.mean()), largest, len(reference), tuple(map(int, np.flatnonzero(~same))))
