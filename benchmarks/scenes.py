"""Pictures without a digit, drawn in code: blank paper in all lights, and pages of text, textures, things and lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Gray = NDArray[np.uint8]
Make = Callable[[np.random.Generator], Gray]

_WORDS = (
    "the quick brown fox jumps over a lazy dog while many people walk along river and stone bridge under bright sun"
)


def blank_pages(count: int, *, seed: int) -> dict[str, list[Gray]]:
    """Return `count` pictures uint8 [H, W] of each kind of paper with nothing on it."""
    return _all(_BLANK, count, seed)


def scenes(count: int, *, seed: int) -> dict[str, list[Gray]]:
    """Return `count` pictures uint8 [H, W] of each kind that show something, but no digit."""
    return _all(_SCENES, count, seed)


def _all(kinds: dict[str, Make], count: int, seed: int) -> dict[str, list[Gray]]:
    rng = np.random.default_rng(seed)
    return {name: [make(rng) for _ in range(count)] for name, make in kinds.items()}


def _plain(rng: np.random.Generator) -> Gray:
    return np.full(_size(rng), rng.integers(0, 256), np.uint8)


def _noisy(rng: np.random.Generator) -> Gray:
    return _gray(rng.integers(60, 250) + rng.normal(0, rng.uniform(1, 12), _size(rng)))


def _lit(rng: np.random.Generator) -> Gray:
    """Return paper under a light from the side, with the sensor's noise."""
    size = _size(rng)
    return _gray(_light(rng, size) + rng.normal(0, rng.uniform(0, 5), size))


def _grained(rng: np.random.Generator) -> Gray:
    """Return paper with fibres: noise that is smooth over a few pixels."""
    height, width = _size(rng)
    noise = Image.fromarray(rng.integers(0, 256, (height, width)).astype(np.uint8))
    fibres = np.asarray(noise.filter(ImageFilter.GaussianBlur(rng.uniform(1, 4)))).astype(np.float64)
    return _gray(_light(rng, (height, width)) + rng.uniform(0.1, 0.5) * (fibres - fibres.mean()))


def _ruled(rng: np.random.Generator) -> Gray:
    """Return ruled or squared paper."""
    height, width = _size(rng)
    paper, step, ink = _light(rng, (height, width)), int(rng.integers(18, 50)), rng.uniform(30, 90)
    paper[int(rng.integers(step)) :: step] -= ink
    if rng.random() < 0.5:
        paper[:, int(rng.integers(step)) :: step] -= ink
    return _gray(paper + rng.normal(0, 2, paper.shape))


def _text(rng: np.random.Generator) -> Gray:
    picture, draw = _page(rng)
    size = int(rng.integers(12, 40))
    words = rng.permutation(_WORDS.split())
    for line, top in enumerate(range(10, picture.height - size, int(1.4 * size))):
        draw.text((10, top), " ".join(np.roll(words, 3 * line)), fill=30, font=ImageFont.load_default(size))
    return np.asarray(picture)


def _word(rng: np.random.Generator) -> Gray:
    picture, draw = _page(rng)
    word = rng.choice([word for word in _WORDS.split() if len(word) > 3])
    draw.text((picture.width / 2, picture.height / 2), word, fill=20, font=ImageFont.load_default(60), anchor="mm")
    return np.asarray(picture)


def _cloudy(rng: np.random.Generator) -> Gray:
    """Return noise whose amplitude falls with frequency, as in most photos of things."""
    height, width = _size(rng)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)
    amplitude = 1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width)) ** rng.uniform(0.8, 1.6)
    waves = np.fft.ifft2(amplitude * np.exp(2j * np.pi * rng.random((height, width)))).real
    return _gray(128 + 50 * (waves - waves.mean()) / waves.std())


def _bricks(rng: np.random.Generator) -> Gray:
    picture, draw = _page(rng)
    high, wide = int(rng.integers(20, 50)), int(rng.integers(50, 110))
    for row, top in enumerate(range(0, picture.height, high)):
        for left in range(-(row % 2) * wide // 2, picture.width, wide):
            draw.rectangle((left + 2, top + 2, left + wide - 2, top + high - 2), fill=int(rng.integers(60, 150)))
    return np.asarray(picture)


def _weave(rng: np.random.Generator) -> Gray:
    rows, columns = np.indices(_size(rng))
    across, along = rng.uniform(0.1, 0.6, 2)
    return _gray(128 + 60 * np.sin(across * rows) * np.sin(along * columns) + rng.normal(0, 8, rows.shape))


def _stripes(rng: np.random.Generator) -> Gray:
    rows, columns = np.indices(_size(rng))
    angle, step = rng.uniform(0, np.pi), rng.uniform(8, 40)
    return _gray(140 + 80 * np.sign(np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / step)))


