"""Magnitude pruning: the smallest weights of every kernel become zero, on a polynomial schedule.

M. Zhu and S. Gupta, "To prune, or not to prune" (2017), as tensorflow-model-optimization implements it: sparsity at
step t is final + (initial - final) * (1 - t / end_step)^3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edgecnn._tf import clone, tfmot
from edgecnn.config import Pruning

# Trains a model in place; `first_epoch` is where the final sparsity is reached, `callbacks` are tfmot's.
FitFunction = Callable[..., Any]


def prune(model: Any, *, pruning: Pruning, steps_per_epoch: int, fit: FitFunction) -> tuple[Any, Any]:
    """Return (a sparse copy of `model` without wrappers, what `fit` returned); `model` itself is left alone."""
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=pruning.initial_sparsity,
        final_sparsity=pruning.final_sparsity,
        begin_step=0,
        end_step=pruning.ramp_epochs * steps_per_epoch,
        # The last update must fall inside the ramp, or the final sparsity is never reached.
        frequency=min(pruning.frequency, max(1, steps_per_epoch // 2)),
    )
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(clone(model), pruning_schedule=schedule)
    callbacks: Sequence[Any] = [tfmot.sparsity.keras.UpdatePruningStep()]
    fitted = fit(wrapped, callbacks=callbacks, first_epoch=pruning.ramp_epochs)
    # Strip first: pruning wrappers neither convert nor compress.
    return clone(tfmot.sparsity.keras.strip_pruning(wrapped)), fitted
