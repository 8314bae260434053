"""From an image file to what MNIST's networks expect: uint8 [28, 28], white ink on black.

MNIST's own protocol: the digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that
its centre of mass is the centre of a 28x28 image (LeCun, Cortes, Burges).
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from edgecnn.device.errors import ImageError, ImageSizeError
from edgecnn.device.photo import PHOTO_SIDE, find_digit
from edgecnn.device.shape import BOX, SIDE, centre_of_mass

MAX_PIXELS = 50_000_000
_OFF_CENTRE = 2.5  # pixels; MNIST is within 0.52, and a network reads what is moved a little
_INK_SHARE = 0.2  # of the darkest ink; fainter than this is paper


def read_gray(file: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the picture in `file` as uint8 [H, W], upright as its EXIF says, transparency shown as white paper.

    Of an animation it is the first frame. A large JPEG is decoded at a half, quarter or eighth of its size, which its
    format makes cheap. Raises `ImageError` for what is no image or holds no gray levels, `ImageSizeError` for one of
    more than `max_pixels`, before it is decoded.
    """
    name = file if isinstance(file, Path) else "image"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images and odd metadata; the size is checked here
            with Image.open(file) as image:
                _check(image, name, max_pixels)
                if image.format == "JPEG":
                    image.draft(None, (PHOTO_SIDE, PHOTO_SIDE))
                return _levels(ImageOps.exif_transpose(image), name)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file; give an image file") from None
    except Image.DecompressionBombError:
        raise ImageSizeError(f"{name}: far too many pixels; expected at most {max_pixels}; scale it down") from None
    except UnidentifiedImageError:  # its message is the object's address, where it was no path
        raise ImageError(f"{name}: not a readable image (of no known format); give a PNG, JPEG or the like") from None
    except Exception as error:  # Pillow's decoders raise almost anything for a damaged file
        said = str(error).replace(str(name), "the file") if isinstance(name, Path) else str(error)
        reason = " ".join(said.split()) or type(error).__name__
        raise ImageError(f"{name}: not a readable image ({reason}); give a PNG, JPEG or the like") from None


def _check(image: Image.Image, name: Path | str, max_pixels: int) -> None:
    """Raise `ImageError` for an image, opened and not yet decoded, that would cost more than a picture may."""
    if image.width * image.height > max_pixels:
        raise ImageSizeError(
            f"{name}: {image.width}x{image.height} pixels; expected at most {max_pixels}; scale it down"
        )
    if image.format == "EPS":  # Pillow would start Ghostscript
        raise ImageError(f"{name}: EPS, which is a program; expected pixels; give a PNG, JPEG or the like")


def to_mnist(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `gray` (uint8 [H, W], ink darker or lighter than the paper) as uint8 [28, 28] in MNIST's convention.

    A canonical image passes through unchanged; of any other the digit is found and brought into that shape. Raises
    `ImageError` for an array that is no picture and for one without ink.
    """
    as_it_is = canonical(gray)
    return find_digit(gray).pixels if as_it_is is None else as_it_is


def canonical(gray: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Return a picture that is MNIST's already, turned over if black on white; None for any other.

    That is 28x28, ink on nothing but paper, within 20x20 and centred by mass, as all of MNIST's 70,000 images are.
    Raises `ImageError` for an array that is no picture and for one that is larger and without ink.
    """
    checked_gray(gray)
    if gray.shape == (SIDE, SIDE):
        return next((ink for ink in (gray, 255 - gray) if _is_canonical(ink)), None)
    if gray.max() == gray.min():
        raise ImageError(f"image: every pixel is {gray.max()}; expected a digit on paper")
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


def _levels(image: Image.Image, name: Path | str) -> NDArray[np.uint8]:
    """Return the gray levels of an open image of any mode but floating point."""
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("L") would clip them
        return (np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8)
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; expected 8 or 16 bits; convert the image")
    if "A" in image.getbands() or "transparency" in image.info:
        return _on_paper(image.convert("LA"))
    return np.asarray(image.convert("L"))


def _on_paper(image: Image.Image) -> NDArray[np.uint8]:
    """Return gray levels with white paper behind; black, where a light drawing stands on what is mostly transparent."""
    levels, alpha = (np.asarray(band).astype(np.float32) for band in image.split())
    is_light_drawing = (alpha == 0).mean() > 0.5 and (levels * alpha).sum() > 128 * alpha.sum()
    paper = 0 if is_light_drawing else 255
    return np.rint(paper + (levels - paper) * alpha / 255).astype(np.uint8)
