"""Pruning to zeros: the smallest weights of the kernels become zero, on a polynomial schedule.

M. Zhu and S. Gupta, "To prune, or not to prune" (2017), as tensorflow-model-optimization implements it: sparsity at
step t is final + (initial - final) * (1 - t / end_step)^3. Four ways to choose the weights:

- magnitude: the same share of every kernel.
- global: one threshold for all kernels, so that layers with weights to spare lose more. A weight is compared by its
  square over that of all weights of its kernel that are no smaller, the LAMP score of J. Lee et al., "Layer-adaptive
  Sparsity for the Magnitude-based Pruning" (2021): plain magnitudes differ by layer for reasons that are not
  importance (an 81-weight filter has smaller ones than a 9-weight one), and this score leaves no kernel empty.
- 2:4: two of every four neighbours along the inputs of Conv2D and Dense, from the first step. A rest of fewer than four
  inputs is filled up with zeros, so a convolution of one or two channels keeps all its weights.
- block: blocks of four inputs of a unit, dense layers only; convolutions keep all their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras, tfmot
from edgecnn.compress.kernels import has_kernel, kernels
from edgecnn.config.settings import Pruning
from edgecnn.errors import ConfigError

# Trains a model in place; `first_epoch` is where the final sparsity is reached, `callbacks` are tfmot's.
FitFunction = Callable[..., Any]

BLOCK = (
    4,
    1,
)  # inputs x units: four weights that lie side by side in a .tflite, whose dense kernels are [units, inputs]


def prune(model: Any, *, pruning: Pruning, steps_per_epoch: int, fit: FitFunction) -> tuple[Any, Any]:
    """Return (a sparse copy of `model` without wrappers, what the last round's `fit` returned).

    `model` itself is left alone. Raises `ConfigError` for `structured`, which takes whole filters:
    `compress.structured`.
    """
    if pruning.method == "structured":
        raise ConfigError("prune: structured removes filters and makes no zeros; call prune_structured")
    sparse, fitted = model, None
    for done in range(pruning.rounds):
        initial, final = pruning.sparsity_after(done), pruning.sparsity_after(done + 1)
        round_ = replace(pruning, initial_sparsity=initial, final_sparsity=final, rounds=1)
        sparse, fitted = _prune_once(sparse, round_, steps_per_epoch, fit)
    return sparse, fitted


def global_sparsities(weights: Mapping[str, NDArray[np.float32]], sparsity: float) -> dict[str, float]:
    """Return the share of each kernel below the one LAMP score that leaves `sparsity` of all weights below it.

    A share is less than 1: the largest weight of every kernel scores 1, and one of a kernel of zeros counts as kept.
    """
    scores = {name: _lamp_scores(kernel) for name, kernel in weights.items()}
    ranked = np.sort(np.concatenate(list(scores.values())))
    threshold = ranked[min(round(sparsity * ranked.size), ranked.size - 1)]
    return {name: min(float(np.mean(values < threshold)), 1 - 1 / values.size) for name, values in scores.items()}


def _lamp_scores(kernel: NDArray[np.float32]) -> NDArray[np.float64]:
    squares = np.sort(kernel.astype(np.float64).ravel() ** 2)
    no_smaller = np.cumsum(squares[::-1])[::-1]
    return np.asarray(squares / np.where(no_smaller > 0, no_smaller, 1))


def _prune_once(model: Any, pruning: Pruning, steps_per_epoch: int, fit: FitFunction) -> tuple[Any, Any]:
    wrapped = _wrapped(model, pruning, steps_per_epoch)
    first_epoch = 0 if pruning.method == "2:4" else pruning.ramp_epochs
    fitted = fit(wrapped, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()], first_epoch=first_epoch)
    # Strip first: pruning wrappers neither convert nor compress.
    return clone(tfmot.sparsity.keras.strip_pruning(wrapped)), fitted


def _wrapped(model: Any, pruning: Pruning, steps_per_epoch: int) -> Any:
    """Return a copy of `model` in tfmot's wrappers, each layer with its own final sparsity."""
    finals = global_sparsities(kernels(model), pruning.final_sparsity) if pruning.method == "global" else {}
    options = {"2:4": {"sparsity_m_by_n": (2, 4)}, "block": {"block_size": BLOCK}}.get(pruning.method, {})

    def wrap(layer: Any) -> Any:
        if pruning.method == "block" and has_kernel(layer) and not isinstance(layer, keras.layers.Dense):
            return layer
        schedule = _schedule(pruning, finals.get(layer.name, pruning.final_sparsity), steps_per_epoch)
        try:
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule, **options)
        except ValueError:
            if has_kernel(layer):
                raise
            return layer  # tfmot does not know it, and it has no kernel to prune

    return keras.models.clone_model(clone(model), clone_function=wrap)


def _schedule(pruning: Pruning, final_sparsity: float, steps_per_epoch: int) -> Any:
    return tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=min(pruning.initial_sparsity, final_sparsity),
        final_sparsity=final_sparsity,
        begin_step=0,
        end_step=pruning.ramp_epochs * steps_per_epoch,
        # The last update must fall inside the ramp, or the final sparsity is never reached.
        frequency=min(pruning.frequency, max(1, steps_per_epoch // 2)),
    )
