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
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

IMPORT_TIMEOUT_S = 120  # a first import from an SD card takes its time


@dataclass(frozen=True)
class Rung:
    """A runtime: the module to import, the package to install, the files it takes."""

    module: str
    package: str
    suffix: str


@dataclass(frozen=True)
class Finding:
    """What came of importing a runtime: its version if it works, else the reason, one line."""

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


def installed() -> list[str]:
    """Return the names of the installed runtimes, in order of preference, without importing any."""
    return [name for name, rung in LADDER.items() if find_spec(rung.module.split(".")[0]) is not None]


def works(name: str) -> Finding:
    """Return what came of importing an installed runtime in a child process, now or when it was last the same here."""
    kept, key = _kept(), _key(name)
    if isinstance(kept.get(key), dict):
        with contextlib.suppress(TypeError):  # of another version of this file
            return Finding(**kept[key])
    return try_out(name)


def try_out(name: str) -> Finding:
    """Import a runtime in a child process and keep what came of it."""
    import subprocess  # 2 ms, and seldom needed

    rung = LADDER[name]
    command = [sys.executable, "-c", _CHILD, rung.module, rung.package]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Finding(False, reason=f"importing it did not end in {IMPORT_TIMEOUT_S} s")
    if child.returncode == 0:
        finding = Finding(True, version=child.stdout.strip().splitlines()[-1])
    elif child.returncode < 0:
        finding = Finding(False, reason=f"importing it died of signal {-child.returncode}{_meaning(child.returncode)}")
    else:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        finding = Finding(False, reason=" ".join(lines[-1].split())[:200])
    _keep(_key(name), finding)
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
        unfinished.write_text(json.dumps(_kept() | {key: asdict(finding)}, indent=1))
        unfinished.replace(path)