def _things(rng: np.random.Generator) -> Gray:
    """Return discs, boxes and polygons with soft edges and shadows, as of things on a table."""
    picture, draw = _page(rng)
    for _ in range(rng.integers(2, 8)):
        left, top = rng.uniform(0, 0.8, 2) * picture.size
        wide, high = rng.uniform(0.1, 0.5, 2) * picture.size
        level = int(rng.integers(20, 180))
        match rng.integers(3):
            case 0:
                draw.ellipse((left, top, left + wide, top + high), fill=level)
            case 1:
                draw.rectangle((left, top, left + wide, top + high), fill=level)
            case _:
                corners = rng.uniform(0, 1, (5, 2)) * (wide, high) + (left, top)
                draw.polygon([tuple(corner) for corner in corners], fill=level)
    soft = np.asarray(picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))).astype(np.float64)
    return _gray(soft * _light(rng, soft.shape) / 220 + rng.normal(0, 3, soft.shape))


def _leaves(rng: np.random.Generator) -> Gray:
    """Return many ovals over each other, the last ones the lightest."""
    picture, draw = _page(rng)
    count = int(rng.integers(60, 250))
    for number in range(count):
        x, y = rng.uniform(0, 1, 2) * picture.size
        wide, high = rng.uniform(5, 40, 2)
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=int(30 + 180 * number / count))
    return np.asarray(picture)


def _lines(rng: np.random.Generator) -> Gray:
    """Return several straight lines that cross, and an arc."""
    picture, draw = _page(rng)
    for _ in range(rng.integers(3, 9)):
        ends = rng.uniform(0, 1, (2, 2)) * picture.size
        draw.line([tuple(end) for end in ends], fill=30, width=int(rng.integers(3, 9)))
    start, end = sorted(rng.uniform(0, 360, 2))
    draw.arc((20, 20, picture.width - 20, picture.height - 20), start, end, fill=30, width=5)
    return np.asarray(picture)


def _face(rng: np.random.Generator) -> Gray:
    """Return a drawn face."""
    picture, draw = _page(rng)
    x, y, r = picture.width / 2, picture.height / 2, rng.uniform(0.25, 0.45) * min(picture.size)
    pen = int(rng.integers(4, 10))
    draw.ellipse((x - r, y - r, x + r, y + r), outline=30, width=pen)
    for side in (-1, 1):
        draw.ellipse((x + side * 0.4 * r - pen, y - 0.4 * r, x + side * 0.4 * r + pen, y - 0.2 * r), fill=30)
    start, end = sorted(rng.uniform(0, 180, 2))
    draw.arc((x - 0.5 * r, y - 0.2 * r, x + 0.5 * r, y + 0.6 * r), start, end, fill=30, width=pen)
    return np.asarray(picture)


def _size(rng: np.random.Generator) -> tuple[int, int]:
    height, width = rng.integers(160, 480, size=2)
    return int(height), int(width)


def _page(rng: np.random.Generator) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    height, width = _size(rng)
    picture = Image.new("L", (width, height), int(rng.integers(200, 256)))
    return picture, ImageDraw.Draw(picture)


def _light(rng: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.float64]:
    rows, columns = (axis / max(size) for axis in np.indices(size))
    level: NDArray[np.float64] = rng.uniform(170, 250) + rng.uniform(-90, 0) * rows + rng.uniform(-90, 0) * columns
    return level


def _gray(values: NDArray[np.float64]) -> Gray:
    return values.clip(0, 255).astype(np.uint8)


_BLANK: dict[str, Make] = {
    "plain": _plain,
    "noisy": _noisy,
    "unevenly lit": _lit,
    "grained": _grained,
    "ruled or squared": _ruled,
}
_SCENES: dict[str, Make] = {
    "page of text": _text,
    "word": _word,
    "clouds": _cloudy,
    "bricks": _bricks,
    "weave": _weave,
    "stripes": _stripes,
    "things": _things,
    "leaves": _leaves,
    "lines": _lines,
    "face": _face,
}
