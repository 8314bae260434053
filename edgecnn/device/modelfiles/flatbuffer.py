"""Tables of a flatbuffer, read in place; no numpy.

The format: https://flatbuffers.dev/internals. A table begins with the distance back to its vtable, which says for each
field, by its number in the schema, how far behind the table's beginning its value lies: 0 where it was left out.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import overload

from edgecnn.device.errors import DamagedError
from edgecnn.device.modelfiles.budget import Budget

MOST_PARTS = 150_000  # tables and numbers; MobileNetV2 has some 2,000
_OFFSET_BYTES = 4


def root(content: bytes | memoryview, mark: bytes) -> Table:
    """Return the outermost table of a flatbuffer whose bytes 4 to 8 are `mark`; raises `DamagedError`."""
    view = memoryview(content)
    if view[4:8] != mark:
        raise DamagedError(f"no {mark.decode()} mark")
    return Table(view, int(_read(view, "I", 0)), Budget(MOST_PARTS))


class Table:
    """One table. Fields are asked for by their number in the schema; all of it raises `DamagedError`."""

    def __init__(self, content: memoryview, position: int, budget: Budget) -> None:
        budget.spend()
        self._content, self._position, self._budget = content, position, budget
        self._vtable = position - int(_read(content, "i", position))
        self._vtable_bytes = _read(content, "H", self._vtable)

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """Return a whole number; `kind` is its format as `struct` names it."""
        place = self._place(field)
        return default if place is None else int(_read(self._content, kind, place))

    def text(self, field: int) -> str:
        """Return a text, "" where it is left out."""
        return bytes(self.raw(field)).decode(errors="replace")

    def raw(self, field: int) -> memoryview:
        """Return the bytes of a text or of a vector of bytes."""
        start, count = self._vector(field, 1)
        return self._content[start : start + count]

    def numbers(self, field: int, kind: str) -> tuple[float, ...]:
        """Return the numbers of a vector; `kind` is their format as `struct` names it."""
        start, count = self._vector(field, struct.calcsize(f"<{kind}"))
        self._budget.spend(count)
        return struct.unpack_from(f"<{count}{kind}", self._content, start)

    def table(self, field: int) -> Table | None:
        """Return the table of a field, None where it is left out."""
        place = self._place(field)
        return None if place is None else _behind(self._content, place, self._budget)

    def tables(self, field: int) -> Sequence[Table]:
        """Return the tables of a vector; each is looked at when it is asked for."""
        return _Tables(self._content, *self._vector(field, _OFFSET_BYTES), self._budget)

    def _place(self, field: int) -> int | None:
        """Return where a field's value lies, None where it is left out."""
        entry = 4 + 2 * field  # behind the sizes of vtable and table
        if entry + 2 > self._vtable_bytes:
            return None
        offset = int(_read(self._content, "H", self._vtable + entry))
        return self._position + offset if offset else None

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Return where the items of a vector begin and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + int(_read(self._content, "I", place)) + 4
        count = int(_read(self._content, "I", start - 4))
        if count * item_bytes > len(self._content) - start:
            raise DamagedError(f"a vector of {count} at byte {start} ends behind the file")
        return start, count


class _Tables(Sequence[Table]):
    def __init__(self, content: memoryview, start: int, count: int, budget: Budget) -> None:
        self._content, self._start, self._count, self._budget = content, start, count, budget

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Table: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Table]: ...
    def __getitem__(self, number: int | slice) -> Table | Sequence[Table]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(self._count))]
        if not 0 <= number < self._count:
            raise IndexError(number)
        return _behind(self._content, self._start + _OFFSET_BYTES * number, self._budget)


def _behind(content: memoryview, place: int, budget: Budget) -> Table:
    """Return the table to which the offset at `place` leads."""
    return Table(content, place + int(_read(content, "I", place)), budget)


def _read(content: memoryview, kind: str, position: int) -> int:
    if position < 0:  # which `struct` would count from the end
        raise DamagedError(f"it leads to byte {position}")
    try:
        (value,) = struct.unpack_from(f"<{kind}", content, position)
    except struct.error:
        raise DamagedError(f"it leads to byte {position} of {len(content)}") from None
    return value  # type: ignore[no-any-return]
