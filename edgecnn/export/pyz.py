"""Pack `edgecnn.device` into one file that runs alone: ``python3 predict.pyz --model int8.tflite digit.png``."""

from __future__ import annotations

import io
import marshal
import os
import shutil
import tempfile
import zipapp
from importlib.util import MAGIC_NUMBER
from pathlib import Path

_MAIN = """import sys

from edgecnn.device.command_line import main, model_beside

sys.exit(main(find_model=model_beside))
"""
_EPOCH = 315532800  # 1980-01-01, the earliest date a zip file can hold


def to_pyz() -> bytes:
    """Return the zipapp's content: the device package and nothing else of edgecnn; always the same bytes.

    Beside each source lies its bytecode, which a Python of the same minor version takes (a zip file has no place to
    keep what it compiles); any other one compiles the source at every start.
    """
    package = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        target = root / "edgecnn" / "device"
        target.mkdir(parents=True)
        shutil.copy(package / "__init__.py", target.parent)
        for source in (package / "device").glob("*.py"):
            shutil.copy(source, target)
        (root / "__main__.py").write_text(_MAIN)
        for source in list(root.rglob("*.py")):
            source.with_suffix(".pyc").write_bytes(_bytecode(source.read_text(), str(source.relative_to(root))))
        for path in [*root.rglob("*"), root]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (_EPOCH, _EPOCH))
        archive = io.BytesIO()
        zipapp.create_archive(root, archive, interpreter="/usr/bin/env python3")
        return archive.getvalue()


def _bytecode(source: str, name: str) -> bytes:
    """Return a .pyc file that is not compared with its source (PEP 552).

    marshal's later versions than 2 note which objects were shared in this process, which differs between runs.
    """
    code = compile(source, name, "exec", dont_inherit=True, optimize=0)
    unchecked = (1).to_bytes(4, "little") + bytes(8)
    return MAGIC_NUMBER + unchecked + marshal.dumps(code, 2)
