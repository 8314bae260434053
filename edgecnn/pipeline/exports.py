"""The export stage: convert, compare with the Keras parent in the real runtime, and only then write."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.config import SCHEMES, RunConfig
from edgecnn.errors import ArtifactError, ConfigError, GateError, unknown
from edgecnn.pipeline.workspace import (
    Workspace,
    calibration_images,
    described_data,
    is_complete,
    parent_hashes,
    recorded_model,
)

if TYPE_CHECKING:
    from edgecnn.data import DataSet

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}
_RUNTIME_EXTRAS = {"tflite": "litert", "onnx": "ort"}


@dataclass(frozen=True)
class Target:
    """What to export to; raises `ConfigError`, listing the valid names, for what does not go together."""

    form: str  # tflite or onnx
    scheme: str  # float32, float16, dynamic or int8
    dynamic_batch: bool = False

    def __post_init__(self) -> None:
        if self.form not in SCHEMES:
            raise unknown("format", self.form, (*SCHEMES, "c", "pyz"))
        if self.scheme not in SCHEMES[self.form]:
            raise unknown(f"scheme for {self.form}", self.scheme, SCHEMES[self.form])
        if self.dynamic_batch and self.form == "tflite":
            raise ConfigError("export tflite: a TFLite file has one batch size; --dynamic-batch is for --format onnx")

    @property
    def file(self) -> str:
        """The artifact's name: ``int8.tflite``, ``float32-batchN.onnx``."""
        return f"{self.scheme}{'-batchN' if self.dynamic_batch else ''}{SUFFIXES[self.form]}"

    def settings(self, config: RunConfig) -> dict[str, Any]:
        """Return what determines an export's bytes besides its parent."""
        images = {"calibration_images": config.exporting.calibration_images} if self.scheme == "int8" else {}
        return {"scheme": self.scheme, "dynamic_batch": self.dynamic_batch, **images}


def export(work: Workspace, *, recipe: str, target: Target) -> Path:
    """Export one recipe's model into the run; return the path of the artifact.

    The artifact is run against its Keras parent on the validation split before its record is written. Raises
    `GateError` when an int8 model loses more top-1 than the run's `max_drop_pp`.
    """
    path, parent = work.run.exported(recipe, target.file), work.run.model(recipe)
    if is_exported(work, path, target, parent):
        _check_drop(artifact.read_record(path), work.config)
    else:
        _export_to(path, recorded_model(parent), parent, recipe, target, work)
    return path


def is_exported(work: Workspace, path: Path, target: Target, parent: Path) -> bool:
    """Return whether `path` is there as asked; one calibrated otherwise than asked now is made again."""
    if not artifact.record_path(path).exists():
        return False
    settings = artifact.read_record(path).settings
    return is_complete(work, path, settings=settings, parents=(parent,)) and settings == target.settings(work.config)


def export_model(model: Path, *, target: Target, out: Path, config: RunConfig, data: DataSet) -> Path:
    """Export a .keras file that belongs to no run into folder `out`, checked like one of a run; return the path."""
    from edgecnn import _tf

    extras.require("train", needed_by="export")
    has_record = artifact.record_path(model).exists()
    recipe = artifact.checked(model).recipe if has_record else "baseline"
    loaded = _tf.load_model(model)
    check_image_input(loaded, data, where=str(model))
    path = out / target.file
    if artifact.record_path(path).exists() and artifact.read_record(path).parents != parent_hashes(path, (model,)):
        raise ArtifactError(f"{path}: is there, exported from another model; choose another --out")
    _export_to(path, loaded, model, recipe, target, Workspace(Run(out), config, data))
    return path


def copy_released(released: Path, *, out: Path) -> Path:
    """Copy a released artifact and its record into folder `out` after checking its hash; return the path."""
    artifact.checked(released)
    path = out / released.name
    artifact.keep(path, artifact.read_bytes(released), artifact.read_record(released))
    return path


def pack_predictor(out: Path) -> Path:
    """Write the predictor as one file, ``out/predict.pyz``; return its path."""
    from edgecnn.export.pyz import to_pyz

    path = out / "predict.pyz"
    artifact.write_atomic(path, to_pyz())
    return path


