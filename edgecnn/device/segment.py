"""Several digits on a page: each is found, brought into MNIST's shape, and read in the order of writing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.components import Components, Mask, find
from edgecnn.device.errors import ImageError
from edgecnn.device.paper import Gray, Ink, dark_on_light, ink_mask, ink_of, pen_width, shrunk
from edgecnn.device.photo import FINE, SCRAP, find_digit, pen_of, solid
from edgecnn.device.pictures import PHOTO_SIDE
from edgecnn.device.quantiles import median
from edgecnn.device.rules import longer_than, without_rules, without_scraps
from edgecnn.device.shape import shape_like_mnist
from edgecnn.device.sheet import cut_to_sheet

MOST_DIGITS = 500  # of a page; each takes its time, and noise has thousands of marks
_LEAST, _MOST = 0.5, 2.0  # of the usual height: what is lower or higher is no digit of this page
_SMALLEST = 1 / 150  # of the page's longer side: what is lower is no digit of any page
_LARGEST = 1 / 2  # of the page's shorter side
_TALL = 1 / 3  # of the page's shorter side: writing so large gets room around it
_BOLD = 1 / 30  # of its own height is the pen of a digit at least; rules and frames are finer
_MOSTLY = 0.6  # of the ink
_ROOM = 3.0  # of the height of large writing, on each side
_WIDEST = 1.6  # of its own height; a digit is rarely wider
_USUAL_WIDTH = 0.75  # of its own height
_LINE = 8.0  # of its own height: what is wider is not even several digits that touch
_TABLE = 1 / 4  # of the page's shorter side: any longer line is a rule
_TOO_LONG = 2.0  # of the usual height: no digit has a line as long
_BLOT = 2.5  # pen widths; what is as thick is no stroke
_JOINED = 1.4  # of the usual height; in what is higher or wider, scraps of rules may join digits
_SPECK = 0.1  # of the usual height; smaller pieces belong to no digit
_POST = 1.2  # of the usual height; a line between rules is higher
_APART = 0.15  # of the usual height: small pieces nearer than that belong to a digit
_ROW = 0.5  # of the usual height: how far the next digit of a row may lie above or below the last


@dataclass(frozen=True)
class Glyph:
    """A piece of ink: the mask of its box, and where that lies on the page, in pixels."""

    top: int
    left: int
    mask: Mask

    @property
    def middle(self) -> float:
        """Row of the middle of its box."""
        return self.top + len(self.mask) / 2


@dataclass(frozen=True)
class Found:
    """A digit on a page: its place in the picture (left, top, width, height in pixels), its row, and uint8 [28, 28]."""

    box: tuple[int, int, int, int]
    row: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class Page:
    """What was found on a page, and on the way: gray dark on light, ink, the ink's mask and that without rules."""

    gray: Gray
    ink: Ink
    mask: Mask
    ruleless: Mask
    digits: list[Found]


def find_digits(gray: Gray) -> Page:
    """Return the digits in `gray` (uint8 [H, W]), rows from top to bottom and each from left to right.

    Raises `ImageError` for a page of more than `MOST_DIGITS` marks of a digit's size.
    """
    photo = shrunk(gray, PHOTO_SIDE)
    sheet, top, left = cut_to_sheet(photo)
    upright, room = _with_room(dark_on_light(sheet))
    top, left = top - room, left - room
    ink = ink_of(upright)
    tables = longer_than(_TABLE * min(ink.shape))
    ink = ink_of(upright, pen=pen_of(ink, tables))
    mask = ink_mask(ink)
    pen = pen_width(mask)
    # Tables first: nearly all the digits may hang on one.
    ruleless = without_rules(mask, pen=pen, is_rule=tables)
    ruleless = without_rules(ruleless, pen=pen, is_rule=tables, bridge=True)
    usual = usual_height(find(without_scraps(ruleless, pen)))
    ruleless = _parts(without_rules(ruleless, pen=pen, is_rule=longer_than(_TOO_LONG * usual), bridge=True), usual, pen)
    glyphs = _glyphs(ruleless, mask & ~ruleless, usual, pen)
    scale = max(gray.shape) / max(photo.shape)
    digits = [
        Found(_in_picture(glyph, scale, top, left), row, _pixels(glyph, ink))
        for row, line in enumerate(rows_of(glyphs, usual))
        for glyph in line
    ]
    return Page(upright, ink, mask, ruleless, digits or _alone(gray))


