"""From a picture of any kind to what a network of other images than digits expects: stretched to its size.

Training reads image files by these functions too, so that it and the device cannot disagree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.device.errors import ImageError
from edgecnn.device.preprocessing.orientation import upright

Shape = tuple[int, int, int]  # height, width, channels

_MODES = {1: "L", 3: "RGB"}
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def channels_of(image: Image.Image) -> int:
    """Return 1 for an image of gray levels, by its mode or its palette, else 3; `ImageError` for one of fractions."""
    if image.mode == "F":
        raise ImageError("floating-point pixels; expected 8 or 16 bits; convert the image")
    if image.mode == "P":
        colours = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return 1 if (colours == colours[:, :1]).all() else 3
    return 1 if image.mode in _GRAY else 3


def picture_of(image: Image.Image, shape: Shape) -> Image.Image:
    """Return an image just opened as a decoded picture of mode L or RGB, upright and opaque, to be made `shape`.

    A large JPEG is decoded at a half, quarter or eighth of its size, twice `shape` at least; cheap there.
    """
    if image.format == "JPEG":
        side = 2 * max(shape[:2])
        image.draft(None, (side, side))
    return _plain(upright(image))


def _plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode in mode L or RGB; what is transparent is white."""
    if image.mode.startswith("I"):
        return Image.fromarray(eight_bits(image))
    mode = _MODES[channels_of(image)]
    if is_transparent(image):
        # Always white, not as for digits in `pictures`: what an image shows is not told from its ground here, and all
        # of a data set get the same one. Blended in colour, for most stay in colour.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def eight_bits(image: Image.Image) -> NDArray[np.uint8]:
    """Return the levels of an image of 16 bits a pixel, the upper eight of them; convert("L") would clip them."""
    return (np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8)


def is_transparent(image: Image.Image) -> bool:
    """Return whether some of an image may be transparent, by its mode or by a level or colour that is."""
    return "A" in image.getbands() or "transparency" in image.info


def fitted(picture: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    """Return a picture of mode L or RGB as uint8 of `shape`, stretched to it (bilinear, with antialiasing)."""
    height, width, channels = shape
    if picture.mode != _MODES[channels]:
        picture = picture.convert(_MODES[channels])
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(shape)
