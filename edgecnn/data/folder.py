"""A folder of images: ``root/class/*.png``, or ``root/train/class/*.png`` with test and perhaps val beside train."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgecnn.config import parse_size
from edgecnn.data import store
from edgecnn.data.splits import TEST_FRACTION, Source, Split
from edgecnn.data.watched import ReadObserver, unobserved
from edgecnn.device.preprocessing.orientation import upright_size
from edgecnn.device.preprocessing.stretch import Shape, channels_of, fitted, picture_of
from edgecnn.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".webp")
UNREADABLE_SHARE = 0.01  # of the files may be unreadable; with more of them something else is wrong
_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP")
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_SHOWN = 5  # files or sizes in an error
_BATCH = 64  # files a thread reads between two steps of the progress bar


@dataclass(frozen=True)
class _Listing:
    """The files of one split, and of each the number of its class."""

    files: list[Path]
    labels: NDArray[np.int64]

    def only(self, mask: NDArray[np.bool_]) -> _Listing:
        return _Listing([file for file, own in zip(self.files, mask, strict=True) if own], self.labels[mask])


def read(root: Path, *, resize: str | None = None, observe: ReadObserver = unobserved) -> Source:
    """Return the images below `root`; a fixed fifth of every class is the test split where there is none.

    Images are turned as their files say and, with `resize`, stretched to that size; without it all must have one.
    They have one channel where all files are gray, else three; what is transparent is white. Files that cannot be read
    are left out and named in `left_out`. Raises `DataError` for more than `UNREADABLE_SHARE` of them, and for a folder
    of another kind.
    """
    listings, names = _listed(root)
    files = [file for listing in listings.values() for file in listing.files]
    # Every file is looked at before one is decoded, so that each is decoded to its place.
    step = lambda done: observe(done, 2 * len(files))  # noqa: E731
    with warnings.catch_warnings(), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        looks = dict(zip(files, _each(threads, _look, files, step), strict=True))
        bad = {file: look for file, look in looks.items() if isinstance(look, str)}
        shape = _common_shape({file: look for file, look in looks.items() if not isinstance(look, str)}, resize, root)
        splits, done = {}, len(files)
        for split, listing in listings.items():
            splits[split] = _decoded(threads, listing, shape, bad, partial(_after, done, step))
            done += len(listing.files)
    train_files = tuple(file for file in listings["train"].files if file not in bad)
    left_out = tuple(f"{file.relative_to(root)}: {why}" for file, why in sorted(bad.items()))
    _check_share(left_out, len(files), root)
    return Source(splits["train"], splits["test"], names, splits.get("val"), left_out, train_files)


def is_folder_of_classes(root: Path) -> bool:
    """Return whether `root` holds folders, and so may be a set of this kind."""
    return bool(_folders(root))


def _listed(root: Path) -> tuple[dict[str, _Listing], tuple[str, ...]]:
    """Return the files of train, test and perhaps val, and the names of the classes."""
    folders = _folders(root)
    has_splits = _are_splits(folders, root)
    parts: dict[str, dict[str, list[Path]]] = {}
    for folder in folders if has_splits else [root]:
        split = _SPLITS[folder.name.lower()] if has_splits else "train"
        if split in parts:
            raise DataError(f"{root}: two folders for {split}; expected one; merge them")
        parts[split] = {path.name: _files(path) for path in _folders(folder)}
        _check_classes(folder, parts[split], parts["train"])
    numbered = all(name.isdecimal() for name in parts["train"])
    names = sorted(parts["train"], key=lambda name: (int(name) if numbered else 0, name))
    listings = {split: _listing(classes, names) for split, classes in parts.items()}
    if "test" not in listings:
        listings["train"], listings["test"] = _with_test(listings["train"])
    return listings, tuple(names)


def _are_splits(folders: Sequence[Path], root: Path) -> bool:
    """Return whether these folders are splits, not classes; raises `DataError` for splits without train or with more.

    A class may be called test; it has images in it, where a split has folders.
    """
    names = {path.name.lower() for path in folders}
    if "train" in names and names <= set(_SPLITS):
        return True
    found = [path for path in folders if path.name.lower() in _SPLITS]
    if not found or not all(_folders(path) and not holds_images(path) for path in found):
        return False
    if "train" not in names:
        raise DataError(f"{root}: {found[0].name} without train; expected a folder train beside it; add it")
    more = next(path.name for path in folders if path not in found)
    raise DataError(f"{root}: {more} beside train; expected train, val and test alone; move it away")


def holds_images(folder: Path) -> bool:
    """Return whether images lie in `folder` itself, not in a folder of a class."""
    return any(path.suffix.lower() in SUFFIXES for path in folder.iterdir())


def _folders(root: Path) -> list[Path]:
    """Return the folders in `root`, train first; hidden ones and what macOS adds are passed over."""
    try:
        found = [path for path in root.iterdir() if not path.name.startswith((".", "__")) and _is_folder(path)]
    except OSError as error:
        raise DataError(f"{root}: cannot read ({error.strerror}); check the path") from None
    return sorted(found, key=lambda path: (path.name.lower() != "train", path.name))


def _files(folder: Path, above: tuple[tuple[int, int], ...] = ()) -> list[Path]:
    """Return the images in `folder` and below; `DataError` for a link that leads back to a folder it lies in."""
    try:
        status = folder.stat()
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot read ({error.strerror}); check its rights") from None
    own = (status.st_dev, status.st_ino)
    if own in above:
        raise _loop(folder)
    found = []
    for path in inside:
        if path.suffix.lower() in SUFFIXES:
            found.append(path)
        elif _is_folder(path):
            found += _files(path, (*above, own))
    return found


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _loop(path) from None
        return False


def _loop(path: Path) -> DataError:
    return DataError(f"{path}: a symlink loop, it leads back to itself or a folder that it lies in; remove the link")


def _check_classes(folder: Path, classes: dict[str, list[Path]], trained: dict[str, list[Path]]) -> None:
    """Raise `DataError` for folders that are no set of classes, and for classes that training has not."""
    if not any(classes.values()):
        raise DataError(
            f"{folder}: no images in {len(classes)} folders; expected one folder a class with {', '.join(SUFFIXES)} "
            f"files; check the path"
        )
    for name, files in classes.items():
        if name not in trained:
            raise DataError(
                f"{folder}: class {name} is not in the training split; add training images of it, or leave it out"
            )
        if not files:
            raise DataError(f"{folder / name}: no image in it; add some or remove the folder")


def _listing(classes: dict[str, list[Path]], names: Sequence[str]) -> _Listing:
    """Return the files of all classes mixed, in an order that their names alone decide.

    So a file that is added moves one other at most to another split, and the first hundred are of all classes.
    """
    number = {name: i for i, name in enumerate(names)}
    found = [(_rank(name, file), file, number[name]) for name, files in classes.items() for file in files]
    found.sort()
    return _Listing([file for _, file, _ in found], np.array([label for _, _, label in found], np.int64))


def _rank(name: str, file: Path) -> bytes:
    return hashlib.sha256(os.fsencode(f"{name}/{file.name}")).digest()


def _with_test(train: _Listing) -> tuple[_Listing, _Listing]:
    """Return (train, test): the first fifth of every class is for testing."""
    is_test = np.zeros(len(train.files), bool)
    for label in np.unique(train.labels):
        members = np.flatnonzero(train.labels == label)
        is_test[members[: max(1, round(TEST_FRACTION * len(members)))]] = True
    return train.only(~is_test), train.only(is_test)


def _each(
    threads: ThreadPoolExecutor, work: Callable[[T], R], items: Sequence[T], step: Callable[[int], None]
) -> list[R]:
    """Return what `work` gives for each item, in order; `step` is called with the number of those done."""
    results: list[R] = []
    batches = [items[i : i + _BATCH] for i in range(0, len(items), _BATCH)]
    for batch in threads.map(lambda some: [work(item) for item in some], batches):
        results += batch
        step(len(results))
    return results


def _after(before: int, step: Callable[[int], None], done: int) -> None:
    step(before + done)


def _look(file: Path) -> Shape | str:
    """Return the shape that an image has when it is upright, by its header; or why it cannot be read."""
    try:
        with Image.open(file, formats=_FORMATS) as image:
            width, height = upright_size(image)
            return height, width, channels_of(image)
    except Exception as error:  # Pillow raises almost anything for a damaged file
        return _reason(error)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no image of these kinds"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return "more pixels than an image should have"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:80] or type(error).__name__


def _common_shape(shapes: dict[Path, Shape], resize: str | None, root: Path) -> Shape:
    """Return the shape that all images are to have: as `resize` says, else as they have; `DataError` if they differ."""
    channels = max((shape[2] for shape in shapes.values()), default=1)
    if resize is not None:
        height, width, asked = parse_size(resize)
        return height, width, asked or channels
    sizes = Counter(shape[:2] for shape in shapes.values())
    if len(sizes) > 1:
        common, count = sizes.most_common(1)[0]
        odd = next(file for file, shape in shapes.items() if shape[:2] != common)
        remedy = _by(*common) if 2 * count > len(shapes) else "HEIGHTxWIDTH, like 32x32"
        raise DataError(
            f"{root}: images of {len(sizes)} sizes, {count} of {len(shapes)} are {_by(*common)} and "
            f"{odd.relative_to(root)} is {_by(*shapes[odd][:2])}; expected one size; pass --resize {remedy}"
        )
    height, width = next(iter(sizes), (1, 1))
    return height, width, channels


def _by(height: int, width: int) -> str:
    return f"{height}x{width}"


def _decoded(
    threads: ThreadPoolExecutor, listing: _Listing, shape: Shape, bad: dict[Path, str], step: Callable[[int], None]
) -> Split:
    """Return the images of one split; files that turn out to be unreadable are added to `bad` and left out."""
    images = store.allocate((len(listing.files), *shape))
    places = [(file, images[i]) for i, file in enumerate(listing.files)]
    decode = partial(_decode, known=frozenset(bad))
    for file, why in zip(listing.files, _each(threads, decode, places, step), strict=True):
        if why is not None:
            bad[file] = why
    good = np.flatnonzero([file not in bad for file in listing.files])
    return Split(store.keep_rows(images, good), listing.labels[good])


def _decode(job: tuple[Path, NDArray[np.uint8]], *, known: Iterable[Path]) -> str | None:
    """Decode a file to its place, unless it is `known` to be unreadable; return why it cannot be read, else None."""
    file, place = job
    if file in known:
        return None
    try:
        with Image.open(file, formats=_FORMATS) as image:
            shape = (place.shape[0], place.shape[1], place.shape[2])
            place[:] = fitted(picture_of(image, shape), shape)
    except Exception as error:  # as in _look
        return _reason(error)
    return None


def _check_share(left_out: Sequence[str], files: int, root: Path) -> None:
    if len(left_out) > UNREADABLE_SHARE * files:
        more = f" and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
        raise DataError(
            f"{root}: {len(left_out)} of {files} files cannot be read, allowed is {UNREADABLE_SHARE:.0%}: "
            f"{'; '.join(left_out[:_SHOWN])}{more}; remove or replace them"
        )
