"""Pictures that are no digits, made of digits and of strokes, shapes and grain: what a model is to refuse.

Only training images go in, so that what is learned from these pictures says nothing of any test set. Some of them look
like a digit all the same (an overlaid 1 may vanish); a rule that is fitted to them has to live with that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from edgecnn.data.splits import Split
from edgecnn.device.shape import in_box

Gray = NDArray[np.uint8]
Make = Callable[[Gray, NDArray[np.int64], np.random.Generator], Gray]

_SIDE = 112  # pixels of a drawing, four for one of a digit's image
_INK = 40  # gray levels; fainter is an edge's last pixel
_LEAST_INK = 20  # pixels
# Quarter turns of these are no digits (0 stays, 6, 8 and 9 become loops that may be one), and mirrored these are not.
_TURNED, _MIRRORED = (1, 2, 3, 4, 5, 7), (3, 4, 6, 7, 9)


def outliers(split: Split, count: int, *, seed: int) -> Gray:
    """Return `count` pictures uint8 [count, 28, 28] that are no digits, in MNIST's box and centred, of all kinds."""
    rng = np.random.default_rng((seed, 0x0D17))
    return np.array([picture for _, picture in zip(range(count), _endless(split, rng), strict=False)])


def _endless(split: Split, rng: np.random.Generator) -> Iterator[Gray]:
    images = split.images[..., 0]
    while True:
        for make in _KINDS:
            drawn = _cropped(make(images, split.labels, rng))
            if drawn is not None:
                yield in_box(drawn)


def _cropped(drawn: Gray) -> Gray | None:
    """Return a drawing cut to its ink, as dark as a digit's, or None where there is too little."""
    ink = drawn > _INK
    if ink.sum() < _LEAST_INK:
        return None
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    cut = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    dark: Gray = (cut.astype(np.float32) * (255 / cut.max())).astype(np.uint8)
    return dark


def _pick(images: Gray, rng: np.random.Generator, count: int) -> Gray:
    return images[rng.integers(len(images), size=count)]


def _pick_of(images: Gray, labels: NDArray[np.int64], classes: tuple[int, ...], rng: np.random.Generator) -> Gray:
    one: Gray = images[rng.choice(np.flatnonzero(np.isin(labels, classes)))]
    return one


