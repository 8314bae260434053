"""How a model sees pictures: digits are found and brought into MNIST's shape, all others stretched to its input."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO, TextIOBase
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.device.errors import ImageError, NoInkError
from edgecnn.device.preprocessing import pictures
from edgecnn.device.preprocessing.digit import SIDE
from edgecnn.device.preprocessing.mnist import look
from edgecnn.device.preprocessing.stretch import Shape, fitted
from edgecnn.device.trust.refusal import SEVERAL

Pixels = NDArray[np.uint8]
# An image file by its path, by its content or opened in binary mode; an image of Pillow; or pixels, uint8 [H, W],
# [H, W, 1] or, RGB, [H, W, 3].
Source = str | PathLike[str] | bytes | BinaryIO | Image.Image | Pixels
_EXPECTED = (
    "expected the path of an image file, its bytes, the file opened in binary mode, an image of Pillow, or uint8 "
    "[height, width], [height, width, 1] or [height, width, 3]"
)


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
    """Return a source's gray levels, uint8 [H, W]; raises `ImageError` for what is no picture.

    Colors become gray by Pillow's weights (ITU-R 601), those of an array too.
    """
    given = _to_decode(source, (SIDE, SIDE, 1))
    if isinstance(given, np.ndarray):
        return given if given.ndim == 2 else np.asarray(Image.fromarray(given).convert("L"))
    return pictures.read_gray(given, max_pixels=max_pixels or pictures.MAX_PIXELS)


def _see_digit(gray: Pixels) -> tuple[Pixels, str]:
    try:
        pixels, is_one_of_several = look(gray)
    except NoInkError:
        return np.zeros((SIDE, SIDE), np.uint8), ""  # what is blank is refused for that
    return pixels, SEVERAL if is_one_of_several else ""


def _read_any(shape: Shape, source: Source, max_pixels: int | None) -> Image.Image:
    given = _to_decode(source, shape)
    if isinstance(given, np.ndarray):
        return Image.fromarray(given)
    return pictures.read_picture(given, shape, max_pixels=max_pixels or pictures.MAX_PIXELS)


def _to_decode(source: Source, shape: Shape) -> Path | BinaryIO | Image.Image | Pixels:
    """Return what is there to decode, or pixels as uint8 [H, W] or [H, W, 3]: those of a .raw file have `shape`.

    Raises `ImageError`, naming what was got and what is taken, for anything else.
    """
    if isinstance(source, np.ndarray):
        return _checked(source)
    if isinstance(source, str | PathLike):
        file = Path(source)
        return _raw(file, shape) if file.suffix == ".raw" else file
    if isinstance(source, bytes):
        return BytesIO(source)
    if isinstance(source, TextIOBase):
        raise ImageError("image: a file opened as text; expected binary mode; open it with mode 'rb'")
    if isinstance(source, Image.Image) or hasattr(source, "read"):
        return source
    kind = type(source)
    raise ImageError(f"image: {kind.__module__}.{kind.__qualname__}; {_EXPECTED}".replace("builtins.", ""))


def _checked(array: NDArray[Any]) -> Pixels:
    """Return an array of pixels as uint8 [H, W] or [H, W, 3]; raises `ImageError` for one of anything else."""
    got = f"image: {array.dtype} {list(array.shape)}"
    is_picture = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))
    if not is_picture or not array.size:
        raise ImageError(f"{got}; expected uint8 [height, width], [height, width, 1] or [height, width, 3], one image")
    if array.dtype != np.uint8:
        raise ImageError(f"{got}{_range_of(array)}; expected uint8 from 0, black, to 255, white; convert its values")
    return flat(array) if array.ndim == 3 else array


def _range_of(array: NDArray[Any]) -> str:
    """Return from where to where an array's values go, if they are real numbers."""
    return f" from {array.min():g} to {array.max():g}" if array.dtype.kind in "iuf" else ""


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


def _see_any(shape: Shape, picture: Image.Image) -> tuple[Pixels, str]:
    return flat(fitted(picture, shape)), ""


def flat(pixels: Pixels) -> Pixels:
    """Return [H, W, C] as a picture is kept: [H, W] where it has one channel."""
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels
