"""The idx format of MNIST: a big-endian header of magic and dimensions, then unsigned bytes; usually gzipped.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import DataError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
_KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}


def decompress(path: Path) -> bytes:
    """Return the content of the gzip file `path`; raises `DataError` when it is absent, truncated or no gzip."""
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}); check the path") from None


def parse_images(raw: bytes, *, where: str) -> NDArray[np.uint8]:
    """Return images uint8 [N, H, W, 1]; raises `DataError` for another magic or a length that does not fit."""
    count, height, width = _header(raw, IMAGES_MAGIC, where)
    return _body(raw, 16, count * height * width, where).reshape(count, height, width, 1)


def parse_labels(raw: bytes, *, where: str, classes: int) -> NDArray[np.int64]:
    """Return labels int64 [N] in 0..classes-1; raises `DataError` for another magic, length or value."""
    (count,) = _header(raw, LABELS_MAGIC, where)
    labels = _body(raw, 8, count, where)
    if count and labels.max() >= classes:
        raise DataError(
            f"{where}: label {labels.max()}; expected 0 to {classes - 1}; this file is for another data set"
        )
    return labels.astype(np.int64)


def _header(raw: bytes, expected: int, where: str) -> tuple[int, ...]:
    dimensions = expected & 0xFF  # the magic's last byte
    if len(raw) < 4 + 4 * dimensions:
        raise DataError(f"{where}: {len(raw)} bytes; expected an idx header of {4 + 4 * dimensions}; fetch it again")
    magic, *sizes = (int(n) for n in np.frombuffer(raw, ">u4", count=1 + dimensions))
    if magic != expected:
        found = f" ({_KINDS[magic]})" if magic in _KINDS else ""
        raise DataError(f"{where}: magic {magic}{found}; expected {expected} ({_KINDS[expected]}); is it another file?")
    return tuple(sizes)


def _body(raw: bytes, offset: int, size: int, where: str) -> NDArray[np.uint8]:
    if len(raw) - offset != size:
        raise DataError(
            f"{where}: {len(raw) - offset} bytes of data; its header says {size}; truncated? fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=offset)
