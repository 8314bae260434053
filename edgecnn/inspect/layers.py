"""The row that every reader returns, and what the readers share: constants, kernels and how often they are used."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import ArtifactError


@dataclass(frozen=True)
class Layer:
    """One operation: its weights and what one inference of it costs.

    `parameters` are all of its constants, biases included, but those that an earlier layer has too; the kernel is the
    one that multiplies the input of a convolution or dense layer. `uses` is how often one inference uses each weight
    of the kernel: its output positions; None where that is unknown: sizes are open, or it is an operation of which
    nothing here says how often it uses its weights.
    `scale` and `zero_point` are the output's, None where it is not quantized; `weight_bytes` is what the constants
    take in this file. `sqnr_db` of the output and `weight_sqnr_db` of the kernel say how far they are from a float32
    model's (`inspect.sqnr`), None where nothing was compared.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]  # -1: left open by the file
    parameters: int = 0
    nonzero_parameters: int = 0
    kernel_weights: int = 0
    nonzero_kernel_weights: int = 0
    uses: int | None = 0
    weight_bytes: int = 0
    scale: float | None = None
    zero_point: int | None = None
    sqnr_db: float | None = None
    weight_sqnr_db: float | None = None

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference, None where unknown; adding a bias is none. An open batch is 1."""
        return None if self.uses is None else self.uses * self.kernel_weights

    @property
    def effective_macs(self) -> int | None:
        """The multiply-accumulates whose weight is not zero: what is left if the zeros could be skipped."""
        return None if self.uses is None else self.uses * self.nonzero_kernel_weights

    @property
    def sparsity(self) -> float | None:
        """Share of zeros among the kernel's weights, which are those that pruning takes; None without a kernel."""
        return 1 - self.nonzero_kernel_weights / self.kernel_weights if self.kernel_weights else None


@dataclass(frozen=True)
class Constant:
    """A weight or bias as stored; `scale` and `zero_point` broadcast against it, a scale of None means real values."""

    stored: NDArray[Any]
    scale: NDArray[Any] | None = None
    zero_point: NDArray[Any] | int = 0

    @property
    def nonzero(self) -> int:
        """How many values are not zero: for a quantized one, not its zero point."""
        return int(np.count_nonzero(self.stored != self.zero_point))

    def real(self) -> NDArray[np.float64]:
        """Return the real values: (stored - zero_point) * scale."""
        values = self.stored.astype(np.float64)
        return values if self.scale is None else (values - self.zero_point) * self.scale.astype(np.float64)


@dataclass(frozen=True)
class Operation:
    """What comparing a layer needs: its output (the file's own name or number for the tensor) and its kernel.

    `names` are those that the output may have in a file of the same network in another scheme, if names are kept.
    """

    kind: str
    output: Any
    output_shape: tuple[int, ...]
    kernel: Constant | None
    names: tuple[str, ...] = ()


class UnreadError(Exception):
    """A sound file holds weights in a way that is not read here; the message says which, in one line."""


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Raise `ArtifactError`, naming `where`, for all that a damaged file makes its reader raise; for `UnreadError`."""
    try:
        yield
    except UnreadError as error:
        raise ArtifactError(f"{where}: {error}; its layers cannot be counted") from None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError, struct.error) as error:
        raise ArtifactError(f"{where}: damaged, no layers can be read ({error}); restore or export it again") from None


def counts(constants: Sequence[Constant], kernels: Sequence[Constant]) -> dict[str, int]:
    """Return the fields of `Layer` that count `constants`, among which are the `kernels`."""
    return {
        "parameters": sum(c.stored.size for c in constants),
        "nonzero_parameters": sum(c.nonzero for c in constants),
        "kernel_weights": sum(k.stored.size for k in kernels),
        "nonzero_kernel_weights": sum(k.nonzero for k in kernels),
        "weight_bytes": sum(c.stored.nbytes for c in constants),
    }


def total(values: Iterable[int | None]) -> int | None:
    """Return the sum, None where a value is unknown: a part of it is not the whole."""
    known = list(values)
    return None if None in known else sum(n for n in known if n is not None)


def has_open_size(shape: Sequence[int], inputs: Iterable[Sequence[int]]) -> bool:
    """Return whether `shape` is open so that its positions are unknown in a model with these `inputs`.

    A batch, the first size, may be open; but where inputs leave other sizes open, one may have moved there.
    """
    may_have_moved = any(size < 1 for given in inputs for size in given[1:])
    return not shape or any(size < 1 for size in (shape if may_have_moved else shape[1:]))


def positions(shape: Sequence[int], channels: int) -> int:
    """Return how many positions a tensor has: the product of its sizes but that of axis `channels`; open ones are 1.

    This is how often a convolution, grouped or depthwise too, or a dense layer uses each weight to make it.
    """
    return prod(max(1, n) for axis, n in enumerate(shape) if axis != channels % len(shape))


def along(axis: int, dimensions: int, values: NDArray[Any]) -> NDArray[Any]:
    """Return `values`, one for all or one per index of `axis`, so that they broadcast against an array."""
    if values.size == 1:
        return values.reshape(())
    return values.reshape([-1 if n == axis % dimensions else 1 for n in range(dimensions)])
