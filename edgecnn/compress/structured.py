"""Structured pruning: whole filters and units go, and what is left is a smaller dense network.

A filter's importance is what it sends on: the mean magnitude of its output over calibration images times the magnitude
of the weights that read it, summed over them. That is the score of M. Sun et al., "A Simple and Effective Pruning
Approach for Large Language Models" (2024), |W| * |X|, taken over all weights of one input. Unlike the L1 norm of a
filter's own weights (H. Li et al., 2017) it does not change when a ReLU layer is scaled up and the next one down, and
it is zero for a filter that never answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras
from edgecnn.compress.kernels import has_kernel
from edgecnn.config.settings import Pruning
from edgecnn.errors import ConfigError

# Layers that hand every channel on by itself, besides Conv2D and Dense, which mix them, and Flatten.
_CHANNELWISE = (
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Dropout",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "InputLayer",
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "SpatialDropout2D",
    "ZeroPadding2D",
)


def prune_structured(
    model: Any, *, pruning: Pruning, calibration_inputs: NDArray[np.float32], fit: Callable[[Any], Any]
) -> tuple[Any, Any]:
    """Return (a smaller copy of `model`, what the last round's `fit` returned); `model` itself is left alone.

    Every hidden layer loses the share `pruning.final_sparsity` of its filters or units. `calibration_inputs`
    ([N, ...], made of training images) tell which. Raises `ConfigError`, before anything is trained, for a layer that
    would be empty or cannot be made smaller.
    """
    plans = [widths_at(model, pruning.sparsity_after(done + 1)) for done in range(pruning.rounds)]
    small, fitted = model, None
    for widths in plans:
        small = shrink(small, widths=widths, calibration_inputs=calibration_inputs)
        fitted = fit(small)
    return clone(small), fitted


def widths_at(model: Any, sparsity: float) -> dict[str, int]:
    """Return how many filters or units each hidden layer of `model` keeps when the share `sparsity` goes.

    Raises `ConfigError` when that is none of them, or when `model` is not one that `shrink` can do.
    """
    widths = {name: round(width * (1 - sparsity)) for name, width in _hidden_widths(model).items()}
    for name, width in widths.items():
        if width < 1:
            raise ConfigError(
                f"prune structured: {name} would keep 0 of its {_hidden_widths(model)[name]} filters or units at "
                f"sparsity {sparsity:g}; needs at least 1; lower --sparsity"
            )
    return widths


def shrink(model: Any, *, widths: Mapping[str, int], calibration_inputs: NDArray[np.float32]) -> Any:
    """Return a new Sequential model with only the most important `widths[name]` filters or units of each layer named.

    The kept weights are as they were, in their order; the last layer's outputs all stay. Removing what has no
    influence changes no output. Raises `ConfigError` for a name or width that does not fit `model`.
    """
    known = _hidden_widths(model)
    for name, width in widths.items():
        if not 1 <= width <= known.get(name, 0):
            raise ConfigError(
                f"prune structured: width {width} for {name}; expected 1 up to what is there: "
                f"{', '.join(f'{key} {value}' for key, value in known.items())}"
            )
    scores = importance(model, calibration_inputs)
    # A stable sort: of equals the first stay, on any machine.
    kept = {name: np.sort(np.argsort(-scores[name], kind="stable")[:width]) for name, width in widths.items()}
    return _sliced(model, kept)


def importance(model: Any, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """Return a score per filter or unit of each hidden layer: mean output magnitude times what the next layer reads.

    `inputs` are [N, ...], made of training images. Pooling, normalization and the like count as part of the output.
    """
    weighted = [layer for layer in model.layers if has_kernel(layer)]
    scores = {}
    for layer, reader in pairwise(weighted):
        arriving = np.abs(keras.Model(model.inputs, reader.input)(inputs, training=False).numpy())
        strength = arriving.mean(axis=tuple(range(arriving.ndim - 1)), dtype=np.float64)
        kernel = np.abs(reader.kernel.numpy())
        read = kernel.sum(axis=tuple(axis for axis in range(kernel.ndim) if axis != kernel.ndim - 2), dtype=np.float64)
        # Behind Flatten a filter arrives once per pixel, the filters of a pixel side by side.
        scores[layer.name] = (strength * read).reshape(-1, layer.kernel.shape[-1]).sum(axis=0)
    return scores


def _hidden_widths(model: Any) -> dict[str, int]:
    """Return filters or units of all Conv2D and Dense layers but the last; refuse what channels cannot be cut from."""
    if not isinstance(model, keras.Sequential):
        raise ConfigError(f"prune structured: got a {type(model).__name__} model; expected a Sequential one")
    for layer in model.layers:
        kind = type(layer).__name__
        if not (has_kernel(layer) or kind == "Flatten" or kind in _CHANNELWISE) or getattr(layer, "groups", 1) != 1:
            raise ConfigError(
                f"prune structured: layer {layer.name} is a {kind}; expected plain Conv2D, Dense, Flatten, "
                f"{', '.join(_CHANNELWISE)}; use another --method"
            )
    weighted = [layer for layer in model.layers if has_kernel(layer)]
    return {layer.name: int(layer.kernel.shape[-1]) for layer in weighted[:-1]}


def _sliced(model: Any, kept: Mapping[str, NDArray[np.intp]]) -> Any:
    """Return `model` with only the output channels `kept` of the layers named there."""

    def resized(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in kept:
            config["filters" if "filters" in config else "units"] = len(kept[layer.name])
        return type(layer).from_config(config)

    small = keras.models.clone_model(model, clone_function=resized)
    channels = np.arange(model.input_shape[-1])  # those that arrive at a layer, numbered as in `model`
    for layer in model.layers:
        weights = layer.get_weights()
        if has_kernel(layer):
            own = kept.get(layer.name, np.arange(weights[0].shape[-1]))
            weights = [weights[0][..., channels, :][..., own], *(bias[own] for bias in weights[1:])]
            channels = own
        elif type(layer).__name__ == "Flatten":
            width = layer.input_shape[-1]
            pixels = np.arange(layer.output_shape[-1] // width)
            channels = (pixels[:, None] * width + channels).ravel()
        else:
            weights = [values[channels] for values in weights]
        small.get_layer(layer.name).set_weights(weights)
    return small
