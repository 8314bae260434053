"""What an export must pass before it is compared with its parent: both could be equally wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.artifact import Record
from edgecnn.config.settings import CALIBRATED
from edgecnn.device.contract import Contract
from edgecnn.errors import GateError
from edgecnn.pipeline.conversion import Target
from edgecnn.pipeline.workspace import Workspace, calibration_images, called

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.data import DataSet

_NAMED = 10  # classes that a note names


def check_finite(
    model: Any, contract: Contract, probabilities: NDArray[np.float32], target: Target, work: Workspace
) -> None:
    """Raise `GateError`, naming the layer, where a weight of a Keras `model` is NaN or infinite, or an output is.

    `probabilities` [N, classes] are the outputs for the validation images. For a `target` of integers those for the
    calibration images, which set the ranges, are looked at too.
    """
    from edgecnn import _tf
    from edgecnn.inspect.keras import numbers

    fault = next((found for one in numbers(model) if (found := one.fault()) is not None), None)
    fault = fault or _fault_of(model, contract, work.data.validation.images, probabilities, "validation")
    if fault is None and target.scheme in CALIBRATED:
        images = calibration_images(work, work.config.exporting.calibration_images)
        fault = _fault_of(model, contract, images, _tf.predict(model, images, contract), "calibration")
    if fault is not None:
        raise GateError(f"export {target.file}: its Keras parent: {fault}; train it again from the start")


def _fault_of(
    model: Any, contract: Contract, images: NDArray[np.uint8], outputs: NDArray[np.float32], which: str
) -> str | None:
    """Return which of the `outputs` [N, classes] for `images` hold NaN or infinity, and from which layer on."""
    wrong = _without_numbers(outputs)
    if not wrong.size:
        return None
    begins = _first_without_numbers(model, contract.network_input(images[wrong[:1]]))
    return f"{wrong.size:,} of {len(outputs):,} {which} images give NaN or infinity{begins}"


def check_parent(
    probabilities: NDArray[np.float32], work: Workspace, *, where: str, is_ours: bool, likelier: Callable[[], str]
) -> None:
    """Raise `GateError` where `probabilities` [N, classes] of the Keras parent on validation are no better than chance.

    `is_ours` says that a record beside the parent says how it was trained; of another, `likelier` says what reads more.
    """
    figures = figures_on_validation(probabilities, work.data)
    if figures["at_chance"] and not work.config.exporting.allow_chance:
        remedy = "train it longer, on more images," if is_ours else _about_range(likelier)
        said = _at_chance(f"{where}: the parent itself", probabilities, work.data, figures)
        raise GateError(f"{said}: {remedy} or export it as it is with --allow-chance")


def check_adopted(
    probabilities: NDArray[np.float32],
    data: DataSet,
    *,
    where: str,
    allow_chance: bool,
    likelier: Callable[[], str],
) -> dict[str, Any]:
    """Return what a record's metrics hold of a foreign model's `probabilities` [N, classes] of validation images.

    Raises `GateError` where they are NaN or infinite, or, unless that is allowed, no better than chance.
    """
    if (wrong := _without_numbers(probabilities)).size:
        raise GateError(
            f"{where}: {wrong.size:,} of {len(probabilities):,} validation images give NaN or infinity; train it again"
        )
    figures = figures_on_validation(probabilities, data)
    if not figures["at_chance"]:
        return figures
    if not allow_chance:
        said = _at_chance(f"{where}: it", probabilities, data, figures)
        raise GateError(f"{said}: {_about_range(likelier)} or adopt it as it is with --allow-chance")
    return {**figures, "allowed_chance": True}


def _about_range(likelier: Callable[[], str]) -> str:
    return f"{found}: say so," if (found := likelier()) else "is its input 0..255? say --input-range 0..255,"


def _at_chance(who: str, probabilities: NDArray[np.float32], data: DataSet, figures: dict[str, Any]) -> str:
    """Return that somebody reads the validation images no better than chance, with the figures that show it."""
    from edgecnn.bench.accuracy import top1_accuracy
    from edgecnn.bench.chance import chance_level

    top1, classes = top1_accuracy(probabilities, data.validation.labels), len(data.labels)
    level = chance_level(classes)
    is_chance = "is chance" if figures["balanced_top1"] <= level else "so few images cannot tell from chance"
    return (
        f"{who} reads {top1.top1:.1%} of {top1.images:,} validation images in {classes} classes "
        f"({_balanced(figures)}; what learned nothing reads up to {level:.1%}), which {is_chance}"
    )


def check_file(content: bytes, suffix: str, *, where: str) -> None:
    """Raise `GateError`, naming the layer, for an exported file with weights or scales that cannot be computed with.

    It is read, not run: with such numbers a runtime may end the process.
    """
    from edgecnn.inspect import faults_of

    if faults := faults_of(content, suffix, where=where):
        raise GateError(f"{where}: {faults[0]}; export it with --scheme float32, or train it again from the start")


def result(reference: NDArray[np.float32], got: NDArray[np.float32], work: Workspace, *, where: str) -> dict[str, Any]:
    """Return what a record's metrics hold of what an exported file says of the validation images.

    `got` [N, classes] is that, `reference` what its parent says. Raises `GateError` where it is NaN or infinite.
    """
    if (wrong := _without_numbers(got)).size:
        raise GateError(
            f"{where}: {wrong.size:,} of {len(got):,} validation images give NaN or infinity, its Keras parent gives "
            f"numbers; export it with --scheme float32"
        )
    parent, own = (figures_on_validation(each, work.data) for each in (reference, got))
    is_allowed = work.config.exporting.allow_chance and (parent["at_chance"] or own["at_chance"])
    return {**own, **({"allowed_chance": True} if is_allowed else {})}


def check_chance(record: Record) -> None:
    """Raise `GateError` for an exported file, of whatever scheme, that reads at chance level where its parent does not.

    Without --allow-chance a parent that does has been refused before.
    """
    figures = record.metrics
    if figures["at_chance"] and "allowed_chance" not in figures:
        raise GateError(
            f"export {record.recipe}/{record.artifact}: top-1 on {figures['images']:,} validation images is "
            f"{figures['validation_top1']:.1%} ({_balanced(figures)}), which is chance, its parent's "
            f"{figures['parent_validation_top1']:.1%}; export it with --scheme float32, or as it is with --allow-chance"
        )


def figures_on_validation(probabilities: NDArray[np.float32], data: DataSet) -> dict[str, Any]:
    """Return what a record's metrics hold of class probabilities [N, classes] of the validation images.

    Balanced accuracy, its interval, whether that is chance, and the labels of the classes that are never predicted.
    """
    from edgecnn.bench.chance import balanced_accuracy, never_predicted

    predicted, labels, classes = probabilities.argmax(axis=1), data.validation.labels, len(data.labels)
    missing = never_predicted(predicted, labels, classes=classes)
    return {
        **asdict(balanced_accuracy(predicted, labels, classes=classes)),
        "never_predicted": [data.labels[number] for number in missing],
    }


def notes(path: Path) -> list[str]:
    """Return what must be said of an artifact by its record, a line each: at chance, classes that it never gives.

    There are none of a record that was made before this was measured.
    """
    record = artifact.read_record(path)
    figures, name = record.metrics, called(path, record)
    lines = []
    if figures.get("at_chance"):
        lines.append(f"{name}: reads the validation images at chance level ({_balanced(figures)})")
    if missing := figures.get("never_predicted"):
        lines.append(f"{name}: never predicted, though validation images show it: {_listed(missing)}")
    return lines


def _without_numbers(outputs: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the numbers of the rows of `outputs` [N, classes] that hold NaN or infinity."""
    import numpy as np

    return np.flatnonzero(~np.isfinite(outputs).all(axis=1))


def _first_without_numbers(model: Any, given: NDArray[np.float32]) -> str:
    """Return ", from layer NAME on" for the first layer that puts out NaN or infinity for an input [1, ...]."""
    from edgecnn.inspect.keras import watched

    names, finite = watched(model)
    seen = finite(given, training=False).numpy()[0]
    return next((f", from layer {name} on" for name, one in zip(names, seen, strict=True) if not one), "")


def _balanced(figures: dict[str, Any]) -> str:
    low, high = figures["balanced_low"], figures["balanced_high"]
    return f"balanced accuracy {figures['balanced_top1']:.1%}, 95 % interval {low:.1%} to {high:.1%}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
