"""Mixed files: some layers stay in float while the rest is int8.

A layer is one of the Keras model that has weights. What stands behind it (activation, pooling, flattening, softmax) up
to the next one goes with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.errors import ConfigError, unknown


@dataclass(frozen=True)
class Step:
    """An operation of a converted file: its name, in which that of its layer may stand, and its tensors."""

    name: str
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def weighted_layers(model: Any) -> list[str]:
    """Return the names of the layers of a Keras `model` that multiply by weights, in order."""
    return [layer.name for layer in model.layers if any("kernel" in w.name.split("/")[-1] for w in layer.weights)]


def check_layers(model: Any, names: Iterable[str]) -> None:
    """Raise `ConfigError`, listing the layers of `model` that have weights, for a name that is none of them."""
    known = weighted_layers(model)
    for name in names:
        if name not in known:
            raise unknown("keep-float: layer", name, known)


def steps_of(layers: Sequence[str], model: Any, steps: Sequence[Step]) -> list[Step]:
    """Return which of a file's `steps` the layers named are; raises `ConfigError` for one that cannot be found."""
    known = weighted_layers(model)
    owners: dict[Any, str | None] = {}  # of tensors
    found: list[tuple[Step, str | None]] = []
    for step in steps:
        own = next((name for name in known if name in _segments(step.name)), None)
        owner = own or next((owners[tensor] for tensor in step.inputs if owners.get(tensor)), None)
        owners |= dict.fromkeys(step.outputs, owner)
        found.append((step, owner))
    for name in layers:
        if all(owner != name for _, owner in found):
            raise ConfigError(f"keep-float: layer {name} cannot be told apart in the converted file; leave it out")
    return [step for step, owner in found if owner in layers]


def _segments(name: str) -> set[str]:
    """Return the parts behind the model's name: of ``net/conv1/Relu;net/conv1/BiasAdd`` conv1, Relu and BiasAdd."""
    return {part for piece in name.split(";") for part in piece.split("/")[1:]}
