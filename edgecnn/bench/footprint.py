"""What a runtime costs besides time: disk and memory."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution

_NEEDS = {
    "litert": ("ai-edge-litert", "numpy"),
    "tflite-runtime": ("tflite-runtime", "numpy"),
    "ort": ("onnxruntime", "numpy"),
    "openvino": ("openvino", "numpy"),
    "mnn": ("MNN", "numpy"),
    "ncnn": ("ncnn", "numpy"),
}


def installed_bytes(runtime: str) -> int | None:
    """Return the bytes on disk of a runtime's package and numpy, or None when one of them cannot be found."""
    try:
        return sum(_package_bytes(package) for package in _NEEDS[runtime])
    except (KeyError, PackageNotFoundError):
        return None


@cache
def bare_python_rss_bytes() -> int:
    """Return the peak resident memory of an interpreter that does nothing: what to subtract from a runtime's."""
    code = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')][0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


def _package_bytes(package: str) -> int:
    found = distribution(package)
    paths = [found.locate_file(file) for file in found.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())  # type: ignore[attr-defined]
