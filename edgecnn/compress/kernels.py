"""The weights that compression acts on: the kernels of convolutions and dense layers. Biases are left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import keras


def has_kernel(layer: Any) -> bool:
    """Return whether `layer` is a Conv2D or Dense; a depthwise convolution has too few weights to lose any."""
    return type(layer) in (keras.layers.Conv2D, keras.layers.Dense)


def kernels(model: Any) -> dict[str, NDArray[np.float32]]:
    """Return the kernel of every Conv2D [height, width, inputs, filters] and Dense [inputs, units] by layer name."""
    return {layer.name: layer.kernel.numpy() for layer in model.layers if has_kernel(layer)}
