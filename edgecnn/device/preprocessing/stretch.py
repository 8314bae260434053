"""From a picture of any kind to what a network of other images than digits expects: stretched to its size.

Training reads image files by these functions too, so that it and the device cannot disagree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Shape = tuple[int, int, int]  # height, width, channels

_MODES = {1: "L", 3: "RGB"}
_GRAY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L")


def channels_of(image: Image.Image) -> int:
    """Return 1 for an image of gray levels, by its mode or its palette, else 3."""
    if image.mode == "P":
        colours = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3)
        return 1 if (colours == colours[:, :1]).all() else 3
    return 1 if image.mode in _GRAY else 3


def draft(image: Image.Image, shape: Shape) -> None:
    """Have a large JPEG decoded at a half, quarter or eighth of its size, twice `shape` at least; cheap there."""
    if image.format == "JPEG":
        side = 2 * max(shape[:2])
        image.draft(None, (side, side))


def plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode in mode L or RGB; what is transparent is white."""
    if image.mode in _MODES.values():
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; convert("L") would clip them
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    gray = channels_of(image) == 1
    if image.mode in ("LA", "RGBA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if gray else "RGB")


def fitted(picture: Image.Image, shape: Shape) -> NDArray[np.uint8]:
    """Return a picture of mode L or RGB as uint8 of `shape`, stretched to it (bilinear, with antialiasing)."""
    height, width, channels = shape
    if picture.mode != _MODES[channels]:
        picture = picture.convert(_MODES[channels])
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(shape)
