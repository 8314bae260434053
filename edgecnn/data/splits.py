"""Train, validation and test: validation comes out of train, stratified; test is never touched.

The split does not depend on a run's seed: models of several seeds, and a network and its teacher, are then compared on
the same images, and no one's validation image was another one's lesson.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgecnn.data import store
from edgecnn.data.alike import STRETCHED, Reading
from edgecnn.errors import DataError

SPLIT_SEED = 0
TEST_FRACTION = 0.2  # of each class, where a source has no test split of its own
_TEST_SEED = 1797  # fixed for ever: a test set that moves with the seed would be trained on


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C], and labels int64 [N]; digits are white on black."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"split: {len(self.images)} images and {len(self.labels)} labels; expected as many")


class Source(NamedTuple):
    """What a file of this package reads: the splits that a source has, and the names of its classes.

    Without a validation split one is taken out of train. `left_out` says of files that could not be read which and why;
    `train_files` are those of the training images, in their order, where each is a file.
    """

    train: Split
    test: Split
    labels: tuple[str, ...]
    validation: Split | None = None
    left_out: tuple[str, ...] = ()
    train_files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """Three splits of one source; `sha256` covers the images and labels that the source gave.

    `reading` is how the device is to read pictures for models of it: stretched, where nobody compared.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    sha256: str
    left_out: tuple[str, ...] = ()
    reading: Reading = STRETCHED

    @property
    def picture(self) -> str:
        """How a picture becomes pixels for models of this data: `digit` or `stretch`, as an input contract has it."""
        return self.reading.picture

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def assemble(name: str, source: Source, *, validation_fraction: float, reading: Reading = STRETCHED) -> DataSet:
    """Return the data set; where the source has no validation split, one out of train, stratified, always the same.

    The memory of the training images is reused: use `source.train` no more.
    """
    given = [split for split in (source.train, source.validation, source.test) if split is not None]
    sha256 = _fingerprint(*given)
    train, validation = source.train, source.validation
    if validation is None:
        chosen = stratified(train.labels, validation_fraction, np.random.default_rng((SPLIT_SEED, 0x5611)))
        train, validation = divided(train, chosen)
    return DataSet(name, train, validation, source.test, source.labels, sha256, source.left_out, reading)


def with_test(split: Split) -> tuple[Split, Split]:
    """Return (train, test): a fixed fifth of every class of a source that has no test split of its own.

    The memory of its images is reused.
    """
    chosen = stratified(split.labels, TEST_FRACTION, np.random.default_rng(_TEST_SEED))
    return divided(split, chosen)


def divided(split: Split, chosen: NDArray[np.int64]) -> tuple[Split, Split]:
    """Return (the others, the images `chosen` by index), each in their order; the others stay where they were."""
    rest = np.setdiff1d(np.arange(len(split)), chosen)
    taken = Split(store.rows_of(split.images, chosen), split.labels[chosen])
    return Split(store.keep_rows(split.images, rest), split.labels[rest]), taken


def representative(split: Split, count: int, *, seed: int) -> NDArray[np.uint8]:
    """Return `count` images of `split` (all, if it has fewer), classes in equal share as far as they reach.

    For calibration: give it the training split. The same seed gives the same images in the same order.
    """
    rng = np.random.default_rng((seed, 0xCA11))
    shuffled = rng.permutation(len(split))
    # Rank of each image within its class: taking the lowest ranks first takes from every class in turn.
    rank = np.empty(len(split), dtype=np.int64)
    for label in np.unique(split.labels):
        members = shuffled[split.labels[shuffled] == label]
        rank[members] = np.arange(len(members))
    order = shuffled[np.argsort(rank[shuffled], kind="stable")]
    return split.images[order[:count]]


def stratified(labels: NDArray[np.int64], fraction: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the sorted indices of `fraction` of every class, at least one image each."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(rng.permutation(members)[: max(1, round(fraction * len(members)))])
    return np.sort(np.concatenate(chosen))


def _fingerprint(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        for part in store.chunks(split.images):
            digest.update(np.ascontiguousarray(split.images[part]).data.cast("B"))
        wide = len(split) > 0 and split.labels.max() > 255
        digest.update(split.labels.astype("<u4" if wide else np.uint8).tobytes())
    return digest.hexdigest()
