"""A picture of one digit: its ink is found and brought into MNIST's shape; every step is kept, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.components import Components, Mask, find
from edgecnn.device.errors import NoInkError
from edgecnn.device.paper import Gray, Ink, dark_on_light, ink_mask, ink_of, pen_width, shrunk, threshold
from edgecnn.device.pictures import PHOTO_SIDE
from edgecnn.device.quantiles import median, quantile
from edgecnn.device.rules import Choice, of_one_digit, thinner_than, without_rules
from edgecnn.device.shape import shape_like_mnist
from edgecnn.device.sheet import cut_to_sheet

SCRAP = 0.03  # of the digit's area: smaller pieces are specks
FINE = 0.5  # pen widths: thinner pieces are scraps of rules
_WORK_SIDE = 768  # pixels, where there is one digit; enough for one that fills a tenth of it
_DARK = 0.7  # of the darkest ink: what is fainter may be a shadow or a rule
_CUT_OFF = 0.2  # of the digit's area: smaller pieces at the picture's edge belong to what lies beyond it
_SPECK = 0.03  # of the picture's longer side: what is smaller is noise
_ALIKE = 0.6  # of the digit's height, or the other way round: a piece that high is another digit ...
_AS_MUCH = 0.25  # ... if it has as much ink of the digit's ...
_WIDEST = 1.6  # ... and is no wider than that, of its own height
_APART = 0.15  # of the digit's longer side: pieces that are further away are not the digit's


@dataclass(frozen=True)
class Steps:
    """A picture dark on light, its ink, that as a mask, the mask without rules, the digit, and it as uint8 [28, 28].

    `box` is where the digit lies in the picture that was given: left, top, width and height in pixels.
    `is_one_of_several` says that more of the digit's size stands beside it.
    """

    gray: Gray
    ink: Ink
    mask: Mask
    ruleless: Mask
    digit: Mask
    pixels: Gray
    box: tuple[int, int, int, int]
    is_one_of_several: bool


def find_digit(gray: Gray) -> Steps:
    """Return the digit in `gray` (uint8 [H, W]) and how it was found; raises `NoInkError` where there is no ink."""
    photo = shrunk(gray, PHOTO_SIDE)
    sheet, top, left = cut_to_sheet(photo)
    upright = dark_on_light(shrunk(sheet, _WORK_SIDE))
    ink = ink_of(upright, pen=pen_of(ink_of(upright), of_one_digit, bridge=True))
    mask = ink_mask(ink)
    pen = pen_width(mask)
    ruleless = without_rules(mask, pen=pen, is_rule=of_one_digit, bridge=True)
    pen = pen_width(ruleless)
    ruleless = without_rules(ruleless, pen=pen, is_rule=thinner_than(pen), bridge=True)
    pieces = find(ruleless if ruleless.any() else mask)
    chosen = _digit(pieces, pen)
    digit = pieces.select(chosen)
    rows, columns = np.nonzero(digit)
    is_speck = not len(rows) or max(np.ptp(rows), np.ptp(columns)) < _SPECK * max(digit.shape)
    if is_speck and 2 * len(rows) <= ruleless.sum():  # a small spot alone on clean paper is meant
        raise NoInkError("image: no ink stands out from the paper; expected a digit on paper")
    scale, fine = max(gray.shape) / max(photo.shape), max(sheet.shape) / max(upright.shape)
    row, column, height, width = (fine * length for length in _extent(digit, pen))
    left, top, width, height = (round(scale * length) for length in (left + column, top + row, width, height))
    pixels = shape_like_mnist(solid(ink, digit))
    several = _is_one_of_several(pieces, chosen, pen)
    return Steps(upright, ink, mask, ruleless, digit, pixels, (left, top, width, height), several)


def pen_of(ink: Ink, is_rule: Choice, *, bridge: bool = False) -> float:
    """Return the width of the pen in pixels: of what is nearly as dark as the darkest ink, which few shadows are."""
    above = ink[ink > threshold(ink)]
    if not len(above):
        return 0.0
    dark = ink > max(above.min(), _DARK * quantile(above, 0.95))
    ruleless = without_rules(dark, pen=pen_width(dark), is_rule=is_rule, bridge=bridge)
    return pen_width(ruleless if ruleless.any() else dark)


def solid(ink: Ink, digit: Mask) -> NDArray[np.uint8]:
    """Return the digit's ink alone, uint8 with 255 inside strokes, its edges as smooth as the picture has them."""
    near = np.pad(digit, 1)
    near = near[1:-1] | near[:-2] | near[2:]
    near = near[:, 1:-1] | near[:, :-2] | near[:, 2:]
    level = max(median(ink[digit]), 1e-3)
    return (255 * np.where(near, ink / level, 0).clip(0, 1)).astype(np.uint8)


def _extent(digit: Mask, pen: float) -> tuple[int, int, int, int]:
    """Return first row, first column, height and width of a digit, without a rule that hangs on it."""
    rows, columns = (np.flatnonzero(count > min(FINE * pen, count.max() - 1)) for count in (digit.sum(1), digit.sum(0)))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def _digit(pieces: Components, pen: float) -> NDArray[np.bool_]:
    """Return which pieces [N] are the digit's: the largest, the nearer to the middle the better, and what is its."""
    if not len(pieces.areas):
        return np.zeros(0, np.bool_)
    height, width = pieces.labels.shape
    top, left, bottom, right = pieces.boxes.T
    off_middle = ((top + bottom) / height - 1) ** 2 + ((left + right) / width - 1) ** 2
    at_edge = _at_edge(pieces)
    main = int((pieces.areas * np.exp(-off_middle)).argmax())
    is_scrap = pieces.areas < np.where(at_edge, _CUT_OFF, SCRAP) * pieces.areas[main]
    is_scrap |= pieces.areas < FINE * pen * np.maximum(pieces.heights, pieces.widths)
    reach = _APART * max(pieces.heights[main], pieces.widths[main])
    chosen = np.zeros(len(top), np.bool_)
    chosen[main] = True
    for _ in range(3):  # a piece may hang on by another
        box = [top[chosen].min(), left[chosen].min(), bottom[chosen].max(), right[chosen].max()]
        apart = np.maximum.reduce([top - box[2], left - box[3], box[0] - bottom, box[1] - right])
        chosen |= (apart <= reach) & ~is_scrap
    return chosen


def _is_one_of_several(pieces: Components, chosen: NDArray[np.bool_], pen: float) -> bool:
    """Return whether another piece that lies whole in the picture is as high and as much as the digit, nearly."""
    if not chosen.any():
        return False
    top, _, bottom, _ = pieces.boxes[chosen].T
    height, area = bottom.max() - top.min(), pieces.areas[chosen].sum()
    is_alike = (pieces.heights >= _ALIKE * height) & (pieces.heights <= height / _ALIKE)
    is_alike &= (pieces.widths <= _WIDEST * pieces.heights) & (pieces.areas >= _AS_MUCH * area)
    is_alike &= pieces.areas >= 2 * FINE * pen * pieces.heights
    return bool((is_alike & ~chosen & ~_at_edge(pieces)).any())


def _at_edge(pieces: Components) -> NDArray[np.bool_]:
    """Return which pieces [N] touch the picture's edge, and may go on beyond it."""
    top, left, bottom, right = pieces.boxes.T
    height, width = pieces.labels.shape
    touches: NDArray[np.bool_] = (top == 0) | (left == 0) | (bottom == height) | (right == width)
    return touches
