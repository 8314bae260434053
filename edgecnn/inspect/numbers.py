"""Numbers in a file that nothing can be computed with: NaN, infinity, and scales that are none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.inspect.layers import Constant

_WIDEST = 2  # bytes of a weight that is quantized; a bias takes 4 or 8


@dataclass(frozen=True)
class Numbers:
    """A constant of a layer, or the scale of what the layer puts out; `scale` is None where nothing is quantized.

    `may_be_infinite`: of a constant that values are compared with or chosen from.
    """

    layer: str
    what: str  # weights, output or input
    stored: NDArray[Any] | None = None
    scale: NDArray[Any] | None = None
    zero_point: NDArray[Any] | int = 0
    may_be_infinite: bool = False

    def fault(self) -> str | None:
        """Return what is wrong with them in one line that names the layer, None where nothing is.

        A filter whose weights are all zero may have a scale of zero: it computes nothing, but for its bias. Of any
        other filter, of a whole kernel, or of what a layer puts out, it is a fault: runtimes divide by that.
        """
        return self._of_values() or self._of_scale()

    def _of_values(self) -> str | None:
        if self.stored is None or self.stored.dtype.kind != "f":
            return None
        is_wrong = np.isnan(self.stored) if self.may_be_infinite else ~np.isfinite(self.stored)
        if not is_wrong.any():
            return None
        return f"layer {self.layer}: {is_wrong.sum():,} of its {self.stored.size:,} {self.what} are NaN or infinite"

    def _of_scale(self) -> str | None:
        if self.scale is None:
            return None
        wrong = self.scale[~(np.isfinite(self.scale) & (self.scale >= 0))]
        if wrong.size:
            return f"layer {self.layer}: a scale of its {self.what} is {wrong.flat[0]:g}; expected a number above 0"
        is_lost = self.stored is not None and ((self.scale == 0) & (self.stored != self.zero_point)).any()
        is_bias = (
            self.stored is not None and self.stored.dtype.itemsize > _WIDEST
        )  # its scale follows from the kernel's
        if is_lost and not is_bias and self.scale.any():
            return f"layer {self.layer}: a filter of its {self.what} has the scale 0; expected a number above 0"
        if not self.scale.any() and not is_bias:
            said = f"every weight of layer {self.layer} is 0" if self.stored is not None else f"layer {self.layer}"
            return f"{said}: the scale of its {self.what} is 0; expected a number above 0"
        return None


def of_constant(layer: str, constant: Constant, *, may_be_infinite: bool) -> Numbers:
    """Return the numbers of a layer's constant."""
    return Numbers(layer, "weights", constant.stored, constant.scale, constant.zero_point, may_be_infinite)
