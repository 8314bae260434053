"""MNIST from its four canonical .gz files: found, or downloaded; always compared with their checksums."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from edgecnn.artifact import write_atomic
from edgecnn.data import idx
from edgecnn.data.splits import Split
from edgecnn.errors import DataError

# MD5 of the uncompressed content: packing a file anew changes the .gz, not what is in it.
CHECKSUMS = {
    "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
}
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
LABELS = tuple("0123456789")
_TIMEOUT_S = 20
_CHUNK_BYTES = 1 << 16


def read(
    *,
    data_dir: Path | None = None,
    mirrors: Sequence[str] = MIRRORS,
    on_download: Callable[[str, int, int], None] = lambda file, done, total: None,
) -> tuple[Split, Split, tuple[str, ...]]:
    """Return (train, test, labels), 60,000 and 10,000 images.

    Looked for in `data_dir` (and then nowhere else), ``$EDGECNN_DATA/mnist``, ``~/.cache/edgecnn/mnist``, and
    otherwise downloaded into the last. Raises `DataError` when the files are absent or not MNIST's.
    """
    folder = find(data_dir) or download(cache_dir(), mirrors=mirrors, on_download=on_download)
    splits = []
    for part in ("train", "t10k"):
        images = _checked(folder / f"{part}-images-idx3-ubyte.gz")
        labels = _checked(folder / f"{part}-labels-idx1-ubyte.gz")
        splits.append(
            Split(
                idx.parse_images(images, where=f"{folder}/{part}-images-idx3-ubyte.gz"),
                idx.parse_labels(labels, where=f"{folder}/{part}-labels-idx1-ubyte.gz", classes=len(LABELS)),
            )
        )
    return splits[0], splits[1], LABELS


def cache_dir() -> Path:
    """Return where downloads are kept."""
    return Path.home() / ".cache" / "edgecnn" / "mnist"


def find(data_dir: Path | None = None) -> Path | None:
    """Return the first folder that holds all four files, or None; a `data_dir` without them is a `DataError`."""
    if data_dir is not None:
        if absent := _absent(data_dir):
            raise DataError(f"{data_dir}: {', '.join(absent)} not found; expected MNIST's four .gz files there")
        return data_dir
    root = os.environ.get("EDGECNN_DATA")
    candidates = [Path(root) / "mnist"] if root else []
    return next((folder for folder in [*candidates, cache_dir()] if not _absent(folder)), None)


def download(folder: Path, *, mirrors: Sequence[str], on_download: Callable[[str, int, int], None]) -> Path:
    """Fetch what is absent from `folder` out of the first mirror that has it; return `folder`."""
    for name in _absent(folder):
        failures = []
        for mirror in mirrors:
            try:
                _keep(folder / name, _fetch(mirror + name, name, on_download))
                break
            except (OSError, http.client.HTTPException, ValueError, DataError) as error:
                failures.append(f"{mirror}: {getattr(error, 'reason', None) or error or type(error).__name__}")
        else:
            raise DataError(
                f"mnist: {name} not found and not downloaded ({'; '.join(failures)}); put MNIST's four .gz files into "
                f"{folder} or name their folder with --data-dir; --data digits needs none"
            )
    return folder


def _absent(folder: Path) -> list[str]:
    return [name for name in CHECKSUMS if not (folder / name).is_file()]


def _checked(path: Path) -> bytes:
    raw = idx.decompress(path)
    # Parse first where the file is no idx at all: "magic 2049" says more than "another checksum".
    if "images" in path.name:
        idx.parse_images(raw, where=str(path))
    else:
        idx.parse_labels(raw, where=str(path), classes=len(LABELS))
    _compare(raw, path.name, where=str(path), remedy="replace the file")
    return raw


def _compare(raw: bytes, name: str, *, where: str, remedy: str) -> None:
    got = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if got != CHECKSUMS[name]:
        raise DataError(f"{where}: md5 of the content is {got}; expected {CHECKSUMS[name]}; {remedy}")


def _fetch(url: str, name: str, on_download: Callable[[str, int, int], None]) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        content = bytearray()
        while chunk := response.read(_CHUNK_BYTES):
            content += chunk
            on_download(name, len(content), total)
    if total and len(content) != total:
        raise OSError(f"got {len(content)} of {total} bytes")
    return bytes(content)


def _keep(path: Path, content: bytes) -> None:
    """Write a download to `path` if it is what it should be; otherwise set it aside and raise `DataError`."""
    with tempfile.TemporaryDirectory() as scratch:
        received = Path(scratch) / path.name
        received.write_bytes(content)
        try:
            _checked(received)
        except DataError as error:
            aside = path.with_name(path.name + ".bad")
            write_atomic(aside, content)
            reason = str(error).removeprefix(f"{received}: ")
            raise DataError(f"{reason}; what came is kept as {aside}") from None
    write_atomic(path, content)
