"""Compile a model's C for a target, and try what was compiled on golden vectors."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

from edgecnn.archives import PROGRAM
from edgecnn.device.files import LIBRARY
from edgecnn.errors import ArtifactError, GateError
from edgecnn.native.targets import EMULATORS_PACKAGE, FAMILIES, TARGETS, check_target, compiler_of, runners_of

_BASELINE = "baseline"  # the build for every processor of the machine, which chooses
_TIMEOUT_S = 600  # sparse kernels of a large network, on a board
_SOURCES = ("check.c", "classify.h", "digit.h", "division.c", "image.h", "library.c", "predict.c", "system.h")
_STRICT = ("-Wall", "-Wextra", "-Werror", "-O3")
# What distributions switch on by themselves and a C library would have to be there for.
_PLAIN = ("-fno-stack-protector", "-U_FORTIFY_SOURCE", "-ffunction-sections", "-fdata-sections")
_LINK = ("-s", "-Wl,--build-id=none", "-Wl,--gc-sections", "-Wl,-z,noexecstack,-z,noseparate-code,-z,norelro")
_FREESTANDING = ("-DFREESTANDING", "-ffreestanding", "-fno-pie", "-no-pie", "-static", "-nostdlib", "-nostartfiles")
_NAMES = (
    "tensor", "status", "pixel", "score", "version", "input", "output", "label", "contract", "encode", "place",
    "predict", "probabilities",
)  # fmt: skip
_CONSTANTS = (
    "ARENA_BYTES", "ARENA_ALIGNMENT", "HEIGHT", "WIDTH", "CHANNELS", "SCORES",
    "TAKES_PICTURES", "TAKES_DIGITS", "COLORS", "GIVES_LOGITS", "ASSUMED",
    "OK", "NULL_POINTER", "ARENA_TOO_SMALL", "ARENA_MISALIGNED",
)  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What model.h and model.c say of the model: its name in C, and its parent's sha256."""

    name: str
    version: str


@dataclass(frozen=True)
class Built:
    """A compiled model: the bytes of library and program, what they were compiled with, and what to tell of it."""

    library: bytes
    program: bytes
    settings: dict[str, str]
    notes: list[str] = field(default_factory=list)


class CompilerError(Exception):
    """A compiler refused; the message is its first complaint."""


def parts_of(texts: Mapping[str, str], *, where: str) -> Parts:
    """Return what {"model.h": ..., "model.c": ...} say; raises `ArtifactError` for files that no export made.

    Those of an earlier version, which state no contract, are refused too.
    """
    name = re.search(r"^enum ([a-z][a-z0-9_]*)_status \{", texts["model.h"], re.MULTILINE)
    version = re.search(r'_version\(void\)\n\{\n    return "([0-9a-f]{64})";', texts["model.c"])
    if name is None or version is None:
        raise ArtifactError(f"{where}: model.h and model.c are not those of edgecnn export --format c; export them")
    if f"{name[1]}_contract(void)" not in texts["model.h"]:
        raise ArtifactError(
            f"{where}: model.h and model.c are of an earlier edgecnn, and say nothing of the input contract; "
            f"export them again: edgecnn export --format c"
        )
    return Parts(name[1], version[1])


def compiled(
    texts: Mapping[str, str],
    dispatch: str,
    *,
    target: str,
    cases: bytes | None,
    compiler: str | None = None,
    where: str = "model",
) -> Built:
    """Return library and program of a model in C for a target; `dispatch` is the content of deploy/c/dispatch.c.

    `cases` are golden vectors: per case the pixels as the model takes them, then the scores. They are run here, or
    under QEMU, each time on another CPU; a note says so where they are not. A compiler that cannot do the vector
    kernels gets the portable ones, with a note. Raises `ConfigError` for an unknown target, `MissingExtraError` without
    a compiler, `ArtifactError` when it refuses, `GateError` when a case gives other scores.
    """
    machine, parts = check_target(target), parts_of(texts, where=where)
    command = compiler_of(target, compiler)
    told = [*command, *_STRICT, *_PLAIN, *machine.flags]
    version = next(iter(_output(command, "--version").splitlines()), command[0])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in {**texts, **_sources(parts), f"{_BASELINE}.c": dispatch}.items():
            (folder / file).write_text(text)
        try:
            objects, kernels, notes = _compile_model(told, parts.name, folder)
            _link_library(told, objects, folder)
            notes += _link_programs(told, objects, folder)
        except CompilerError as error:
            raise ArtifactError(f"build {where}: {' '.join(command)} refuses it ({error}); try another --cc") from None
        notes += _check(folder, target, cases, where)
        return Built(
            (folder / LIBRARY).read_bytes(),
            (folder / PROGRAM).read_bytes(),
            {"target": target, "compiler": version, "flags": " ".join(told[len(command) :]), "kernels": kernels},
            notes,
        )


