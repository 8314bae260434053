"""The sparse encoding of int8 weights: the nonzero values, and how many zeros lie before each.

A kernel is a matrix int8 [rows, columns], a row the weights of one filter or unit in the order of a .tflite file. Its
encoding has three parts, one after the other, all integers little-endian:

1. counts: per row a uint16, the number of steps of that row;
2. steps: four bits each, two to a byte, the earlier one in the low half; a last odd one fills its byte with 0. A step
   of 0 to 14 means: so many zeros, then the next value. 15 means: fifteen zeros and no value. What is left of a row
   behind its last value is zeros and has no step;
3. values: an int8 for each step but those of 15, in their order.

A reader walks a row's steps with a running column, and needs neither a search nor a table. Rows have at most 65,535
steps. At 90 % zeros a weight that is kept costs about a byte and a half, at 50 % the encoding saves a quarter, and
below a third of zeros the plain matrix is smaller.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SKIP = 15  # a step of fifteen zeros without a value
_MOST_STEPS = 0xFFFF


def encode(kernel: NDArray[np.int8]) -> bytes:
    """Return the encoding of a kernel int8 [rows, columns]; raises `ValueError` for another array or too long a row."""
    if kernel.dtype != np.int8 or kernel.ndim != 2:
        raise ValueError(f"encode: got {kernel.dtype} {list(kernel.shape)}; expected int8 [rows, columns]")
    rows = [_steps(row) for row in kernel]
    if max(map(len, rows), default=0) > _MOST_STEPS:
        raise ValueError(f"encode: a row of {max(map(len, rows))} steps; expected at most {_MOST_STEPS}")
    counts = np.array([len(steps) for steps in rows], "<u2")
    steps = np.array([step for row in rows for step in row], np.uint8)
    values: bytes = kernel[kernel != 0].tobytes()
    return counts.tobytes() + _packed(steps) + values


def decode(encoded: bytes, rows: int, columns: int) -> NDArray[np.int8]:
    """Return the kernel int8 [rows, columns] of an encoding; raises `ValueError` for bytes that are none of it."""
    counts = np.frombuffer(encoded[: 2 * rows], "<u2")
    total = int(counts.sum())
    steps_end = 2 * rows + (total + 1) // 2
    steps = _unpacked(encoded[2 * rows : steps_end], total)
    values = np.frombuffer(encoded[steps_end:], np.int8)
    if len(counts) != rows or len(steps) != total or len(values) != np.count_nonzero(steps != _SKIP):
        raise ValueError(f"decode: {len(encoded)} bytes; expected the encoding of [{rows}, {columns}]")
    kernel = np.zeros((rows, columns), np.int8)
    place = taken = 0
    for row, count in enumerate(counts):
        column = 0
        for step in steps[place : place + count]:
            column += int(step)
            if step != _SKIP:
                if column >= columns:
                    raise ValueError(f"decode: row {row} has a value in column {column} of {columns}")
                kernel[row, column] = values[taken]
                column, taken = column + 1, taken + 1
        place += int(count)
    return kernel


def _steps(row: NDArray[np.int8]) -> list[int]:
    """Return the steps of a row: what lies between its nonzero values."""
    places = np.flatnonzero(row)
    steps: list[int] = []
    for zeros in np.diff(places, prepend=-1) - 1:
        steps += [_SKIP] * (int(zeros) // _SKIP) + [int(zeros) % _SKIP]
    return steps


def _packed(steps: NDArray[np.uint8]) -> bytes:
    even = np.append(steps, np.uint8(0)) if len(steps) % 2 else steps
    return (even[0::2] | even[1::2] << 4).astype(np.uint8).tobytes()


def _unpacked(packed: bytes, count: int) -> NDArray[np.uint8]:
    pairs = np.frombuffer(packed, np.uint8)
    return np.column_stack([pairs & 15, pairs >> 4]).ravel()[:count]
