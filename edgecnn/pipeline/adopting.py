"""Models made elsewhere become ours: the record that one lacks is written, with what it takes and how it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record
from edgecnn.device.contract import Contract
from edgecnn.device.resolution import NOTHING_SAID, Said
from edgecnn.errors import ArtifactError, StorageError
from edgecnn.pipeline import gates
from edgecnn.pipeline.contracts import Run, completed, likelier, lines_on, of_file, of_keras, replaced

if TYPE_CHECKING:
    from edgecnn.config import RunConfig
    from edgecnn.data import DataSet

KERAS = (".keras", ".h5")
NO_DATA: dict[str, Any] = {"name": "", "sha256": ""}  # in the record of a model that was adopted without images
_SCHEMES = {"int16": "int16x8", "int8": "int8", "uint8": "int8"}


@dataclass(frozen=True)
class Images:
    """What a model is measured on: the images, and the settings that they were loaded with."""

    data: DataSet
    config: RunConfig


def adopt(
    model: Path,
    *,
    images: Images | None = None,
    out: Path | None = None,
    said: Said = NOTHING_SAID,
    allow_chance: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the record of a .tflite, .onnx, .keras or .h5 file beside it, or with a copy of it into folder `out`.

    What is `said` wins over a record and over the file's metadata; `say` gets a line for each part that is replaced,
    for what was found by trial and for what stays open. With images the record has figures and a reject option.
    Raises `ArtifactError` or `DeviceError` for a model that is no classifier of these images, `GateError` for one that
    reads them at chance. Nothing is written then.
    """
    check_suffix(model)
    from edgecnn import inspect

    if model.suffix in artifact.EXPORT_SUFFIXES:
        gates.check_file(inspect.whole(model), model.suffix, where=f"adopt {model}")
    said_lines = _replaced_lines(model, said)
    contract, run = _understood(model, images, said)
    record = _recorded(model, contract, images)
    if images is not None:
        record = _measured(record, images.data, run, allow_chance=allow_chance, where=f"adopt {model}")
    path = model if out is None else out / model.name
    for line in [*said_lines, *lines_on(contract, model)]:
        say(line)
    _write(model, path, record)
    return path


def check_suffix(model: Path) -> None:
    """Raise `ArtifactError` for what cannot be adopted."""
    if model.suffix not in (*artifact.EXPORT_SUFFIXES, *KERAS):
        raise ArtifactError(
            f"adopt {model}: got {model.suffix or 'no suffix'}; expected a .tflite, .onnx, .keras or .h5 file"
        )


def _understood(model: Path, images: Images | None, said: Said) -> tuple[Contract, Run]:
    """Return the contract of a model, and what gives its class probabilities for images under a contract."""
    data = None if images is None else images.data
    if model.suffix in KERAS:
        extras.require("train", needed_by="adopt")
        from edgecnn import _tf

        loaded = _tf.load_model(model)
        contract = of_keras(model, loaded, data=data, said=said, wins=True)
        return contract, lambda one, pixels: _tf.predict(loaded, pixels, one)
    contract, run = of_file(model, said=said, wins=True)
    return contract if data is None else completed(contract, data, run, where=str(model)), run


def _recorded(model: Path, contract: Contract, images: Images | None) -> Record:
    from edgecnn import inspect
    from edgecnn.pipeline.workspace import described

    contents = [artifact.read_bytes(part) for part in artifact.parts_of(model)]
    layers = inspect.inspect_file(model)
    return Record(
        stage="adopt",
        recipe="baseline",
        scheme=_scheme_of(model, contract),
        artifact=model.name,
        sha256=artifact.identity(model),
        size_bytes=sum(map(len, contents)),
        gzip_bytes=sum(map(artifact.gzip_size, contents)),
        parents={},
        parameters=sum(layer.parameters for layer in layers),
        nonzero_parameters=sum(layer.nonzero_parameters for layer in layers),
        seed=0,
        settings={},
        data=NO_DATA if images is None else described(images.data, images.config),
        contract=contract,
        metrics={},
    )


def _scheme_of(model: Path, contract: Contract) -> str:
    """Return the numeric format of a file by its input, or, of a float input, by its kernels."""
    from edgecnn.inspect import kernels_of, whole

    if contract.input.dtype in _SCHEMES:
        return _SCHEMES[contract.input.dtype]
    if model.suffix in KERAS:
        return "float32"
    stored = {kernel.stored.dtype.name for kernel in kernels_of(whole(model), model.suffix)}
    if stored & {"int8", "uint8"}:
        return "int8" if model.suffix == ".onnx" else "dynamic"
    return "float16" if "float16" in stored else "float32"


def _measured(record: Record, data: DataSet, run: Run, *, allow_chance: bool, where: str) -> Record:
    """Return the record with figures on the validation images, and a reject option fitted to them."""
    from edgecnn.pipeline.deciding import decided, typical

    validation, contract = data.validation, record.contract
    probabilities = run(contract, validation.images)
    seen = gates.check_adopted(
        probabilities,
        data,
        where=where,
        allow_chance=allow_chance,
        likelier=lambda: likelier(contract, data, run),
    )
    right = probabilities.argmax(axis=1) == validation.labels
    metrics = {"validation_top1": float(right.mean()), "images": len(validation), **seen}
    decision = decided(data, contract, probabilities, typical(data))
    return replace(record, metrics=metrics, decision=decision)


def _replaced_lines(model: Path, said: Said) -> list[str]:
    """Return a line for each part of the model's record or metadata that is said to be another."""
    if artifact.record_path(model).exists():
        stands, whose = artifact.read_record(model).contract, "its record"
        return [
            f"{part}: {now}, {whose} said {before}" for part, (now, before) in sorted(replaced(stands, said).items())
        ]
    from edgecnn.device.classifier import metadata_in
    from edgecnn.device.resolution import contradictions

    found = contradictions(said.clues(), metadata_in(model))
    return [f"{part}: {now}, its metadata said {before}" for part, (now, before) in sorted(found.items())]


def _write(model: Path, path: Path, record: Record) -> None:
    """Write the record beside `path`, after a copy of the model where that is another file."""
    if path.resolve() == model.resolve():
        artifact.write_record(path, record)
        return
    if path.exists() and artifact.read_bytes(path) != artifact.read_bytes(model):
        raise StorageError(f"{path}: is there, and is another model; choose another --out")
    for part in artifact.parts_of(model)[1:]:
        artifact.write_atomic(path.parent / part.relative_to(model.parent), artifact.read_bytes(part))
    artifact.keep(path, artifact.read_bytes(model), record)
