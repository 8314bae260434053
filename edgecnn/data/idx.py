"""The idx format of MNIST: a big-endian header of magic and dimensions, then unsigned bytes; usually gzipped.

A folder of four such files, named as MNIST's are, is a data set.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.data.arrays import from_parts
from edgecnn.data.splits import Source
from edgecnn.errors import DataError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
_CHUNK_BYTES = 1 << 20
_KINDS = {IMAGES_MAGIC: "images", LABELS_MAGIC: "labels"}


def read(folder: Path) -> Source:
    """Return the data set in a folder of train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-..., perhaps .gz."""
    parts = {}
    for split, part in (("train", "train"), ("test", "t10k")):
        images, labels = (_named(folder, f"{part}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1"))
        parts[split] = (
            parse_images(decompress(images), where=str(images)),
            parse_labels(decompress(labels), where=str(labels), classes=256),
        )
    return from_parts(parts, where=str(folder))


def is_idx(folder: Path) -> bool:
    """Return whether a folder has training images by the name that MNIST's have."""
    return any((folder / f"train-images-idx3-ubyte{packed}").is_file() for packed in (".gz", ""))


def _named(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.is_file() else folder / name


def decompress(path: Path) -> bytearray:
    """Return the content of the file `path`, unpacked if it is a .gz; `DataError` if it is absent, cut off or no gzip.

    A bytearray, because arrays over it can be written to, and so be split without a copy.
    """
    content = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                content += chunk
        return content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: not a complete gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror}); check the path") from None


def parse_images(raw: bytes | bytearray, *, where: str) -> NDArray[np.uint8]:
    """Return images uint8 [N, H, W, 1]; raises `DataError` for another magic or a length that does not fit."""
    count, height, width = _header(raw, IMAGES_MAGIC, where)
    return _body(raw, 16, count * height * width, where).reshape(count, height, width, 1)


def parse_labels(raw: bytes | bytearray, *, where: str, classes: int) -> NDArray[np.int64]:
    """Return labels int64 [N] in 0..classes-1; raises `DataError` for another magic, length or value."""
    (count,) = _header(raw, LABELS_MAGIC, where)
    labels = _body(raw, 8, count, where)
    if count and labels.max() >= classes:
        raise DataError(
            f"{where}: label {labels.max()}; expected 0 to {classes - 1}; this file is for another data set"
        )
    return labels.astype(np.int64)


def _header(raw: bytes | bytearray, expected: int, where: str) -> tuple[int, ...]:
    dimensions = expected & 0xFF  # the magic's last byte
    if len(raw) < 4 + 4 * dimensions:
        raise DataError(f"{where}: {len(raw)} bytes; expected an idx header of {4 + 4 * dimensions}; fetch it again")
    magic, *sizes = (int(n) for n in np.frombuffer(raw, ">u4", count=1 + dimensions))
    if magic != expected:
        rank = f" (idx of {magic & 0xFF} dimensions)" if magic >> 8 == 8 else ""
        found = f" ({_KINDS[magic]})" if magic in _KINDS else rank
        raise DataError(f"{where}: magic {magic}{found}; expected {expected} ({_KINDS[expected]}); is it another file?")
    return tuple(sizes)


def _body(raw: bytes | bytearray, offset: int, size: int, where: str) -> NDArray[np.uint8]:
    if len(raw) - offset != size:
        raise DataError(
            f"{where}: {len(raw) - offset} bytes of data; its header says {size}; truncated? fetch it again"
        )
    return np.frombuffer(raw, np.uint8, offset=offset)