def _alone(gray: Gray) -> list[Found]:
    """Return the one digit of a picture that is no page, if there is any."""
    try:
        steps = find_digit(gray)
    except ImageError:
        return []
    return [Found(steps.box, 0, steps.pixels)]


def _with_room(upright: Gray) -> tuple[Gray, int]:
    """Return a page with paper around it, and how much in pixels, where large writing fills it; else the page and 0.

    What is a rule, and what too large for a digit, is told by the page's size: a strip that is cut close says nothing.
    """
    mask = ink_mask(ink_of(upright))
    pieces = find(mask)
    is_tall = pieces.heights >= _TALL * min(mask.shape)
    tall = pieces.select(is_tall)
    height = float(pieces.heights[is_tall].max(initial=0))
    if not height or tall.sum() < _MOSTLY * mask.sum() or pen_width(tall) < _BOLD * height:
        return upright, 0
    room = round(_ROOM * height)
    border = np.concatenate([upright[0], upright[-1], upright[:, 0], upright[:, -1]])
    return np.pad(upright, room, constant_values=np.uint8(median(border))), room


def _parts(mask: Mask, usual: float, pen: float) -> Mask:
    """Return `mask` without specks, and without the scraps of rules that join digits to what is too large for one."""
    pieces = find(mask)
    joined = pieces.select((pieces.heights > _JOINED * usual) | (pieces.widths > _WIDEST * usual))
    specks = pieces.select(np.maximum(pieces.heights, pieces.widths) < _SPECK * usual)
    return mask & ~specks & (~joined | without_scraps(joined, pen))


def _glyphs(mask: Mask, rules: Mask, usual: float, pen: float) -> list[Glyph]:
    """Return what has a digit's size on a page that `rules` were taken from, and is neither a line nor a blot."""
    pieces = find(mask)
    return [
        part
        for group in digit_groups(pieces, usual, pen)
        for part in parted(cut_out(pieces, group))
        if not _is_post(part, rules, usual) and pen_width(part.mask) < _BLOT * pen
    ]


def usual_height(pieces: Components) -> float:
    """Return the height in pixels of the digits of a page, 0.0 where nothing is shaped like one.

    The commonest of them within a factor of one and a half, where a piece counts as much as its height squared:
    specks are many, and pictures few.
    """
    longer, shorter = max(pieces.labels.shape), min(pieces.labels.shape)
    likely = (pieces.heights >= _SMALLEST * longer) & (pieces.heights <= _LARGEST * shorter)
    heights = np.sort(pieces.heights[likely & (pieces.widths <= _WIDEST * pieces.heights)])
    if not len(heights):
        return 0.0
    areas = np.concatenate([[0], np.cumsum(heights**2)])
    ends = np.searchsorted(heights, 1.5 * heights, side="right")
    first = int((areas[ends] - areas[:-1]).argmax())
    return median(heights[first : ends[first]])


def digit_groups(pieces: Components, usual: float, pen: float) -> list[Mask]:
    """Return which pieces [N] make each digit: one of a digit's height, and the small ones right beside it."""
    heights, widths = pieces.heights, pieces.widths
    is_digit = (heights >= _LEAST * usual) & (heights <= _MOST * usual) & (widths <= _LINE * heights)
    mains = np.flatnonzero(is_digit)
    if len(mains) > MOST_DIGITS:
        raise ImageError(
            f"image: {len(mains)} marks of a digit's size; expected a page of at most {MOST_DIGITS} digits; cut it up"
        )
    groups = [np.arange(len(heights)) == main for main in mains]
    is_scrap = pieces.areas < FINE * pen * np.maximum(heights, widths)
    for small in np.flatnonzero((heights < _LEAST * usual) & (widths < _MOST * usual) & ~is_scrap):
        top, left, bottom, right = pieces.boxes[small]
        boxes = pieces.boxes[mains]
        apart = np.maximum.reduce([boxes[:, 0] - bottom, boxes[:, 1] - right, top - boxes[:, 2], left - boxes[:, 3]])
        fits = (apart <= _APART * usual) & (pieces.areas[small] >= SCRAP * pieces.areas[mains])
        fits &= np.maximum(bottom, boxes[:, 2]) - np.minimum(top, boxes[:, 0]) <= _MOST * usual
        if fits.any():
            groups[int(np.where(fits, apart, np.inf).argmin())][small] = True
    return groups


