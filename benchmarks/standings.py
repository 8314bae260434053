"""The released models with what was measured of them: rows of released.json, found by the hashes of the files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import artifact

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
MODELS = ROOT / "models"


@dataclass(frozen=True)
class Standing:
    """One released file: its model's name, its own, and its row of released.json."""

    model: str
    file: str
    row: dict[str, Any]


def recording(name: str) -> Any:
    """Return the recorded result benchmarks/NAME.json."""
    return json.loads((BENCHMARKS / f"{name}.json").read_text())


def hashes() -> dict[str, tuple[str, str]]:
    """Return (model, file) of every released .tflite and .onnx file by its sha256."""
    files = [path for path in sorted(MODELS.glob("*/*")) if path.suffix in artifact.EXPORT_SUFFIXES]
    return {artifact.sha256(path.read_bytes()): (path.parent.name, path.name) for path in files}


def all_of_them() -> list[Standing]:
    """Return every released file that was measured as it is, the model of the most parameters first."""
    named = hashes()
    rows = recording("released")["results"]
    found = [Standing(*named[row["sha256"]], row) for row in rows if row["sha256"] in named]
    nonzero: dict[str, int] = {}  # the most that a file of the model has: rounding makes zeros of its own
    for one in found:
        nonzero[one.model] = max(nonzero.get(one.model, 0), one.row["nonzero_parameters"])
    return sorted(found, key=lambda one: (-one.row["parameters"], -nonzero[one.model], one.model, one.file))


def changed() -> list[str]:
    """Return the recordings that measured other bytes than the released models have now, or not all of them."""
    named = hashes()
    measured = {row["sha256"] for row in recording("released")["results"]}
    of_peers = {row["artifact"]: row["sha256"] for row in recording("peers")["results"]}
    current = {file: sha256 for sha256, (model, file) in named.items() if model == "edge35k"}
    stale = {
        "released": measured != set(named),
        "peers": any(current.get(file, sha256) != sha256 for file, sha256 in of_peers.items()),
    }
    return [f"{name}.json" for name, is_stale in stale.items() if is_stale]
