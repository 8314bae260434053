"""From an image file to what MNIST's networks expect: uint8 [28, 28], white ink on black.

MNIST's own protocol: the digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that
its centre of mass is the centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.device.errors import ImageError

SIDE = 28
BOX = 20
MAX_PIXELS = 50_000_000
_INK_SHARE = 0.2  # of the darkest ink; fainter than this is paper


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Return the image in `path` as uint8 [H, W]; raises `ImageError` for what is no image or far too large."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{path}: {image.width}x{image.height} pixels; expected at most {MAX_PIXELS}; scale it down"
                )
            return np.asarray(_on_white(image).convert("L"))
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; give an image file") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).replace(str(path), "the file").strip() or type(error).__name__
        raise ImageError(
            f"{path}: not a readable image ({reason}); give a PNG, JPEG or another that Pillow reads"
        ) from None


def to_mnist(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` (uint8 [H, W], ink dark or light) as uint8 [28, 28] in MNIST's convention.

    An image that is 28x28 with a dark border already passes through unchanged.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ImageError(f"image: {gray.dtype} {list(gray.shape)}; expected uint8 [height, width]")
    ink = 255 - gray if _border_level(gray) > 127 else gray
    if gray.shape == (SIDE, SIDE):
        return ink
    background = _border_level(ink)
    return fit_to_mnist(np.clip(ink.astype(np.int16) - background, 0, 255).astype(np.uint8))


def fit_to_mnist(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ink of uint8 [H, W] (white on black) scaled into a 20x20 box, centred by mass in 28x28."""
    strongest = int(ink.max())
    if strongest == 0:
        return np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (np.flatnonzero((ink > _INK_SHARE * strongest).any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stretched = (cropped.astype(np.float32) * (255 / strongest)).astype(np.uint8)
    scale = BOX / max(cropped.shape)
    size = [max(1, round(length * scale)) for length in (cropped.shape[1], cropped.shape[0])]
    box = np.asarray(Image.fromarray(stretched).resize((size[0], size[1]), Image.Resampling.BICUBIC))
    return _centred(box)


def _centred(box: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place `box` in 28x28 so that its centre of mass lies as near the middle as whole pixels and the edges allow."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    weight = box.sum(dtype=np.float64)
    corner = []
    for axis, length in enumerate(box.shape):
        mass = box.sum(axis=1 - axis, dtype=np.float64)
        centre = float((np.arange(length) * mass).sum() / weight)
        corner.append(min(max(round((SIDE - 1) / 2 - centre), 0), SIDE - length))
    top, left = corner
    canvas[top : top + box.shape[0], left : left + box.shape[1]] = box
    return canvas


def _border_level(gray: NDArray[np.uint8]) -> int:
    return int(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))


def _on_white(image: Image.Image) -> Image.Image:
    """Return the image without transparency: what shows through is paper."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image
    layered = image.convert("RGBA")
    paper = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(paper, layered)
