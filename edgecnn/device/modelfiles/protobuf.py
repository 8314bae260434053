"""Fields of a protobuf message, read in place; no numpy.

The format: https://protobuf.dev/programming-guides/encoding. A message is a row of fields, each a number of the schema,
a wire type and a value; what a value of bytes holds (a text, a message, packed numbers) only the schema knows.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgecnn.device.errors import DamagedError
from edgecnn.device.modelfiles.budget import Budget

MOST_PARTS = 400_000  # fields, and four for a message; MobileNetV2 has some 10,000
_MESSAGE_PARTS = 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10  # bytes of 7 bits for a number of 64

Value = int | memoryview
Message = dict[int, list[Value]]


def budget() -> Budget:
    """Return the budget for all that is read of one file."""
    return Budget(MOST_PARTS)


def fields(message: memoryview, left: Budget) -> Iterator[tuple[int, Value]]:
    """Yield number and value of each field in order: an unsigned int of a varint, else bytes, little endian.

    Raises `DamagedError`.
    """
    position = 0
    while position < len(message):
        left.spend()
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        size = _FIXED_SIZES.get(wire)
        if wire == _BYTES:
            size, position = _varint(message, position)
        if size is None or size > len(message) - position:
            raise DamagedError(f"a field of {size or 'no'} bytes and wire type {wire} at byte {position} of a message")
        yield number, message[position : position + size]
        position += size


def parsed(message: memoryview, left: Budget) -> Message:
    """Return the values of a message by the number of their field, each in its order; raises `DamagedError`."""
    left.spend(_MESSAGE_PARTS)
    found: Message = {}
    for number, value in fields(message, left):
        found.setdefault(number, []).append(value)
    return found


def numbers(values: list[Value], left: Budget) -> list[int]:
    """Return whole numbers, signed, of a repeated field, which may be packed; raises `DamagedError`."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(value)
            continue
        position = 0
        while position < len(value):
            left.spend()
            one, position = _varint(value, position)
            found.append(one)
    return [one - (1 << 64) if one >= 1 << 63 else one for one in found]


def number(message: Message, field: int, default: int = 0) -> int:
    """Return a field that is one varint; the last of several counts, as the format says."""
    value = message.get(field, [default])[-1]
    if not isinstance(value, int):
        raise DamagedError(f"field {field} of a message is no number")
    return value


def inner(message: Message, field: int) -> list[memoryview]:
    """Return the values of a field that holds messages or texts."""
    values = message.get(field, [])
    if not all(isinstance(value, memoryview) for value in values):
        raise DamagedError(f"field {field} of a message is a number")
    return [value for value in values if isinstance(value, memoryview)]


def text(message: Message, field: int) -> str:
    """Return a field that is one text, "" where it is left out."""
    values = inner(message, field)
    return bytes(values[-1]).decode(errors="replace") if values else ""


def texts(message: Message, field: int) -> tuple[str, ...]:
    """Return a field that is several texts."""
    return tuple(bytes(value).decode(errors="replace") for value in inner(message, field))


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, and where it ends."""
    if position < len(message) and message[position] < 0x80:  # nearly all are
        return message[position], position + 1
    value = 0
    for place, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & (1 << 64) - 1, position + place + 1
    raise DamagedError(f"a number at byte {position} of a message does not end")
