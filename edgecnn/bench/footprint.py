"""What a runtime, or a model in C, costs besides time: disk and memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

_NEEDS = {
    "litert": ("ai-edge-litert", "numpy"),
    "tflite-runtime": ("tflite-runtime", "numpy"),
    "ort": ("onnxruntime", "numpy"),
    "c": (),
    "openvino": ("openvino", "numpy"),
    "mnn": ("MNN", "numpy"),
    "ncnn": ("ncnn", "numpy"),
}
_PROGBITS, _ALLOC = 1, 2


def installed_bytes(runtime: str) -> int | None:
    """Return the bytes on disk of a runtime's package and numpy, or None when one of them cannot be found."""
    try:
        return sum(_package_bytes(package) for package in _NEEDS[runtime])
    except (KeyError, PackageNotFoundError):
        return None


def flash_bytes(library: Path) -> int:
    """Return the bytes of code and constants in an ELF file: its sections that are loaded and have content.

    What there is to find functions by (symbols, hashes, relocations) is left out: a microcontroller has none of it.
    """
    content = library.read_bytes()
    is_64 = content[4] == 2
    order = "<" if content[5] == 1 else ">"
    # e_shoff, e_shentsize and e_shnum; then of a section sh_type, sh_flags and sh_size (System V ABI, chapter 4).
    (start,) = struct.unpack_from(order + ("Q" if is_64 else "I"), content, 40 if is_64 else 32)
    size, count = struct.unpack_from(order + "HH", content, 58 if is_64 else 46)
    layout = order + ("4xIQ16xQ" if is_64 else "4xII8xI")
    sections = (struct.unpack_from(layout, content, start + number * size) for number in range(count))
    return sum(length for kind, flags, length in sections if kind == _PROGBITS and flags & _ALLOC)


def versions(runtimes: Iterable[str]) -> dict[str, str]:
    """Return the version of each runtime's package and of numpy."""
    return {package: version(package) for runtime in runtimes for package in _NEEDS[runtime]}


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
