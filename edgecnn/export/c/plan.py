"""Where everything lies: which kernel a layer gets, how each tensor is laid out, and its place in the arena.

A tensor is interleaved (the channels of a position together) or, where only sparse kernels and dense layers read it,
planar (a plane a channel), which puts the neighbours that a sparse weight is multiplied with side by side. Where a
layer pads, its input has a border that is filled once, so that no kernel asks whether it is at an edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgecnn.errors import ArtifactError
from edgecnn.export.c.network import NO_PADDING, Convolution, Layer, Network, Padding, Shape, View
from edgecnn.export.c.weights import QUAD

KERNELS = ("auto", "dense", "sparse")
# A kept weight costs 1.5 bytes and a dense one 1 (export/sparse.py), and its place must be decoded; from here on the
# sparse kernel is smaller and, on machines without wide vectors, faster. With AVX-512 VNNI dense ones are faster yet.
SPARSE_FROM = 0.6
_ALIGNMENT = 4  # of a tap's two 16-bit numbers, and of words in general
_TAP_BYTES, _SUM_BYTES, _PLACE_BYTES = 4, 4, 2  # of the sparse kernel
_POSITIONS_AT_ONCE = 16  # as in sparse.c
_MOST_SUMS = 512  # at once, if that is more than a row, or the two that are pooled
_RUNS_AT_ONCE = 6  # of so many positions, as in sparse.c
_RUN_COST, _TAP_COST, _ROWS_COST = 4, 3, 60  # instructions, about: of a tap in a run, and at all; of a group of rows
_OVERHANG = 32  # sums behind the last that a vector may reach
_MOST_OFFSET = 0xFFFF  # of a tap, and of every geometry: 16 bits


@dataclass(frozen=True)
class Buffer:
    """A tensor in the arena; all sizes in bytes, which are elements."""

    shape: Shape
    zero: int
    border: Padding = NO_PADDING
    is_planar: bool = False
    tail: int = 0  # behind the last row, that a kernel may read
    offset: int = 0  # in the arena

    @property
    def positions(self) -> tuple[int, int]:
        """Height and width with the border."""
        height, width, _ = self.shape
        return height + self.border.top + self.border.bottom, width + self.border.left + self.border.right

    @property
    def row(self) -> int:
        """From a position to the one below it."""
        return self.positions[1] * self.column

    @property
    def column(self) -> int:
        """From a position to the one beside it."""
        return 1 if self.is_planar else self.shape[2]

    @property
    def channel(self) -> int:
        """From a channel to the next."""
        return self.positions[0] * self.positions[1] if self.is_planar else 1

    @property
    def origin(self) -> int:
        """Where the first position inside the border lies in the arena."""
        return self.offset + self.border.top * self.row + self.border.left * self.column

    @property
    def size(self) -> int:
        """All of it but the tail."""
        return self.positions[0] * self.positions[1] * self.shape[2]

    @property
    def is_plain(self) -> bool:
        """Whether it is one run of values in the order of the file, and may be taken for another shape."""
        return self.border == NO_PADDING and (not self.is_planar or self.shape[2] == 1)


@dataclass(frozen=True)
class Step:
    """A layer with its kernel (dense, sparse or none of these) and buffers; `scratch` is an offset in the arena."""

    layer: Layer
    kernel: str
    sources: tuple[Buffer, ...]
    target: Buffer
    scratch: int = 0


@dataclass(frozen=True)
class Plan:
    """What the C file does, in order: load the input, fill the borders and run the layers, store the output."""

    steps: tuple[Step, ...]
    input: Buffer
    output: Buffer
    arena_bytes: int


def plan(network: Network, *, kernel: str, where: str) -> Plan:
    """Return the plan with `kernel`, one of `KERNELS`; raises `ArtifactError` for what cannot be laid out."""
    kernels = [_kernel(layer, kernel) for layer in network.layers]
    readers = _readers(network)
    buffers = {tensor: _buffer(network, kernels, tensor, views) for tensor, views in readers.items()}
    kernels = [_that_reaches(kernels[n], layer, buffers, kernel, where) for n, layer in enumerate(network.layers)]
    placed, scratch, arena_bytes = _placed(network, kernels, buffers)
    steps = tuple(
        Step(
            layer=layer,
            kernel=kernels[n],
            sources=tuple(_seen(placed[v.tensor], v, layer, where) for v in layer.sources),
            target=_seen(placed[layer.target.tensor], layer.target, layer, where),
            scratch=scratch.get(n, 0),
        )
        for n, layer in enumerate(network.layers)
    )
    return Plan(steps, placed[network.input.tensor], placed[network.output.tensor], arena_bytes)


@dataclass(frozen=True)
class Sums:
    """How many sums of a filter the sparse kernel makes at once: see `struct sparse` in sparse.c."""

    rows: int
    band: int
    pitch: int
    room: int


def sums_of(layer: Convolution, source: Buffer, target: Buffer) -> Sums:
    """Return how the sparse kernel goes over a layer's positions: in the fewest instructions, about."""
    if is_whole(layer):
        return Sums(rows=1, band=1, pitch=1, room=_OVERHANG if columns_of(layer, source) else 0)
    height, width = target.shape[0] * layer.pool, target.shape[1] * layer.pool
    down, right = layer.stride[0] * source.row, layer.stride[1] * source.column
    if right != 1:  # position after position, and no runs
        return Sums(layer.pool, layer.pool, width, layer.pool * width + _OVERHANG)
    taps = np.count_nonzero(layer.kernel) / len(layer.kernel)

    def runs(band: int) -> int:
        return -(-((band - 1) * down + width) // _POSITIONS_AT_ONCE)

    def cost(split: tuple[int, int]) -> float:
        rows, band = split
        together = max(1, _RUNS_AT_ONCE // runs(band))
        calls = -(-rows // band // together) * -(-runs(band) // _RUNS_AT_ONCE)
        each = _RUN_COST * runs(band) * (rows // band) + _TAP_COST * calls
        return height // rows * (_ROWS_COST + taps * each)

    divisors = [n for n in range(layer.pool, height + 1, layer.pool) if height % n == 0]
    splits = [(rows, band) for rows in divisors for band in divisors if rows % band == 0]
    fitting = [(rows, band) for rows, band in splits if rows // band * runs(band) * _POSITIONS_AT_ONCE <= _MOST_SUMS]
    rows, band = min(fitting or [(layer.pool, layer.pool)], key=cost)
    return Sums(rows, band, down, rows // band * runs(band) * _POSITIONS_AT_ONCE + _OVERHANG)


def columns_of(layer: Convolution, source: Buffer) -> int:
    """Return how many places of a window the sparse kernel must look up; 0 where it is one run of memory, and whole."""
    is_run = is_whole(layer) and source.border == NO_PADDING
    return 0 if is_run else layer.kernel[0].size


def most_taps(layer: Convolution) -> int:
    """Return how many weights of a filter are not zero, at most; they go in pairs."""
    most = int(np.count_nonzero(layer.kernel.reshape(len(layer.kernel), -1), axis=1).max())
    return most + most % 2


def sparsity(layer: Convolution) -> float:
    """Return the share of zeros among a layer's weights."""
    return 1 - np.count_nonzero(layer.kernel) / layer.kernel.size


def is_whole(layer: Layer) -> bool:
    """Return whether a layer is a convolution with one window, which is all of its input."""
    if not isinstance(layer, Convolution) or layer.is_depthwise:
        return False
    return layer.kernel.shape[1:] == layer.sources[0].shape and layer.padding == NO_PADDING


def _kernel(layer: Layer, asked: str) -> str:
    if not isinstance(layer, Convolution) or layer.is_depthwise:
        return ""
    if asked != "auto":
        return asked
    return "sparse" if sparsity(layer) >= SPARSE_FROM else "dense"


def _readers(network: Network) -> dict[int, list[View]]:
    """Return, of every tensor that holds values, how it is seen: by what makes it first."""
    seen: dict[int, list[View]] = {network.input.tensor: [network.input]}
    for layer in network.layers:
        for view in (*layer.sources, layer.target):
            seen.setdefault(view.tensor, []).append(view)
    seen[network.output.tensor].append(network.output)
    return seen


def _buffer(network: Network, kernels: Sequence[str], tensor: int, views: Sequence[View]) -> Buffer:
    """Return the buffer of a tensor, which has the shape with the most positions that it is seen in."""
    shape = max((view.shape for view in views), key=lambda s: s[0] * s[1])
    reading = [(n, layer) for n, layer in enumerate(network.layers) if tensor in [v.tensor for v in layer.sources]]
    making = next((layer for layer in network.layers if layer.target.tensor == tensor), None)
    borders = [layer.padding for _, layer in reading if isinstance(layer, Convolution)]
    border = Padding(*(max((getattr(p, side) for p in borders), default=0) for side in Padding.__annotations__))
    sparse = [layer for n, layer in reading if kernels[n] == "sparse" and not is_whole(layer)]
    is_planar = (
        bool(sparse)
        and shape[2] > 1
        and tensor != network.output.tensor
        and isinstance(making, Convolution)
        and not making.is_depthwise
        and all(kernels[n] == "sparse" or (is_whole(layer) and border == NO_PADDING) for n, layer in reading)
    )
    are_neighbours = is_planar or shape[2] == 1
    flat = [layer for layer in sparse if are_neighbours and isinstance(layer, Convolution) and layer.stride[1] == 1]
    quads = [layer for n, layer in reading if kernels[n] == "dense" and _run(layer, shape) % QUAD]
    return Buffer(
        shape, network.zero(views[0]), border, is_planar, _POSITIONS_AT_ONCE - 1 if flat else QUAD - 1 if quads else 0
    )


def _run(layer: Layer, shape: Shape) -> int:
    """Return how many values of a window lie side by side."""
    assert isinstance(layer, Convolution)
    return shape[1] * shape[2] if is_whole(layer) else layer.kernel.shape[2] * layer.kernel.shape[3]


def _that_reaches(kernel: str, layer: Layer, buffers: dict[int, Buffer], asked: str, where: str) -> str:
    """Return the kernel, dense instead of sparse where an input is too large for the offset of a tap."""
    if kernel != "sparse" or buffers[layer.sources[0].tensor].size <= _MOST_OFFSET:
        return kernel
    if asked == "sparse":
        raise ArtifactError(
            f"{where}: {layer.label}: an input of {buffers[layer.sources[0].tensor].size:,} bytes; the sparse kernel "
            f"takes {_MOST_OFFSET:,}; leave --kernel out"
        )
    return "dense"


def _seen(buffer: Buffer, view: View, layer: Layer, where: str) -> Buffer:
    """Return a buffer as a layer sees it, in that layer's shape."""
    if buffer.shape == view.shape or is_whole(layer):
        return buffer
    if not buffer.is_plain:
        raise ArtifactError(
            f"{where}: {layer.label}: reshapes {list(buffer.shape)}, which another layer pads, to {list(view.shape)}; "
            f"expected a layer in between"
        )
    return replace(buffer, shape=view.shape)


def _placed(
    network: Network, kernels: Sequence[str], buffers: dict[int, Buffer]
) -> tuple[dict[int, Buffer], dict[int, int], int]:
    """Return the buffers with their offsets, those of the taps of sparse layers, and the bytes of the arena."""
    lives = {tensor: _life(network, tensor) for tensor in buffers}
    asked = [(("tensor", tensor), buffer.size + buffer.tail, *lives[tensor]) for tensor, buffer in buffers.items()]
    for n, layer in enumerate(network.layers):
        if kernels[n] == "sparse" and isinstance(layer, Convolution):
            source, target = buffers[layer.sources[0].tensor], buffers[layer.target.tensor]
            asked.append((("taps", n), _scratch_bytes(layer, source, target), n, n))
    offsets = _offsets([(size, first, last) for _, size, first, last in asked])
    found = {key: offset for (key, *_), offset in zip(asked, offsets, strict=True)}
    placed = {tensor: replace(buffer, offset=found["tensor", tensor]) for tensor, buffer in buffers.items()}
    taps = {n: offset for (what, n), offset in found.items() if what == "taps"}
    ends = [offset + size for (_, size, *_), offset in zip(asked, offsets, strict=True)]
    return placed, taps, _aligned(max(ends))


def _scratch_bytes(layer: Convolution, source: Buffer, target: Buffer) -> int:
    """Return what the sparse kernel needs: sums, the weights of a filter, and the places of its columns."""
    columns = columns_of(layer, source)
    taps = most_taps(layer) if columns else 0
    return _SUM_BYTES * sums_of(layer, source, target).room + _TAP_BYTES * taps + _PLACE_BYTES * columns


def _life(network: Network, tensor: int) -> tuple[int, int]:
    """Return the first and last layer at which a tensor is needed; the input is before all, the output behind."""
    made = [n for n, layer in enumerate(network.layers) if layer.target.tensor == tensor]
    read = [n for n, layer in enumerate(network.layers) if tensor in [v.tensor for v in layer.sources]]
    end = [len(network.layers)] if tensor == network.output.tensor else []
    return min((-1, *made) if tensor == network.input.tensor else made), max((*made, *read, *end))


def _offsets(asked: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return an offset for each (size, first, last): the largest first, each as low as those alive with it let it."""
    offsets = [0] * len(asked)
    done: list[int] = []
    for n in sorted(range(len(asked)), key=lambda n: -asked[n][0]):
        size, first, last = asked[n]
        together = sorted(
            (offsets[m], _aligned(asked[m][0])) for m in done if asked[m][1] <= last and first <= asked[m][2]
        )
        for offset, taken in together:
            if offsets[n] + size <= offset:
                break
            offsets[n] = max(offsets[n], offset + taken)
        done.append(n)
    return offsets


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def padding_of(layer: Layer) -> Padding:
    """Return what a layer pads its input with; pooling cuts its windows instead."""
    return layer.padding if isinstance(layer, Convolution) else NO_PADDING
