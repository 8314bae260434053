"""From an image file to what MNIST's networks expect: uint8 [28, 28], white ink on black.

MNIST's own protocol: the digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that
its centre of mass is the centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgecnn.device.errors import ImageError

SIDE = 28
BOX = 20
MAX_PIXELS = 50_000_000
_INK_SHARE = 0.2  # of the darkest ink; fainter than this is paper


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Return the picture in `path` as uint8 [H, W], upright as its EXIF says, transparency shown as white paper.

    Raises `ImageError` for what is no image, is far too large or holds no gray levels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; the size is checked here
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{path}: {image.width}x{image.height} pixels; expected at most {MAX_PIXELS}; scale it down"
                    )
                return _levels(ImageOps.exif_transpose(image), path)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; give an image file") from None
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        reason = " ".join(str(error).replace(str(path), "the file").split()) or type(error).__name__
        raise ImageError(f"{path}: not a readable image ({reason}); give a PNG, JPEG or the like") from None


def to_mnist(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` (uint8 [H, W], ink darker or lighter than the paper) as uint8 [28, 28] in MNIST's convention.

    The border is taken for paper; ink is what lies furthest from it. An image that is 28x28 and light on dark
    already passes through unchanged. Raises `ImageError` for an array that is no picture and for one without ink.
    """
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ImageError(f"image: {gray.dtype} {list(gray.shape)}; expected uint8 [height, width]")
    paper = _border_level(gray)
    is_dark_on_light = paper - int(gray.min()) > int(gray.max()) - paper
    if gray.shape == (SIDE, SIDE):
        return 255 - gray if is_dark_on_light else gray
    if gray.max() == gray.min():
        raise ImageError(f"image: every pixel is {paper}; expected a digit on paper")
    levels = gray.astype(np.int16)
    ink = paper - levels if is_dark_on_light else levels - paper
    return fit_to_mnist(ink.clip(0, 255).astype(np.uint8))


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


def _levels(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Return the gray levels of an open image of any mode but floating point."""
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("L") would clip them
        return (np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8)
    if image.mode == "F":
        raise ImageError(f"{path}: floating-point pixels; expected 8 or 16 bits; convert the image")
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.asarray(image.convert("L"))
