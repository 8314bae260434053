"""Labelled images: one file a source, each giving a `DataSet` of uint8 images in MNIST's convention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecnn.config import DATA_SETS
from edgecnn.data import digits, mnist
from edgecnn.data.splits import SPLIT_SEED, DataSet, Split, assemble, representative
from edgecnn.errors import unknown

__all__ = ["SPLIT_SEED", "DataSet", "Split", "load", "representative"]

# Called with (file name, bytes received, bytes in all or 0); for progress bars.
DownloadObserver = Callable[[str, int, int], None]


def load(
    name: str,
    *,
    validation_fraction: float,
    data_dir: Path | None = None,
    on_download: DownloadObserver = lambda file, done, total: None,
) -> DataSet:
    """Return the data set `name`, with `validation_fraction` of the training images (per class) set apart.

    `data_dir` is where MNIST's files lie. The test split is the source's own and does not depend on the
    fraction. Raises `ConfigError` for an unknown name, `DataError` for files that are absent or damaged.
    """
    match name:
        case "digits":
            source = digits.read()
        case "mnist":
            source = mnist.read(data_dir=data_dir, on_download=on_download)
        case _:
            raise unknown("data", name, DATA_SETS)
    return assemble(name, *source, validation_fraction=validation_fraction)
