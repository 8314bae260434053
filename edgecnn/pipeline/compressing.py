"""The stages that compress: pruning, clustering, QAT. Each makes one Keras model from another and says what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.config.dicts import stated
from edgecnn.config.settings import Clustering, Pruning, Training
from edgecnn.device.contract import Contract
from edgecnn.errors import ConfigError
from edgecnn.pipeline.fitting import check_drop, fit_function, keep, taught
from edgecnn.pipeline.teaching import members, teach
from edgecnn.pipeline.workspace import Workspace, calibration_inputs, delta_of, is_complete, recorded_model

if TYPE_CHECKING:
    from edgecnn.bench.accuracy import AccuracyDelta
    from edgecnn.train import Fit

    Fitting = Callable[..., Fit]

QAT_CALIBRATION_IMAGES = 500  # set where the ranges start; training moves them from there
FILTER_IMAGES = 500  # tell which filters and units matter


def prune(
    work: Workspace,
    parent_recipe: str = "baseline",
    *,
    method: str | None = None,
    sparsity: float | None = None,
    rounds: int | None = None,
) -> str:
    """Prune a recipe's model, by default as the run says; return the recipe's name, e.g. ``pruned80``."""
    extras.require("train", needed_by="prune")
    if method == "2:4" and sparsity is None:
        sparsity = 0.5  # the only one it has
    asked: dict[str, Any] = {"method": method, "final_sparsity": sparsity, "rounds": rounds}
    pruning = replace(work.config.pruning, **{key: value for key, value in asked.items() if value is not None})
    _refuse_parent(work, parent_recipe, "prune", ("qat", "clustering", "pruning"))
    return _compressed(
        work,
        "prune",
        parent_recipe,
        _descendant(parent_recipe, pruned_name(pruning)),
        settings={"pruning": stated(pruning)},
        training=pruning.training,
        compress=lambda model, contract, fit: _pruned(work, model, contract, pruning, fit),
        remedy="lower --sparsity, or prune in more --rounds",
    )


def cluster(work: Workspace, parent_recipe: str = "baseline", *, clusters: int | None = None) -> str:
    """Cluster the weights of a recipe's model, its zeros kept; return the name, e.g. ``pruned80-clustered16``."""
    extras.require("train", needed_by="cluster")
    clustering = work.config.clustering if clusters is None else replace(work.config.clustering, clusters=clusters)
    _refuse_parent(work, parent_recipe, "cluster", ("qat", "clustering"))
    return _compressed(
        work,
        "cluster",
        parent_recipe,
        _descendant(parent_recipe, clustered_name(clustering)),
        settings={"clustering": stated(clustering)},
        training=clustering.training,
        compress=lambda model, _, fit: _clustered(model, clustering, fit),
        remedy="give more --clusters",
    )


def train_quantized(work: Workspace, parent_recipe: str) -> str:
    """Fine-tune a recipe's model with simulated int8, its zeros or clusters kept; return e.g. ``pruned80-qat``."""
    extras.require("train", needed_by="quantize")
    _refuse_parent(work, parent_recipe, "quantize", ("qat",))
    clustered = "clustering" in artifact.read_record(work.run.model(parent_recipe)).settings
    return _compressed(
        work,
        "qat",
        parent_recipe,
        f"{parent_recipe}-qat",
        settings={
            "qat": stated(work.config.qat),
            "calibration_images": QAT_CALIBRATION_IMAGES,
            **({"preserve": "clusters"} if clustered else {}),
        },
        training=work.config.qat,
        compress=lambda *given: _trained_quantized(work, "clusters" if clustered else "zeros", *given),
        remedy="try --method ptq, or a parent that is pruned or clustered less",
    )


def why_not_quantized(work: Workspace, recipe: str) -> str | None:
    """Return why a recipe's model cannot be trained for int8 by tfmot, None where it can or was."""
    from edgecnn.compress import qat

    if artifact.record_path(work.run.model(f"{recipe}-qat")).exists():
        return None
    try:
        qat.simulated(recorded_model(work.run.model(recipe)))
    except ConfigError as error:
        return str(error)
    return None


