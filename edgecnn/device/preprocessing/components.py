"""Connected components of a mask, in numpy: what is one piece of ink, where it lies and how large it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """The pieces of a mask: `labels` [H, W] is 0 for paper and 1..N for ink; `boxes` [N, 4] and `areas` [N] in pixels.

    A box is top, left, bottom, right, the last two exclusive.
    """

    labels: NDArray[np.int32]
    boxes: Numbers
    areas: Numbers

    @property
    def heights(self) -> Numbers:
        """Height of each box in pixels."""
        return self.boxes[:, 2] - self.boxes[:, 0]

    @property
    def widths(self) -> Numbers:
        """Width of each box in pixels."""
        return self.boxes[:, 3] - self.boxes[:, 1]

    def select(self, keep: Mask) -> Mask:
        """Return the mask [H, W] of the pieces that `keep` [N] names."""
        chosen: Mask = np.concatenate([[False], keep])[self.labels]
        return chosen


def find(mask: Mask) -> Components:
    """Return the pieces of `mask` [H, W] that hang together at sides or corners.

    Labels runs of pixels instead of pixels (L. He, Y. Chao and K. Suzuki, "A run-based two-scan labeling algorithm",
    2008). Touching runs agree on their smallest label by hooking and pointer jumping (Y. Shiloach and U. Vishkin,
    1982), which numpy does for all of them at once.
    """
    rows, starts, ends = runs(mask)
    upper, lower = _touching(rows, starts, ends, mask.shape[1])
    label = np.arange(len(rows))
    while (label[upper] != label[lower]).any():
        smaller, larger = np.minimum(label[upper], label[lower]), np.maximum(label[upper], label[lower])
        np.minimum.at(label, larger, smaller)
        while ((jumped := label[label]) != label).any():
            label = jumped
    names, label = np.unique(label, return_inverse=True)
    boxes = np.tile(np.array([*mask.shape, 0, 0]), (len(names), 1))
    for side, (least_or_most, at) in enumerate(
        [(np.minimum, rows), (np.minimum, starts), (np.maximum, rows + 1), (np.maximum, ends)]
    ):
        least_or_most.at(boxes[:, side], label, at)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(label + 1, ends - starts)  # both in reading order
    areas = np.bincount(label, weights=ends - starts, minlength=len(names)).astype(np.int64)
    return Components(labels, boxes, areas)


def runs(mask: Mask) -> tuple[Numbers, Numbers, Numbers]:
    """Return row, first column and column after the last of every run of ink along a row, in reading order."""
    stride = mask.shape[1] + 1  # a column of paper ends every row
    flat = np.zeros(mask.shape[0] * stride + 1, np.bool_)
    flat[1:].reshape(-1, stride)[:, :-1] = mask
    turns = np.flatnonzero(flat[1:] != flat[:-1])
    rows, starts = np.divmod(turns[::2], stride)
    return rows, starts, turns[1::2] - rows * stride


def run_lengths(mask: Mask) -> Numbers:
    """Return for every pixel of ink the length of the run along its row that it lies in, and 0 for paper."""
    lengths = np.zeros(mask.shape, np.int64)
    _, starts, ends = runs(mask)
    lengths[mask] = np.repeat(ends - starts, ends - starts)
    return lengths


def without_gaps(mask: Mask, widest: int) -> Mask:
    """Return `mask` with the gaps along its rows filled that lie between ink and are at most `widest` pixels."""
    rows, starts, ends = runs(mask)
    gaps = starts[1:] - ends[:-1]
    small = (rows[1:] == rows[:-1]) & (gaps <= widest)
    counts = gaps[small]
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    filled = mask.copy()
    filled[np.repeat(rows[1:][small], counts), np.repeat(ends[:-1][small], counts) + within] = True
    return filled


def _touching(rows: Numbers, starts: Numbers, ends: Numbers, width: int) -> tuple[Numbers, Numbers]:
    """Return the pairs of runs, one a row above the other, that share a side or a corner."""
    stride = width + 2  # a run's end never reaches the next row's first start
    first = np.searchsorted(rows * stride + ends, (rows + 1) * stride + starts, side="left")
    last = np.searchsorted(rows * stride + starts, (rows + 1) * stride + ends, side="right")
    counts = (last - first).clip(0)
    upper = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(upper)) - np.repeat(np.cumsum(counts) - counts, counts)
    return upper, np.repeat(first, counts) + within
