"""scikit-learn's bundled handwritten digits, brought to MNIST's convention: the embedded data set.

1,797 images of 8x8 with values 0..16, by 13 writers (the test part of E. Alpaydin and C. Kaynak, "Optical
Recognition of Handwritten Digits", UCI, CC BY 4.0). The source has no split of its own here, so a fixed fifth of
every class is the test set, whatever the seed of a run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.data.splits import Split, stratified
from edgecnn.device.canonical import centre_of_mass
from edgecnn.device.digit import BOX, SIDE

LABELS = tuple("0123456789")
_TEST_FRACTION = 0.2
_TEST_SEED = 1797  # fixed for ever: a test set that moves with the seed would be trained on
_INK_SHARE = 0.2  # of the darkest ink; fainter than this is paper


def read() -> tuple[Split, Split, tuple[str, ...]]:
    """Return (train, test, labels): 1,438 and 359 images, uint8 [N, 28, 28, 1], white on black."""
    from sklearn.datasets import load_digits

    source = load_digits()
    ink = (source.images * (255 / 16)).astype(np.uint8)
    images = np.stack([fit_to_mnist(image) for image in ink])[..., None]
    labels = source.target.astype(np.int64)
    test = np.isin(np.arange(len(labels)), stratified(labels, _TEST_FRACTION, np.random.default_rng(_TEST_SEED)))
    return Split(images[~test], labels[~test]), Split(images[test], labels[test]), LABELS


def fit_to_mnist(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the ink of uint8 [H, W] (white on black) scaled into a 20x20 box, centred by mass in 28x28."""
    strongest = int(ink.max())
    if strongest == 0:
        return np.zeros((SIDE, SIDE), np.uint8)
    rows, columns = (np.flatnonzero((ink > _INK_SHARE * strongest).any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    stretched = (cropped.astype(np.float32) * (255 / strongest)).astype(np.uint8)
    scale = BOX / max(cropped.shape)
    size = [max(1, round(length * scale)) for length in (cropped.shape[1], cropped.shape[0])]
    box = np.asarray(Image.fromarray(stretched).resize((size[0], size[1]), Image.Resampling.BICUBIC))
    return _centred(box)


def _centred(box: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place `box` in 28x28 so that its centre of mass lies as near the middle as whole pixels and the edges allow."""
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (
        min(max(round((SIDE - 1) / 2 - middle), 0), SIDE - length)
        for middle, length in zip(centre_of_mass(box), box.shape, strict=True)
    )
    canvas[top : top + box.shape[0], left : left + box.shape[1]] = box
    return canvas
