"""From one digit's ink to MNIST's shape: not too slanted, not too thin, in a 20x20 box, centred by mass in 28x28."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from edgecnn.device.canonical import centre_of_mass
from edgecnn.device.digit import BOX, SIDE

_FINE = 8  # pixels that a pixel of the box is made of while the digit's shape is changed
# MNIST's training images: mean width of strokes in pixels of the box, which 5 % are below, and half of them ...
_THIN, _USUAL = 1.8, 2.3
# ... and slant, columns to the right per row downwards, of all but 1 %.
_LEAST_SLANT, _MOST_SLANT = -0.85, 0.63


def shape_like_mnist(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ink of one digit, uint8 [H, W] with 255 inside strokes and 0 around it, as uint8 [28, 28]."""
    for change in (_less_slanted, _less_thin):
        ink = change(_boxed(_cropped(ink), BOX * _FINE))
    return in_box(_cropped(ink))


def in_box(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ink cut to its box, uint8 [H, W], scaled so that its longer side is 20 pixels, centred in 28x28."""
    return centred(_boxed(ink, BOX))


def centred(box: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place `box` in 28x28 so that its centre of mass lies as near pixel (14, 14) as whole pixels and edges allow.

    There it lies in MNIST: between 13.48 and 14.50 in each of the 60,000 training images.
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    corner = [
        min(max(round(SIDE / 2 - middle), 0), SIDE - length)
        for middle, length in zip(centre_of_mass(box), box.shape, strict=True)
    ]
    top, left = corner
    canvas[top : top + box.shape[0], left : left + box.shape[1]] = box
    return canvas


def stroke_width(ink: NDArray[np.uint8]) -> float:
    """Return the mean width of strokes in pixels: one w wide and l long has l * w pixels, 2 * l at its edges."""
    mask = np.pad(ink > 127, 1)
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    area = int(mask.sum())
    return 2 * area / max(1, area - int(inner.sum()))


def _less_slanted(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the digit sheared to the slant that MNIST knows, where it has more.

    Slant is the ratio of second moments by which Y. LeCun et al. ("Gradient-based learning applied to document
    recognition", 1998) deslant; to take all of it away made more of the photos wrong than right.
    """
    rows, columns = (axis - middle for axis, middle in zip(np.indices(fine.shape), centre_of_mass(fine), strict=True))
    spread = float((fine * rows**2).sum())
    slant = float((fine * rows * columns).sum()) / spread if spread else 0.0
    excess = slant - min(max(slant, _LEAST_SLANT), _MOST_SLANT)
    if not excess:
        return fine
    height = len(fine)
    margin = int(abs(excess) * height) + 1
    shear = (1, excess, -excess * height / 2, 0, 1, 0)
    padded = Image.fromarray(np.pad(fine, ((0, 0), (margin, margin))))
    sheared = padded.transform(padded.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR)
    return np.asarray(sheared)


def _less_thin(fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the digit with strokes as wide as MNIST's usual ones, where they are thinner than nearly all of those."""
    width = stroke_width(fine) / _FINE
    if width >= _THIN:
        return fine
    steps = round((_USUAL - width) * _FINE / 2)
    padded = Image.fromarray(np.pad(fine, steps + 1))
    for step in range(steps):
        # A square and a cross in turn make an octagon, near enough to a round pen.
        padded = padded.filter(ImageFilter.MaxFilter(3)) if step % 2 else _grown_by_a_cross(padded)
    return np.asarray(padded)


def _grown_by_a_cross(image: Image.Image) -> Image.Image:
    around = np.pad(np.asarray(image), 1)
    sides = [around[1:-1, 1:-1], around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]]
    return Image.fromarray(np.maximum.reduce(sides))


def _cropped(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    level = min(127, int(ink.max()) // 2)  # a line of a pixel's width fades where it is sheared
    rows, columns = (np.flatnonzero((ink > level).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _boxed(ink: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return `ink` scaled, antialiased and keeping its shape, so that its longer side is `side`."""
    scale = side / max(ink.shape)
    size = [max(1, round(length * scale)) for length in (ink.shape[1], ink.shape[0])]
    return np.asarray(Image.fromarray(ink).resize((size[0], size[1]), Image.Resampling.BICUBIC))
