"""Pack `edgecnn.device` into one file that runs alone: ``python3 predict.pyz --model int8.tflite digit.png``."""

from __future__ import annotations

import io
import marshal
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

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


def to_pyz() -> bytes:
    """Return the file's content: the device package and nothing else of edgecnn; always the same bytes.

    It is laid out as `zipapp` does; that writes the local time into it, which is another in every time zone.
    Beside each source lies its bytecode, which a Python of the same minor version takes (a zip file has no place to
    keep what it compiles); any other one compiles the source at every start.
    """
    package = Path(__file__).resolve().parents[1]
    paths = [package / "__init__.py", *sorted((package / "device").rglob("*.*"))]
    files = {str(p.relative_to(package.parent)): p.read_bytes() for p in paths if "__pycache__" not in p.parts}
    archive = io.BytesIO(b"#!/usr/bin/env python3\n")
    archive.seek(0, io.SEEK_END)
    with zipfile.ZipFile(archive, "a") as packed:
        for name, content in {"__main__.py": _MAIN.encode(), **files}.items():
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
