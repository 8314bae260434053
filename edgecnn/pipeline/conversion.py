"""From a Keras model to the content of a file, and what that says of images in its runtime."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.config import RunConfig
from edgecnn.config.settings import CALIBRATED, SCHEMES, Exporting
from edgecnn.device.contract import Contract
from edgecnn.errors import ConfigError, unknown
from edgecnn.pipeline.workspace import Workspace, calibration_inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}
AUTO = ("auto",)  # as `keep_float`: the fewest layers with which the gate holds


@dataclass(frozen=True)
class Target:
    """What to export to; raises `ConfigError`, listing the valid names, for what does not go together."""

    form: str  # tflite or onnx
    scheme: str  # one of `config.SCHEMES`
    dynamic_batch: bool = False
    keep_float: tuple[str, ...] = ()  # layers left out of int8, or `AUTO`
    bias_correction: bool = False
    per_tensor: bool = False  # one scale a kernel, instead of one a filter

    def __post_init__(self) -> None:
        if self.form not in SCHEMES:
            raise unknown("format", self.form, (*SCHEMES, "bundle", "c", "pyz"))
        if self.scheme not in SCHEMES[self.form]:
            raise unknown(f"scheme for {self.form}", self.scheme, SCHEMES[self.form])
        if self.dynamic_batch and self.form == "tflite":
            raise ConfigError("export tflite: a TFLite file has one batch size; --dynamic-batch is for --format onnx")
        for option, value in self.of_int8.items():
            if value and self.scheme != "int8":
                raise ConfigError(f"export {self.scheme}: {option} is for --scheme int8; leave it out")

    @property
    def of_int8(self) -> dict[str, object]:
        """What int8 alone has, by its option."""
        return {
            "--keep-float": self.keep_float,
            "--bias-correction": self.bias_correction,
            "--per-tensor": self.per_tensor,
        }

    @property
    def file(self) -> str:
        """The artifact's name: ``int8.tflite``, ``float32-batchN.onnx``; with layers in float ``int8-mixed.tflite``."""
        mixed, batch = "-mixed" if self.keep_float else "", "-batchN" if self.dynamic_batch else ""
        return f"{self.scheme}{mixed}{batch}{self.suffix}"

    @property
    def is_plain(self) -> bool:
        """Whether nothing but format and scheme is asked for."""
        return self == Target(self.form, self.scheme)

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return SUFFIXES[self.form]

    def settings(self, config: RunConfig) -> dict[str, Any]:
        """Return what determines an export's bytes besides its parent; options that were not used are left out."""
        settings: dict[str, Any] = {"scheme": self.scheme, "dynamic_batch": self.dynamic_batch}
        if self.scheme in CALIBRATED:
            settings["calibration_images"] = config.exporting.calibration_images
            if config.exporting.calibration != Exporting.calibration:
                settings["calibration"] = config.exporting.calibration
        if self.keep_float:
            settings["keep_float"] = list(self.keep_float)
        if self.bias_correction:
            settings["bias_correction"] = True
        if self.per_tensor:
            settings["per_tensor"] = True
        return settings


def converted(model: Any, contract: Contract, target: Target, work: Workspace) -> bytes:
    """Return the file that `target` is of a Keras `model`, calibrated on images as its `contract` says.

    Raises `ConfigError` for what does not go together.
    """
    from edgecnn.compress.qat import is_quantization_aware, without_wrappers
    from edgecnn.export.onnx import to_onnx
    from edgecnn.export.tflite import to_tflite

    exporting = work.config.exporting
    qat = is_quantization_aware(model)
    if qat:
        refuse_for_qat(target)
    options: dict[str, Any] = {"scheme": target.scheme}
    if target.scheme in CALIBRATED:
        options["representative_dataset"] = calibration_inputs(work, exporting.calibration_images, contract)
        options["calibration"] = exporting.calibration
        options["keep_float"] = target.keep_float
        options["per_tensor"] = target.per_tensor
    if target.form == "tflite":
        content = to_tflite(model, quantization_aware=qat, **options)
    else:
        # tf2onnx does not know tfmot's per-channel ranges: the weights QAT found are exported, their ranges calibrated.
        content = to_onnx(without_wrappers(model) if qat else model, dynamic_batch=target.dynamic_batch, **options)
    return _with_corrected_biases(content, model, contract, target, work) if target.bias_correction else content


def refuse_for_qat(target: Target) -> None:
    """Raise `ConfigError` for a target that a model trained for int8 cannot have."""
    if target.scheme != "int8":
        raise ConfigError(
            f"export {target.file}: the model was trained for int8; pass --scheme int8, or export its float parent"
        )
    for option, value in target.of_int8.items():
        if value:
            raise ConfigError(
                f"export {target.file}: {option} does not apply to a model that was trained for int8; "
                f"leave it out, or export its float parent"
            )


def _with_corrected_biases(content: bytes, model: Any, contract: Contract, target: Target, work: Workspace) -> bytes:
    from edgecnn.export import onnx, tflite
    from edgecnn.export.bias import corrected_biases
    from edgecnn.inspect import kernels_of
    from edgecnn.inspect.keras import plain_kernels
    from edgecnn.inspect.kernels import as_in_keras

    biases = corrected_biases(
        model,
        kernels=as_in_keras(plain_kernels(model), kernels_of(content, target.suffix)),
        inputs=calibration_inputs(work, work.config.exporting.calibration_images, contract),
        keep_float=target.keep_float,
    )
    with_biases = tflite.with_biases if target.form == "tflite" else onnx.with_biases
    return with_biases(content, biases, model)


def predictions(
    name: str, content: bytes, images: NDArray[np.uint8], contract: Contract
) -> tuple[NDArray[np.float32], Contract]:
    """Return class probabilities of a file's content, run in its runtime under a file name, and its own contract.

    That is the parent's `contract` with how the file stores input and output.
    """
    from edgecnn.device.classifier import Classifier
    from edgecnn.device.runtimes.loader import load

    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / name
        candidate.write_bytes(content)
        classifier = Classifier(load(candidate), contract.unstored())
        return classifier.probabilities(images), classifier.contract
