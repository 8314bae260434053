"""The build stage: a model as a shared library and a program for one machine, tried before anything is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgecnn import artifact, extras
from edgecnn.archives import PROGRAM
from edgecnn.artifact import Record
from edgecnn.device.files import LIBRARY
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.c_files import c_of, check_owner, keep_beside
from edgecnn.pipeline.workspace import parent_hashes

C_FILES = ("model.h", "model.c")


@dataclass(frozen=True)
class Source:
    """A model in C: its files, the record of its parent or its own, its parents' hashes, and that parent's bytes."""

    texts: dict[str, str]
    record: Record | None
    parents: dict[str, str]  # of model.c, as it will lie in the folder that is written
    settings: dict[str, str]
    tflite: bytes | None


def build(
    model: Path,
    *,
    target: str = "native",
    out: Path,
    name: str = "model",
    kernel: str = "auto",
    compiler: str | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Path:
    """Write libmodel.so, the program predict, model.c and model.h of a model into folder `out`; return the library.

    `model` is an int8 .tflite file, or a folder that holds model.c and model.h: `name` and `kernel` are for the
    former. Everything is compiled, and tried on golden vectors, before anything is written; `say` gets what there is to
    tell. Raises what `native.compiled` does, and `ArtifactError` for a model that there are no kernels for or when
    `out` holds another one.
    """
    from edgecnn import native

    native.check_target(target)
    source = _of_folder(model, out) if model.is_dir() else _of_tflite(model, out, name=name, kernel=kernel, say=say)
    check_owner(out / "model.c", source.parents)
    cases = _golden_cases(source, say)
    dispatch = artifact.for_the_board("c/dispatch.c").read_text()
    built = native.compiled(source.texts, dispatch, target=target, cases=cases, compiler=compiler, where=str(model))
    for file, text in source.texts.items():
        keep_beside(out / file, text.encode(), source.record, source.parents, source.settings)
    library = out / LIBRARY
    parents = {file: artifact.sha256(text.encode()) for file, text in source.texts.items()}
    keep_beside(library, built.library, source.record, parents, built.settings)
    artifact.write_atomic(out / PROGRAM, built.program)
    (out / PROGRAM).chmod(0o755)
    for note in (*built.notes, f"{LIBRARY}: {len(built.library):,} bytes; {PROGRAM}: {len(built.program):,} bytes"):
        say(note)
    return library


def _of_tflite(tflite: Path, out: Path, *, name: str, kernel: str, say: Callable[[str], None]) -> Source:
    content = artifact.read_bytes(tflite)
    texts, record = c_of(tflite, name=name, kernel=kernel, needed_by="build", warn=lambda line: say(f"warning: {line}"))
    parents = parent_hashes(out / "model.c", (tflite,))
    return Source(texts, record, parents, {"name": name, "kernel": kernel}, content)


def _of_folder(folder: Path, out: Path) -> Source:
    """Return the model in a folder; the .tflite file that it was made from may lie where its record says."""
    texts = {file: artifact.read_bytes(folder / file).decode(errors="replace") for file in C_FILES}
    records = [artifact.checked(folder / file) for file in C_FILES if artifact.record_path(folder / file).exists()]
    record = records[-1] if len(records) == len(C_FILES) else None
    if record is None:
        return Source(texts, None, {}, {}, None)
    lie = {folder / parent: digest for parent, digest in record.parents.items()}
    parents = {os.path.relpath(path, out): digest for path, digest in lie.items()}
    whole = (path.read_bytes() for path in lie if path.is_file())
    tflite = next((content for content in whole if artifact.sha256(content) in lie.values()), None)
    return Source(texts, record, parents, record.settings, tflite)


def _golden_cases(source: Source, say: Callable[[str], None]) -> bytes | None:
    """Return golden vectors of a model, or None, saying why, where none can be made."""
    from edgecnn.native import parts_of

    version = parts_of(source.texts, where="build").version
    if source.tflite is None or artifact.sha256(source.tflite) != version:
        say("golden vectors were not run: the .tflite file that model.c was made from is not where its record says")
        return None
    if not extras.installed("litert"):
        say("golden vectors were not run: LiteRT, which makes them, is not installed")
        return None
    from edgecnn.native.golden import cases

    return cases(source.tflite)


def check_source(model: Path) -> None:
    """Raise `ArtifactError` for what cannot be built: neither an int8 .tflite file nor a folder with a model in C."""
    if model.is_dir() and not all((model / file).is_file() for file in C_FILES):
        raise ArtifactError(f"build {model}: no model.c and model.h in it; give a folder of edgecnn export --format c")
    if not model.is_dir() and model.suffix != ".tflite":
        raise ArtifactError(
            f"build {model}: got {model.suffix or 'no suffix'}; expected an int8 .tflite file, or a folder with "
            f"model.c and model.h; make one: edgecnn export --format c"
        )
