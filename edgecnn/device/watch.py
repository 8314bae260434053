"""``predict.pyz --watch DIR``: every picture that arrives in a folder is predicted, once, when it is whole.

The folder is looked through again and again, which every file system allows. What another program is still writing
is told by its size and time, which change, or by its name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from edgecnn.device.errors import DeviceError, ImageError, ModelError, RuntimeMissingError

POLL_S = 0.2
STILL_S = 0.4  # without a change, and a file is taken for whole ...
PATIENCE_S = 3.0  # ... but if it cannot be read then, it gets so long until that is an error
_REST = 4.0  # times as long as a look took: of a very large folder a fifth of the time is spent looking
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", ".download", "~")

Stamp = tuple[int, int, int]


@dataclass
class _File:
    """A file in the folder: what it was like when it was looked at, since when it is like that, and how far we are."""

    stamp: Stamp  # inode, size in bytes, time of change in ns
    since: float
    was_tried: bool = False
    is_done: bool = False


def watch(
    folder: Path, read: Callable[[Path], Iterable[str]], *, wait: Callable[[float], bool]
) -> Iterator[tuple[Path, str | DeviceError]]:
    """Yield each file in `folder` with a line that `read` says of it, or its error, until `wait` returns True.

    What is there at the start comes first, the oldest first. A file that is replaced or changed comes again. Names
    that begin with a dot or end like an unfinished download's, and folders, are left out. `wait` is called with
    seconds between two looks at the folder. Only files that are there are remembered.

    Raises `DeviceError` when the folder is not there, or not any more, and what `read` raises of the model.
    """
    known: dict[str, _File] = {}
    while True:
        started = monotonic()
        known = _looked_at(folder, known)
        took_s = monotonic() - started
        for name in _ready(known):
            for said in _said_of(folder / name, known[name], read):
                yield folder / name, said
        if wait(max(POLL_S, _REST * took_s)):
            return


def _looked_at(folder: Path, known: dict[str, _File]) -> dict[str, _File]:
    """Return the files that are in the folder now, those that have not changed as they were known."""
    now, found = monotonic(), {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stamp = None if _is_unfinished(entry.name) else _stamp(entry)
                if stamp is not None:
                    before = known.get(entry.name)
                    is_same = before is not None and before.stamp == stamp
                    found[entry.name] = before if before is not None and is_same else _File(stamp, now)
    except OSError as error:
        raise DeviceError(
            f"--watch: cannot look into {folder} ({error.strerror}); give a folder that is there"
        ) from None
    return found


def _is_unfinished(name: str) -> bool:
    return name.startswith(".") or name.lower().endswith(_UNFINISHED)


def _stamp(entry: os.DirEntry[str] | Path) -> Stamp | None:
    """Return what changes when a file does; None for what is no file, or gone."""
    try:
        if not entry.is_file():
            return None
        status = entry.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _ready(known: dict[str, _File]) -> list[str]:
    """Return the names of the files to read now, by time of change, then by name."""
    now = monotonic()
    due = [
        (file.stamp[2], name)
        for name, file in known.items()
        if not file.is_done and now - file.since >= (PATIENCE_S if file.was_tried else STILL_S)
    ]
    return [name for _, name in sorted(due)]


def _said_of(path: Path, file: _File, read: Callable[[Path], Iterable[str]]) -> Iterator[str | DeviceError]:
    """Yield what there is to say of a file; nothing if it has changed meanwhile or may yet become readable."""
    said: list[str | DeviceError]
    try:
        said = list(read(path))
    except (ModelError, RuntimeMissingError):
        raise  # it would be the same for every file
    except DeviceError as error:
        said = [error]
    except Exception as error:  # a picture that is worse than all that was thought of must not end the watch
        said = [ImageError(f"{path}: cannot be predicted ({type(error).__name__}: {error})")]
    if _stamp(path) != file.stamp:
        return
    is_last_try = file.was_tried
    file.was_tried = True
    if is_last_try or not isinstance(said[0] if said else None, DeviceError):
        file.is_done = True
        yield from said
