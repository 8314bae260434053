"""How a model was made, in words: the settings in the records of its steps, and nothing that they do not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgecnn.artifact import Record

STEP_HEADINGS = ("step", "how", "epoch kept", "validation top-1 %", "parameters", "not zero")
_PRUNED = {
    "magnitude": "of each kernel's weights, by magnitude",
    "global": "of all weights, by one threshold on LAMP scores",
    "2:4": "of the weights, two of four neighbours",
    "block": "of the blocks of four inputs, by magnitude",
    "structured": "of filters and units, taken out",
}
_AT_ONCE = ("2:4", "structured")  # methods without a ramp


def step_rows(steps: Sequence[Record]) -> list[list[str]]:
    """Return one row of cells per record of a Keras model, in the order of `STEP_HEADINGS`."""
    return [
        [
            _name(record),
            "; ".join(_how(record.settings)),
            f"{record.metrics['best_epoch'] + 1} of {len(record.metrics['history'])}",
            f"{record.metrics['validation_top1'] * 100:.2f}",
            f"{record.parameters:,}",
            f"{record.nonzero_parameters:,}",
        ]
        for record in steps
    ]


def training_in_words(training: Mapping[str, Any]) -> str:
    """Return the settings of a training, as a record states them, in words: ``Adam 0.001, batch 128, 30 epochs``."""
    said = dict(training)
    decay, schedule, warmup = (said.pop(key, None) for key in ("weight_decay", "schedule", "warmup_epochs"))
    patience, distorted = said.pop("patience"), said.pop("augmentation", None)
    optimizer = said.pop("optimizer", "adam").capitalize()
    words = [f"{optimizer}{'W' if decay else ''} {said.pop('learning_rate')}"]
    words += [f"weight decay {decay}"] if decay else []
    words += [f"{schedule} schedule"] if schedule else []
    words += [f"{_epochs(warmup)} of warm-up"] if warmup else []
    words += [f"batch {said.pop('batch_size')}", f"{_epochs(said.pop('epochs'))}{' at most' if patience else ''}"]
    words += [f"patience {patience}"] if patience else []
    averaged = said.pop("average_decay", None)
    words += [f"weights averaged with decay {averaged} in every epoch"] if averaged else []
    words += [f"images distorted ({_listed(distorted)})"] if distorted else []
    words += ["batch normalization, folded at the end"] if said.pop("batch_norm", None) else []
    return ", ".join([*words, *([_listed(said)] if said else [])])


def _name(record: Record) -> str:
    if "arch" in record.settings:
        return "train" if record.recipe == "baseline" else "train the teacher"
    steps = {"pruning": "prune", "clustering": "cluster", "qat": "train for int8"}
    return next((name for key, name in steps.items() if key in record.settings), record.recipe)


def _how(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield phrases that say all of a step's settings, those unknown here by their own names."""
    said = dict(settings)
    if "arch" in said:
        yield f"`{said.pop('arch')}`"
    if "pruning" in said:
        yield from _pruned(said.pop("pruning"))
    if "clustering" in said:
        clustering = dict(said.pop("clustering"))
        training = training_in_words(clustering.pop("training"))
        yield f"{clustering.pop('clusters')} distinct values per kernel"
        yield training
        yield from [_listed(clustering)] if clustering else []
    if "qat" in said:
        yield f"int8 simulated, {said.pop('preserve', 'zeros')} kept"
        if "calibration_images" in said:
            yield f"ranges begin as {said.pop('calibration_images')} training images set them"
        yield training_in_words(said.pop("qat"))
    if "training" in said:
        yield training_in_words(said.pop("training"))
    if "teacher" in said:
        yield _taught(said.pop("teacher"))
    if said:
        yield _listed(said)


def _taught(teacher: Mapping[str, Any]) -> str:
    """Say what a student learned from; how the teacher itself was trained has a row of its own."""
    said = {key: value for key, value in teacher.items() if key != "training"}
    return f"taught by {said.pop('members')} {said.pop('arch')} on {said.pop('views')} views an image ({_listed(said)})"


def _pruned(pruning: Mapping[str, Any]) -> Iterator[str]:
    said = dict(pruning)
    method, rounds, training = said.pop("method", "magnitude"), said.pop("rounds", 1), said.pop("training")
    initial, final = said.pop("initial_sparsity", 0), said.pop("final_sparsity")
    ramp, frequency = said.pop("ramp_epochs"), said.pop("frequency")
    begins = f"from {initial:.4g} " if initial else ""
    yield f"{begins}to {final * 100:g} % {_PRUNED.get(method, f'({method})')}"
    if method not in _AT_ONCE:
        yield f"over {_epochs(ramp)}, every {frequency} steps"
    if rounds > 1:
        yield f"in {rounds} rounds"
    yield training_in_words(training)
    if said:
        yield _listed(said)


def _epochs(number: float) -> str:
    return f"{number:g} epoch{'s' if number != 1 else ''}"


def _listed(settings: Mapping[str, Any]) -> str:
    """Return settings by their own names: ``label_smoothing 0.03, dropout 0.15``."""
    parts = (
        f"{key} ({_listed(value)})" if isinstance(value, Mapping) else f"{key.replace('_', ' ')} {value}"
        for key, value in settings.items()
    )
    return ", ".join(parts)
