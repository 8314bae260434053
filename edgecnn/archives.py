"""Files as what travels to a board: checksums and archives that are always the same bytes. Standard library only."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping

from edgecnn.device.selftest import SUMS

PROGRAM = "predict"  # the model in C as a program of its own; what the predictor looks for is named in `device`


def checksums(files: Mapping[str, bytes]) -> str:
    """Return a line a file, in their order, as `sha256sum` writes it and `sha256sum -c` reads it."""
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items())


def with_checksums(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return files by name, their checksums last."""
    return {**files, SUMS: checksums(files).encode()}


def to_tar(files: Mapping[str, bytes], *, folder: str | None = None) -> bytes:
    """Return files as a tar archive, in `folder` if given, without times and owners; programs and scripts may run."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if folder is not None:
            around = tarfile.TarInfo(folder)
            around.type, around.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(around)
        for name, content in files.items():
            member = tarfile.TarInfo(name if folder is None else f"{folder}/{name}")
            member.size, member.mode = len(content), 0o755 if is_program(content) else 0o644
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def to_tar_gz(files: Mapping[str, bytes], *, folder: str) -> bytes:
    """Return `folder` with `files` as a .tar.gz, its members as `to_tar` makes them."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", compresslevel=9, mtime=0) as compressed:
        compressed.write(to_tar(files, folder=folder))
    return packed.getvalue()


def is_program(content: bytes) -> bool:
    """Return whether a file's content is a script or a Linux program (or library), to be marked as such."""
    return content.startswith((b"#!", b"\x7fELF"))
