"""From an image file of any kind to gray levels, upright."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgecnn.device.errors import ImageError

MAX_PIXELS = 50_000_000
PHOTO_SIDE = 2048  # pixels of the longer side; more shows nothing of handwriting


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
