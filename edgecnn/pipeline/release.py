"""Gather a complete run's model of one recipe into a folder that travels: artifacts, records, figures, model card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecnn import artifact
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.workspace import read_config
from edgecnn.report.card import model_card

FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")


def release(opened: Run, *, name: str, recipe: str, out: Path) -> Path:
    """Copy a complete run's model of one recipe, its exports and records into ``out/name`` with a model card.

    Raises `ArtifactError` when the run is not complete or an artifact is not what its record says.
    """
    if not opened.bench.exists():
        raise ArtifactError(f"{opened.root}: not measured yet; finish it: edgecnn run")
    config, folder, model = read_config(opened), out / name, opened.model(recipe)
    exports = [opened.exported(recipe, file) for file in FILES]
    records = {}
    for source in (model, *(path for path in exports if path.exists())):
        # The folder stands alone: the Keras model is the exports' parent here, and has none itself.
        parents = {} if source == model else {model.name: artifact.checked(model).sha256}
        records[source.name] = replace(artifact.checked(source), parents=parents)
        artifact.write_atomic(folder / source.name, artifact.read_bytes(source))
        artifact.write_record(folder / source.name, records[source.name])
    measured = _rows_of(json.loads(opened.bench.read_text()), recipe)
    artifact.write_atomic(folder / "bench.json", json.dumps(measured, indent=1) + "\n")
    card = model_card(
        name,
        records,
        model=records[model.name],
        baseline=artifact.checked(opened.model("baseline")),
        bench=measured,
        command=f"edgecnn run --data {config.data} --arch {config.arch} --recipe {config.recipe} --seed {config.seed}",
        recipe=config.recipe,
        validation_fraction=config.validation_fraction,
    )
    artifact.write_atomic(folder / "MODEL_CARD.md", card)
    return folder


def _rows_of(measured: dict[str, Any], recipe: str) -> dict[str, Any]:
    rows = [row | {"artifact": Path(row["artifact"]).name} for row in measured["results"] if row["recipe"] == recipe]
    return measured | {"results": [row for row in rows if row["artifact"] in FILES]}
