"""The stages that train: float32 baseline, pruning, clustering, QAT. Each keeps one Keras model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record
from edgecnn.config import Clustering, Distillation, Pruning, Teacher, Training, stated
from edgecnn.errors import ConfigError
from edgecnn.pipeline.workspace import (
    Workspace,
    calibration_images,
    described_data,
    is_complete,
    parent_hashes,
    recorded_model,
)

if TYPE_CHECKING:
    from edgecnn.train import Fit

QAT_CALIBRATION_IMAGES = 500  # set where the ranges start; training moves them from there
FILTER_IMAGES = 500  # tell which filters and units matter


def train(work: Workspace) -> Path:
    """Train the float32 baseline, after its teacher where the recipe has one; return the path of its model."""
    extras.require("train", needed_by="train")
    config = work.config
    settings = {"arch": config.arch, "training": stated(config.training)}
    if config.teacher is None:
        return _train(work, "baseline", config.arch, config.training, settings=settings)
    teacher, distillation = _teach(work, config.teacher), config.teacher.distillation
    settings |= {"distillation": stated(distillation)}
    return _train(
        work, "baseline", config.arch, config.training, settings=settings, teacher=teacher, distillation=distillation
    )


def _teach(work: Workspace, teacher: Teacher) -> Path:
    settings = {"arch": teacher.arch, "training": stated(teacher.training)}
    return _train(work, "teacher", teacher.arch, teacher.training, settings=settings)


def _train(
    work: Workspace,
    recipe: str,
    arch: str,
    training: Training,
    *,
    settings: dict[str, Any],
    teacher: Path | None = None,
    distillation: Distillation | None = None,
) -> Path:
    """Train a network of the zoo from scratch; return the path of its model."""
    from edgecnn import _tf, zoo

    path, parents = work.run.model(recipe), () if teacher is None else (teacher,)
    if is_complete(work, path, settings=settings, parents=parents):
        return path
    taught = {} if teacher is None else {"teacher": recorded_model(teacher), "distillation": distillation}
    _tf.seed_everything(work.config.seed)
    model = zoo.build(arch, input_shape=work.data.input_shape, classes=len(work.data.labels))
    fitted = _fit(work, path, "train" if recipe == "baseline" else "teach", training)(model, **taught)
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=parents)
    return path


def check_stages(work: Workspace) -> None:
    """Raise `ConfigError`, before anything is trained, when tfmot cannot train the architecture for int8."""
    extras.require("train", needed_by="train")
    from edgecnn import zoo
    from edgecnn.compress import qat

    if artifact.record_path(work.run.model("baseline")).exists():
        return
    qat.simulated(zoo.build(work.config.arch, input_shape=work.data.input_shape, classes=len(work.data.labels)))


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
    from edgecnn import _tf

    if method == "2:4" and sparsity is None:
        sparsity = 0.5  # the only one it has
    asked: dict[str, Any] = {"method": method, "final_sparsity": sparsity, "rounds": rounds}
    pruning = replace(work.config.pruning, **{key: value for key, value in asked.items() if value is not None})
    _refuse_parent(work, parent_recipe, "prune", ("qat", "clustering", "pruning"))
    parent = work.run.model(parent_recipe)
    recipe = _descendant(parent_recipe, pruned_name(pruning))
    path = work.run.model(recipe)
    settings = {"pruning": stated(pruning)}
    if is_complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    original = recorded_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = _pruned(work, original, pruning, _fit(work, path, "prune", pruning.training))
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def cluster(work: Workspace, parent_recipe: str = "baseline", *, clusters: int | None = None) -> str:
    """Cluster the weights of a recipe's model, its zeros kept; return the name, e.g. ``pruned80-clustered16``."""
    extras.require("train", needed_by="cluster")
    from edgecnn import _tf
    from edgecnn.compress.cluster import cluster as cluster_model

    clustering = work.config.clustering if clusters is None else replace(work.config.clustering, clusters=clusters)
    _refuse_parent(work, parent_recipe, "cluster", ("qat", "clustering"))
    parent = work.run.model(parent_recipe)
    recipe = _descendant(parent_recipe, clustered_name(clustering))
    path = work.run.model(recipe)
    settings = {"clustering": stated(clustering)}
    if is_complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    original = recorded_model(parent)
    _tf.seed_everything(work.config.seed)
    fit = _fit(work, path, "cluster", clustering.training)
    model, fitted = cluster_model(original, clustering=clustering, fit=fit)
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def train_quantized(work: Workspace, parent_recipe: str) -> str:
    """Fine-tune a recipe's model with simulated int8, its zeros or clusters kept; return e.g. ``pruned80-qat``."""
    extras.require("train", needed_by="quantize")
    from edgecnn import _tf
    from edgecnn.compress.qat import quantize_aware

    _refuse_parent(work, parent_recipe, "quantize", ("qat",))
    recipe, parent = f"{parent_recipe}-qat", work.run.model(parent_recipe)
    path = work.run.model(recipe)
    settings: dict[str, Any] = {"qat": stated(work.config.qat), "calibration_images": QAT_CALIBRATION_IMAGES}
    clustered = "clustering" in artifact.read_record(parent).settings
    if clustered:
        settings["preserve"] = "clusters"
    if is_complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    float_model = recorded_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = quantize_aware(
        float_model,
        calibration_images=calibration_images(work, QAT_CALIBRATION_IMAGES),
        fit=_fit(work, path, "qat", work.config.qat),
        preserve="clusters" if clustered else "zeros",
    )
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def pruned_name(pruning: Pruning) -> str:
    """Return the recipe name of a pruning: ``pruned80`` for 0.8, ``pruned87.5x3`` for 0.875 in three rounds."""
    if pruning.method == "2:4":
        return "sparse2of4"
    stem = "pruned" if pruning.method == "magnitude" else pruning.method
    return f"{stem}{pruning.final_sparsity * 100:g}{f'x{pruning.rounds}' if pruning.rounds > 1 else ''}"