def _sources(parts: Parts) -> dict[str, str]:
    """Return the files that are compiled with the model."""
    here = files("edgecnn.native")
    texts = {file: (here / file).read_text() for file in _SOURCES}
    names = [f"#define model_{name} {parts.name}_{name}" for name in _NAMES]
    names += [f"#define MODEL_{name} {parts.name.upper()}_{name}" for name in _CONSTANTS]
    texts["about.h"] = Template((here / "about.h.txt").read_text()).substitute(
        name=parts.name,
        names="" if parts.name == "model" else "\n".join(names),
    )
    texts["exported.map"] = f"{{ global: {parts.name}_*; edgecnn_describe; local: *; }};\n"
    return texts


def _compile_model(command: Sequence[str], name: str, folder: Path) -> tuple[list[str], str, list[str]]:
    """Compile model.c once for each family of kernels; return the objects, the kernels' names, and notes.

    What the compiler cannot do is left out: a family, and of the kernels for every processor the vectors.
    """
    common = [*command, "-std=c99", "-fPIC", "-c"]
    objects, families, notes = [f"{_BASELINE}.o"], {}, []
    for family, flags in FAMILIES.get(_output(command, "-dumpmachine").partition("-")[0], {}).items():
        try:
            _run([*common, *flags, f"-DFAMILY={family}", "model.c", "-o", f"{family}.o"], folder)
            families[family] = f"{family}.o"
        except CompilerError as error:
            notes.append(f"without the kernels for {family}: {command[0]} cannot compile them ({error})")
    choice = [f"-DNAME={name}", *(f"-DWITH_{family}" for family in families), f"{_BASELINE}.c", "-o", *objects]
    kernels = " ".join([_BASELINE, *families])
    try:
        _run([*common, *choice], folder)
    except CompilerError as error:
        _run([*common, "-DPORTABLE", *choice], folder)
        kernels += " (portable C)"
        notes.append(f"portable C: {command[0]} cannot compile the vector kernels ({error})")
    return objects + list(families.values()), kernels, notes


def _link_library(command: Sequence[str], objects: Sequence[str], folder: Path) -> None:
    """Link libmodel.so: no start files and no library, so that it takes memcpy from whatever C library loads it."""
    shared = ("-shared", "-nostdlib", f"-Wl,-soname,{LIBRARY}", "-Wl,--version-script,exported.map")
    sources = ("-fPIC", "-std=gnu99", "library.c", "division.c", *objects)
    _run([*command, *_LINK, *shared, *sources, *_libgcc(command), "-o", LIBRARY], folder)


def _link_programs(command: Sequence[str], objects: Sequence[str], folder: Path) -> list[str]:
    """Link the program and the one that checks, without a C library where the processor is known; return notes."""
    common = [*command, *_LINK, "-std=gnu99"]
    try:
        for name in (PROGRAM, "check"):
            sources = (f"{name}.c", "division.c", *objects)
            _run([*common, *_FREESTANDING, *sources, *_libgcc(command), "-o", name], folder)
        return []
    except CompilerError as error:
        for name in (PROGRAM, "check"):
            _run([*common, f"{name}.c", *objects, "-o", name], folder)
        return [f"{PROGRAM} needs the C library: it cannot be linked without ({error})"]


def _libgcc(command: Sequence[str]) -> tuple[str, ...]:
    """Return the compiler's own library where it is needed, to ask an x86 processor what it has."""
    return ("-lgcc",) if _output(command, "-dumpmachine").startswith("x86_64") else ()


def _check(folder: Path, target: str, cases: bytes | None, where: str) -> list[str]:
    """Run the golden vectors; return what there is to say of it."""
    runners = runners_of(target)
    if cases is None:
        return []
    if runners is None:
        emulator = TARGETS[target].emulator
        return [f"golden vectors were not run: no {emulator} here; run: apt-get install {EMULATORS_PACKAGE}"]
    (folder / "cases").write_bytes(cases)
    for runner in runners:
        done = subprocess.run(
            [*runner, "./check", "cases"], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
        if done.returncode:
            on = f" under {' '.join(runner)}" if runner else ""
            said = done.stderr.strip() or f"it ended with {done.returncode}"
            raise GateError(f"build {where}: golden vectors{on}: {said}; nothing is written; report it")
    on = ", ".join(runner[-1] for runner in runners if runner) or "this machine"
    return [f"golden vectors agree on {on}"]


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a compiler; raises `CompilerError` with its first complaint when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        complaint = next((line for line in lines if "error" in line), next(iter(lines), f"exit {done.returncode}"))
        raise CompilerError(complaint[:200])


def _output(command: Sequence[str], option: str) -> str:
    """Return what a compiler says to an option, empty where it fails."""
    return subprocess.run([*command, option], capture_output=True, text=True, check=False).stdout.strip()