def pruned_name(pruning: Pruning) -> str:
    """Return the recipe name of a pruning: ``pruned80`` for 0.8, ``pruned87.5x3`` for 0.875 in three rounds."""
    if pruning.method == "2:4":
        return "sparse2of4"
    stem = "pruned" if pruning.method == "magnitude" else pruning.method
    return f"{stem}{pruning.final_sparsity * 100:g}{f'x{pruning.rounds}' if pruning.rounds > 1 else ''}"


def clustered_name(clustering: Clustering) -> str:
    """Return the recipe name of a clustering: ``clustered16``."""
    return f"clustered{clustering.clusters}"


def _compressed(
    work: Workspace,
    stage: str,
    parent_recipe: str,
    recipe: str,
    *,
    settings: dict[str, Any],
    training: Training,
    compress: Callable[[Any, Contract, Fitting], tuple[Any, Fit]],
    remedy: str,
) -> str:
    """Make a recipe's model from its parent's by `compress`, unless it is there; return the recipe's name."""
    from edgecnn import _tf

    parent, path = work.run.model(parent_recipe), work.run.model(recipe)
    settings, parents = settings | taught(work.config), (parent, *members(work))
    if is_complete(work, path, settings=settings, parents=parents):
        if (delta := delta_of(artifact.read_record(path))) is not None:
            check_drop(recipe, delta, work, remedy=remedy)
        return recipe
    original, lessons = recorded_model(parent), teach(work)
    contract = artifact.read_record(parent).contract
    _tf.seed_everything(work.config.seed)
    model, fitted = compress(original, contract, fit_function(work, path, stage, training, contract, lessons=lessons))
    delta = _delta(work, original, model, contract)
    kept: dict[str, Any] = {"settings": settings, "parents": parents, "contract": contract}
    keep(work, path, model, fitted, recipe=recipe, delta=delta, remedy=remedy, **kept)
    return recipe


def _delta(work: Workspace, parent: Any, model: Any, contract: Contract) -> AccuracyDelta:
    from edgecnn import _tf
    from edgecnn.bench.accuracy import accuracy_delta

    validation = work.data.validation
    before, after = (_tf.predict(one, validation.images, contract) for one in (parent, model))
    return accuracy_delta(before, after, validation.labels)


def _descendant(parent_recipe: str, own: str) -> str:
    return own if parent_recipe == "baseline" else f"{parent_recipe}-{own}"


def _refuse_parent(work: Workspace, recipe: str, command: str, stages: Iterable[str]) -> None:
    """Raise `ConfigError` when one of `stages` made a recipe's model, for then `command` would undo its work."""
    path = work.run.model(recipe)
    made_by = artifact.read_record(path).settings if artifact.record_path(path).exists() else {}
    if made_by.get("pruning", {}).get("method") == "structured":
        return  # made smaller: there is nothing in it that training could undo
    done = {"qat": "trained for int8", "clustering": "clustered", "pruning": "pruned"}
    for stage in stages:
        if stage in made_by:
            float_ = "float " if stage == "qat" else ""
            raise ConfigError(f"{command}: {recipe} is {done[stage]} already; name its {float_}parent with --recipe")


def _pruned(
    work: Workspace, model: Any, contract: Contract, pruning: Pruning, fit: Callable[..., Fit]
) -> tuple[Any, Fit]:
    from edgecnn.compress.prune import prune as prune_model
    from edgecnn.compress.structured import prune_structured

    if pruning.method == "structured":
        inputs = calibration_inputs(work, FILTER_IMAGES, contract)
        return prune_structured(model, pruning=pruning, calibration_inputs=inputs, fit=fit)
    steps = -(-len(work.data.train) // pruning.training.batch_size)
    return prune_model(model, pruning=pruning, steps_per_epoch=steps, fit=fit)


def _clustered(model: Any, clustering: Clustering, fit: Fitting) -> tuple[Any, Fit]:
    from edgecnn.compress.cluster import cluster as cluster_model

    return cluster_model(model, clustering=clustering, fit=fit)


def _trained_quantized(work: Workspace, preserve: str, model: Any, contract: Contract, fit: Fitting) -> tuple[Any, Fit]:
    from edgecnn.compress.qat import quantize_aware

    inputs = calibration_inputs(work, QAT_CALIBRATION_IMAGES, contract)
    return quantize_aware(model, calibration_inputs=inputs, fit=fit, preserve=preserve)
