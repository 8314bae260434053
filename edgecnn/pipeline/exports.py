"""The export stage: convert, compare with the Keras parent in the real runtime, and only then write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.config import RunConfig
from edgecnn.config.settings import CALIBRATED
from edgecnn.device.contract import Contract
from edgecnn.device.resolution import NOTHING_SAID, Said
from edgecnn.errors import ArtifactError, GateError
from edgecnn.pipeline import gates
from edgecnn.pipeline.contracts import likelier, lines_on, of_keras
from edgecnn.pipeline.conversion import AUTO, Target, converted, predictions
from edgecnn.pipeline.deciding import decision
from edgecnn.pipeline.sensitivity import float_layers
from edgecnn.pipeline.workspace import (
    Workspace,
    described_data,
    figures_of,
    is_complete,
    parent_hashes,
    recorded_model,
    refuse_other_images,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.data import DataSet

Check = Callable[[bytes], None]  # raises for content that must not be written


@dataclass(frozen=True)
class Parent:
    """The Keras model that is exported: its file, itself, what it takes, and the name of its recipe."""

    path: Path
    model: Any
    contract: Contract
    recipe: str


_RUNTIME_EXTRAS = {"tflite": "litert", "onnx": "ort"}


def export(work: Workspace, *, recipe: str, target: Target, check: Check | None = None) -> Path:
    """Export one recipe's model into the run, unless `check` raises; return the path of the artifact.

    The artifact is run against its Keras parent on the validation split before its record is written. Raises
    `GateError` for what does not pass the gates of `pipeline.gates`, and when a model of integers loses more top-1 than
    the run's `max_drop_pp`.
    """
    parent = work.run.model(recipe)
    if target.keep_float == AUTO:
        model, contract = recorded_model(parent), artifact.read_record(parent).contract
        target = replace(target, keep_float=float_layers(model, contract, target, work))
    path = work.run.exported(recipe, target.file)
    if is_exported(work, path, target, parent):
        _check_drop(artifact.read_record(path), work.config)
    else:
        contract = artifact.read_record(parent).contract
        _export_to(path, Parent(parent, recorded_model(parent), contract, recipe), target, work, check)
    return path


def is_exported(work: Workspace, path: Path, target: Target, parent: Path) -> bool:
    """Return whether `path` is there as asked; one calibrated otherwise than asked now is made again."""
    if not artifact.record_path(path).exists():
        return False
    settings = artifact.read_record(path).settings
    return is_complete(work, path, settings=settings, parents=(parent,)) and settings == target.settings(work.config)


def export_model(
    model: Path,
    *,
    target: Target,
    out: Path,
    config: RunConfig,
    data: DataSet,
    said: Said = NOTHING_SAID,
    say: Callable[[str], None] = lambda line: None,
    check: Check | None = None,
) -> Path:
    """Export a .keras file that belongs to no run into folder `out`, checked like one of a run; return the path.

    What it takes is in its record, or `said`, or found in the file or by trial; `say` gets a line on what was found by
    trial and on what is assumed.
    """
    from edgecnn import _tf

    extras.require("train", needed_by="export")
    has_record = artifact.record_path(model).exists()
    recipe = artifact.checked(model).recipe if has_record else "baseline"
    loaded = _tf.load_model(model)
    contract = of_keras(model, loaded, data=data, said=said)
    refuse_other_images(model, data)
    for line in lines_on(contract, model):
        say(line)
    work = Workspace(Run(out), config, data)
    if target.keep_float == AUTO:
        target = replace(target, keep_float=float_layers(loaded, contract, target, work))
    path = out / target.file
    if artifact.record_path(path).exists() and artifact.read_record(path).parents != parent_hashes(path, (model,)):
        raise ArtifactError(f"{path}: is there, exported from another model; choose another --out")
    _export_to(path, Parent(model, loaded, contract, recipe), target, work, check)
    return path


def copy_released(released: Path, *, out: Path, check: Check | None = None) -> Path:
    """Copy a released artifact and its record into folder `out` after checking its hash; return the path."""
    record, content = artifact.checked(released), artifact.read_bytes(released)
    if check:
        check(content)
    path = out / released.name
    artifact.keep(path, content, record)
    return path


def pack_predictor(out: Path) -> Path:
    """Write the predictor as one file, ``out/predict.pyz``; return its path."""
    from edgecnn.export.pyz import to_pyz

    path = out / "predict.pyz"
    artifact.write_atomic(path, to_pyz())
    return path


def _export_to(path: Path, parent: Parent, target: Target, work: Workspace, check: Check | None) -> None:
    """Convert, compare, and write artifact and record; nothing is written when the result is refused."""
    from edgecnn import _tf, inspect

    extras.require("train", _RUNTIME_EXTRAS[target.form], needed_by=f"export --format {target.form}")
    where = f"export {parent.recipe}/{path.name}"
    reference = _tf.predict(parent.model, work.data.validation.images, parent.contract)
    gates.check_finite(parent.model, parent.contract, reference, target, work)
    gates.check_parent(
        reference,
        work,
        where=where,
        is_ours=artifact.record_path(parent.path).exists(),
        likelier=lambda: likelier(
            parent.contract, work.data, lambda one, images: _tf.predict(parent.model, images, one)
        ),
    )
    content = converted(parent.model, parent.contract, target, work)
    gates.check_file(content, path.suffix, where=where)
    if check:
        check(content)
    _check_zeros(path, content, parent.model, parent.recipe)
    contract, metrics, probabilities = _compared(path, content, parent.contract, reference, work)
    metrics |= gates.result(reference, probabilities, work, where=where)
    layers = inspect.inspect_bytes(content, path.suffix, where=str(path))
    record = Record(
        stage="export",
        recipe=parent.recipe,
        scheme=target.scheme,
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=parent_hashes(path, (parent.path,)),
        parameters=sum(layer.parameters for layer in layers),
        nonzero_parameters=sum(layer.nonzero_parameters for layer in layers),
        seed=work.config.seed,
        settings=target.settings(work.config),
        data=described_data(work),
        contract=contract,
        metrics=metrics,
    )
    _check_drop(record, work.config)
    gates.check_chance(record)
    artifact.keep(path, content, replace(record, decision=decision(work, contract, probabilities)))


def _check_zeros(path: Path, content: bytes, model: Any, recipe: str) -> None:
    """Raise `GateError` naming the layer whose kernel has in the file another value where the Keras model has zero."""
    from edgecnn.inspect import kernels_of
    from edgecnn.inspect.keras import plain_kernels
    from edgecnn.inspect.kernels import lost_zeros

    lost = lost_zeros(plain_kernels(model), kernels_of(content, path.suffix, where=str(path)))
    for layer, (count, zeros) in lost.items():
        raise GateError(
            f"export {recipe}/{path.name}: layer {layer} lost {count:,} of the {zeros:,} zeros that its Keras parent "
            f"has; expected none lost; export it with the library versions of requirements.lock"
        )


def _compared(
    path: Path, content: bytes, parent: Contract, reference: NDArray[np.float32], work: Workspace
) -> tuple[Contract, dict[str, Any], NDArray[np.float32]]:
    """Run `content` in its runtime on validation, where its Keras parent says `reference` [N, classes].

    Return its contract, metrics, and its class probabilities [N, classes].
    """
    from edgecnn.bench.accuracy import accuracy_delta
    from edgecnn.bench.parity import compare

    validation = work.data.validation
    got, contract = predictions(path.name, content, validation.images, parent)
    delta = accuracy_delta(reference, got, validation.labels)
    parity = compare(reference, got)
    agreement = {"top1_agreement": parity.top1_agreement, "max_abs_error": parity.max_abs_error}
    return contract, {**figures_of(delta), **agreement}, got


def _check_drop(record: Record, config: RunConfig) -> None:
    """Raise `GateError` when a model of integers lost more top-1 on validation than allowed."""
    figures, allowed = record.metrics, config.exporting.max_drop_pp
    if record.scheme in CALIBRATED and figures["drop_pp"] > allowed:
        raise GateError(
            f"export {record.recipe}/{record.artifact}: top-1 on {figures['images']} validation images is "
            f"{figures['validation_top1']:.2%}, its parent's {figures['parent_validation_top1']:.2%}: it loses "
            f"{figures['drop_pp']:.2f} pp, allowed are {allowed} (--max-drop); try more --calibration-images, "
            f"--calibration mse, --bias-correction, --keep-float auto, or edgecnn quantize --method qat"
        )
