"""Train, validation and test: validation comes out of train, stratified; test is never touched.

The split does not depend on a run's seed: models of several seeds, and a network and its teacher, are then compared on
the same images, and no one's validation image was another one's lesson.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import DataError

SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C], white on black, and labels int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __post_init__(self) -> None:
        if len(self.images) != len(self.labels):
            raise DataError(f"split: {len(self.images)} images and {len(self.labels)} labels; expected as many")


@dataclass(frozen=True)
class DataSet:
    """Three splits of one source; `sha256` covers the images and labels of train and test."""

    name: str
    train: Split
    validation: Split
    test: Split
    labels: tuple[str, ...]
    sha256: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def assemble(name: str, train: Split, test: Split, labels: tuple[str, ...], *, validation_fraction: float) -> DataSet:
    """Return the data set with a stratified validation split taken out of `train`, always the same one."""
    chosen = stratified(train.labels, validation_fraction, np.random.default_rng((SPLIT_SEED, 0x5611)))
    rest = np.setdiff1d(np.arange(len(train)), chosen)
    return DataSet(
        name=name,
        train=Split(train.images[rest], train.labels[rest]),
        validation=Split(train.images[chosen], train.labels[chosen]),
        test=test,
        labels=labels,
        sha256=_fingerprint(train, test),
    )


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
        digest.update(np.ascontiguousarray(split.images).tobytes())
        digest.update(split.labels.astype(np.uint8).tobytes())
    return digest.hexdigest()
