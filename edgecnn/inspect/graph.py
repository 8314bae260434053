"""A network as its file states it: tensors with their quantization, and the operators between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tensor:
    """A tensor: real value = scale * (stored - zero_point), with one scale, or one per index of `axis`.

    `shape` has -1 where the file leaves a size open. `scale` is float32 as stored, empty where nothing is quantized;
    `data` is what is stored of a constant, None of an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str  # as the schema writes it: INT8, UINT8, INT32, FLOAT32, ...
    scale: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    zero_point: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    axis: int = 0
    data: NDArray[Any] | None = None


@dataclass(frozen=True)
class Operator:
    """One operator: numbers of its tensors (-1: an input left out), and its options by the schema's names."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """The operators in the order in which they run."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
