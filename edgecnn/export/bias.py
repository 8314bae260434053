"""Bias correction: what rounding the weights shifts a layer's mean output by is taken off its bias.

M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), 4.2, in its empirical
form (appendix D): the shift is measured on calibration images, layer after layer, each behind corrected ones.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras
from edgecnn.errors import ConfigError

_BATCH = 256


def corrected_biases(
    model: Any,
    *,
    kernels: Mapping[str, NDArray[np.float64]] | None,
    inputs: NDArray[np.float32],
    keep_float: Collection[str] = (),
) -> dict[str, NDArray[np.float32]]:
    """Return the biases, by layer name, with which `kernels` give the mean outputs that a Keras `model` has.

    `kernels` are those of the quantized file by layer name, in Keras's layout. Layers in `keep_float` or without a
    bias have none. Means are per channel, before the activation, over `inputs`, [N, ...] made of training images.
    Raises `ConfigError` for a model whose kernels are other ones in the file, as with BatchNormalization.
    """
    folded = next((layer.name for layer in model.layers if "Normalization" in type(layer).__name__), None)
    if kernels is None or folded is not None:
        raise ConfigError(
            f"bias-correction: {folded or 'a layer'} changes the kernels of the exported file; "
            f"expected the model's own, rounded; leave --bias-correction out"
        )
    rounded, biases = clone(model), {}
    for name, kernel in kernels.items():
        layer = rounded.get_layer(name)
        if name in keep_float:
            continue
        if not layer.use_bias:  # its rounding is made up for in the layers behind it
            layer.set_weights([kernel])
            continue
        bias = layer.get_weights()[1]
        layer.set_weights([kernel, bias])
        shift = _mean_sum(rounded, name, inputs) - _mean_sum(model, name, inputs)
        biases[name] = bias - shift.astype(np.float32)
        layer.set_weights([kernel, biases[name]])
    return biases


def _mean_sum(model: Any, name: str, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean per channel of what layer `name` puts out before its activation."""
    layer = model.get_layer(name)
    linear = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    probe = keras.Model(model.inputs, linear(layer.input))
    linear.set_weights(layer.get_weights())
    total, count = np.zeros(probe.output_shape[-1]), 0
    for start in range(0, len(inputs), _BATCH):
        values = probe(inputs[start : start + _BATCH], training=False).numpy().reshape(-1, len(total))
        total, count = total + values.sum(axis=0, dtype=np.float64), count + len(values)
    return np.asarray(total / count)
