"""Where decoded images are kept: in memory, or past `RAM_BYTES` in a file that is mapped and has no name.

The kernel keeps of a mapped file what fits into memory and drops the rest, so that a set larger than memory costs disk
and time alone. The file is gone when the process ends, however that comes about: nothing of it is ever stale.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgecnn.artifact import user_cache
from edgecnn.errors import StorageError

RAM_BYTES = 1 << 30  # the most that one split's images take of memory
CHUNK = 1024  # images that are moved, hashed or converted at once


def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array to be filled: in memory, or in a file without name in the cache where it is over `RAM_BYTES`."""
    size_bytes = int(np.prod(shape, dtype=np.int64))
    if size_bytes <= RAM_BYTES:
        return np.empty(shape, np.uint8)
    folder = user_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            return np.memmap(file, np.uint8, "w+", shape=shape)
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot keep {size_bytes:,} bytes of decoded images there ({error.strerror}); free space, or "
            f"--resize them"
        ) from None


def chunks(images: NDArray[np.uint8]) -> Iterator[slice]:
    """Yield slices that cover all of `images`, `CHUNK` at a time."""
    for start in range(0, len(images), CHUNK):
        yield slice(start, start + CHUNK)


def rows_of(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return a copy of these rows."""
    copy = allocate((len(rows), *images.shape[1:]))
    for part in chunks(copy):
        copy[part] = images[rows[part]]
    return copy


def keep_rows(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the rows (ascending) of `images` in its own memory, which holds nothing else afterwards.

    An array that cannot be written to is copied.
    """
    if not images.flags.writeable:
        return rows_of(images, rows)
    kept = images[: len(rows)]
    for part in chunks(kept):
        kept[part] = images[rows[part]]  # rows ascend: what is written over was read before
    return kept
