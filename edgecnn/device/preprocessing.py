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

from edgecnn.device.errors import ImageError, NoInkError
from edgecnn.device.photo import PHOTO_SIDE, find_digit
from edgecnn.device.shape import BOX, SIDE, centre_of_mass

MAX_PIXELS = 50_000_000
_OFF_CENTRE = 2.5  # pixels; MNIST is within 0.52, and a network reads what is moved a little
_INK_SHARE = 0.2  # of the darkest ink; fainter than this is paper


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Return the picture in `path` as uint8 [H, W], upright as its EXIF says, transparency shown as white paper.

    Of an animation it is the first frame. A large JPEG is decoded at a half, quarter or eighth of its size, which its
    format makes cheap. Raises `ImageError` for what is no image, is far too large or holds no gray levels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; the size is checked here
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{path}: {image.width}x{image.height} pixels; expected at most {MAX_PIXELS}; scale it down"
                    )
                if image.format == "JPEG":
                    image.draft(None, (PHOTO_SIDE, PHOTO_SIDE))
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

    A canonical image passes through unchanged; of any other the digit is found and brought into that shape. Raises
    `ImageError` for an array that is no picture, and `NoInkError`, which is one, for a picture without ink.
    """
    return look(gray)[0]


def look(gray: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Return what `to_mnist` does, and whether more digits stand beside that one; of a canonical image nobody asks."""
    as_it_is = canonical(gray)
    if as_it_is is not None:
        return as_it_is, False
    steps = find_digit(gray)
    return steps.pixels, steps.is_one_of_several


def canonical(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return a picture that is MNIST's already, turned over if black on white; None for any other.

    That is 28x28, ink on nothing but paper, within 20x20 and centred by mass, as all of MNIST's 70,000 images are.
    Raises `ImageError` for an array that is no picture, `NoInkError` for a larger one that is of one level.
    """
    checked_gray(gray)
    if gray.shape == (SIDE, SIDE):
        return next((ink for ink in (gray, 255 - gray) if _is_canonical(ink)), None)
    if gray.max() == gray.min():
        raise NoInkError(f"image: every pixel is {gray.max()}; expected a digit on paper")
    return None


def _is_canonical(ink: NDArray[np.uint8]) -> bool:
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return True  # a blank one
    is_small = rows[-1] - rows[0] < BOX and columns[-1] - columns[0] < BOX
    return is_small and all(abs(middle - SIDE / 2) <= _OFF_CENTRE for middle in centre_of_mass(ink))


def checked_gray(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` if it is a picture, uint8 [H, W]; raises `ImageError` for any other array."""
    if gray.ndim != 2 or gray.dtype != np.uint8 or not gray.size:
        raise ImageError(f"image: {gray.dtype} {list(gray.shape)}; expected uint8 [height, width]")
    return gray


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


def _levels(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """Return the gray levels of an open image of any mode but floating point."""
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("L") would clip them
        return (np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8)
    if image.mode == "F":
        raise ImageError(f"{path}: floating-point pixels; expected 8 or 16 bits; convert the image")
    if "A" in image.getbands() or "transparency" in image.info:
        return _on_paper(image.convert("LA"))
    return np.asarray(image.convert("L"))


def _on_paper(image: Image.Image) -> NDArray[np.uint8]:
    """Return gray levels with white paper behind; black, where a light drawing stands on what is mostly transparent."""
    levels, alpha = (np.asarray(band).astype(np.float32) for band in image.split())
    is_light_drawing = (alpha == 0).mean() > 0.5 and (levels * alpha).sum() > 128 * alpha.sum()
    paper = 0 if is_light_drawing else 255
    return np.rint(paper + (levels - paper) * alpha / 255).astype(np.uint8)
