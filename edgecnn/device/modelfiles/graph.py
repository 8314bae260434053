"""A network as its file holds it, in the words of one format: operators have their names in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import Quantized

Key = int | str  # of a tensor: its number in a .tflite, its name in an ONNX file
Values = NDArray[np.float64]
LARGEST_CONSTANT = 1024  # numbers: one a channel, not the weights of a layer


@dataclass(frozen=True)
class Operator:
    """One operator. `is_followed` says that it applies an activation to its result.

    `options` has the axes' new order of a Transpose ("perm") and the "epsilon" of a BatchNormalization.
    """

    kind: str
    inputs: tuple[Key, ...]
    outputs: tuple[Key, ...]
    is_followed: bool = False
    options: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Operators in their order, the first input and the first output.

    `shape` is the input's with -1 for an open size, `stored` how it stores real values. `constant` returns the real
    values of a tensor that is a constant of at most `LARGEST_CONSTANT` numbers, else None. `quantizes` returns how what
    a QuantizeLinear makes is stored, None where that is unknown. `convolves` is the layout that a convolution of this
    format takes.
    """

    operators: tuple[Operator, ...]
    input: Key
    output: Key
    shape: tuple[int, ...]
    stored: Quantized
    constant: Callable[[Key], Values | None]
    quantizes: Callable[[Operator], Quantized | None]
    convolves: str

    def consumers(self, tensor: Key) -> list[Operator]:
        """Return the operators that take a tensor."""
        return self._consumers.get(tensor, [])

    def producer(self, tensor: Key) -> Operator | None:
        """Return the operator that makes a tensor, if one does."""
        return self._producers.get(tensor)

    @cached_property
    def _consumers(self) -> dict[Key, list[Operator]]:
        found: dict[Key, list[Operator]] = {}
        for operator in self.operators:
            for tensor in dict.fromkeys(operator.inputs):
                found.setdefault(tensor, []).append(operator)
        return found

    @cached_property
    def _producers(self) -> dict[Key, Operator]:
        return {tensor: operator for operator in self.operators for tensor in operator.outputs}
