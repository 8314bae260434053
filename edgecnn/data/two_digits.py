"""Numbers from 00 to 99 made of MNIST: two digits side by side, each squeezed to 14x28; 100 classes.

No digit is in two splits: the pairs of each are made of digits that are its own. Every image of training is the left
digit of two pairs, every other one of one; its partners are drawn, with a seed that is fixed for ever.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecnn.data import mnist, store
from edgecnn.data.published import DownloadObserver, unobserved
from edgecnn.data.splits import Source, Split, divided, stratified

LABELS = tuple(f"{number:02}" for number in range(100))
_VALIDATION_FRACTION = 0.1
_SEED = 99


def read(*, data_dir: Path | None = None, on_download: DownloadObserver = unobserved) -> Source:
    """Return 108,000 training, 6,000 validation and 10,000 test images, uint8 [N, 28, 28, 1], white on black.

    MNIST's files are found as `mnist` finds them.
    """
    digits = mnist.read(data_dir=data_dir, on_download=on_download)
    whole, test = (_squeezed(split) for split in (digits.train, digits.test))
    del digits  # its images take as much memory as half of those that are made now
    rng = np.random.default_rng(_SEED)
    train, validation = divided(whole, stratified(whole.labels, _VALIDATION_FRACTION, rng))
    train, validation, test = (_pairs(split, n, rng) for split, n in ((train, 2), (validation, 1), (test, 1)))
    return Source(train, test, LABELS, validation)


def _squeezed(digits: Split) -> Split:
    """Return the images half as wide: the mean of two neighbours, rounded half up."""
    count, height, width, channels = digits.images.shape
    narrow = store.allocate((count, height, width // 2, channels))
    for part in store.chunks(narrow):
        wide = digits.images[part].astype(np.uint16)
        narrow[part] = (wide[:, :, 0::2] + wide[:, :, 1::2] + 1) // 2
    return Split(narrow, digits.labels)


def _pairs(digits: Split, times: int, rng: np.random.Generator) -> Split:
    """Return every digit `times` times as the left one of a pair, with a right one that is drawn."""
    left = np.tile(np.arange(len(digits)), times)
    right = np.concatenate([rng.permutation(len(digits)) for _ in range(times)])
    _, height, width, channels = digits.images.shape
    images = store.allocate((len(left), height, 2 * width, channels))
    for part in store.chunks(images):
        images[part, :, :width] = digits.images[left[part]]
        images[part, :, width:] = digits.images[right[part]]
    return Split(images, 10 * digits.labels[left] + digits.labels[right])
