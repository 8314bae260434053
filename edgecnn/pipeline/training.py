"""The stages that train: float32 baseline, pruning, quantization-aware fine-tuning. Each keeps one Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record
from edgecnn.config import Distillation, Pruning, Teacher, Training
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


def train(work: Workspace) -> Path:
    """Train the float32 baseline, after its teacher where the recipe has one; return the path of its model."""
    extras.require("train", needed_by="train")
    config = work.config
    settings = {"arch": config.arch, "training": asdict(config.training)}
    if config.teacher is None:
        return _train(work, "baseline", config.arch, config.training, settings=settings)
    teacher, distillation = _teach(work, config.teacher), config.teacher.distillation
    settings |= {"distillation": asdict(distillation)}
    return _train(
        work, "baseline", config.arch, config.training, settings=settings, teacher=teacher, distillation=distillation
    )


def _teach(work: Workspace, teacher: Teacher) -> Path:
    settings = {"arch": teacher.arch, "training": asdict(teacher.training)}
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


def prune(work: Workspace, *, sparsity: float | None = None) -> str:
    """Prune the baseline to `sparsity` (default: the run's); return the recipe's name, e.g. ``pruned80``."""
    extras.require("train", needed_by="prune")
    from edgecnn import _tf
    from edgecnn.compress.prune import prune as prune_model

    pruning = work.config.pruning if sparsity is None else replace(work.config.pruning, final_sparsity=sparsity)
    recipe, parent = pruned_name(pruning), work.run.model("baseline")
    path = work.run.model(recipe)
    settings = {"pruning": asdict(pruning)}
    if is_complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    baseline = recorded_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = prune_model(
        baseline,
        pruning=pruning,
        steps_per_epoch=-(-len(work.data.train) // pruning.training.batch_size),
        fit=_fit(work, path, "prune", pruning.training),
    )
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def train_quantized(work: Workspace, parent_recipe: str) -> str:
    """Fine-tune a recipe's model with simulated int8, its zeros kept; return the name, e.g. ``pruned80-qat``."""
    extras.require("train", needed_by="quantize")
    from edgecnn import _tf
    from edgecnn.compress.qat import quantize_aware

    if parent_recipe.endswith("-qat"):
        raise ConfigError(f"quantize: {parent_recipe} is trained for int8 already; name its float parent with --recipe")
    recipe, parent = f"{parent_recipe}-qat", work.run.model(parent_recipe)
    path = work.run.model(recipe)
    settings = {"qat": asdict(work.config.qat), "calibration_images": QAT_CALIBRATION_IMAGES}
    if is_complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    float_model = recorded_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = quantize_aware(
        float_model,
        calibration_images=calibration_images(work, QAT_CALIBRATION_IMAGES),
        fit=_fit(work, path, "qat", work.config.qat),
    )
    _keep(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def pruned_name(pruning: Pruning) -> str:
    """Return the recipe name of a pruning: ``pruned80`` for 0.8, ``pruned87.5`` for 0.875."""
    return f"pruned{pruning.final_sparsity * 100:g}"


def _fit(work: Workspace, path: Path, stage: str, training: Training) -> Callable[..., Fit]:
    """Return the fit function of a stage: data, seed, checkpoint beside the artifact and progress filled in."""
    from edgecnn import train as training_stage

    def fit(model: Any, **options: Any) -> Fit:
        return training_stage.fit(
            model,
            (work.data.train.images, work.data.train.labels),
            (work.data.validation.images, work.data.validation.labels),
            training=training,
            seed=work.config.seed,
            checkpoint=_checkpoint(path),
            observe=lambda done, total, metrics: work.observe(stage, done, total, metrics),
            **options,
        )

    return fit


def _checkpoint(path: Path) -> Path:
    return path.with_name("checkpoint.npz")


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
    """Write a trained Keras model and its record, then drop the checkpoint it came from."""
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
    _checkpoint(path).unlink(missing_ok=True)
