"""A digit in MNIST's shape as 784 gray levels, row by row: white ink on black. Standard library only.

MNIST's own protocol: the digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that
its centre of mass is the centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

from collections.abc import Sequence

SIDE = 28
BOX = 20
_OFF_CENTRE = 2.5  # pixels; MNIST is within 0.52, and a network reads what is moved a little
_TURNED_OVER = bytes(range(255, -1, -1))
_LABELS = tuple("0123456789")


def are_digits(shape: Sequence[int], labels: Sequence[str]) -> bool:
    """Return whether images of `shape`, height, width and perhaps channels, in these classes are digits as MNIST's.

    Only what is known to be a digit is looked for in a picture; an image of anything else is taken as a whole.
    """
    return tuple(shape) in ((SIDE, SIDE), (SIDE, SIDE, 1)) and tuple(labels) == _LABELS


def canonical_levels(levels: bytes) -> bytes | None:
    """Return 28x28 gray levels that are MNIST's already, turned over if black on white; None for any others.

    That is ink on nothing but paper, within 20x20 and centred by mass, as all of MNIST's 70,000 images are.
    """
    return next((ink for ink in (levels, levels.translate(_TURNED_OVER)) if _is_canonical(ink)), None)


def _is_canonical(ink: bytes) -> bool:
    rows = [sum(ink[start : start + SIDE]) for start in range(0, SIDE * SIDE, SIDE)]
    if not any(rows):
        return True  # a blank one
    columns = [sum(ink[start::SIDE]) for start in range(SIDE)]
    return all(_is_small_and_central(sums) for sums in (rows, columns))


def _is_small_and_central(sums: list[int]) -> bool:
    """Return whether the ink of each row, or column, lies in the box and has its centre of mass near the middle."""
    places = [place for place, ink in enumerate(sums) if ink]
    middle = sum(place * ink for place, ink in enumerate(sums)) / sum(sums)
    return places[-1] - places[0] < BOX and abs(middle - SIDE / 2) <= _OFF_CENTRE
