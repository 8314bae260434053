"""Train the small network that tells a data set's images from pictures that are none, for the board to run in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import keras, seed_everything
from edgecnn.device.contract import unit

FILTERS = (12, 24, 24)
_EPOCHS = 20
_BATCH = 256
_RATE = 6e-3


def train_typicality(
    images: NDArray[np.uint8], labels: NDArray[np.int64], outliers: NDArray[np.uint8], *, classes: int, seed: int
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return kernel [inputs, outputs] and bias [outputs] of each layer of a network that names the class, or none.

    `images` and `outliers` are uint8 [N, 28, 28, 1] and [M, 28, 28]. Three 3x3 convolutions that halve the sides, each
    with ReLU, and a dense layer with `classes` + 1 scores, the last for what is in none of the classes. With outliers
    shown to it a network knows more of what it has not seen: D. Hendrycks et al., "Deep Anomaly Detection with Outlier
    Exposure" (2019).
    """
    seed_everything(seed)
    model = network(classes)
    x = unit(np.concatenate([images, outliers[..., None]]))
    y = np.concatenate([labels, np.full(len(outliers), classes)])
    steps = -(-len(x) // _BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE, _EPOCHS * steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(x, y, batch_size=_BATCH, epochs=_EPOCHS, verbose=0)
    arrays = model.get_weights()
    return [
        (kernel.reshape(-1, kernel.shape[-1]), bias) for kernel, bias in zip(arrays[::2], arrays[1::2], strict=True)
    ]


def network(classes: int) -> keras.Model:
    """Return the untrained network."""
    layers = keras.layers
    first, second, third = FILTERS
    return keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(first, 3, 2, "same", activation="relu"),
            layers.Conv2D(second, 3, 2, "same", activation="relu"),
            layers.Conv2D(third, 3, 2, "valid", activation="relu"),  # 7x7 to 3x3
            layers.Flatten(),
            layers.Dense(classes + 1),
        ]
    )
