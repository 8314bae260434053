"""Whether a picture is what MNIST's networks expect already: uint8 [28, 28], white ink on black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import ImageError, NoInkError
from edgecnn.device.preprocessing.digit import BOX, SIDE

_OFF_CENTRE = 2.5  # pixels; MNIST is within 0.52, and a network reads what is moved a little


def canonical(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return a picture that is MNIST's already, turned over if black on white; None for any other.

    That is 28x28 with ink on nothing but paper, within 20x20 and centred by mass, as all of MNIST's 70,000 images are.
    Raises `ImageError` for an array that is no picture, `NoInkError` for a larger one that is of one level.
    """
    checked_gray(gray)
    if gray.shape == (SIDE, SIDE):
        return next((ink for ink in (gray.copy(), 255 - gray) if _is_canonical(ink)), None)
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


def _is_canonical(ink: NDArray[np.uint8]) -> bool:
    """Return whether ink on black, uint8 [28, 28], lies in the box with its centre of mass near the middle.

    A blank image does too.
    """
    if not ink.any():
        return True
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    is_small = max(np.ptp(rows), np.ptp(columns)) < BOX
    return bool(is_small and all(abs(middle - SIDE / 2) <= _OFF_CENTRE for middle in centre_of_mass(ink)))
