"""Ruled and squared paper, table lines and frames: long thin straight lines are taken out, strokes that cross stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgecnn.device.preprocessing.components import Components, Mask, find, run_lengths, without_gaps
from edgecnn.device.preprocessing.quantiles import median

_THICK = 2.0  # pen widths; a thicker line is no rule
_CROSSING = 2.0  # pen widths; a stroke that crosses a rule leaves a gap of no more in it
_WIDEST_CROSSING = 1 / 12  # of the picture's side: a gap that one bold digit may leave, or two boxes
_BAND = 0.75  # of a rule's thickness; its pixels lie no further from its middle
_COVERED = 0.8  # of a rule's length that is ink of its own, neither a gap nor a stroke that crosses
_SLOPE = 0.15  # rise over run, 8 degrees: paper is held askew, and bends
_SLIM = 10.0  # thicknesses; a bold stroke is no longer than that
_FINE = 0.5  # pen widths; no stroke is thinner
_SHORT = 2.0  # pen widths; what is shorter may be the end of a stroke
_SCRAP = 0.4  # pen widths; thinner than that is what a rule left
_EDGE = 0.01  # of the picture's side; a line that ends no further from the edge has left the picture
_MARGIN = 0.15  # of the picture's side; a long line there is a frame's
_LONG = 0.5  # of the picture's side
_THIN = 0.7  # pen widths; a stroke is never thinner along its whole length

# Says which lines, found along rows in a mask of this shape drawn with this pen, are rules.
Choice = Callable[[Components, tuple[int, ...], float], Mask]


def without_rules(mask: Mask, *, pen: float, is_rule: Choice, bridge: bool = False) -> Mask:
    """Return `mask` without its rules, along rows and along columns; `pen` is the width of strokes in pixels.

    A rule's pixels lie in short runs across it; where a stroke crosses, the run is long and stays, as when staff lines
    are taken out of music (C. Dalitz et al., "A comparative study of staff removal algorithms", 2008). With `bridge` a
    rule may go on behind a whole digit, or from box to box; but such a gap may also join a rule and what stands by it.
    """
    return mask & ~_rules(mask, pen, is_rule, bridge) & ~_rules(mask.T, pen, is_rule, bridge).T


def without_scraps(mask: Mask, pen: float) -> Mask:
    """Return `mask` without what is thinner, along its row or column, than any stroke of this pen."""
    thinnest = _SCRAP * pen
    along, across = run_lengths(mask), run_lengths(mask.T).T
    return mask & (np.minimum(along, across) >= thinnest)


def of_one_digit(lines: Components, shape: tuple[int, ...], pen: float) -> Mask:
    """Choose the lines that no digit has: in the margin, or from edge to edge, several or thinner than the pen."""
    height, width = shape
    middle = (lines.boxes[:, 0] + lines.boxes[:, 2]) / 2 / height
    frames = (np.minimum(middle, 1 - middle) <= _MARGIN) & (lines.widths >= _LONG * width)
    near = 1 + _EDGE * width
    crosses = (lines.boxes[:, 1] <= near) & (lines.boxes[:, 3] >= width - near) & ~frames
    thin = lines.areas <= _THIN * pen * lines.widths
    chosen: Mask = frames | crosses & (thin | (crosses.sum() > 1))
    return chosen


def thinner_than(pen: float) -> Choice:
    """Return the choice of lines that are too thin to be drawn by a pen of this width in pixels, and not short."""
    return lambda lines, _shape, _pen: (lines.areas <= _FINE * pen * lines.widths) & (lines.widths >= _SHORT * pen)


def longer_than(length: float) -> Choice:
    """Return the choice of all lines that are at least this long in pixels, and slim."""
    return lambda lines, _shape, _pen: (lines.widths >= length) & (lines.widths**2 >= _SLIM * lines.areas)


def _rules(mask: Mask, pen: float, is_rule: Choice, bridge: bool) -> Mask:
    """Return the pixels of `mask` that rules along its rows are made of."""
    across = run_lengths(mask.T).T
    thin = mask & (across <= _THICK * pen)
    crossing = max(_CROSSING * pen, _WIDEST_CROSSING * mask.shape[1] if bridge else 0)
    lines = find(without_gaps(thin, round(crossing)))
    slim = lines.heights <= _THICK * pen + _SLOPE * lines.widths
    rules = np.zeros(mask.shape, np.bool_)
    for number in np.flatnonzero(slim & is_rule(lines, mask.shape, pen)):
        top, left, bottom, right = lines.boxes[number]
        within = (slice(top, bottom), slice(left, right))
        rules[within] |= _straight_part(thin[within] & (lines.labels[within] == number + 1))
    return rules


def _straight_part(line: Mask) -> Mask:
    """Return the pixels of `line` [H, W] near a parabola through it, none where that is no line.

    What a rule touches hangs on it, and a column of strokes may look like one: the parabola, fitted by least squares
    and again to the better half, passes by what does not lie on it.
    """
    rows, columns = np.nonzero(line)
    x = columns / max(1, line.shape[1] - 1) - 0.5
    terms = np.stack([np.ones(len(x)), x, x**2], axis=1)
    near = np.ones(len(x), np.bool_)
    for _ in range(5):
        factors = np.linalg.lstsq(terms[near], rows[near], rcond=None)[0]
        distance = np.abs(terms @ factors - rows)
        near = distance <= median(distance)
    thickness = median(line.sum(axis=0)[line.any(axis=0)])
    near = distance <= 1 + _BAND * thickness
    part = np.zeros(line.shape, np.bool_)
    part[rows[near], columns[near]] = True
    covered = part.any(axis=0).mean()
    return part if covered >= _COVERED else np.zeros(line.shape, np.bool_)
