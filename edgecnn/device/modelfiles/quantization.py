"""Which values an input can store, and so which range a network of images was calibrated for."""

import numpy as np

from edgecnn.device.contract import Quantized
from edgecnn.device.modelfiles.leading import USUAL, Normalization, usual

_TOLERANCE = 0.02  # of a range's width: 1/128 is taken for 1/127.5, and 254.7 for the lightest of 255
_SYMMETRIC = 0.001  # of the largest value


def is_raw(stored: Quantized) -> bool:
    """Return whether an input takes the pixels themselves."""
    return stored.dtype == "uint8" and not stored.scale


def limits(stored: Quantized) -> tuple[float, float] | None:
    """Return the least and the greatest real value of an integer with a scale; None of any other."""
    if not (stored.dtype in ("uint8", "int8", "int16") and 0 < stored.scale < np.inf):
        return None
    kind = np.iinfo(stored.dtype)
    return tuple((end - stored.zero_point) * stored.scale for end in (int(kind.min), int(kind.max)))  # type: ignore[return-value]


def range_stored(stored: Quantized) -> Normalization | None:
    """Return the usual range that an input of this quantization stores and no more, as mean and std of a `Contract`.

    A zero point in the middle with a scale of 1/127 (int8) or 1/32767 (int16) is as well 0..1 as -1..1, of which half
    is not used: where activations are quantized symmetrically, the zero point is always there.
    """
    if is_raw(stored):
        return usual("0..255")
    ends = limits(stored)
    if ends is None:
        return None
    low, high = ends
    if stored.zero_point == 0 and stored.dtype != "uint8" and abs(high - 1) < _SYMMETRIC:
        return None
    if stored.zero_point == 0 and low < 0 and abs(high - 255) < _TOLERANCE * 255:
        return usual("0..255")
    for name, (least, greatest) in USUAL.items():
        near = _TOLERANCE * (greatest - least)
        if abs(low - least) <= near and abs(high - greatest) <= near:
            return usual(name)
    return None
