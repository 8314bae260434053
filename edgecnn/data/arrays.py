"""Arrays by name, as .npz files, folders of .npy files and pickles hold them: which are images, which are labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from edgecnn.data.pixels import as_images, as_labels, classified
from edgecnn.data.splits import Source, Split, with_test
from edgecnn.errors import DataError

_SPLITS = {"train": "train", "training": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
_IMAGES = ("x", "image", "images", "data", "pixels")
_LABELS = ("y", "label", "labels", "target", "targets")
_EXPECTED = "expected images and labels (or x and y), or x_train, y_train, x_test and y_test"

# The images and labels of a split, as they were stored.
Stored = tuple[NDArray[Any], NDArray[Any]]


def from_arrays(arrays: Mapping[str, NDArray[Any]], *, where: str) -> Source:
    """Return the data set of arrays called images and labels, x_train and y_train, or the like.

    Without a test split a fixed fifth of every class is that; `class_names` names the classes 0, 1, ... Raises
    `DataError` where roles are missing or taken twice, and for what `as_images` and `as_labels` refuse.
    """
    found: dict[str, dict[str, str]] = {}
    for name in arrays:
        role = role_of(name)
        if role is None:
            continue
        split, kind = role
        if (other := found.setdefault(split, {}).setdefault(kind, name)) != name:
            raise DataError(f"{where}: {other} and {name} are both {kind}; {_EXPECTED}; rename one")
    if "train" not in found or any(len(kinds) < 2 for kinds in found.values()):
        raise DataError(f"{where}: holds {', '.join(map(str, arrays)) or 'nothing'}; {_EXPECTED}; rename them")
    parts = {split: (arrays[kinds["images"]], arrays[kinds["labels"]]) for split, kinds in found.items()}
    names = arrays.get("class_names")
    return from_parts(parts, where=where, class_names=None if names is None else [str(name) for name in names])


def role_of(name: str) -> tuple[str, str] | None:
    """Return (train, val or test; images or labels) of an array by its name, None for another; no split is train."""
    words = re.split(r"[^a-z]+", name.lower())
    splits = [_SPLITS[word] for word in words if word in _SPLITS]
    kinds = [kind for kind, known in (("images", _IMAGES), ("labels", _LABELS)) for word in words if word in known]
    if len(kinds) != 1 or len(words) != len(splits) + 1 or len(splits) > 1:
        return None
    return (splits or ["train"])[0], kinds[0]


def from_parts(parts: Mapping[str, Stored], *, where: str, class_names: list[str] | None = None) -> Source:
    """Return the data set of the images and labels of train and perhaps val and test, whatever way they are stored."""
    order = sorted(parts, key=("train", "test", "val").index)
    read = [(as_images(parts[split][0], where=where), as_labels(parts[split][1], where=where)) for split in order]
    splits, labels = classified(read, where=where)
    by_name: dict[str, Split] = dict(zip(order, splits, strict=True))
    if class_names is not None:
        labels = _named(labels, class_names, where)
    train, test = (by_name["train"], by_name["test"]) if "test" in by_name else with_test(by_name["train"])
    return Source(train, test, labels, by_name.get("val"))


def _named(labels: tuple[str, ...], class_names: list[str], where: str) -> tuple[str, ...]:
    if not all(label.isdecimal() and int(label) < len(class_names) for label in labels):
        raise DataError(
            f"{where}: label {labels[-1]}; expected 0 to {len(class_names) - 1}, for class_names has {len(class_names)}"
        )
    return tuple(class_names[int(label)] for label in labels)
