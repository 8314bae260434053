"""What a data set is, at a glance: images per class, images that are in two splits, and a grid of them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgecnn.data.alike import Reading
from edgecnn.data.splits import DataSet, Split

SPLITS = ("train", "validation", "test")
_COLUMNS = 10  # images a class
_SIDE = 56  # pixels a cell; smaller images are enlarged by whole numbers
_GAP = 2
_BACKGROUND, _INK = (245, 245, 245), (20, 20, 20)


@dataclass(frozen=True)
class Summary:
    """The figures of a data set; `counts` has for each split the images of each class.

    `duplicates` counts, for each two splits and each one, the images that occur again, pixel for pixel: of the second
    split in the first. `contradictions` counts images that occur under two labels. `reading` says how the device makes
    pixels of a picture.
    """

    name: str
    sha256: str
    height: int
    width: int
    channels: int
    labels: tuple[str, ...]
    counts: dict[str, list[int]]
    duplicates: dict[str, int]
    contradictions: int
    reading: Reading
    left_out: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return all figures for JSON."""
        return asdict(self)


def summary(data: DataSet) -> Summary:
    """Return the figures of `data`."""
    splits = {name: getattr(data, name) for name in SPLITS}
    digests = {name: _digests(split) for name, split in splits.items()}
    labels_of: dict[bytes, set[int]] = {}
    for name, split in splits.items():
        for digest, label in zip(digests[name], split.labels.tolist(), strict=True):
            labels_of.setdefault(digest, set()).add(label)
    height, width, channels = data.input_shape
    return Summary(
        name=data.name,
        sha256=data.sha256,
        height=height,
        width=width,
        channels=channels,
        labels=data.labels,
        counts={name: np.bincount(split.labels, minlength=len(data.labels)).tolist() for name, split in splits.items()},
        duplicates=_duplicates(digests),
        contradictions=sum(len(labels) > 1 for labels in labels_of.values()),
        reading=data.reading,
        left_out=data.left_out,
    )


def _digests(split: Split) -> list[bytes]:
    return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in split.images]


def _duplicates(digests: dict[str, list[bytes]]) -> dict[str, int]:
    sets = {name: set(found) for name, found in digests.items()}
    counts = {f"within {name}": len(found) - len(sets[name]) for name, found in digests.items()}
    for i, first in enumerate(SPLITS):
        for second in SPLITS[i + 1 :]:
            counts[f"{second} in {first}"] = sum(digest in sets[first] for digest in digests[second])
    return counts


def preview(data: DataSet) -> bytes:
    """Return a PNG file: a line a class with its name and the first ten training images."""
    height, width = data.input_shape[:2]
    scale = max(1, _SIDE // max(height, width))
    cell = (scale * height + _GAP, scale * width + _GAP)
    font = ImageFont.load_default(14)
    margin = 8 + max(round(font.getlength(label)) for label in data.labels)
    line = max(cell[0], 18)
    sheet = Image.new("RGB", (margin + _COLUMNS * cell[1], len(data.labels) * line + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(data.labels):
        top = _GAP + row * line
        draw.text((4, top + (line - 18) // 2), label, fill=_INK, font=font)
        for column, number in enumerate(np.flatnonzero(data.train.labels == row)[:_COLUMNS]):
            image = data.train.images[number]
            picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
            sheet.paste(picture.resize((scale * width, scale * height), 0), (margin + column * cell[1], top))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()
