"""From a photo's gray levels to ink: which is ink and which paper, light taken out, and a threshold for it.

Ink is a float32 array [H, W] in [0, 1]: the share of the paper's light that is swallowed, 0 on paper.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgecnn.device.preprocessing.components import Mask, find, run_lengths
from edgecnn.device.preprocessing.quantiles import median, quantile

Gray = NDArray[np.uint8]
Ink = NDArray[np.float32]

_BORDER = 1 / 8  # of each side: what is taken for paper, to tell ink from it
_LIGHT_SIDE = 256  # light changes slowly: its map has at most this many pixels a side
_WIDEST_PEN = 1 / 3  # of the shorter side; what is wider is no stroke
_CLEAR_OF_PEN = 3.0  # pen widths: a window this wide sees paper wherever it lies
_GRAIN = 0.2  # pen widths; what is finer is the paper's grain, a printed screen or the sensor's noise
_NOISE = 4.0  # standard deviations of the paper's noise that ink differs by at least
_FAINT = 0.7  # of the threshold: ink where it touches ink above the threshold
_LEAST_CONTRAST = 0.06  # of the paper's light; nobody can read what is fainter


def dark_on_light(gray: Gray) -> Gray:
    """Return `gray`, turned over if its ink is lighter than its paper.

    The border is taken for paper, lit unevenly: a plane through its levels says what paper is further inside. Ink is
    darker than the plane and narrow, so that a closing takes it away; or lighter, and an opening does. Cubes let a few
    strokes outweigh what is large and faint.
    """
    small = shrunk(gray, 64).astype(np.float32)
    window = 2 * int(_WIDEST_PEN * min(small.shape) / 2) + 1
    plane = _plane(small)
    darker = np.minimum(plane, _closed(small, window)) - small
    lighter = small - np.maximum(plane, -_closed(-small, window))
    return 255 - gray if (lighter.clip(0) ** 3).sum() > (darker.clip(0) ** 3).sum() else gray


def ink_of(gray: Gray, *, pen: float = 0.0) -> Ink:
    """Return the ink of a picture that is dark on light, drawn with a pen of that width in pixels (0.0: not known).

    Paper is what a closing of the gray levels leaves that is wider than the pen (J. Serra, "Image Analysis and
    Mathematical Morphology", 1982): the narrower the pen, the closer the closing can follow shadows.
    """
    widest = max(3.0, _WIDEST_PEN * min(gray.shape))
    return _relative(gray, min(widest, max(3.0, _CLEAR_OF_PEN * pen)) if pen else widest)


def threshold(ink: Ink) -> float:
    """Return the level that parts ink from paper: Otsu's, with as much paper as there is ink.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979. A few strokes on a large noisy paper
    would not count in it; so only what stands out of the noise is looked at, and paper put in as one level.
    """
    floor = noise_floor(ink)
    levels = np.histogram(ink[ink > floor], bins=256, range=(0, 1))[0].astype(np.float64)
    levels[int(floor * 255)] += levels.sum() + 1
    return max(floor, otsu(levels))


def noise_floor(ink: Ink) -> float:
    """Return the level up to which ink may be the noise of the paper, which covers two fifths of a picture at least."""
    step = -(-max(ink.shape) // _LIGHT_SIDE)
    low, quarter, middle = (quantile(ink[::step, ::step], share) for share in (0.05, 0.25, 0.4))
    # Of a normal distribution they lie 1.645, 0.674 and 0.253 deviations below the mean; a closing cuts the lowest off.
    deviation = max((quarter - low) / (1.645 - 0.674), (middle - quarter) / (0.674 - 0.253))
    return min(max(quarter + (0.674 + _NOISE) * deviation, _LEAST_CONTRAST), 0.5)


def ink_mask(ink: Ink) -> Mask:
    """Return what is ink: above the threshold, and fainter parts that touch it (J. Canny's hysteresis, 1986)."""
    pen = pen_width(ink > threshold(ink))
    coarse = Image.fromarray((255 * ink).astype(np.uint8)).filter(ImageFilter.GaussianBlur(_GRAIN * pen))
    smooth = np.asarray(coarse).astype(np.float32) / np.float32(255)
    sure = threshold(smooth)
    pieces = find(smooth > max(_FAINT * sure, noise_floor(smooth)))
    holds_sure = np.bincount(pieces.labels[smooth > sure], minlength=len(pieces.areas) + 1)[1:] > 0
    return pieces.select(holds_sure)


def pen_width(mask: Mask) -> float:
    """Return the width of the strokes in pixels, 0.0 without any.

    A pixel of ink lies in a run along its row and in one along its column; the shorter crosses the stroke. The median
    over the pixels cares little for blots and specks.
    """
    if not mask.any():
        return 0.0
    return median(np.minimum(run_lengths(mask)[mask], run_lengths(mask.T).T[mask]))


def shrunk(gray: Gray, side: int) -> Gray:
    """Return `gray` scaled so that its longer side is at most `side` pixels, each the mean of those it covers."""
    scale = side / max(gray.shape)
    if scale >= 1:
        return gray
    size = [max(1, round(length * scale)) for length in (gray.shape[1], gray.shape[0])]
    return np.asarray(Image.fromarray(gray).resize((size[0], size[1]), Image.Resampling.BOX))


def _relative(gray: Gray, pen: float) -> Ink:
    """Return 1 - gray / paper, the paper's level found by a closing wider than `pen` pixels."""
    small = shrunk(gray, _LIGHT_SIDE).astype(np.float32)
    window = 2 * int(np.ceil(pen * max(small.shape) / max(gray.shape) / 2)) + 1
    paper = Image.fromarray(_closed(small, window)).resize((gray.shape[1], gray.shape[0]), Image.Resampling.BILINEAR)
    relative: Ink = (1 - gray / np.maximum(np.asarray(paper), 1)).clip(0, 1)
    return relative.astype(np.float32)


def _plane(levels: Ink) -> Ink:
    """Return the plane through the border's levels; the half of them that fits best decides: a frame may cross."""
    height, width = levels.shape
    rows, columns = np.indices(levels.shape)
    terms = np.stack([np.ones(levels.shape), rows / height, columns / width], axis=-1)
    at_border = np.ones(levels.shape, np.bool_)
    deep, wide = (max(1, round(length * _BORDER)) for length in levels.shape)
    at_border[deep : height - deep, wide : width - wide] = False
    known, values = terms[at_border], levels[at_border]
    distance = np.abs(values - median(values))
    for _ in range(3):
        fits = distance <= median(distance)
        factors = np.linalg.lstsq(known[fits], values[fits], rcond=None)[0]
        distance = np.abs(known @ factors - values)
    plane: Ink = (terms @ factors).astype(np.float32)
    return plane


def otsu(levels: NDArray[np.float64]) -> float:
    """Return the level in [0, 1] that gives the two classes of a histogram the largest variance between them."""
    centres = (np.arange(len(levels)) + 0.5) / len(levels)
    below, mass = np.cumsum(levels), np.cumsum(levels * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((mass[-1] * below / below[-1] - mass) ** 2 / (below * above))
    return float(centres[between >= between.max() * (1 - 1e-9)].mean())  # the middle of an empty gap


def _closed(levels: Ink, window: int) -> Ink:
    """Return levels with all that is darker than its surroundings and narrower than `window` pixels filled up."""
    return -_maximum(-_maximum(levels, window), window)


def _maximum(values: Ink, window: int) -> Ink:
    """Return the maximum over a square of an odd number of pixels a side."""
    return _rows_maximum(_rows_maximum(values, window).T, window).T


def _rows_maximum(values: Ink, window: int) -> Ink:
    """Return the maximum over `window` rows; doubling what is seen costs the logarithm of the window only."""
    half, length = window // 2, len(values)
    seen = np.pad(values, ((half, half), (0, 0)), mode="edge")
    reach = 1
    while 2 * reach <= window:
        seen = np.maximum(seen[:-reach], seen[reach:])
        reach *= 2
    return np.maximum(seen[:length], seen[window - reach : window - reach + length])
