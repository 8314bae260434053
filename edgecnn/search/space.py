"""What is searched: a family of networks around edge35k, how they are trained, and how they are made smaller.

The space is data, so that a study can say which one it was made for. A point of it is a plain dict of values, which
`layers` and `configured` turn into what a run is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from edgecnn.config import RunConfig
from edgecnn.config.names import LAYERS
from edgecnn.config.recipes import GRADED
from edgecnn.config.settings import Pruning, Training

if TYPE_CHECKING:
    from optuna.trial import Trial

_MOST_FILTERS = 128
_POOL = 2
_WINDOW = 3  # of all convolutions behind the first


@dataclass(frozen=True)
class Choice:
    """One of several values; asked for where the parameters in `when` have one of the values there."""

    values: tuple[str | int | float | bool, ...]
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, whole where both are; `log`: as many below the geometric mean as above it."""

    low: float
    high: float
    log: bool = False
    when: tuple[tuple[str, tuple[str, ...]], ...] = ()


Parameter = Choice | Range

NETWORK: dict[str, Parameter] = {
    "block": Choice(("plain", "separable", "residual")),
    "depth": Range(2, 5),  # convolutions or blocks, the first convolution included
    "filters": Range(4, 32, log=True),  # of the first convolution
    "growth": Choice((1.0, 1.5, 2.0)),  # filters of each further one to those of the one before
    "window": Choice((3, 5, 9)),  # of the first convolution
    "pools": Choice((1, 2)),  # 2x2 max pooling: behind the first convolution, and half way
    "units": Choice((0, 16, 32, 64, 100)),  # of a hidden dense layer; 0: the mean over all positions instead
}
RECIPE: dict[str, Parameter] = {
    "learning_rate": Range(5e-4, 2e-2, log=True),
    "epochs": Choice((0.5, 1.0)),  # share of the epochs
}
# Lessons are distorted already, so that a network that has a teacher is given no distorted images.
UNTAUGHT: dict[str, Parameter] = {"augmentation": Range(0.0, 1.0)}  # times as far as `config.GRADED`
TAUGHT: dict[str, Parameter] = {
    "distillation": Choice(("no", "yes")),
    "augmentation": Range(0.0, 1.0, when=(("distillation", ("no",)),)),
}
COMPRESSION: dict[str, Parameter] = {
    # Whole filters can be taken out of plain networks alone.
    "pruning": Choice(("none", "global", "structured"), when=(("block", ("plain",)),)),
    "pruning_of_blocks": Choice(("none", "global"), when=(("block", ("separable", "residual")),)),
    "sparsity": Range(0.3, 0.9, when=(("pruning", ("global", "structured")),)),
    "sparsity_of_blocks": Range(0.3, 0.9, when=(("pruning_of_blocks", ("global",)),)),
    "quantization": Choice(("ptq", "qat")),
}


def space(*, teacher: bool) -> dict[str, Parameter]:
    """Return what is searched, by name, in the order in which it is asked for."""
    return {**NETWORK, **RECIPE, **(TAUGHT if teacher else UNTAUGHT), **COMPRESSION}


def described(searched: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return a space as JSON has it, to compare it with another one."""
    return {name: {key: _plain(value) for key, value in asdict(one).items()} for name, one in searched.items()}


def suggested(trial: Trial, searched: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the point that Optuna suggests; what a trial was given before, it is given again."""
    point: dict[str, Any] = {}
    for name, one in searched.items():
        if not all(point.get(other) in values for other, values in one.when):
            continue
        if isinstance(one, Choice):
            point[name] = trial.suggest_categorical(name, one.values)
        elif isinstance(one.low, int) and isinstance(one.high, int):
            point[name] = trial.suggest_int(name, one.low, one.high, log=one.log)
        else:
            point[name] = trial.suggest_float(name, one.low, one.high, log=one.log)
    return point


def layers(point: Mapping[str, Any], *, side: int) -> str:
    """Return the network of a point in the notation of `zoo.notation`, for images whose shorter side is `side` pixels.

    Layers that are larger than what is left of the image are left out.
    """
    window = min(point["window"], side)
    tokens = [f"C{point['filters']}@{window}n"]
    side -= window - 1
    pools = {1} if point["pools"] == 1 else {1, ceil(point["depth"] / 2)}
    for number in range(1, point["depth"] + 1):
        if number > 1:
            if point["block"] != "residual":
                if side < _WINDOW:
                    break
                side -= _WINDOW - 1
            tokens.append(_block(point, number))
        if number in pools and side >= _POOL:
            tokens.append(f"P{_POOL}")
            side //= _POOL
    return " ".join([*tokens, f"F{point['units']}" if point["units"] else "G"])


def configured(point: Mapping[str, Any], base: RunConfig, *, side: int, epochs: int | None = None) -> RunConfig:
    """Return what a point asks of a run: `base` with the point's network, training and compression.

    With `epochs` the trainings are short: that of the network as many, the others cut down by the same share. Without,
    they are as long as those of `base`. Either way the point has its share of them.
    """
    full = base.training.epochs
    share = point["epochs"] * (1.0 if epochs is None else epochs / full)
    taught = point.get("distillation") == "yes"
    augmentation = GRADED.scaled(point["augmentation"]) if point.get("augmentation") else None
    training = _for_share(base.training, share)
    training = replace(
        training,
        learning_rate=point["learning_rate"],
        schedule="cosine",
        warmup_epochs=min(1.0, training.epochs / 10),
        augmentation=augmentation,
    )
    return replace(
        base,
        arch=LAYERS + layers(point, side=side),
        arch_sha256=None,
        training=training,
        pruning=_pruning(point, base.pruning, share),
        qat=_for_share(base.qat, share),
        teacher=base.teacher if taught else None,
        # What quantization loses shows in the figures of a short trial; the gate is for what is kept.
        exporting=base.exporting if epochs is None else replace(base.exporting, max_drop_pp=100.0),
    )


def pruning_of(point: Mapping[str, Any]) -> str | None:
    """Return how a point's network is pruned, one of `config.PRUNING_METHODS`; None where it is not."""
    method = point.get("pruning", point.get("pruning_of_blocks", "none"))
    return None if method == "none" else method


def _block(point: Mapping[str, Any], number: int) -> str:
    filters = min(_MOST_FILTERS, round(point["filters"] * point["growth"] ** (number - 1)))
    letter, mark = {"plain": ("C", "n"), "separable": ("S", ""), "residual": ("R", "")}[point["block"]]
    return f"{letter}{filters}@{_WINDOW}{mark}"


def _for_share(training: Training, share: float) -> Training:
    """Return `training` for a share of its epochs, all of them: rungs compare the same epoch of several trainings."""
    epochs = max(1, round(training.epochs * share))
    return replace(training, epochs=epochs, patience=0, warmup_epochs=min(training.warmup_epochs, epochs / 10))


def _pruning(point: Mapping[str, Any], base: Pruning, share: float) -> Pruning:
    method = pruning_of(point)
    if method is None:
        return base
    training = _for_share(base.training, share)
    training = replace(training, epochs=max(2, training.epochs))  # behind the ramp it trains on
    ramp = min(max(1, round(base.ramp_epochs * share)), training.epochs - 1)
    sparsity = round(point.get("sparsity", point.get("sparsity_of_blocks")), 3)  # it is part of a folder's name
    return replace(base, method=method, final_sparsity=sparsity, rounds=1, ramp_epochs=ramp, training=training)


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
