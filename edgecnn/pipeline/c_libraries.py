"""C libraries to measure: those that lie beside their models, the others compiled for the purpose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgecnn.errors import ArtifactError
from edgecnn.pipeline.building import build


@dataclass(frozen=True)
class CLibrary:
    """A C library, its size, and what it takes: bytes of code and constants, and of memory beside them."""

    path: Path
    size_bytes: int
    flash_bytes: int
    arena_bytes: int | None  # None of one for another machine, which cannot be asked here


def libraries_for(models: Iterable[Path], folder: Path, target: str | None = None) -> dict[Path, CLibrary | str]:
    """Return the C library of each model, compiled into `folder` where none lies beside it, or why there is none.

    With a `target` all are compiled, for that machine.
    Raises `MissingExtraError` where one must be compiled and there is no compiler.
    """
    return {model: _library(model, folder / str(number), target) for number, model in enumerate(models)}


def _library(model: Path, folder: Path, target: str | None) -> CLibrary | str:
    from edgecnn.bench.footprint import flash_bytes
    from edgecnn.device.errors import DeviceError
    from edgecnn.device.runtimes.library import Library, library_of

    try:
        if target is not None:
            path = build(model, target=target, out=folder)
            return CLibrary(path, path.stat().st_size, flash_bytes(path), None)
        path = library_of(model, asked=False) or build(model, out=folder)
        return CLibrary(path, path.stat().st_size, flash_bytes(path), Library(path).arena_bytes)
    except (ArtifactError, DeviceError) as error:
        return str(error)
