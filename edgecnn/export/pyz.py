"""Pack `edgecnn.device` into one file that runs alone: ``python3 predict.pyz --model int8.tflite digit.png``."""

from __future__ import annotations

import io
import marshal
import zipfile
from collections.abc import Sequence
from importlib.util import MAGIC_NUMBER
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
# A self-test first looks whether this very file is whole: none of it is to be trusted before.
_MAIN = """import sys

if "--self-test" in sys.argv:
    from hashlib import sha256
    from pathlib import Path

    own = Path(__file__).parent
    sums = own.with_name("SHA256SUMS")
    line = f"{sha256(own.read_bytes()).hexdigest()}  {own.name}\\n".encode()
    if sums.is_file() and line not in sums.read_bytes():
        print(f"error: {own}: SHA256SUMS says another sha256; one is damaged: copy both again", file=sys.stderr)
        sys.exit(2)

from edgecnn.device.command_line import main, model_beside

sys.exit(main(find_model=model_beside))
"""


_BENCH_MAIN = """from edgecnn.bench.board import main

main()
"""
_BENCH = ("__init__", "board", "conditions", "footprint", "latency", "worker")


def to_pyz() -> bytes:
    """Return the file's content: the device package and nothing else of edgecnn; always the same bytes."""
    return _packed(_MAIN, _device_files())


def bench_pyz() -> bytes:
    """Return what measures on a board, in one file: the device package, and the workers of `edgecnn.bench`."""
    return _packed(_BENCH_MAIN, [*_device_files(), *(_PACKAGE / "bench" / f"{name}.py" for name in _BENCH)])


def _device_files() -> list[Path]:
    paths = [_PACKAGE / "__init__.py", *sorted((_PACKAGE / "device").rglob("*.*"))]
    return [path for path in paths if "__pycache__" not in path.parts]


def _packed(main: str, paths: Sequence[Path]) -> bytes:
    """Return a program of these files of the package.

    It is laid out as `zipapp` does; that writes the local time into it, which is another in every time zone.
    Beside each source lies its bytecode, which a Python of the same minor version takes (a zip file has no place to
    keep what it compiles); any other one compiles the source at every start.
    """
    files = {str(path.relative_to(_PACKAGE.parent)): path.read_bytes() for path in paths}
    archive = io.BytesIO(b"#!/usr/bin/env python3\n")
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a") as packed:
        for name, content in {"__main__.py": main.encode(), **files}.items():
            packed.writestr(_member(name), content)
            if name.endswith(".py"):
                packed.writestr(_member(f"{name}c"), _bytecode(content, name))
    return archive.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    """Return a file's entry, dated 1980, the earliest that a zip file can hold."""
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, 0o100644 << 16  # of Unix, for all to read
    return member


def _bytecode(source: bytes, name: str) -> bytes:
    """Return a .pyc file that is not compared with its source (PEP 552).

    marshal's later versions than 2 note which objects were shared in this process, which differs between runs.
    """
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    unchecked = (1).to_bytes(4, "little") + bytes(8)
    return MAGIC_NUMBER + unchecked + marshal.dumps(code, 2)
