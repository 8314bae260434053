"""What every stage that trains shares: its fit function, and how the model that comes out is kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.artifact import Record
from edgecnn.config import RunConfig
from edgecnn.config.dicts import stated
from edgecnn.config.names import arch_name
from edgecnn.config.settings import Training
from edgecnn.device.contract import Contract
from edgecnn.errors import ArtifactError, GateError
from edgecnn.pipeline.contracts import of_training
from edgecnn.pipeline.gates import figures_on_validation
from edgecnn.pipeline.workspace import Workspace, described_data, figures_of, is_complete, parent_hashes

if TYPE_CHECKING:
    from edgecnn.bench.accuracy import AccuracyDelta
    from edgecnn.train import Fit, Lessons


def train_new(
    work: Workspace,
    path: Path,
    stage: str,
    *,
    recipe: str,
    teachers: Sequence[Path] = (),
    lessons: Callable[[], Lessons | None] = lambda: None,
) -> None:
    """Train the network that the configuration names from scratch into `path`, unless it is there.

    Batch normalization serves the training; where it can be folded into a convolution the model is kept without it.
    `lessons` is called when they are needed; `teachers` are the models that gave them.
    """
    from edgecnn import _tf
    from edgecnn.compress.fold import without_batch_norm

    config = work.config
    settings = {**_named(config), "training": stated(config.training), **taught(config)}
    if is_complete(work, path, settings=settings, parents=teachers):
        return
    model_lessons = lessons()
    _tf.seed_everything(config.seed)
    model = untrained(work)
    contract = of_training(model, work.data)
    fitted = fit_function(work, path, stage, config.training, contract, lessons=model_lessons)(model)
    kept = without_batch_norm(model)
    keep(work, path, kept, fitted, contract=contract, recipe=recipe, settings=settings, parents=teachers)


def untrained(work: Workspace) -> Any:
    """Return the network that the configuration names, for the run's images and classes, untrained.

    Raises `ArtifactError` when it is in a file that is not there any more or was changed since the run began.
    """
    from edgecnn import zoo

    config = work.config
    if config.arch_sha256 is not None:
        content = artifact.read_bytes(Path(config.arch))
        if artifact.sha256(content) != config.arch_sha256:
            raise ArtifactError(f"{config.arch}: changed since the run began; restore it or choose another --out")
    return zoo.build(
        config.arch,
        input_shape=work.data.input_shape,
        classes=len(work.data.labels),
        initializer=config.training.initializer,
        batch_norm=config.training.batch_norm,
    )


def _named(config: RunConfig) -> dict[str, Any]:
    """Return what a record says of the architecture."""
    return {
        "arch": arch_name(config.arch),
        **({} if config.arch_sha256 is None else {"arch_sha256": config.arch_sha256}),
    }


def taught(config: RunConfig) -> dict[str, Any]:
    """Return what a record says of a run's teacher: nothing where it has none."""
    return {} if config.teacher is None else {"teacher": stated(config.teacher)}


def fit_function(
    work: Workspace, path: Path, stage: str, training: Training, contract: Contract, *, lessons: Lessons | None = None
) -> Callable[..., Fit]:
    """Return the fit function of a stage: data, seed, lessons, checkpoint beside the artifact and progress filled in.

    A stage of several rounds calls it several times, in the same order each time; every call has its own checkpoint,
    so that a stage that is done again goes through the finished rounds at once.
    """
    from edgecnn import train as training_stage

    rounds = itertools.count(1)
    teacher = work.config.teacher if lessons is not None else None

    def fit(model: Any, **options: Any) -> Fit:
        return training_stage.fit(
            model,
            (work.data.train.images, work.data.train.labels),
            (work.data.validation.images, work.data.validation.labels),
            contract=contract,
            training=training,
            seed=work.config.seed,
            checkpoint=_checkpoint(path, next(rounds)),
            lessons=lessons,
            distillation=None if teacher is None else teacher.distillation,
            observe=lambda done, total, metrics: work.observe(stage, done, total, metrics),
            **options,
        )

    return fit


def keep(
    work: Workspace,
    path: Path,
    model: Any,
    fitted: Fit,
    *,
    contract: Contract,
    recipe: str,
    settings: dict[str, Any],
    parents: Iterable[Path],
    delta: AccuracyDelta | None = None,
    remedy: str = "",
) -> None:
    """Write a trained Keras model and its record, then drop the checkpoints it came from.

    `delta` is how it reads the validation images beside its parent. When it loses more than the run's `max_drop_pp`
    this raises `GateError` with the `remedy`, and keeps the checkpoints: under a higher limit nothing is trained again.
    """
    from edgecnn import _tf

    if delta is not None:
        check_drop(recipe, delta, work, remedy=remedy)
    content = _tf.save_model(model, suffix=path.suffix)
    probabilities = _tf.predict(model, work.data.validation.images, contract)
    parameters, nonzero = _tf.weight_counts(model)
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
        contract=contract,
        metrics=_metrics(fitted, delta, figures_on_validation(probabilities, work.data)),
    )
    artifact.keep(path, content, record)
    for checkpoint in path.parent.glob("checkpoint*.npz"):
        checkpoint.unlink()


def check_drop(recipe: str, delta: AccuracyDelta, work: Workspace, *, remedy: str) -> None:
    """Raise `GateError` when a model reads the validation images worse than its parent by more than the run allows."""
    allowed = work.config.exporting.max_drop_pp
    if delta.drop_pp > allowed:
        raise GateError(
            f"{recipe}: {delta}; allowed to lose are {allowed} pp (a higher --max-drop keeps it, nothing is trained "
            f"again); {remedy}"
        )


def _metrics(fitted: Fit, delta: AccuracyDelta | None, balanced: dict[str, Any]) -> dict[str, Any]:
    best = fitted.history[fitted.best_epoch]
    metrics: dict[str, Any] = {
        "best_epoch": fitted.best_epoch,
        "validation_top1": best["val_accuracy"],
        "validation_loss": best["val_loss"],
        **balanced,
    }
    if fitted.stopped:
        metrics["stopped"] = fitted.stopped
    if delta is not None:
        metrics |= figures_of(delta)
    return {**metrics, "history": fitted.history}


def _checkpoint(path: Path, number: int) -> Path:
    return path.with_name(f"checkpoint{number if number > 1 else ''}.npz")
