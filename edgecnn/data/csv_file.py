"""A CSV as Kaggle writes it: a header ``label,pixel0,pixel1,...`` and an image a line; or two of them in a folder."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.data import store
from edgecnn.data.arrays import from_parts
from edgecnn.data.splits import Source
from edgecnn.data.watched import ReadObserver, unobserved
from edgecnn.errors import DataError

LABEL_COLUMNS = ("label", "labels", "class", "target", "y")
_LINES = 2048  # that are parsed at once


def read(path: Path, *, observe: ReadObserver = unobserved) -> Source:
    """Return the data set in a CSV file, or in train.csv and test.csv of a folder, both with labels.

    Images are square and of one channel. A file of numbers alone has no header and the label first. `observe` is called
    with (images read, images in all) of each file.
    """
    files = {"train": path / "train.csv", "test": path / "test.csv"} if path.is_dir() else {"train": path}
    parts = {split: _table(file, observe) for split, file in files.items() if file.exists() or split == "train"}
    return from_parts(parts, where=str(path))


def _table(path: Path, observe: ReadObserver) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pixels [N, columns] and labels [N] of one file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = sum(1 for line in file if line.strip())
            file.seek(0)
            first = next(csv.reader([file.readline()]), [])
            has_header = not all(_is_number(cell) for cell in first)
            at = _label_column(first, path) if has_header else 0
            if not has_header:
                file.seek(0)
            if rows - has_header < 1 or len(first) < 2:
                raise DataError(f"{path}: no image in it; expected a header and an image a line; check the file")
            return _parsed(file, rows - has_header, len(first), at, path, observe)
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file; expected a CSV in UTF-8; save it so") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}); check the path") from None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_column(header: Sequence[str], path: Path) -> int:
    found = [i for i, name in enumerate(header) if name.strip().lower() in LABEL_COLUMNS]
    if len(found) != 1:
        raise DataError(
            f"{path}: {len(found)} label columns among {', '.join(header[:3])[:40]}, ...; expected one of "
            f"{', '.join(LABEL_COLUMNS)}; name it label (a test set without labels cannot be measured)"
        )
    return found[0]


def _parsed(
    lines: Iterator[str], rows: int, columns: int, at: int, path: Path, observe: ReadObserver
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return pixels and labels of lines behind the header; pixels are bytes where all are whole, from 0 to 255."""
    pixels: NDArray[Any] = store.allocate((rows, columns - 1))
    labels: list[str] = []
    given = (line for line in lines if line.strip())
    while block := list(islice(given, _LINES)):
        done = len(labels)
        for number, line in enumerate(block):
            if (found := line.count(",") + 1) != columns:
                raise DataError(f"{path}: image {done + number} has {found} columns; expected {columns}; mend its line")
        values = _numbers(block, [i for i in range(columns) if i != at], done, path)
        if values.dtype != np.uint8:
            pixels = pixels.astype(np.float64, copy=False)
        pixels[done : done + len(block)] = values
        labels += [line.split(",", at + 1)[at].strip().strip('"') for line in block]
        observe(len(labels), rows)
    return pixels, np.array(labels, np.float64 if all(map(_is_number, labels)) else np.str_)


def _numbers(block: Sequence[str], columns: Sequence[int], done: int, path: Path) -> NDArray[Any]:
    """Return the pixels of some lines: uint8 where they fit, else float64; `DataError` naming one that is no number."""
    for dtype in (np.uint8, np.float64):
        with contextlib.suppress(ValueError, OverflowError):
            return np.loadtxt(block, dtype, delimiter=",", usecols=columns, ndmin=2, quotechar='"', comments=None)
    for number, line in enumerate(block):
        cells = next(csv.reader([line]))
        for i in columns:
            if not _is_number(cells[i]):
                raise DataError(
                    f"{path}: column {i + 1} of image {done + number} is {cells[i]!r:.40}; expected a number; mend it"
                )
    raise DataError(f"{path}: images from {done} on cannot be read as numbers; save the file again")
