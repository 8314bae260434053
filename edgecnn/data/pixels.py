"""From the arrays that people store to uint8 images [N, H, W, C] and labels; and from one size to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.config import parse_size
from edgecnn.data import store
from edgecnn.data.splits import Source, Split
from edgecnn.device.preprocessing.stretch import fitted
from edgecnn.errors import DataError

_CHANNELS = (1, 3)


def as_images(array: NDArray[Any], *, where: str) -> NDArray[np.uint8]:
    """Return uint8 [N, H, W, C] of what holds one image a row.

    Taken are [N, H, W], [N, H, W, C], [N, C, H, W] and, for square images of one channel, [N, pixels]; C is 1 or 3.
    Values are whole numbers from 0 to 255, or anything from 0 to 1, which is scaled. Raises `DataError` for others.
    """
    if not len(array):
        raise DataError(f"{where}: no image in it; expected two classes of them; check the file")
    shaped = _shaped(array, where)
    if shaped.dtype == np.uint8:
        return shaped
    if shaped.dtype == np.bool_:
        return shaped.astype(np.uint8) * np.uint8(255)
    if shaped.dtype.kind not in "iuf":
        raise DataError(f"{where}: pixels of type {shaped.dtype}; expected numbers; store them as uint8")
    scale = _scale(shaped, where)
    images = store.allocate(shaped.shape)
    for part in store.chunks(images):
        images[part] = np.rint(shaped[part] * scale) if scale != 1 else shaped[part]
    return images


def _shaped(array: NDArray[Any], where: str) -> NDArray[Any]:
    if array.ndim == 2 and math.isqrt(array.shape[1]) ** 2 == array.shape[1] > 1:
        side = math.isqrt(array.shape[1])
        return array.reshape(-1, side, side, 1)
    if array.ndim == 3 and min(array.shape[1:]) > 0:
        return array[..., None]
    if array.ndim == 4 and array.shape[3] in _CHANNELS:
        return array
    if array.ndim == 4 and array.shape[1] in _CHANNELS:
        return np.moveaxis(array, 1, 3)
    raise DataError(
        f"{where}: images are {list(array.shape)}; expected [N, H, W], [N, H, W, 1 or 3] or [N, square number of "
        f"pixels]; store them so"
    )


def _scale(values: NDArray[Any], where: str) -> float:
    """Return what makes the values 0..255: 255 for those from 0 to 1, else 1; `DataError` for what is no pixel."""
    low, high, whole = np.inf, -np.inf, True
    for part in store.chunks(values):
        piece = values[part]
        if piece.dtype.kind == "f" and not (finite := np.isfinite(piece)).all():
            row = part.start + int(np.argmin(finite.reshape(len(piece), -1).all(axis=1)))
            raise DataError(f"{where}: image {row} has a pixel that is no number (NaN or infinite); replace it")
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        whole = whole and (piece.dtype.kind != "f" or bool((piece == np.rint(piece)).all()))
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 255.0
    if low < 0 or high > 255 or not whole:
        fractions = "" if whole else ", with fractions"
        raise DataError(
            f"{where}: pixels from {low:g} to {high:g}{fractions}; expected whole numbers from 0 to 255, or 0 to 1; "
            f"undo their scaling"
        )
    return 1.0


def as_labels(column: NDArray[Any], *, where: str) -> NDArray[Any]:
    """Return labels [N] as int64 or text; `DataError` for NaN, fractions, numbers below 0 and other types."""
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    if column.ndim != 1:
        raise DataError(f"{where}: labels are {list(column.shape)}; expected one a row, [N]; store each image's class")
    if column.dtype.kind == "O":
        column = _from_objects(column, where)
    if column.dtype.kind == "S":
        column = np.char.decode(column, "utf-8", "replace")
    if column.dtype.kind == "U":
        if "" in column:
            raise DataError(f"{where}: label of row {int(np.argmax(column == ''))} is empty; name its class")
        return column
    if column.dtype.kind == "f" and not (good := np.isfinite(column) & (column == np.rint(column))).all():
        row = int(np.argmin(good))
        raise DataError(f"{where}: label of row {row} is {column[row]}; expected a whole number")
    if column.dtype.kind not in "iufb":
        raise DataError(f"{where}: labels of type {column.dtype}; expected whole numbers or names")
    whole = column.astype(np.int64)
    if len(whole) and whole.min() < 0:
        raise DataError(f"{where}: label {whole.min()} of row {int(whole.argmin())}; expected 0 or more")
    return whole


def _from_objects(column: NDArray[Any], where: str) -> NDArray[Any]:
    kinds = {type(value) for value in column}
    if kinds <= {str}:
        return column.astype(str)
    if kinds <= {int, float, bool, *(kind for kind in kinds if issubclass(kind, np.number))}:
        return column.astype(np.float64)
    row, value = next((i, v) for i, v in enumerate(column) if not isinstance(v, str | int | float | np.number))
    raise DataError(f"{where}: label of row {row} is {value!r:.40}; expected whole numbers or names, no mixture")


def classified(
    parts: Sequence[tuple[NDArray[np.uint8], NDArray[Any]]], *, where: str
) -> tuple[list[Split], tuple[str, ...]]:
    """Return a `Split` for each (images, labels), training first, and the class names.

    Classes are the labels that occur in training, in ascending order; their names are the labels. Raises `DataError`
    for a label that training has not, for numbers here and names there, and for lengths that differ.
    """
    for images, labels in parts:
        if len(images) != len(labels):
            raise DataError(f"{where}: {len(images)} images and {len(labels)} labels; expected as many")
    if len({labels.dtype.kind for _, labels in parts}) > 1:
        raise DataError(f"{where}: labels are names in one split and numbers in another; expected one of them")
    known = np.unique(parts[0][1])
    for _, labels in parts[1:]:
        if len(other := np.setdiff1d(labels, known)):
            raise _only_in_test(where, str(other[0]))
    splits = [Split(images, np.searchsorted(known, labels).astype(np.int64)) for images, labels in parts]
    return splits, tuple(str(label) for label in known)


def _only_in_test(where: str, label: str) -> DataError:
    return DataError(
        f"{where}: class {label} is in the test or validation split and not in training; add training images of it, "
        f"or leave it out"
    )


def checked(source: Source, *, where: str) -> Source:
    """Return `source`; `DataError` when a user's images are no set of classes to tell apart."""
    if len(source.labels) < 2:
        only = f" ({source.labels[0]})" if source.labels else ""
        raise DataError(f"{where}: {len(source.labels)} class{only}; expected at least 2; add images of another class")
    folded: dict[str, str] = {}
    for label in source.labels:
        if (other := folded.setdefault(label.casefold(), label)) != label:
            raise DataError(f"{where}: classes {other} and {label} differ by case alone; merge or rename them")
    shapes = {split.images.shape[1:] for split in (source.train, source.validation, source.test) if split is not None}
    if len(shapes) > 1:
        sizes = ", ".join("x".join(map(str, shape)) for shape in sorted(shapes))
        raise DataError(f"{where}: images of the splits are {sizes}; expected one size; pass --resize HEIGHTxWIDTH")
    counts = np.bincount(source.train.labels, minlength=len(source.labels))
    if counts.min() < 2:
        rarest = source.labels[int(counts.argmin())]
        number = "1 training image" if counts.min() == 1 else f"{counts.min()} training images"
        raise DataError(
            f"{where}: class {rarest} has {number}; expected at least 2, one of them for validation; add some or leave "
            f"the class out"
        )
    return source


def resized(images: NDArray[np.uint8], size: str | None) -> NDArray[np.uint8]:
    """Return uint8 [N, H, W, C] scaled to `size`, as `fitted` does; the same array where it has that size."""
    if size is None:
        return images
    height, width, channels = parse_size(size)
    shape = (height, width, channels or images.shape[3])
    if images.shape[1:] == shape:
        return images
    result = store.allocate((len(images), *shape))
    for number, image in enumerate(images):
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        result[number] = fitted(picture, shape)
    return result


def resized_source(source: Source, size: str | None) -> Source:
    """Return `source` with all its images scaled to `size`, if one is given."""
    change: Callable[[Split], Split] = lambda split: Split(resized(split.images, size), split.labels)  # noqa: E731
    validation = None if source.validation is None else change(source.validation)
    return source._replace(train=change(source.train), validation=validation, test=change(source.test))
