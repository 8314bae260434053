"""Weights in the order in which the C kernels read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

QUAD = 4


def quads_of(columns: int) -> int:
    """Return how many groups of four a row of a window takes."""
    return -(-columns // QUAD)


def in_quads(kernel: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return a kernel int8 [filters, rows, columns] as [rows, quads, filters, 4], filled up with zeros.

    Filters too are filled up to a multiple of four, so that vectors of sixteen bytes hold whole ones.
    """
    filters, rows, columns = kernel.shape
    quads = quads_of(columns)
    padded = np.zeros((quads_of(filters) * QUAD, rows, quads * QUAD), np.int8)
    padded[:filters, :, :columns] = kernel
    return padded.reshape(-1, rows, quads, QUAD).transpose(1, 2, 0, 3)
