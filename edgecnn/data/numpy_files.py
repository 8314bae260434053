"""NumPy's files: an .npz with images and labels, or a folder with an .npy file for each."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgecnn.data import store
from edgecnn.data.arrays import from_arrays, role_of
from edgecnn.data.splits import Source
from edgecnn.data.watched import ReadObserver, bytes_of, opened, unobserved
from edgecnn.errors import DataError

_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 1 << 44  # more is a damaged header


def read_npz(path: Path, *, observe: ReadObserver = unobserved) -> Source:
    """Return the data set in an .npz file, packed or not; the names are those of `arrays.from_arrays`.

    `observe` is called with (bytes read, bytes in all).
    """
    arrays = {}
    try:
        with bytes_of([path], observe) as count, opened(path, count) as packed, zipfile.ZipFile(packed) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    arrays[name.removesuffix(".npy")] = _array(file, where=f"{path}: {name}")
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{path}: not a complete .npz file ({error}); save it again with numpy.savez") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}); check the path") from None
    return from_arrays(arrays, where=str(path))


def read_npy(path: Path, *, observe: ReadObserver = unobserved) -> Source:
    """Return the data set of the .npy files in a folder, or beside one: images.npy and labels.npy, and the like.

    `observe` is called with (bytes read, bytes in all).
    """
    folder = path if path.is_dir() else path.parent
    files = [file for file in sorted(folder.glob("*.npy")) if role_of(file.stem) or file.stem == "class_names"]
    arrays = {}
    with bytes_of(files, observe) as count:
        for file in files:
            try:
                with opened(file, count) as content:
                    arrays[file.stem] = _array(content, where=str(file))
            except OSError as error:
                raise DataError(f"{file}: cannot read ({error.strerror or error}); check the path") from None
    return from_arrays(arrays, where=str(folder))


def _array(file: IO[bytes], *, where: str) -> NDArray[Any]:
    """Return one array; bytes go to where images are kept, so that neither size nor packing costs memory twice."""
    try:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = header(file)
    except Exception as error:  # a header is parsed as Python's literals, which fails in many ways
        why = " ".join(str(error).split())[:80] or type(error).__name__
        raise DataError(f"{where}: not NumPy's format ({why}); save it again with numpy.save") from None
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects, which could run code; expected numbers or text; save it so")
    size_bytes = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size_bytes > _MOST_BYTES:
        raise DataError(f"{where}: its header says {list(shape)}, which no file holds; save it again with numpy.save")
    content = store.allocate((size_bytes,))
    taken = 0
    while taken < size_bytes and (block := file.read(min(_BLOCK_BYTES, size_bytes - taken))):
        content[taken : taken + len(block)] = np.frombuffer(block, np.uint8)
        taken += len(block)
    if taken < size_bytes:
        raise DataError(f"{where}: {taken} bytes of data; its header says {size_bytes}; truncated? save it again")
    return np.ndarray(shape, dtype, content.data, order="F" if by_columns else "C")
