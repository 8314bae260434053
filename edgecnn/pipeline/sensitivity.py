"""Which layers int8 hurts: each one by itself, and the fewest to keep in float so that the gate holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.device.contract import Contract
from edgecnn.errors import ConfigError, GateError
from edgecnn.pipeline import gates
from edgecnn.pipeline.conversion import Target, converted, predictions, refuse_for_qat
from edgecnn.pipeline.cost import COMPARED_IMAGES
from edgecnn.pipeline.workspace import Workspace, calibration_images, recorded_model
from edgecnn.report.table import decibels

if TYPE_CHECKING:
    from edgecnn.bench.accuracy import AccuracyDelta

# Returns a file's content and how it does on validation, given the layers to keep in float.
Try = Callable[[Sequence[str]], "tuple[bytes, AccuracyDelta]"]


@dataclass(frozen=True)
class LayerSensitivity:
    """What int8 does to one layer: `alone` is it and nothing else in int8, `spared` all but it; SQNR is of the former.

    In int8 are the kernel, the input and the output, and what stands behind it up to the next layer with weights.
    """

    layer: str
    weight_sqnr_db: float | None
    sqnr_db: float | None
    alone: AccuracyDelta
    spared: AccuracyDelta | None

    def as_dict(self) -> dict[str, Any]:
        """Return all figures for JSON; an SQNR without any error, which no JSON number can be, is "exact"."""
        figures = asdict(self)
        for key in ("sqnr_db", "weight_sqnr_db"):
            if figures[key] is not None and math.isinf(figures[key]):
                figures[key] = decibels(figures[key])
        return figures


def sensitivity(work: Workspace, recipe: str, form: str) -> list[LayerSensitivity]:
    """Return what int8 does to each layer of a recipe's model, as real files of format `form` say."""
    extras.require("train", "litert" if form == "tflite" else "ort", needed_by="sensitivity")
    from edgecnn.compress.qat import is_quantization_aware

    path = work.run.model(recipe)
    model, contract = recorded_model(path), artifact.read_record(path).contract
    if is_quantization_aware(model):
        raise ConfigError(f"sensitivity: {recipe} was trained for int8; name its float parent with --recipe")
    return _measured(model, contract, Target(form, "int8"), work, spare=True)


def float_layers(model: Any, contract: Contract, target: Target, work: Workspace) -> tuple[str, ...]:
    """Return the fewest layers found whose staying in float makes `target` hold the gate; () where int8 does.

    Greedy: the layers that lose most by themselves are added one by one, then each that is not needed is taken out
    again, those that lose least first. Every step is a real file, run on the validation images. Raises `GateError`
    when not even one layer can be int8.
    """
    from edgecnn.compress.qat import is_quantization_aware

    if is_quantization_aware(model):
        refuse_for_qat(target)
    allowed = work.config.exporting.max_drop_pp
    attempt = _attempts(model, contract, target, work)
    if attempt(())[1].drop_pp <= allowed:
        return ()
    measured = _measured(model, contract, target, work, spare=False)
    order = [m.layer for m in sorted(measured, key=_harm, reverse=True)]
    kept = next((order[:n] for n in range(1, len(order)) if attempt(order[:n])[1].drop_pp <= allowed), None)
    if kept is None:
        raise GateError(
            f"export {target.file}: with any layer of {', '.join(order)} in int8 it loses more than {allowed} pp "
            f"(--max-drop); export it with --scheme float32, or edgecnn quantize --method qat"
        )
    for name in reversed(kept[:-1]):  # without the last one added it did not hold
        fewer = [other for other in kept if other != name]
        if attempt(fewer)[1].drop_pp <= allowed:
            kept = fewer
    return tuple(m.layer for m in measured if m.layer in kept)


def _harm(layer: LayerSensitivity) -> tuple[float, float]:
    """Return the order of sensitivity: top-1 lost, and noise where images are too few to tell."""
    return layer.alone.drop_pp, -(float("inf") if layer.sqnr_db is None else layer.sqnr_db)


def _measured(
    model: Any, contract: Contract, target: Target, work: Workspace, *, spare: bool
) -> list[LayerSensitivity]:
    from edgecnn.export.mixed import weighted_layers
    from edgecnn.inspect import operations_of, sqnr

    attempt = _attempts(model, contract, target, work)
    layers = weighted_layers(model)
    images = calibration_images(work, COMPARED_IMAGES)
    reference = converted(model, contract, Target(target.form, "float32"), work)
    found = []
    for number, layer in enumerate(layers):
        work.observe("sensitivity", number, len(layers), {})
        content, alone = attempt([other for other in layers if other != layer])
        ratios = sqnr.compare(
            content,
            reference,
            target.suffix,
            images,
            contract=contract,
            where=f"{layer} in int8",
            against="the float32 file",
        )
        operations = operations_of(content, target.suffix)
        own = [r for r, o in zip(ratios, operations, strict=True) if o.kernel is not None][number]
        found.append(
            LayerSensitivity(layer, own.weight_db, own.output_db, alone, attempt([layer])[1] if spare else None)
        )
    work.observe("sensitivity", len(layers), len(layers), {})
    return found


def _attempts(model: Any, contract: Contract, target: Target, work: Workspace) -> Try:
    """Return the function that exports `model` with layers in float and compares it with `model` on validation.

    Raises `GateError` where `model` holds or says what is no number.
    """
    from edgecnn import _tf
    from edgecnn.bench.accuracy import accuracy_delta

    validation = work.data.validation
    reference = _tf.predict(model, validation.images, contract)
    gates.check_finite(model, contract, reference, target, work)

    def attempt(keep_float: Sequence[str]) -> tuple[bytes, AccuracyDelta]:
        content = converted(model, contract, replace(target, keep_float=tuple(keep_float)), work)
        got, _ = predictions(target.file, content, validation.images, contract)
        return content, accuracy_delta(reference, got, validation.labels)

    return attempt
