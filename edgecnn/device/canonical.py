"""What MNIST's networks expect, and whether a picture is that already: uint8 [28, 28], white ink on black.

MNIST's own protocol: the digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that
its centre of mass is the centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import ImageError, NoInkError

SIDE = 28
BOX = 20
_OFF_CENTRE = 2.5  # pixels; MNIST is within 0.52, and a network reads what is moved a little


def canonical(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return a picture that is MNIST's already, turned over if black on white; None for any other.

    That is 28x28, ink on nothing but paper, within 20x20 and centred by mass, as all of MNIST's 70,000 images are.
    Raises `ImageError` for an array that is no picture, `NoInkError` for a larger one that is of one level.
    """
    checked_gray(gray)
    if gray.shape == (SIDE, SIDE):
        return next((ink for ink in (gray, 255 - gray) if _is_canonical(ink)), None)
    if gray.max() == gray.min():
        raise NoInkError(f"image: every pixel is {gray.max()}; expected a digit on paper")
    return None


def _is_canonical(ink: NDArray[np.uint8]) -> bool:
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return True  # a blank one
    is_small = rows[-1] - rows[0] < BOX and columns[-1] - columns[0] < BOX
    return is_small and all(abs(middle - SIDE / 2) <= _OFF_CENTRE for middle in centre_of_mass(ink))


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
