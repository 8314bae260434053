"""Data sets that are published as MNIST's four .gz files: found, or downloaded; their checksums are always compared."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.artifact import user_cache, write_atomic
from edgecnn.data import idx
from edgecnn.data.splits import Source, Split
from edgecnn.errors import DataError

_TIMEOUT_S = 20
_CHUNK_BYTES = 1 << 16

# Called with (file name, bytes received, bytes in all or 0); for progress bars.
DownloadObserver = Callable[[str, int, int], None]


def unobserved(file: str, done: int, total: int) -> None:
    """Do nothing: the observer of those who want no progress."""


@dataclass(frozen=True)
class Published:
    """A data set: the name of its folder and its option, its files, where they are, and its classes.

    `checksums` are MD5 of the uncompressed content: packing a file anew changes the .gz, not what is in it.
    """

    name: str
    title: str
    checksums: dict[str, str]
    mirrors: tuple[str, ...]
    labels: tuple[str, ...]

    def read(self, *, data_dir: Path | None = None, on_download: DownloadObserver = unobserved) -> Source:
        """Return the splits as they were published.

        Looked for in `data_dir` (and then nowhere else), ``$EDGECNN_DATA/NAME`` and NAME in the user's cache, and
        otherwise downloaded into the last. Raises `DataError` when the files are absent or not the published ones.
        """
        folder = self.find(data_dir) or self.download(self.cache_dir(), on_download=on_download)
        train, test = (
            Split(
                idx.parse_images(
                    self._checked(folder / f"{part}-images-idx3-ubyte.gz"),
                    where=f"{folder}/{part}-images-idx3-ubyte.gz",
                ),
                idx.parse_labels(
                    self._checked(folder / f"{part}-labels-idx1-ubyte.gz"),
                    where=f"{folder}/{part}-labels-idx1-ubyte.gz",
                    classes=len(self.labels),
                ),
            )
            for part in ("train", "t10k")
        )
        return Source(train, test, self.labels)

    def cache_dir(self) -> Path:
        """Return where downloads are kept."""
        return user_cache() / self.name

    def find(self, data_dir: Path | None = None) -> Path | None:
        """Return the first folder that holds all files, or None; a `data_dir` without them is a `DataError`."""
        if data_dir is not None:
            if absent := self._absent(data_dir):
                raise DataError(
                    f"{data_dir}: {', '.join(absent)} not found; expected {self.title}'s four .gz files there"
                )
            return data_dir
        root = os.environ.get("EDGECNN_DATA")
        candidates = [Path(root) / self.name] if root else []
        return next((folder for folder in [*candidates, self.cache_dir()] if not self._absent(folder)), None)

    def download(self, folder: Path, *, on_download: DownloadObserver = unobserved) -> Path:
        """Fetch what is absent from `folder` out of the first mirror that has it; return `folder`."""
        for name in self._absent(folder):
            failures = []
            for mirror in self.mirrors:
                try:
                    self._keep(folder / name, _fetch(mirror + name, name, on_download))
                    break
                except (OSError, http.client.HTTPException, ValueError, DataError) as error:
                    failures.append(f"{mirror}: {getattr(error, 'reason', None) or error or type(error).__name__}")
            else:
                raise DataError(
                    f"{self.name}: {name} not found and not downloaded ({'; '.join(failures)}); put {self.title}'s "
                    f"four .gz files into {folder} or name their folder with --data-dir; --data digits needs none"
                )
        return folder

    def _absent(self, folder: Path) -> list[str]:
        return [name for name in self.checksums if not (folder / name).is_file()]

    def _checked(self, path: Path) -> bytearray:
        raw = idx.decompress(path)
        # Parse first where the file is no idx at all: "magic 2049" says more than "another checksum".
        if "images" in path.name:
            idx.parse_images(raw, where=str(path))
        else:
            idx.parse_labels(raw, where=str(path), classes=len(self.labels))
        got, expected = hashlib.md5(raw, usedforsecurity=False).hexdigest(), self.checksums[path.name]
        if got != expected:
            raise DataError(f"{path}: md5 of the content is {got}; expected {expected}; replace the file")
        return raw

    def _keep(self, path: Path, content: bytes) -> None:
        """Write a download to `path` if it is what it should be; otherwise set it aside and raise `DataError`."""
        with tempfile.TemporaryDirectory() as scratch:
            received = Path(scratch) / path.name
            received.write_bytes(content)
            try:
                self._checked(received)
            except DataError as error:
                aside = path.with_name(path.name + ".bad")
                write_atomic(aside, content)
                reason = str(error).removeprefix(f"{received}: ")
                raise DataError(f"{reason}; what came is kept as {aside}") from None
        write_atomic(path, content)


def _fetch(url: str, name: str, on_download: DownloadObserver) -> bytes:
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        content = bytearray()
        while chunk := response.read(_CHUNK_BYTES):
            content += chunk
            on_download(name, len(content), total)
    if total and len(content) != total:
        raise OSError(f"got {len(content)} of {total} bytes")
    return bytes(content)
