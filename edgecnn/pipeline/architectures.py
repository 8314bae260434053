"""The architectures of the zoo as a table: what they cost, what their pages printed, and what ours reach."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgecnn import zoo
from edgecnn.artifact import read_bytes
from edgecnn.errors import ArtifactError

ZOO_HEADINGS = ("architecture", "parameters", "MACs", "printed top-1 %", "epochs", "our top-1 %", "epochs", "recipe")


def zoo_rows() -> list[list[str]]:
    """Return one row of cells per architecture in the order of `ZOO_HEADINGS`; `-` where there is no figure.

    Ours are recorded. Of several recipes the one is shown that read the most validation images.
    """
    trained = sorted((row for row in recorded() if row["error"] is None), key=lambda row: row["validation_top1"])
    ours = {row["arch"]: row for row in trained}
    return [_row(name, one, ours.get(name)) for name, one in zoo.ARCHITECTURES.items()]


def _row(name: str, one: zoo.Architecture, ours: dict[str, Any] | None) -> list[str]:
    printed = one.printed[-1] if one.printed else None
    return [
        name,
        f"{one.parameters:,}",
        f"{one.macs:,}",
        *(["-", "-"] if printed is None else [_percent(printed.top1), str(printed.epochs)]),
        *(["-"] * 3 if ours is None else [_percent(ours["top1"]), str(ours["epochs"]), ours["recipe"]]),
    ]


def reached(name: str, row: dict[str, Any]) -> bool | None:
    """Return whether a recorded row has at least the accuracy that the page printed, after no more epochs.

    None where the page printed none for as many epochs or more.
    """
    printed = [one.top1 for one in zoo.architecture(name).printed if one.epochs >= row["epochs"]]
    return row["top1"] >= printed[0] if printed else None


def recorded() -> list[dict[str, Any]]:
    """Return the recorded rows (`python -m benchmarks.zoo`), none where nothing was recorded."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "benchmarks" / "zoo.json", package.parent / "benchmarks" / "zoo.json"):
        if path.exists():
            try:
                rows = json.loads(read_bytes(path))["rows"]
                return [row for row in rows if row["arch"] in zoo.ARCHITECTURES]
            except (ValueError, TypeError, KeyError) as error:
                raise ArtifactError(f"{path}: no recorded figures there ({error}); restore it") from None
    return []


def _percent(share: float) -> str:
    return f"{share * 100:.2f}"
