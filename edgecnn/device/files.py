"""A model's files: its bytes, and the record beside it (`int8.tflite.json`) that vouches for them. No numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecnn.device.digest import sha256
from edgecnn.device.errors import ModelError

LIBRARY, C_LIBRARY = "libmodel.so", "c"  # a model's C library beside it, and what it is called as a runtime
LIBRARY_ABI = 2  # of struct edgecnn_description in edgecnn/native/library.c


def read_model(path: Path) -> bytes:
    """Return the file's bytes after a look at its first ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read ({error.strerror}); give a .tflite or .onnx file") from None
    if path.suffix == ".tflite" and content[4:8] != b"TFL3":
        raise ModelError(f"{path}: not a TFLite file ({len(content)} bytes, no TFL3 mark); restore or export it again")
    if path.suffix == ".onnx" and content[:1] != b"\x08":
        raise ModelError(f"{path}: not an ONNX file ({len(content)} bytes, no IR version); restore or export it again")
    if path.suffix == ".so" and content[:4] != b"\x7fELF":
        raise ModelError(f"{path}: not a library ({len(content)} bytes, no ELF mark); copy it again")
    return content


def read_record(path: Path) -> dict[str, Any]:
    """Return the record beside model `path`, or an empty dict when there is none."""
    record = path.with_name(path.name + ".json")
    try:
        values = json.loads(record.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{record}: not a readable record ({one_line(error)}); restore or remove it") from None
    if not isinstance(values, dict) or not isinstance(values.get("sha256"), str):
        raise ModelError(f"{record}: no sha256 in it; expected the record of {path.name}; restore or remove it")
    return values


def vouched_for(path: Path, content: bytes) -> bool:
    """Return whether a record lies beside `path`; raises `ModelError` when its hash is not that of `content`."""
    record = read_record(path)
    if not record:
        return False
    got = sha256(content)
    if got != record["sha256"]:
        raise ModelError(
            f"{path}: sha256 is {got[:12]}…, its record says {record['sha256'][:12]}…; "
            f"the file was changed or damaged: copy both again"
        )
    return True


def labels_of(path: Path, classes: int, record: dict[str, Any], known: Sequence[str] = ()) -> list[str]:
    """Return the names of a model's classes: its record's, else those `known`, else "0", "1", ..."""
    labels = record.get("labels", list(known) or [str(i) for i in range(classes)])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ModelError(f"{path}: labels in its record are {labels!r:.60}; expected a list of names; copy it again")
    if len(labels) != classes:
        raise ModelError(f"{path}: {classes} classes, its record names {len(labels)}; copy model and record together")
    return labels


def check_contract(path: Path, shape: Sequence[int], dtype: str, record: dict[str, Any]) -> None:
    """Raise `ModelError` when the record states another input than the model has or the predictor feeds."""
    stated = record.get("input")
    if stated is None:
        return
    feeds = {"shape": list(shape), "dtype": dtype, "range": [0, 1] if dtype == "float32" else [0, 255]}
    if stated != feeds:
        raise ModelError(f"{path}: its record says input {stated!r:.120}; the model takes {feeds}; copy both again")


def one_line(error: Exception) -> str:
    """Return what an error says, shortened to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
