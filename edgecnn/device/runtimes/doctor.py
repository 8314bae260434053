"""``predict.pyz --doctor``: the board, what works on it, what does not, and what to install. Standard library only."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edgecnn.device.files import LIBRARY
from edgecnn.device.runtimes import ladder

_IN_C = "; or use the program predict of edgecnn build, which needs no packages"
# What the runtimes' kernels look for.
_ARM, _X86 = "neon asimd asimdhp asimddp i8mm sve", "sse4_2 avx avx2 fma avx512f avx512_vnni"


def examine() -> tuple[list[str], bool]:
    """Return the lines of the report, and whether something works; each installed runtime is tried anew."""
    library = Path(sys.argv[0]).resolve().parent / LIBRARY
    found = ladder.library_works(library) if library.is_file() else None
    findings = {name: ladder.try_out(name) for name in ladder.installed()}
    lines = [*_board(), *_libraries(), _row("runtime c", _library_state(library, found))]
    for name, rung in ladder.LADDER.items():
        lines.append(_row(f"runtime {name}", _state(findings.get(name), rung)))
    working = ["c"] if found is not None and found.works else []
    working += [name for name, finding in findings.items() if finding.works]
    reads_images = find_spec("numpy") is not None and find_spec("PIL") is not None
    lines.append(_row("verdict", _verdict(working, reads_images)))
    return lines, bool(working) and reads_images


def _board() -> Iterator[str]:
    model = _text("/proc/device-tree/model").strip("\0\n ")
    yield _row("board", model or "not stated")
    yield _row("CPU", f"{ladder.cpu_name()}, {os.cpu_count()} cores")
    yield _row("CPU features", " ".join(_cpu_features()) or "none of those that the runtimes look for")
    memory = next((line.split()[1] for line in _text("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "")
    yield _row("memory", f"{int(memory) // 1024} MiB" if memory else "not stated")
    yield _row("system", f"{_system()}, {' '.join(platform.libc_ver()) or 'unknown C library'}")
    yield _row(
        "Python", f"{platform.python_version()}, {8 * (sys.maxsize.bit_length() // 8 + 1)} bits, {sys.executable}"
    )


def _libraries() -> Iterator[str]:
    for module, package in (("numpy", "numpy"), ("PIL", "pillow")):
        yield _row(package, _version(package) if find_spec(module) else f"not installed; run: pip install {package}")


def _state(finding: ladder.Finding | None, rung: ladder.Rung) -> str:
    if finding is None:
        return f"not installed; for {rung.suffix} files; run: pip install {rung.package}"
    return f"works, {finding.version}" if finding.works else f"does not work: {finding.reason}"


def _library_state(path: Path, finding: ladder.Finding | None) -> str:
    if finding is None:
        return f"no {LIBRARY} in {path.parent}; made of a model by edgecnn build"
    version = f"works, for the model of sha256 {finding.version[:12]}…"
    return version if finding.works else f"does not work: {finding.reason}"


def _verdict(working: list[str], reads_images: bool) -> str:
    if working and reads_images:
        return f"ready: {', '.join(working)}"
    if working:
        return f"not ready; run: pip install numpy pillow{_IN_C}"
    if platform.machine() in ("armv6l", "armv7l"):
        return (
            f"not ready: ai-edge-litert has no wheel for 32-bit ARM; put a {LIBRARY} beside the model (edgecnn build), "
            f"install a 64-bit system, or tflite-runtime{_IN_C}"
        )
    return f"not ready; run: pip install numpy pillow ai-edge-litert{_IN_C}"


def _cpu_features() -> list[str]:
    """Return those of the CPU's features that matter, by the names the kernel gives them."""
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, values = line.partition(":")
        if name.strip() in ("flags", "Features"):
            present = set(values.split())
            return [feature for feature in f"{_ARM} {_X86}".split() if feature in present]
    return []


def _system() -> str:
    for line in _text("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a Debian package may come without its metadata
        return "installed"


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _row(name: str, value: str) -> str:
    return f"{name:<23}{value}"
