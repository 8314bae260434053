"""What a digit in MNIST's shape is: white ink on black, 28x28, by MNIST's own protocol. Standard library only.

The digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that its centre of mass is the
centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

from collections.abc import Sequence

SIDE = 28
BOX = 20
_LABELS = tuple("0123456789")


def are_digits(shape: Sequence[int], labels: Sequence[str]) -> bool:
    """Return whether images of `shape`, height, width and perhaps channels, in these classes are digits as MNIST's.

    Only what is known to be a digit is looked for in a picture; an image of anything else is taken as a whole.
    """
    return tuple(shape) in ((SIDE, SIDE), (SIDE, SIDE, 1)) and tuple(labels) == _LABELS
