"""scikit-learn's bundled handwritten digits, brought to MNIST's convention: the embedded data set.

1,797 images of 8x8 with values 0..16, by 13 writers (the test part of E. Alpaydin and C. Kaynak, "Optical
Recognition of Handwritten Digits", UCI, CC BY 4.0). The source has no split of its own here, so a fixed fifth of
every class is the test set, whatever the seed of a run.
"""

from __future__ import annotations

import numpy as np

from edgecnn.data.splits import Split, stratified
from edgecnn.device.preprocessing import fit_to_mnist

LABELS = tuple("0123456789")
_TEST_FRACTION = 0.2
_TEST_SEED = 1797  # fixed for ever: a test set that moves with the seed would be trained on


def read() -> tuple[Split, Split, tuple[str, ...]]:
    """Return (train, test, labels): 1,438 and 359 images, uint8 [N, 28, 28, 1], white on black."""
    from sklearn.datasets import load_digits

    source = load_digits()
    ink = (source.images * (255 / 16)).astype(np.uint8)
    images = np.stack([fit_to_mnist(image) for image in ink])[..., None]
    labels = source.target.astype(np.int64)
    test = np.isin(np.arange(len(labels)), stratified(labels, _TEST_FRACTION, np.random.default_rng(_TEST_SEED)))
    return Split(images[~test], labels[~test]), Split(images[test], labels[test]), LABELS
