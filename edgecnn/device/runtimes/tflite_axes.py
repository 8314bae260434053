"""Files that LiteRT refuses for a number that says nothing: of a 1-D tensor, along which axis it is quantized.

Some converters write 3 there for the biases of a depthwise convolution, whose weights have four axes; one that has a
single axis has no other to be quantized along. Standard library only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

# Fields of tables of TFLite's schema (schema.fbs), by their place in it.
_SUBGRAPHS = 2  # of Model
_TENSORS = 0  # of SubGraph
_SHAPE, _QUANTIZATION = 0, 4  # of Tensor
_QUANTIZED_DIMENSION = 6  # of QuantizationParameters


def with_valid_axes(content: bytes) -> bytes:
    """Return a .tflite file in which each 1-D tensor is quantized along axis 0; `content` itself where that is so.

    A damaged file is returned as it is: the runtime says what is wrong with it.
    """
    try:
        wrong = sorted(_wrong_axes(content))
    except (struct.error, ValueError):
        return content
    if not wrong:
        return content
    mended = bytearray(content)
    for place in wrong:
        struct.pack_into("<i", mended, place, 0)
    return bytes(mended)


def _wrong_axes(content: bytes) -> set[int]:
    """Return where the axes of 1-D tensors stand that are not 0; none that a tensor of other rank shares."""
    ranks: dict[int, set[int]] = {}
    for tensor in _tensors(content):
        quantization, shape = (_follow(content, tensor, field) for field in (_QUANTIZATION, _SHAPE))
        place = None if quantization is None else _field(content, quantization, _QUANTIZED_DIMENSION)
        if place is not None and _int32(content, place):
            ranks.setdefault(place, set()).add(0 if shape is None else _uint32(content, shape))
    return {place for place, found in ranks.items() if found == {1}}


def _tensors(content: bytes) -> Iterator[int]:
    """Yield where the tables of all tensors stand."""
    left = len(content) // 4  # each has a number of its own in a sound file, so that more are a circle
    for subgraph in _tables(content, _uint32(content, 0), _SUBGRAPHS):
        for tensor in _tables(content, subgraph, _TENSORS):
            if (left := left - 1) < 0:
                raise ValueError("more tensors than the file has room for")
            yield tensor


def _tables(content: bytes, table: int, field: int) -> Iterator[int]:
    """Yield where the tables of a table's vector stand."""
    vector = _follow(content, table, field)
    if vector is None:
        return
    for entry in range(vector + 4, vector + 4 + 4 * _uint32(content, vector), 4):
        yield entry + _uint32(content, entry)


def _follow(content: bytes, table: int, field: int) -> int | None:
    """Return where a field of a table points to; None where it is left out."""
    place = _field(content, table, field)
    return None if place is None else place + _uint32(content, place)


def _field(content: bytes, table: int, field: int) -> int | None:
    """Return where a field of a table stands; None where it is left out, and has its default.

    A table begins with the distance back to the list of its fields: two sizes, then where each one lies in it, or 0.
    """
    fields = table - _int32(content, table)
    if 2 * field + 4 >= _uint16(content, fields):
        return None
    offset = _uint16(content, fields + 4 + 2 * field)
    return table + offset if offset else None


def _uint16(content: bytes, place: int) -> int:
    return _number(content, place, "<H")


def _uint32(content: bytes, place: int) -> int:
    return _number(content, place, "<I")


def _int32(content: bytes, place: int) -> int:
    return _number(content, place, "<i")


def _number(content: bytes, place: int, kind: str) -> int:
    """Return the number at `place`; raises `struct.error` or `ValueError` where it is not in the file."""
    if place < 0:
        raise ValueError("a number before the file's start")
    number: int = struct.unpack_from(kind, content, place)[0]
    return number
