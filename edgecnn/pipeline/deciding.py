"""When to trust a model: its temperature, what is typical of its classes, and thresholds; kept in its record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.config import configure
from edgecnn.device.contract import DIGIT, Contract
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.workspace import Observer, Workspace, load_data, unobserved

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.data import DataSet
    from edgecnn.device.trust.typicality import Layer

_LEAST_OUTLIERS, _MOST_OUTLIERS = 2_000, 50_000
_LEAST_KNOWN = 5_000  # training images; fewer show too little of what a digit may look like to call one untypical


def decision(work: Workspace, contract: Contract, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Return what the record of an export of this contract keeps, from its probabilities of the validation images.

    What is typical depends on the data alone: it is learned once in a run, and kept there. Of images that are no digits
    it is not known; the rule then refuses what is not sure.
    """
    return decided(work.data, contract, probabilities, _typical_of_run(work.run, work.data))


def decide(models: Sequence[Path], *, data_dir: Path | None = None, observe: Observer = unobserved) -> list[Path]:
    """Fit the decisions of exported models anew and write them into their records; return the models.

    Nothing else in a record changes, and no model does. Raises `ArtifactError` for a model that has no record, is not
    as its record says, or was trained on other data than there is.
    """
    extras.require("train", needed_by="decide")
    records = {path: artifact.checked(path) for path in models}
    found: dict[str, tuple[DataSet, Sequence[Layer]]] = {}
    for done, (path, record) in enumerate(records.items()):
        observe("decide", done, len(records), {})
        asked = json.dumps(record.data, sort_keys=True)
        if asked not in found:
            data = _data_of(path, record, data_dir, observe)
            found[asked] = data, typical(data)
        _write(path, record, *found[asked])
    observe("decide", len(records), len(records), {})
    return list(records)


def decision_line(path: Path) -> str:
    """Return what was decided of a model, in one line."""
    kept = artifact.read_record(path).decision
    figures = kept["validation"]
    return (
        f"{path}: temperature {kept['temperature']:.2f}, calibration error {figures['calibration_error_before']:.4f} "
        f"to {figures['calibration_error']:.4f}; {figures['coverage']:.1%} of {figures['images']:,} validation images "
        f"accepted, {figures['top1_accepted']:.2%} of them right, {figures['top1']:.2%} of all"
    )


def typical(data: DataSet) -> Sequence[Layer]:
    """Return the network that tells the training images of `data` from pictures that are none, as a record keeps it.

    There is none, no layers, where the training images are few, or no digits: what is unlike them is made of digits.
    """
    if len(data.train) < _LEAST_KNOWN or data.picture != DIGIT:
        return ()
    from edgecnn.data.outliers import outliers
    from edgecnn.device.trust.typicality import Layer, packed, unpacked
    from edgecnn.train.typicality import train_typicality

    train = data.train
    count = min(max(len(train), _LEAST_OUTLIERS), _MOST_OUTLIERS)
    arrays = train_typicality(
        train.images, train.labels, outliers(train, count, seed=0), classes=len(data.labels), seed=0
    )
    return unpacked(packed([Layer(*both) for both in arrays]))


def _typical_of_run(run: Run, data: DataSet) -> Sequence[Layer]:
    from edgecnn.device.trust.typicality import packed, unpacked

    described = {"data": data.sha256, "validation_images": len(data.validation), "picture": data.picture}
    if run.typicality.exists():
        kept = json.loads(artifact.read_bytes(run.typicality))
        if kept["of"] == described:
            return unpacked(kept["layers"])
    layers = typical(data)
    content = json.dumps({"of": described, "layers": packed(layers)}, indent=1) + "\n"
    artifact.write_atomic(run.typicality, content)
    return layers


def decided(
    data: DataSet, contract: Contract, probabilities: NDArray[np.float32], layers: Sequence[Layer]
) -> dict[str, Any]:
    """Return the decision that is fitted to a model's probabilities [N, classes] of the validation images."""
    from edgecnn.bench import acceptance

    validation = data.validation
    pixels = validation.images
    fitted = acceptance.fitted(probabilities, validation.labels, scores=contract.scores)
    rule = acceptance.with_rule(fitted, probabilities, pixels, layers)
    return acceptance.described(rule, probabilities, validation.labels, pixels, contract)


def _data_of(path: Path, record: Record, data_dir: Path | None, observe: Observer) -> DataSet:
    """Return the data that a model was trained on, split as it was; `ArtifactError` where it is not what it was."""
    if not record.data["name"]:
        raise ArtifactError(f"{path}: adopted without images; adopt it with labelled ones: edgecnn adopt --data PATH")
    config = configure(data=record.data["name"], resize=record.data.get("resize"))
    config = replace(config, validation_fraction=record.data["validation_fraction"])
    data = load_data(config, data_dir=data_dir, observe=observe)
    if data.sha256 != record.data["sha256"]:
        raise ArtifactError(
            f"{path}: trained on {data.name} of sha256 {record.data['sha256'][:12]}…, here it is {data.sha256[:12]}…; "
            f"give the same data: --data-dir"
        )
    return data


def _write(path: Path, record: Record, data: DataSet, layers: Sequence[Layer]) -> None:
    from edgecnn.device import Predictor

    predictor = Predictor(path)
    contract = replace(predictor.contract, picture=data.picture)  # a record of schema 1 did not say it
    found = decided(data, contract, predictor.probabilities(data.validation.images), layers)
    artifact.write_record(path, replace(record, contract=contract, decision=found))
