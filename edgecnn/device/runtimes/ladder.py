"""The ladder of runtimes: which are installed, and which of them work here, found out without dying of it.

A wheel for another CPU (illegal instruction) or another C library (missing symbol) kills or fails the process that
imports it. So each runtime is first imported in a child process, and what came of it is kept in the user's cache.
Standard library only: the doctor must be able to say that numpy is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from edgecnn.device.files import LIBRARY_ABI

IMPORT_TIMEOUT_S = 120  # a first import from an SD card takes its time


class Rung(NamedTuple):
    """A runtime: the module to import, the package to install, the files it takes."""

    module: str
    package: str
    suffix: str


class Finding(NamedTuple):
    """What came of trying a runtime: its version if it works, else the reason, one line.

    The version of a C library is the sha256 of the model that it was made from.
    """

    works: bool
    version: str = ""
    reason: str = ""


# In order of preference.
LADDER = {
    "litert": Rung("ai_edge_litert.interpreter", "ai-edge-litert", ".tflite"),
    "tflite-runtime": Rung("tflite_runtime.interpreter", "tflite-runtime", ".tflite"),
    "ort": Rung("onnxruntime", "onnxruntime", ".onnx"),
}
_CHILD = """
import importlib, importlib.metadata, sys
importlib.import_module(sys.argv[1])
try:
    print(importlib.metadata.version(sys.argv[2]))
except importlib.metadata.PackageNotFoundError:
    print("unknown")
"""
_LIBRARY_CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from edgecnn.device.runtimes.library import tried
tried()
"""
_MOST_KEPT = 100  # findings; those of libraries that are built anew would grow in number for ever


def installed() -> list[str]:
    """Return the names of the installed runtimes, in order of preference, without importing any."""
    return [name for name, rung in LADDER.items() if find_spec(rung.module.split(".")[0]) is not None]


def works(name: str) -> Finding:
    """Return what came of importing an installed runtime in a child process, now or when it was last the same here."""
    return _kept_finding(_key(name)) or try_out(name)


def try_out(name: str) -> Finding:
    """Import a runtime in a child process and keep what came of it."""
    rung = LADDER[name]
    return _tried(_key(name), "importing it", [_CHILD, rung.module, rung.package])


def library_works(path: Path) -> Finding:
    """Return what came of loading and calling a model's C library in a child process, now or when it last was so."""
    status = path.stat()
    file = (str(path.resolve()), str(status.st_mtime_ns), str(status.st_size))
    key = "|".join([f"c{LIBRARY_ABI}", sys.version, cpu_name(), *file])
    return _kept_finding(key) or _tried(key, "calling it", [_LIBRARY_CHILD, str(path), str(Path(__file__).parents[3])])


def _kept_finding(key: str) -> Finding | None:
    kept = _kept().get(key)
    if isinstance(kept, dict):
        with contextlib.suppress(TypeError):  # of another version of this file
            return Finding(**kept)
    return None


def _tried(key: str, what: str, code_and_arguments: Sequence[str]) -> Finding:
    import subprocess  # 2 ms, and seldom needed

    command = [sys.executable, "-c", *code_and_arguments]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Finding(False, reason=f"{what} did not end in {IMPORT_TIMEOUT_S} s")
    if child.returncode == 0:
        finding = Finding(True, version=child.stdout.strip().splitlines()[-1])
    elif child.returncode < 0:
        finding = Finding(False, reason=f"{what} died of signal {-child.returncode}{_meaning(child.returncode)}")
    else:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        finding = Finding(False, reason=" ".join(lines[-1].split())[:200])
    _keep(key, finding)
    return finding


def _meaning(returncode: int) -> str:
    return {-4: ", illegal instruction: it was built for another CPU", -11: ", segmentation fault"}.get(returncode, "")


def _key(name: str) -> str:
    """Return what must not have changed for a finding to hold: Python, the CPU, and the installed files."""
    spec = find_spec(LADDER[name].module.split(".")[0])
    origin = spec.origin if spec is not None and spec.origin else ""
    stamp = Path(origin).stat().st_mtime_ns if origin and Path(origin).is_file() else 0
    return "|".join([name, sys.version, cpu_name(), origin, str(stamp)])


def cpu_name() -> str:
    """Return what the CPU calls itself, and the machine's type where it does not."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model", "Hardware", "CPU part")):
                return f"{os.uname().machine} {line.partition(':')[2].strip()}"
    return os.uname().machine


def cache_file() -> Path:
    """Return where findings are kept: ``$XDG_CACHE_HOME/edgecnn/runtimes.json``."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (no home: left as it is)
    return Path(home) / "edgecnn" / "runtimes.json"


def _kept() -> dict[str, Any]:
    try:
        kept = json.loads(cache_file().read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(key: str, finding: Finding) -> None:
    """Keep a finding; a cache that cannot be written costs only the next start's time."""
    path = cache_file()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        kept = list((_kept() | {key: finding._asdict()}).items())
        unfinished.write_text(json.dumps(dict(kept[-_MOST_KEPT:]), indent=1))
        unfinished.replace(path)
