"""Gather a complete run's model of one recipe into a folder that travels: artifacts, records, figures, model card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecnn import artifact
from edgecnn.artifact import Record, Run
from edgecnn.config import RunConfig, configure
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.workspace import read_config
from edgecnn.report.card import model_card

FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")


def release(opened: Run, *, name: str, recipe: str, out: Path) -> Path:
    """Copy a complete run's model of one recipe, its exports and records into ``out/name`` with a model card.

    Raises `ArtifactError` when the run is not complete or an artifact is not what its record says.
    """
    config, folder, model = read_config(opened), out / name, opened.model(recipe)
    sources = [model, *(opened.exported(recipe, file) for file in FILES)]
    records = {source.name: artifact.checked(source) for source in sources}
    measured = _measured(opened, recipe, records)
    parents = {model.name: records[model.name].sha256}
    card = model_card(
        name,
        records,
        model=records[model.name],
        baseline=artifact.checked(opened.model("baseline")),
        bench=measured,
        command=command_of(config),
        recipe=config.recipe,
        validation_fraction=config.validation_fraction,
    )
    for source in sources:
        # The folder stands alone: the Keras model is the exports' parent here, and has none itself.
        record = replace(records[source.name], parents={} if source == model else parents)
        artifact.keep(folder / source.name, artifact.read_bytes(source), record)
    artifact.write_atomic(folder / "bench.json", json.dumps(measured, indent=1) + "\n")
    artifact.write_atomic(folder / "MODEL_CARD.md", card)
    return folder


def command_of(config: RunConfig) -> str:
    """Return the command that makes a run of `config`: every setting that is not its recipe's own."""
    plain = configure(data=config.data, recipe=config.recipe)
    flags = {
        "--epochs": (config.training.epochs, plain.training.epochs),
        "--sparsity": (config.pruning.final_sparsity, plain.pruning.final_sparsity),
        "--calibration-images": (config.exporting.calibration_images, plain.exporting.calibration_images),
        "--calibration": (config.exporting.calibration, plain.exporting.calibration),
        "--max-drop": (config.exporting.max_drop_pp, plain.exporting.max_drop_pp),
    }
    changed = [f"{flag} {value}" for flag, (value, default) in flags.items() if value != default]
    names = ["--data", config.data, "--arch", config.arch, "--recipe", config.recipe, "--seed", str(config.seed)]
    return " ".join(["edgecnn run", *names, *changed])


def _measured(opened: Run, recipe: str, records: dict[str, Record]) -> dict[str, Any]:
    """Return the run's measurements of the files to release; `ArtifactError` when they are not of these bytes."""
    try:
        measured = json.loads(opened.bench.read_text())
        rows = [
            row | {"artifact": Path(row["artifact"]).name} for row in measured["results"] if row["recipe"] == recipe
        ]
        hashes = {row["artifact"]: row["sha256"] for row in rows}
        rows = [row for row in rows if row["artifact"] in FILES]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{opened.bench}: no measurements there ({error}); make them: edgecnn bench") from None
    stale = [file for file in FILES if hashes.get(file) != records[file].sha256]
    if stale:
        raise ArtifactError(f"{opened.bench}: {', '.join(stale)} not measured as it is now; run: edgecnn bench")
    return {**measured, "results": rows, "baseline": Path(measured["baseline"]).name}
