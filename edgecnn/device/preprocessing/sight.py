"""How a model sees pictures: digits are found and brought into MNIST's shape, all others stretched to its input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import ImageError, NoInkError
from edgecnn.device.preprocessing.canonical import checked_gray
from edgecnn.device.preprocessing.digit import SIDE
from edgecnn.device.preprocessing.mnist import look
from edgecnn.device.trust.refusal import SEVERAL

# Pillow takes longer to import than a digit to be read, so that modules that need it are imported where they are used.
if TYPE_CHECKING:
    from PIL.Image import Image

    from edgecnn.device.preprocessing.stretch import Shape

Pixels = NDArray[np.uint8]
Source = str | Path | BinaryIO | Pixels  # an image file, one that is open, or gray levels [H, W] or RGB [H, W, 3]


class Sight(NamedTuple):
    """`read` makes a picture of a source, of at most so many pixels if that is given.

    `see` makes of that picture what the network gets, uint8 [H, W] or [H, W, 3], and says why to refuse it, or "".
    """

    read: Callable[[Source, int | None], Any]
    see: Callable[[Any], tuple[Pixels, str]]


def sight_of(shape: Shape, *, digits: bool) -> Sight:
    """Return how a model with input `shape` sees; `digits` as MNIST has them."""
    return Sight(read_gray, _see_digit) if digits else Sight(partial(_read_any, shape), partial(_see_any, shape))


def read_gray(source: Source, max_pixels: int | None = None) -> Pixels:
    """Return a source's gray levels, uint8 [H, W]; raises `ImageError` for what is no picture."""
    if isinstance(source, np.ndarray):
        return checked_gray(source)
    file = Path(source) if isinstance(source, str) else source
    if isinstance(file, Path) and file.suffix == ".raw":
        return _raw(file, (SIDE, SIDE, 1))
    from edgecnn.device.preprocessing import pictures

    return pictures.read_gray(file, max_pixels=max_pixels or pictures.MAX_PIXELS)


def _see_digit(gray: Pixels) -> tuple[Pixels, str]:
    try:
        pixels, is_one_of_several = look(gray)
    except NoInkError:
        return np.zeros((SIDE, SIDE), np.uint8), ""  # what is blank is refused for that
    return pixels, SEVERAL if is_one_of_several else ""


def _read_any(shape: Shape, source: Source, max_pixels: int | None) -> Image:
    from edgecnn.device.preprocessing import pictures

    if isinstance(source, np.ndarray):
        return pictures.of_array(source)
    file = Path(source) if isinstance(source, str) else source
    if isinstance(file, Path) and file.suffix == ".raw":
        return pictures.of_array(_raw(file, shape))
    return pictures.read_picture(file, shape, max_pixels=max_pixels or pictures.MAX_PIXELS)


def _raw(file: Path, shape: Shape) -> Pixels:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file}: cannot read ({error.strerror}); give an image file") from None
    return pixels_of(content, shape, where=str(file))


def pixels_of(content: bytes, shape: Shape, *, where: str) -> Pixels:
    """Return the pixels of `shape` that `content` is, row by row, as uint8 [H, W] or [H, W, 3]; else `ImageError`."""
    height, width, channels = shape
    if len(content) != height * width * channels:
        raise ImageError(
            f"{where}: {len(content)} bytes; expected {height * width * channels}, the {height}x{width}x{channels} "
            f"pixels of the model's input row by row; give them, or an image file such as a PNG"
        )
    return flat(np.frombuffer(content, np.uint8).reshape(shape))


def _see_any(shape: Shape, picture: Image) -> tuple[Pixels, str]:
    from edgecnn.device.preprocessing.stretch import fitted

    return flat(fitted(picture, shape)), ""


def flat(pixels: Pixels) -> Pixels:
    """Return [H, W, C] as a picture is kept: [H, W] where it has one channel."""
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels
