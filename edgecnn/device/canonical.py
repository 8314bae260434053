"""Whether a picture is what MNIST's networks expect already: uint8 [28, 28], white ink on black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.digit import SIDE, canonical_levels
from edgecnn.device.errors import ImageError, NoInkError


def canonical(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return a picture that is MNIST's already, turned over if black on white; None for any other.

    `digit.canonical_levels` says which are. Raises `ImageError` for an array that is no picture, `NoInkError` for a
    larger one that is of one level.
    """
    checked_gray(gray)
    if gray.shape == (SIDE, SIDE):
        levels = canonical_levels(gray.tobytes())
        return None if levels is None else np.frombuffer(levels, np.uint8).reshape(SIDE, SIDE)
    if gray.max() == gray.min():
        raise NoInkError(f"image: every pixel is {gray.max()}; expected a digit on paper")
    return None


def checked_gray(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` if it is a picture, uint8 [H, W]; raises `ImageError` for any other array."""
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ImageError(f"image: {gray.dtype} {list(gray.shape)}; expected uint8 [height, width]")
    return gray


def centre_of_mass(ink: NDArray[np.uint8]) -> tuple[float, float]:
    """Return row and column of the centre of `ink`'s mass; there must be some ink."""
    weight = ink.sum(dtype=np.float64)
    row, column = (
        float((np.arange(length) * ink.sum(axis=1 - axis, dtype=np.float64)).sum() / weight)
        for axis, length in enumerate(ink.shape)
    )
    return row, column