def cut_out(pieces: Components, group: Mask) -> Glyph:
    """Return a digit's pieces as a mask of their common box."""
    boxes = pieces.boxes[group]
    top, left = (int(edge) for edge in boxes[:, :2].min(axis=0))
    bottom, right = (int(edge) for edge in boxes[:, 2:].max(axis=0))
    numbers = np.flatnonzero(group) + 1
    return Glyph(top, left, np.isin(pieces.labels[top:bottom, left:right], numbers))


def parted(glyph: Glyph) -> list[Glyph]:
    """Return a glyph that is too wide for one digit cut where least ink is, near equal parts; others as they are."""
    height, width = glyph.mask.shape
    if width <= _WIDEST * height:
        return [glyph]
    count = max(2, round(width / (_USUAL_WIDTH * height)))
    columns = glyph.mask.sum(axis=0)
    cuts = [0]
    for part in range(1, count):
        first, last = (round((part + shift) * width / count) for shift in (-0.25, 0.25))
        cuts.append(first + int(columns[first : last + 1].argmin()))
    halves = [(left, glyph.mask[:, left:right]) for left, right in pairwise([*cuts, width])]
    return [_trimmed(Glyph(glyph.top, glyph.left + left, mask)) for left, mask in halves if mask.any()]


def rows_of(glyphs: list[Glyph], usual: float) -> list[list[Glyph]]:
    """Return the glyphs in rows from top to bottom, each from left to right.

    Each next glyph to the right joins the row whose last few are nearest in height, so that rows may rise or bend.
    """
    rows: list[list[Glyph]] = []
    for glyph in sorted(glyphs, key=lambda g: g.left):
        levels = [abs(glyph.middle - float(np.mean([g.middle for g in row[-3:]]))) for row in rows]
        nearest = int(np.argmin(levels)) if levels else 0
        if levels and levels[nearest] <= _ROW * usual:
            rows[nearest].append(glyph)
        else:
            rows.append([glyph])
    return sorted(rows, key=lambda row: float(np.mean([g.middle for g in row])))


def _is_post(glyph: Glyph, rules: Mask, usual: float) -> bool:
    """Return whether a glyph is a line between rules: high, narrow, and it ends at a rule or at the page's edge."""
    height, width = glyph.mask.shape
    if height < _POST * usual or width > height / 3:
        return False
    bottom, around = glyph.top + height, slice(max(0, glyph.left - width), glyph.left + 2 * width)
    above, below = (
        rules[max(0, glyph.top - width) : glyph.top + width, around],
        rules[bottom - width : bottom + width, around],
    )
    return bool((above.any() or glyph.top == 0) and (below.any() or bottom == len(rules)))


def _trimmed(glyph: Glyph) -> Glyph:
    rows, columns = (np.flatnonzero(glyph.mask.any(axis=axis)) for axis in (1, 0))
    mask = glyph.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Glyph(glyph.top + int(rows[0]), glyph.left + int(columns[0]), mask)


def _pixels(glyph: Glyph, ink: Ink) -> NDArray[np.uint8]:
    height, width = glyph.mask.shape
    return shape_like_mnist(solid(ink[glyph.top : glyph.top + height, glyph.left : glyph.left + width], glyph.mask))


def _in_picture(glyph: Glyph, scale: float, top: int, left: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a glyph in the picture that was shrunk and cut to its sheet."""
    height, width = glyph.mask.shape
    x, y, wide, high = (round(n * scale) for n in (left + glyph.left, top + glyph.top, width, height))
    return x, y, wide, high
