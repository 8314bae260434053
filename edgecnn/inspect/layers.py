"""The row that every reader returns, and the cost formulas they share."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Layer:
    """One operation: its weights and what one inference of it costs.

    `macs` counts multiply-accumulates of convolutions and dense layers at batch 1; `scale` and `zero_point` are
    the output's, None where it is not quantized; `weight_bytes` is what the weights take in this file.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int = 0
    nonzero_parameters: int = 0
    macs: int = 0
    weight_bytes: int = 0
    scale: float | None = None
    zero_point: int | None = None


def convolution_macs(output_positions: int, kernel_shape: tuple[int, ...]) -> int:
    """Return output height x width times the size of the kernel (height, width, channels in and out)."""
    return output_positions * prod(kernel_shape)
