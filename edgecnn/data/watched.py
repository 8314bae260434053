"""Files whose reading is watched, for progress bars: what is quick shows none."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

# Called with (steps done, steps in all).
ReadObserver = Callable[[int, int], None]

_BLOCK_BYTES = 1 << 20
_QUICK_S = 1.0


def unobserved(done: int, total: int) -> None:
    """Do nothing: the observer of those who want no progress."""


def if_slow(observe: ReadObserver) -> ReadObserver:
    """Return `observe` for work that begins now; it hears of nothing in the first second."""
    began = time.monotonic()

    def observe_later(done: int, total: int) -> None:
        if time.monotonic() - began > _QUICK_S:
            observe(done, total)

    return observe_later


@contextmanager
def bytes_of(paths: Sequence[Path], observe: ReadObserver) -> Iterator[Callable[[int], None]]:
    """Yield a function to be called with the number of bytes whenever some of these files are read.

    `observe` hears of all files together, and at the end that all is done: parts may be read twice, or not at all.
    """
    total = sum(path.stat().st_size for path in paths)
    done = 0

    def count(size_bytes: int) -> None:
        nonlocal done
        done = min(done + size_bytes, total - 1)
        observe(done, total)

    yield count
    observe(total, total)


@contextmanager
def opened(path: Path, count: Callable[[int], None]) -> Iterator[BinaryIO]:
    """Open a file for reading; `count` is called with the size of each block that is read."""
    with path.open("rb", buffering=0) as file, io.BufferedReader(_Counted(file, count), _BLOCK_BYTES) as buffered:
        yield buffered


class _Counted(io.RawIOBase):
    """A file that tells how much of it is read, a block at a time."""

    def __init__(self, file: io.FileIO, count: Callable[[int], None]) -> None:
        self._file, self._count = file, count

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        size_bytes = self._file.readinto(memoryview(buffer)[:_BLOCK_BYTES]) or 0
        self._count(size_bytes)
        return size_bytes

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
