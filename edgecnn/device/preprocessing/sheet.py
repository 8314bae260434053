"""A sheet of paper on a dark table: the picture is cut to the sheet, so that paper is what surrounds the ink."""

from __future__ import annotations

import numpy as np

from edgecnn.device.preprocessing.components import Mask, find
from edgecnn.device.preprocessing.paper import Gray, otsu, shrunk
from edgecnn.device.preprocessing.quantiles import median, quantile

_SIDE = 128  # pixels of the longer side; enough to see a sheet
_DARK_BORDER = 0.6  # of the picture's border lies beside the sheet
_LARGE = 0.15  # of the picture: the least that a sheet covers
_FULL = 0.8  # of a sheet is light; of a light digit on black less, or nothing on it is dark
_SQUARE = 0.6  # of its box a sheet fills, however it is turned
_WRITTEN = 0.25  # of its light: what is written on a sheet is darker by more
_EDGE = 0.7  # of the level at a sheet's rim; what lies beside it is darker, while light fades slowly
_RIM = 2  # of those pixels at the sheet's edge are left out


def cut_to_sheet(gray: Gray) -> tuple[Gray, int, int]:
    """Return the part of `gray` (uint8 [H, W]) that shows a light sheet on dark ground, and its first row and column.

    What lies beside the sheet in that part gets the sheet's level. A picture without one is returned whole.
    """
    small = shrunk(gray, _SIDE)
    sheet = _sheet(small)
    if sheet is None:
        return gray, 0, 0
    rows, columns = (
        np.linspace(0, of, to, endpoint=False).astype(np.intp) for of, to in zip(small.shape, gray.shape, strict=True)
    )
    large = sheet[rows][:, columns]
    inside = gray[large]
    level = median(inside)
    if quantile(inside, 0.001) > (1 - _WRITTEN) * level:
        return gray, 0, 0
    boxes = find(large).boxes
    (top, left), (bottom, right) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    painted = np.where(large, gray, np.uint8(level))[top:bottom, left:right]
    return painted, int(top), int(left)


def _sheet(small: Gray) -> Mask | None:
    """Return the mask of the sheet without its rim, or None where there is none."""
    light = small > 255 * otsu(np.histogram(small, bins=256, range=(0, 256))[0].astype(np.float64))
    border = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    pieces = find(light)
    if not len(pieces.areas) or border.mean() > 1 - _DARK_BORDER:
        return None
    main = pieces.areas == pieces.areas.max()
    piece = pieces.select(main)
    filled = _filled(piece) & _filled(piece.T).T
    square = filled.sum() / (pieces.heights[main] * pieces.widths[main])[0]
    if piece.mean() < _LARGE or piece.sum() < _FULL * filled.sum() or square < _SQUARE:
        return None
    inner = ~_grown(~filled, _RIM)
    beside = _grown(filled, 2 * _RIM) & ~_grown(filled, _RIM)
    rim = inner & _grown(~filled, 2 * _RIM)
    if not rim.any() or not beside.any() or median(small[beside]) > _EDGE * median(small[rim]):
        return None
    return inner


def _grown(mask: Mask, pixels: int) -> Mask:
    """Return `mask` and all within a square of so many pixels around it."""
    padded = np.pad(mask, pixels)
    for axis in (0, 1):
        padded = np.maximum.reduce([np.roll(padded, shift, axis) for shift in range(-pixels, pixels + 1)])
    return padded[pixels:-pixels, pixels:-pixels]


def _filled(mask: Mask) -> Mask:
    """Return all from the first to the last pixel of every row."""
    filled: Mask = np.maximum.accumulate(mask, axis=1) & np.maximum.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    return filled
