"""What a file's metadata may say, whatever its format, and how it is written in texts."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.device.contract import Numbers
from edgecnn.device.errors import DamagedError

LONGEST_TEXT = 1 << 20  # characters: the names of a hundred thousand classes
_PICTURE_NUMBERS = (1, 3)  # of a mean: one for all channels, or one a channel


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What metadata say; None where they do not. `normalization` is mean and std of pixel / 255, `Contract`'s own."""

    normalization: tuple[Numbers, Numbers] | None = None
    channels: str | None = None
    layout: str | None = None
    labels: tuple[str, ...] | None = None


def normalization(mean: Sequence[float], std: Sequence[float], *, of_bytes: bool) -> tuple[Numbers, Numbers]:
    """Return mean and std of pixels from 0 to 1, given as such or `of_bytes` 0..255; raises `DamagedError`.

    Left out, a mean is 0 and a std is 1, in the unit of the other.
    """
    given = [tuple(map(float, mean)) or (0.0,), tuple(map(float, std)) or (1.0,)]
    for name, values in zip(("mean", "std"), given, strict=True):
        if len(values) not in _PICTURE_NUMBERS or not all(map(math.isfinite, values)):
            raise DamagedError(f"{name} is {list(values)!r:.60}; expected 1 or 3 numbers")
    if min(given[1]) <= 0:
        raise DamagedError(f"std is {list(given[1])}; expected numbers above 0")
    unit = 255.0 if of_bytes else 1.0
    own_mean, own_std = (tuple(one / unit for one in values) for values in given)
    return own_mean, own_std


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers of a text: by comma or space, in brackets or without; raises `DamagedError`."""
    try:
        return tuple(float(one) for one in text.strip().strip("[]()").replace(",", " ").split())
    except ValueError:
        raise DamagedError(f"{text!r:.60} is no row of numbers") from None


def names(text: str) -> tuple[str, ...]:
    """Return the names of a text; raises `DamagedError`.

    It is a JSON list, Python's dict of numbers and names (``{0: 'cat', 1: 'dog'}``), or names by line or by comma.
    Empty where it names fewer than two: ``10`` says how many there are.
    """
    if len(text) > LONGEST_TEXT:
        raise DamagedError(f"a list of {len(text)} characters")
    stripped = text.strip()
    if stripped[:1] in ("[", "{", "("):
        found = _listed(stripped)
    else:
        found = stripped.splitlines() if "\n" in stripped else stripped.split(",")
    cleaned = tuple(one.strip() for one in found)
    return cleaned if len(cleaned) > 1 else ()


def _listed(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise DamagedError(f"{text!r:.60} is no list of names") from None
    if isinstance(found, dict):
        places = {str(key): value for key, value in found.items()}
        if set(places) != {str(number) for number in range(len(found))}:
            raise DamagedError(f"{text!r:.60} does not number its names from 0 on")
        found = [places[str(number)] for number in range(len(found))]
    if not isinstance(found, (list, tuple)) or not all(isinstance(one, (str, int, float)) for one in found):
        raise DamagedError(f"{text!r:.60} is no list of names")
    return [str(one) for one in found]