def _joined(images: Gray, labels: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return the upper part of one digit over the lower of another, or such parts side by side."""
    first = rng.integers(len(images))
    second = rng.choice(np.flatnonzero(labels != labels[first]))
    cut = rng.integers(12, 17)
    one, other = images[first], images[second]
    if rng.random() < 0.5:
        one, other = one.T, other.T
    return np.concatenate([one[:cut], other[cut:]])


def _patched(images: Gray, _: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return the quarters of four digits."""
    a, b, c, d = _pick(images, rng, 4)
    row, column = rng.integers(10, 19, size=2)
    return np.block([[a[:row, :column], b[:row, column:]], [c[row:, :column], d[row:, column:]]])


def _displaced(images: Gray, _: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return a digit with its halves in the wrong places."""
    moved: Gray = np.roll(_pick(images, rng, 1)[0], rng.integers(11, 18), axis=int(rng.integers(2)))
    return moved


def _overlaid(images: Gray, _: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    one, other = _pick(images, rng, 2)
    both: Gray = np.maximum(one, np.roll(other, rng.integers(-4, 5, size=2), (0, 1)))
    return both


def _several(images: Gray, _: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return two or three digits side by side, or two one above the other."""
    digits = _pick(images, rng, int(rng.integers(2, 4)))
    if rng.random() < 0.25:
        return np.concatenate(list(digits[:2]))
    parts = []
    for digit in digits:
        columns = np.flatnonzero((digit > _INK).any(axis=0))
        parts += [digit[:, columns[0] : columns[-1] + 1], np.zeros((len(digit), rng.integers(0, 5)), np.uint8)]
    return np.concatenate(parts[:-1], axis=1)


def _turned(images: Gray, labels: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    angle = rng.uniform(70, 110) * rng.choice([-1, 1])
    one = Image.fromarray(np.pad(_pick_of(images, labels, _TURNED, rng), 6))
    return np.asarray(one.rotate(angle, Image.Resampling.BICUBIC))


def _mirrored(images: Gray, labels: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    return np.fliplr(_pick_of(images, labels, _MIRRORED, rng))


def _curves(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return strokes bent at random."""
    picture, draw = _canvas()
    pen = rng.integers(7, 16)
    for _stroke in range(rng.integers(2, 7)):
        points = rng.uniform(8, _SIDE - 8, (rng.integers(2, 5), 2))
        if rng.random() < 0.3:
            points = points[0] + (points - points[0]) * rng.uniform(0.2, 0.6)
        _stroke_of(draw, points, int(pen + rng.integers(-2, 3)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 2))))


def _scripts(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return strokes that are nearly level, upright or oblique, some of them hooked, as those of letters are."""
    picture, draw = _canvas()
    pen = int(rng.integers(6, 14))
    for _stroke in range(rng.integers(2, 6)):
        middle, angle = rng.uniform(20, _SIDE - 20, 2), np.radians(rng.choice([0, 90, 45, 135]) + rng.normal(0, 12))
        reach = np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(15, 50)
        points = np.array([middle - reach, middle + rng.normal(0, 10, 2), middle + reach])
        if rng.random() < 0.4:
            points = np.vstack([points, middle + reach + rng.normal(0, 25, 2)])
        _stroke_of(draw, points, pen)
    return np.asarray(picture)


def _shapes(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return a few boxes, discs, polygons and frames."""
    picture, draw = _canvas()
    for _shape in range(rng.integers(1, 4)):
        (left, top), (right, bottom) = np.sort(rng.uniform(0, _SIDE, (2, 2)), axis=0)
        box, level = (left, top, right, bottom), int(rng.integers(120, 256))
        match rng.integers(4):
            case 0:
                draw.rectangle(box, fill=level)
            case 1:
                draw.ellipse(box, fill=level)
            case 2:
                corners = rng.uniform(0, _SIDE, (rng.integers(3, 7), 2))
                draw.polygon([tuple(corner) for corner in corners], fill=level)
            case _:
                draw.rectangle(box, outline=level, width=int(rng.integers(4, 14)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 4))))


def _rings(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return an oval line with a few marks in it: a face, a dial, a button."""
    picture, draw = _canvas()
    middle, (wide, high) = np.array([_SIDE, _SIDE]) / 2, rng.uniform(24, 50, 2)
    pen = int(rng.integers(4, 13))
    draw.ellipse((middle[0] - wide, middle[1] - high, middle[0] + wide, middle[1] + high), outline=255, width=pen)
    for _mark in range(rng.integers(1, 5)):
        start = middle + rng.uniform(-0.6, 0.6, 2) * (wide, high)
        points = start + rng.normal(0, 1, (3, 2)) * rng.uniform(1, 20)
        _stroke_of(draw, points, pen)
    return np.asarray(picture)


def _bars(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return a bar too broad for a stroke, its light uneven: what is left of a picture's edge or of a trunk."""
    height, width = 84, int(rng.integers(24, 84))
    rows, columns = np.indices((height, width)) / 84
    level = 1 + rng.uniform(-0.8, 0.2) * rows + rng.uniform(-1.2, 1.2) * columns + rng.normal(0, 0.15, (height, 1))
    level = np.where(columns < width / 84 - rng.uniform(0, 0.3) * rng.random((height, 1)), level, 0)
    level = level if rng.random() < 0.8 else level.T
    return (255 * level.clip(0, 1)).astype(np.uint8)


def _grain(_: Gray, __: NDArray[np.int64], rng: np.random.Generator) -> Gray:
    """Return smoothed noise of any shape, in gray or as spots."""
    height, width = (int(side) for side in rng.integers(8, 29, size=2))
    noise = Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8))
    gray = np.asarray(noise.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 3)))).astype(np.float64)
    above = (gray - np.quantile(gray, rng.uniform(0, 0.8))).clip(0)
    level = above > 0 if rng.random() < 0.5 else above / max(above.max(), 1)
    return (255 * level).astype(np.uint8)


def _canvas() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("L", (_SIDE, _SIDE))
    return picture, ImageDraw.Draw(picture)


def _stroke_of(draw: ImageDraw.ImageDraw, points: NDArray[np.float64], width: int) -> None:
    """Draw the Bezier curve of two to four points, by De Casteljau's construction."""
    at = np.linspace(0, 1, 20)[:, None]
    between = [np.broadcast_to(point, (20, 2)) for point in points]
    while len(between) > 1:
        between = [(1 - at) * a + at * b for a, b in pairwise(between)]
    draw.line([tuple(point) for point in between[0]], fill=255, width=width, joint="curve")


# Strokes more often, for they are the most like what people write.
_KINDS: tuple[Make, ...] = (
    _joined, _patched, _displaced, _overlaid, _several, _turned, _mirrored,
    _curves, _scripts, _curves, _scripts, _curves, _scripts, _shapes, _rings, _bars, _grain,
)  # fmt: skip