def check_image_input(model: Any, data: DataSet, *, where: str) -> None:
    """Raise `ArtifactError` unless the Keras `model` takes the images of `data` and knows their classes."""
    expected = (None, *data.input_shape)
    shape, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if shape != expected:
        raise ArtifactError(f"{where}: input is {shape}; expected {expected}, the images of {data.name}")
    if outputs != (None, len(data.labels)):
        raise ArtifactError(f"{where}: output is {outputs}; expected {len(data.labels)} classes, those of {data.name}")


def _export_to(path: Path, model: Any, parent: Path, recipe: str, target: Target, work: Workspace) -> None:
    """Convert, compare, and write artifact and record; nothing is written when the result is refused."""
    from edgecnn import inspect

    extras.require("train", _RUNTIME_EXTRAS[target.form], needed_by=f"export --format {target.form}")
    content = _converted(model, target, work)
    given, metrics = _compared(path, content, model, work)
    layers = inspect.inspect_bytes(content, path.suffix, where=str(path))
    record = Record(
        stage="export",
        recipe=recipe,
        scheme=target.scheme,
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=parent_hashes(path, (parent,)),
        parameters=sum(layer.parameters for layer in layers),
        nonzero_parameters=sum(layer.nonzero_parameters for layer in layers),
        seed=work.config.seed,
        settings=target.settings(work.config),
        data=described_data(work),
        labels=list(work.data.labels),
        input=given,
        metrics=metrics,
    )
    _check_drop(record, work.config)
    artifact.keep(path, content, record)


def _converted(model: Any, target: Target, work: Workspace) -> bytes:
    from edgecnn.compress.qat import is_quantization_aware, without_wrappers
    from edgecnn.export.onnx import to_onnx
    from edgecnn.export.tflite import to_tflite

    count = work.config.exporting.calibration_images
    calibration = calibration_images(work, count) if target.scheme == "int8" else None
    qat = is_quantization_aware(model)
    if qat and target.scheme != "int8":
        raise ConfigError(
            f"export {target.file}: the model was trained for int8; pass --scheme int8, or export its float parent"
        )
    if target.form == "tflite":
        return to_tflite(model, scheme=target.scheme, representative_dataset=calibration, quantization_aware=qat)
    # tf2onnx does not know tfmot's per-channel ranges: the weights QAT found are exported, their ranges calibrated.
    plain = without_wrappers(model) if qat else model
    return to_onnx(plain, scheme=target.scheme, representative_dataset=calibration, dynamic_batch=target.dynamic_batch)


def _compared(path: Path, content: bytes, model: Any, work: Workspace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run `content` in its runtime against its Keras parent on validation; return (input description, metrics)."""
    from edgecnn import _tf
    from edgecnn.bench.accuracy import top1_accuracy
    from edgecnn.bench.parity import compare
    from edgecnn.device import Predictor

    validation = work.data.validation
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / path.name
        candidate.write_bytes(content)
        predictor = Predictor(candidate)
        got = predictor.probabilities(validation.images)
    reference = _tf.predict(model, validation.images)
    own, parent = (top1_accuracy(p, validation.labels).top1 for p in (got, reference))
    parity = compare(reference, got)
    spec = predictor.input
    unit_range = [0, 1] if spec.dtype == "float32" else [0, 255]
    return {"shape": list(spec.shape), "dtype": spec.dtype, "range": unit_range}, {
        "validation_top1": own,
        "parent_validation_top1": parent,
        "drop_pp": round((parent - own) * 100, 6),
        "top1_agreement": parity.top1_agreement,
        "max_abs_error": parity.max_abs_error,
        "images": parity.images,
    }


def _check_drop(record: Record, config: RunConfig) -> None:
    """Raise `GateError` when an int8 model lost more top-1 on validation than allowed."""
    figures, allowed = record.metrics, config.exporting.max_drop_pp
    if record.scheme == "int8" and figures["drop_pp"] > allowed:
        raise GateError(
            f"export {record.recipe}/{record.artifact}: top-1 on {figures['images']} validation images is "
            f"{figures['validation_top1']:.2%}, its parent's {figures['parent_validation_top1']:.2%}: it loses "
            f"{figures['drop_pp']:.2f} pp, allowed are {allowed} (--max-drop); try more --calibration-images, or "
            f"edgecnn quantize --method qat"
        )
