"""From a picture's gray levels to what MNIST's networks expect: uint8 [28, 28], white ink on black."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.preprocessing.canonical import canonical


def to_mnist(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` (uint8 [H, W], ink darker or lighter than the paper) as uint8 [28, 28] in MNIST's convention.

    A canonical image passes through unchanged; of any other the digit is found and brought into that shape. Raises
    `ImageError` for an array that is no picture, and `NoInkError`, which is one, for a picture without ink.
    """
    return look(gray)[0]


def look(gray: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Return what `to_mnist` does, and whether more digits stand beside that one; of a canonical image nobody asks."""
    as_it_is = canonical(gray)
    if as_it_is is not None:
        return as_it_is, False
    from edgecnn.device.preprocessing.photo import (
        find_digit,  # ten modules that a canonical image does without
    )

    steps = find_digit(gray)
    return steps.pixels, steps.is_one_of_several
