"""From an image file of any kind to a picture, upright: to gray levels for digits, or as training reads it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgecnn.device.errors import ImageError, ImageSizeError
from edgecnn.device.preprocessing.orientation import upright
from edgecnn.device.preprocessing.stretch import Shape, eight_bits, is_transparent, picture_of

MAX_PIXELS = 50_000_000
PHOTO_SIDE = 2048  # pixels of the longer side; more shows nothing of handwriting
File = Path | BinaryIO | Image.Image  # an image that Pillow is to open, from its beginning, or that it has opened


def read_gray(file: File, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Return the picture in `file` as uint8 [H, W], upright as its file says, transparency shown as white paper.

    Of an animation it is the first frame. A large JPEG is decoded at a half, quarter or eighth of its size, which its
    format makes cheap. Raises `ImageError` for what is no image or holds no gray levels, `ImageSizeError` for one of
    more than `max_pixels`, before it is decoded.
    """
    with _opened(file, max_pixels) as image:
        if image.format == "JPEG":
            image.draft(None, (PHOTO_SIDE, PHOTO_SIDE))
        return _levels(upright(image))


def read_picture(file: File, shape: Shape, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the picture in `file` in mode L or RGB, upright and opaque, as training reads it to make it `shape`.

    Raises what `read_gray` does.
    """
    with _opened(file, max_pixels) as image:
        return picture_of(image, shape)


@contextmanager
def _opened(file: File, max_pixels: int) -> Iterator[Image.Image]:
    """Give the image in `file`, not yet decoded; whatever is wrong with it becomes an `ImageError`."""
    name = file if isinstance(file, Path) else "image"
    try:
        with _WITHOUT_WARNINGS:
            if isinstance(file, Image.Image):
                _check(file, name, max_pixels)
                yield file.copy()  # the caller's is neither closed nor made smaller
                return
            with Image.open(file) as image:
                _check(image, name, max_pixels)
                yield image
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


class _WithoutWarnings:
    """Silences warnings while any thread is inside: Pillow's of large images, which are checked here, and odd metadata.

    Python's filters belong to the whole process: with a `catch_warnings` a thread, the one that leaves last would put
    back what it found, which is the other's silence.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)


_WITHOUT_WARNINGS = _WithoutWarnings()


def _check(image: Image.Image, name: Path | str, max_pixels: int) -> None:
    """Raise `ImageError` for an image, opened and not yet decoded, that would cost more than a picture may."""
    if image.width * image.height > max_pixels:
        raise ImageSizeError(
            f"{name}: {image.width}x{image.height} pixels; expected at most {max_pixels}; scale it down"
        )
    if image.format == "EPS":  # Pillow would start Ghostscript
        raise ImageError(f"{name}: EPS, which is a program; expected pixels; give a PNG, JPEG or the like")
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels; expected 8 or 16 bits; convert the image")


def _levels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the gray levels of an open image of any mode but floating point."""
    if image.mode.startswith("I"):
        return eight_bits(image)
    if is_transparent(image):
        return _on_paper(image.convert("LA"))
    return np.asarray(image.convert("L"))


def _on_paper(image: Image.Image) -> NDArray[np.uint8]:
    """Return gray levels with white paper behind; black, where a light drawing stands on what is mostly transparent."""
    # Not always white as in `stretch`: white strokes on nothing, as a page's canvas exports them, are a digit too.
    levels, alpha = (np.asarray(band).astype(np.float32) for band in image.split())
    is_light_drawing = (alpha == 0).mean() > 0.5 and (levels * alpha).sum() > 128 * alpha.sum()
    paper = 0 if is_light_drawing else 255
    return np.rint(paper + (levels - paper) * alpha / 255).astype(np.uint8)