def clustered_name(clustering: Clustering) -> str:
    """Return the recipe name of a clustering: ``clustered16``."""
    return f"clustered{clustering.clusters}"


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


def _pruned(work: Workspace, model: Any, pruning: Pruning, fit: Callable[..., Fit]) -> tuple[Any, Fit]:
    from edgecnn.compress.prune import prune as prune_model
    from edgecnn.compress.structured import prune_structured

    if pruning.method == "structured":
        images = calibration_images(work, FILTER_IMAGES)
        return prune_structured(model, pruning=pruning, calibration_images=images, fit=fit)
    steps = -(-len(work.data.train) // pruning.training.batch_size)
    return prune_model(model, pruning=pruning, steps_per_epoch=steps, fit=fit)


def _fit(work: Workspace, path: Path, stage: str, training: Training) -> Callable[..., Fit]:
    """Return the fit function of a stage: data, seed, checkpoint beside the artifact and progress filled in.

    A stage of several rounds calls it several times, in the same order each time; every call has its own checkpoint,
    so that a stage that is done again goes through the finished rounds at once.
    """
    from edgecnn import train as training_stage

    rounds = itertools.count(1)

    def fit(model: Any, **options: Any) -> Fit:
        return training_stage.fit(
            model,
            (work.data.train.images, work.data.train.labels),
            (work.data.validation.images, work.data.validation.labels),
            training=training,
            seed=work.config.seed,
            checkpoint=_checkpoint(path, next(rounds)),
            observe=lambda done, total, metrics: work.observe(stage, done, total, metrics),
            **options,
        )

    return fit


def _checkpoint(path: Path, number: int) -> Path:
    return path.with_name(f"checkpoint{number if number > 1 else ''}.npz")


def _keep(
    work: Workspace,
    path: Path,
    model: Any,
    fitted: Fit,
    *,
    recipe: str,
    settings: dict[str, Any],
    parents: Iterable[Path],
) -> None:
    """Write a trained Keras model and its record, then drop the checkpoints it came from."""
    from edgecnn import _tf

    content = _tf.save_model(model, suffix=path.suffix)
    parameters, nonzero = _tf.weight_counts(model)
    best = fitted.history[fitted.best_epoch]
    record = Record(
        stage="train" if recipe in ("baseline", "teacher") else "compress",
        recipe=recipe,
        scheme="float32",
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=parent_hashes(path, parents),
        parameters=parameters,
        nonzero_parameters=nonzero,
        seed=work.config.seed,
        settings=settings,
        data=described_data(work),
        labels=list(work.data.labels),
        input={"shape": [-1, *work.data.input_shape], "dtype": "float32", "range": [0, 1]},
        metrics={
            "best_epoch": fitted.best_epoch,
            "validation_top1": best["val_accuracy"],
            "validation_loss": best["val_loss"],
            "history": fitted.history,
        },
    )
    artifact.keep(path, content, record)
    for checkpoint in path.parent.glob("checkpoint*.npz"):
        checkpoint.unlink()
