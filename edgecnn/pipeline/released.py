"""The released models as a table, from their records and recorded figures alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgecnn import artifact
from edgecnn.errors import ArtifactError

MODEL_HEADINGS = ("model", "parameters", "not zero", "int8 top-1 %", "size_bytes", "gzip_bytes", "sparse_bytes")


def model_rows() -> list[list[str]]:
    """Return one row of cells per released model, the largest first, in the order of `MODEL_HEADINGS`.

    Sizes and accuracy are those of int8.tflite. Raises `ArtifactError` when there is no model or its files are damaged.
    """
    folders = artifact.released_models()
    if not folders:
        raise ArtifactError("models: none is released in this installation; make one: edgecnn release")
    records = {folder: artifact.read_record(folder / "model.keras") for folder in folders.values()}
    order = sorted(folders.values(), key=lambda f: (-records[f].parameters, -records[f].nonzero_parameters))
    return [_row(folder, records[folder]) for folder in order]


def _row(folder: Path, model: artifact.Record) -> list[str]:
    int8 = artifact.read_record(folder / "int8.tflite")
    measured = _measured(folder / "bench.json")
    top1, sparse_bytes = measured.get("top1"), measured.get("sparse_bytes")
    return [
        folder.name,
        f"{model.parameters:,}",
        f"{model.nonzero_parameters:,}",
        "-" if top1 is None else f"{top1 * 100:.2f}",
        f"{int8.size_bytes:,}",
        f"{int8.gzip_bytes:,}",
        "-" if sparse_bytes is None else f"{sparse_bytes:,}",
    ]


def _measured(path: Path) -> dict[str, Any]:
    """Return the figures of int8.tflite in a bench.json."""
    try:
        rows = json.loads(artifact.read_bytes(path))["results"]
        return next((row for row in rows if row["artifact"] == "int8.tflite"), {})
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: no measurements there ({error}); restore it") from None
