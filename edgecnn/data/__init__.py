"""Labelled images: one file a kind of source, each giving uint8 images; digits are in MNIST's convention."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgecnn.config.names import DATA_SETS, data_name, resolved_data
from edgecnn.data import csv_file, digits, fashion_mnist, folder, idx, mnist, numpy_files, pickled, two_digits
from edgecnn.data.alike import Reading, compared
from edgecnn.data.pixels import checked, resized_source
from edgecnn.data.splits import SPLIT_SEED, DataSet, Source, Split, assemble, representative
from edgecnn.data.watched import if_slow
from edgecnn.errors import ConfigError, DataError

__all__ = ["SPLIT_SEED", "DataSet", "Reading", "Split", "load", "representative"]

# Called with (what is done, steps done, steps in all or 0); for progress bars.
Observer = Callable[[str, int, int], None]

_PUBLISHED = {"mnist": mnist.read, "fashion-mnist": fashion_mnist.read, "two-digits": two_digits.read}
_BY_SUFFIX = {
    ".npz": numpy_files.read_npz,
    ".npy": numpy_files.read_npy,
    ".csv": csv_file.read,
    ".pkl": pickled.read,
    ".pickle": pickled.read,
    ".pkl.gz": pickled.read,
}
_KINDS = "a folder of images, idx or .npy files, or a .npz, .npy, .csv or .pkl file"


def load(
    name: str,
    *,
    validation_fraction: float,
    data_dir: Path | None = None,
    resize: str | None = None,
    observe: Observer = lambda what, done, total: None,
) -> DataSet:
    """Return the data set `name`, or the one at that path, in three splits.

    Validation is the source's own where it has one, else `validation_fraction` of its training images (per class). The
    test split is the source's own, else a fixed fifth; neither depends on the fraction. `data_dir` is where the files
    of MNIST or Fashion-MNIST lie. With `resize` (HEIGHTxWIDTH, or with xCHANNELS) images are stretched to that size.
    Some training images are read as the device reads pictures, which decides on `DataSet.picture`. Raises `ConfigError`
    for an unknown name, `DataError` for files that are absent, damaged or no set of classes.
    """
    name = resolved_data(name)
    if name not in DATA_SETS:
        if data_dir is not None:
            raise ConfigError(f"--data-dir: does not apply to {name}, which is a path itself; leave it out")
        source = checked(_at(Path(name), resize, observe), where=name)
    elif name == "digits":
        source = digits.read()
    else:
        source = _PUBLISHED[name](
            data_dir=data_dir, on_download=lambda file, done, total: observe(f"download {file}", done, total)
        )
    sized = resized_source(source, resize)
    reading = compared(
        source.train_files or source.train.images,
        sized.train.images,
        source.labels,
        observe=if_slow(partial(observe, f"compare {data_name(name)}")),
    )
    return assemble(data_name(name), sized, validation_fraction=validation_fraction, reading=reading)


def _at(path: Path, resize: str | None, observe: Observer) -> Source:
    """Return what lies at `path`, by its suffix, or by what the folder holds."""
    reading = if_slow(partial(observe, f"read {path.name}"))
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected {_KINDS}, or one of: {', '.join(sorted(DATA_SETS))}")
    if not path.is_dir():
        suffix = next((suffix for suffix in _BY_SUFFIX if path.name.lower().endswith(suffix)), None)
        if suffix is None:
            raise DataError(f"{path}: got {path.suffix or 'no suffix'}; expected {_KINDS}; save it as one of these")
        return _BY_SUFFIX[suffix](path, observe=reading)
    if idx.is_idx(path):
        return idx.read(path)
    if (path / "train.csv").is_file():
        return csv_file.read(path, observe=reading)
    if any(path.glob("*.npy")):
        return numpy_files.read_npy(path, observe=reading)
    if folder.is_folder_of_classes(path):
        return folder.read(path, resize=resize, observe=reading)
    if folder.holds_images(path):
        raise DataError(f"{path}: holds images of no class; expected a folder for each class; sort them into folders")
    raise DataError(f"{path}: holds neither folders nor files of these kinds; expected {_KINDS}; check the path")
