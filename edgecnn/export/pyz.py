"""Pack `edgecnn.device` into one file that runs alone: ``python3 predict.pyz --model int8.tflite digit.png``."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipapp
from pathlib import Path

_MAIN = """import sys

from edgecnn.device.command_line import main, model_beside

sys.exit(main(find_model=model_beside))
"""
_EPOCH = 315532800  # 1980-01-01, the earliest date a zip file can hold


def to_pyz() -> bytes:
    """Return the zipapp's content: the device package and nothing else of edgecnn; always the same bytes."""
    package = Path(__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        target = root / "edgecnn" / "device"
        target.mkdir(parents=True)
        shutil.copy(package / "__init__.py", target.parent)
        for source in (package / "device").glob("*.py"):
            shutil.copy(source, target)
        (root / "__main__.py").write_text(_MAIN)
        for path in [*root.rglob("*"), root]:
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (_EPOCH, _EPOCH))
        archive = io.BytesIO()
        zipapp.create_archive(root, archive, interpreter="/usr/bin/env python3")
        return archive.getvalue()
