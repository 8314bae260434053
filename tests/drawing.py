"""Digits drawn by code, and papers to draw them on, for tests that must not depend on a data set."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

# Pen strokes in a square of 100: one list of points each.
STROKES = {
    "zero": [[(50, 12), (30, 24), (24, 50), (30, 76), (50, 88), (70, 76), (76, 50), (70, 24), (50, 12)]],
    "one": [[(44, 22), (54, 12), (52, 88)]],
    "two": [[(28, 28), (40, 14), (62, 16), (70, 32), (58, 54), (26, 86), (76, 84)]],
    "four": [[(34, 14), (26, 54), (74, 52)], [(62, 14), (60, 90)]],
    "seven": [[(24, 16), (76, 14), (58, 50), (48, 90)]],
}
LABELS = {"zero": "0", "one": "1", "two": "2", "four": "4", "seven": "7"}


def draw(strokes: list[list[tuple[int, int]]]) -> Image.Image:
    """Return dark pen on light paper, a little blurred."""
    paper = Image.new("L", (140, 140), 235)
    pen = ImageDraw.Draw(paper)
    for stroke in strokes:
        points = [(x + 20, y + 20) for x, y in stroke]
        pen.line(points, fill=30, width=9, joint="curve")
        for x, y in points:
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=30)
    return paper.filter(ImageFilter.GaussianBlur(1))


def write(name: str, paper: np.ndarray, *, left: int, top: int, size: int, pen: int, ink: float = 0.25) -> np.ndarray:
    """Return `paper` (float [H, W], 1 is white) with a digit in a square of `size` pixels written on it."""
    page = Image.new("L", (paper.shape[1], paper.shape[0]), 0)
    brush = ImageDraw.Draw(page)
    for stroke in STROKES[name]:
        points = [(left + x * size / 100, top + y * size / 100) for x, y in stroke]
        brush.line(points, fill=255, width=pen, joint="curve")
        for x, y in points:
            brush.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=255)
    cover = np.asarray(page.filter(ImageFilter.GaussianBlur(1))) / 255
    return paper * (1 - cover) + ink * cover


def photo(paper: np.ndarray) -> np.ndarray:
    """Return paper as a gray picture, uint8 [H, W]."""
    return (255 * paper).clip(0, 255).astype(np.uint8)


def plain(height: int, width: int) -> np.ndarray:
    return np.full((height, width), 0.85)


def ruled(height: int, width: int) -> np.ndarray:
    paper = plain(height, width)
    for row in range(30, height, 62):
        paper[row : row + 3] = 0.5
    return paper


def squared(height: int, width: int) -> np.ndarray:
    paper = plain(height, width)
    for line in range(20, max(height, width), 45):
        paper[line : line + 2] = paper[:, line : line + 2] = 0.55
    return paper


def framed(height: int, width: int) -> np.ndarray:
    """Return a box drawn around the place for the digit, its sides not at the picture's edge."""
    paper = plain(height, width)
    deep, wide = height // 10, width // 10
    for far in (deep, height - deep - 6):
        paper[far : far + 6, wide : width - wide] = 0.1
    for far in (wide, width - wide - 6):
        paper[deep : height - deep, far : far + 6] = 0.1
    return paper


def noisy(height: int, width: int) -> np.ndarray:
    return plain(height, width) + np.random.default_rng(0).normal(0, 0.06, (height, width))


def lit(height: int, width: int) -> np.ndarray:
    """Return paper that is half as bright in one corner as in the other."""
    return plain(height, width) * (1 - 0.5 * sum(np.indices((height, width))) / (height + width))


def shadowed(height: int, width: int) -> np.ndarray:
    """Return paper with a shadow that falls across the place for the digit."""
    rows, columns = np.indices((height, width))
    return plain(height, width) * np.where(columns + rows / 3 > 0.6 * width, 0.7, 1)


PAPERS = {paper.__name__: paper for paper in (plain, ruled, squared, framed, noisy, lit, shadowed)}
