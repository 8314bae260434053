"""Pictures of what the predictor saw: the steps from a photo to its input, and a page with its digits in boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from edgecnn.device.errors import DeviceError, NoInkError
from edgecnn.device.preprocessing.canonical import canonical
from edgecnn.device.preprocessing.paper import Gray
from edgecnn.device.preprocessing.photo import find_digit

if TYPE_CHECKING:
    from edgecnn.device.predictor import Prediction
    from edgecnn.device.preprocessing.segment import Page

_TILE = 280
_TITLE = 18
_FOUND, _READ, _REJECTED = (0, 140, 60), (200, 0, 0), (150, 150, 150)


def steps(gray: Gray) -> list[tuple[str, Gray]]:
    """Return a title and a picture for every step from `gray` (uint8 [H, W]) to what the network gets."""
    try:
        as_it_is = canonical(gray)
        if as_it_is is not None:
            return [("the image", gray), ("28x28, as it is", as_it_is)]
        found = find_digit(gray)
    except NoInkError:
        return [("the image", gray)]
    white = np.uint8(255)
    return [
        ("the image", gray),
        ("dark on light", found.gray),
        ("ink, light taken out", (found.ink * 255).astype(np.uint8)),
        ("above the threshold", found.mask * white),
        ("rules taken out", found.ruleless * white),
        ("the digit", found.digit * white),
        ("28x28", found.pixels),
    ]


def stretched_steps(picture: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Return the same for a picture that was stretched to `pixels`; both are uint8 [H, W] or [H, W, 3]."""
    height, width = pixels.shape[:2]
    return [("the image", picture), (f"{height}x{width}, as the network saw it", pixels)]


def contact_sheet(pictures: list[tuple[str, NDArray[np.uint8]]], caption: str) -> Image.Image:
    """Return titled pictures, uint8 [H, W] or [H, W, 3], in a row, each scaled into a tile, under a caption."""
    mode = "RGB" if any(picture.ndim == 3 for _, picture in pictures) else "L"
    sheet = Image.new(mode, (len(pictures) * _TILE, _TILE + 2 * _TITLE), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 2), _drawable(caption), fill="black", font=_font(_TITLE - 6))
    for number, (title, picture) in enumerate(pictures):
        left = number * _TILE
        draw.text((left + 4, _TITLE + 2), title, fill="black", font=_font(_TITLE - 6))
        scale = (_TILE - 4) / max(picture.shape[:2])
        size = [max(1, round(length * scale)) for length in (picture.shape[1], picture.shape[0])]
        how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
        sheet.paste(Image.fromarray(picture).resize((size[0], size[1]), how), (left + 2, 2 * _TITLE))
    return sheet


def boxed_page(gray: Gray, page: Page, predictions: Sequence[Prediction]) -> Image.Image:
    """Return the page in color with a box and its label around every digit found, in gray what was rejected."""
    picture = Image.fromarray(gray).convert("RGB")
    draw = ImageDraw.Draw(picture)
    for digit, prediction in zip(page.digits, predictions, strict=True):
        box, ink = (_FOUND, _READ) if prediction.accepted else (_REJECTED, _REJECTED)
        left, top, width, height = digit.box
        line = max(1, height // 25)
        draw.rectangle([left - line, top - line, left + width + line, top + height + line], outline=box, width=line)
        font = _font(max(10, round(height * 0.45)))
        draw.text((left + width + 2 * line, top - line), _drawable(prediction.label), fill=ink, font=font)
    return picture


def save(picture: Image.Image, path: Path) -> None:
    """Write `picture` as PNG, its folder made where needed; raises `DeviceError` where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, format="PNG")
    except OSError as error:
        raise DeviceError(f"--show: cannot write {path} ({error.strerror or error}); give another place") from None


def place(show: Path, image: Path) -> Path:
    """Return where the picture of `image` goes: `show` itself where it ends in .png, else a file in that folder."""
    return show if show.suffix.lower() == ".png" else show / f"{image.name}.steps.png"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font; before version 10.1, which Debian 12 still has not, it has one small size."""
    try:
        return ImageFont.load_default(size)
    except TypeError:
        return ImageFont.load_default()


def _drawable(text: str) -> str:
    """Return `text` with a question mark for what the small font has no picture of."""
    return text.encode("latin-1", "replace").decode("latin-1")
