"""One trial: an ordinary run of the pipeline in a folder of its own, as far as it is worth it.

Its training is looked at after a quarter and a half of the longest epochs, the rungs. There it is stopped when too many
earlier trials were ahead of it at the same epoch: those in better fronts, by accuracy and by what the network costs.
This is successive halving as L. Li et al. do it without waiting for others, "A System for Massively Parallel
Hyperparameter Tuning" (2020), with the non-dominated sorting of R. Schmucker et al., "Multi-objective Asynchronous
Successive Halving" (2021): a small network is no worse for being less accurate than a large one.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from edgecnn import artifact, pipeline
from edgecnn.artifact import Run
from edgecnn.config import RunConfig
from edgecnn.errors import ConfigError, DataError, GateError
from edgecnn.search.front import Point, ahead
from edgecnn.search.space import pruning_of

ETA = 2  # of the trials at a rung one in so many goes on, and every rung has so many times the epochs of the one before
_RUNGS = 2
_LEAST = 6  # trials at a rung, this one too, before one is stopped there
# Figures of a trial, over the validation images where they are about accuracy. The timed ones are measured if needed.
FIGURES = (
    "top1",
    "top1_low",
    "drop_pp",
    "top1_agreement",
    "size_bytes",
    "gzip_bytes",
    "sparse_bytes",
    "parameters",
    "nonzero_parameters",
    "macs",
    "effective_macs",
)
TIMED = ("p50_us", "p90_us", "p99_us", "cold_start_ms", "peak_rss_bytes", "flash_bytes", "arena_bytes")
HIGHER_IS_BETTER = ("top1", "top1_low", "top1_agreement")
TARGET = pipeline.Target("tflite", "int8")


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker is told of a trial; images and models are reached by name or path, and checked by hash."""

    number: int
    point: dict[str, Any]
    config: RunConfig
    objectives: tuple[str, ...]
    timed: bool
    runtime: str
    data_sha256: str
    rungs: dict[int, list[Point]] = field(default_factory=dict)  # epoch: losses of the earlier trials there
    folder: Path | None = None  # of its run; None: a temporary one of the worker
    typicality: Path | None = None  # what is typical of the data, which one trial learns for all
    data_dir: Path | None = None
    teacher: Path | None = None  # a run


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a trial. `state`: complete, stopped (at a rung), refused (it learned nothing) or failed."""

    number: int
    point: dict[str, Any]
    state: str
    reason: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    rungs: dict[int, list[float]] = field(default_factory=dict)  # epoch: its losses there
    record: dict[str, Any] | None = None  # of the exported artifact
    content: bytes | None = None  # the artifact
    seconds: float = 0.0


class _StopTrial(Exception):
    pass


def rung_epochs(epochs: int) -> list[int]:
    """Return after how many epochs trainings of at most `epochs` are looked at."""
    return sorted({ceil(epochs / ETA**power) for power in range(1, _RUNGS + 1)} - {epochs})


def losses(figures: Mapping[str, float], objectives: Sequence[str]) -> list[float]:
    """Return the objectives as losses: what is to be as high as possible with its sign changed."""
    return [-figures[name] if name in HIGHER_IS_BETTER else figures[name] for name in objectives]


def hopeless(point: Point, earlier: Sequence[Point]) -> bool:
    """Return whether a trial is to be stopped at a rung, given the losses of earlier ones there."""
    count = len(earlier) + 1
    return count >= _LEAST and ahead(point, earlier) >= ceil(count / ETA)


def run(job: Job) -> Outcome:
    """Run a trial; return what came of it.

    Raises what is not the trial's own fault: `DataError` for other images than the driver's, `MissingExtraError`,
    `StorageError`, `ArtifactError`.
    """
    begun, seen = time.monotonic(), dict[int, list[float]]()

    def outcome(state: str, **what: Any) -> Outcome:
        seconds = round(time.monotonic() - begun, 1)
        return Outcome(number=job.number, point=job.point, state=state, rungs=seen, seconds=seconds, **what)

    with _folder(job) as folder:
        try:
            path, figures = _run_in(folder, job, seen)
        except _StopTrial as stopped:
            return outcome("stopped", reason=str(stopped))
        except (GateError, ConfigError) as error:
            return outcome("refused", reason=str(error))
        record, content = artifact.checked(path), artifact.read_bytes(path)
    missing = [name for name in job.objectives if name not in figures]
    if missing:
        return outcome("refused", reason=f"{missing[0]} could not be measured", figures=figures)
    return outcome("complete", figures=figures, record=record.as_dict(), content=content)


def _run_in(folder: Path, job: Job, seen: dict[int, list[float]]) -> tuple[Path, dict[str, float]]:
    teacher = Run(job.teacher) if job.teacher is not None and job.config.teacher is not None else None
    costs: dict[str, float] = {}
    observe = _at_rungs(job, costs, seen)
    with pipeline.begin(job.config, folder, data_dir=job.data_dir, teacher=teacher, observe=observe) as work:
        if work.data.sha256 != job.data_sha256:
            raise DataError(
                f"{work.data.name}: the images here have sha256 {work.data.sha256[:12]}…, those of the study "
                f"{job.data_sha256[:12]}…; give this worker the same data"
            )
        costs |= _costs(work, job.point)
        path = exported(work, job.point, typicality=job.typicality)
        return path, figures_of(work, path, timed_in=job.runtime if job.timed else None)


def exported(work: pipeline.Workspace, point: Mapping[str, Any], *, typicality: Path | None = None) -> Path:
    """Train, prune and quantize as a point says, or what is left of it; return the int8 file."""
    pipeline.train(work)
    recipe = pipeline.prune(work) if pruning_of(point) is not None else "baseline"
    if point["quantization"] == "qat" and pipeline.why_not_quantized(work, recipe) is None:
        recipe = pipeline.train_quantized(work, recipe)
    if typicality is not None and typicality.exists() and not work.run.typicality.exists():
        artifact.link(typicality, work.run.typicality)
    path = pipeline.export(work, recipe=recipe, target=TARGET)
    if typicality is not None and work.run.typicality.exists() and not typicality.exists():
        artifact.write_atomic(typicality, artifact.read_bytes(work.run.typicality))
    return path


def figures_of(work: pipeline.Workspace, path: Path, *, timed_in: str | None) -> dict[str, float]:
    """Return the figures of an exported file; with a runtime those too that are measured by running it there."""
    from edgecnn.bench.accuracy import wilson_interval
    from edgecnn.pipeline.cost import cost_of, sparse_bytes

    record, content = artifact.checked(path), artifact.read_bytes(path)
    top1, images = record.metrics["validation_top1"], record.metrics["images"]
    found: dict[str, float | None] = {
        "top1": top1,
        "top1_low": wilson_interval(round(top1 * images), images)[0],
        "drop_pp": record.metrics["drop_pp"],
        "top1_agreement": record.metrics["top1_agreement"],
        "size_bytes": record.size_bytes,
        "gzip_bytes": record.gzip_bytes,
        "sparse_bytes": sparse_bytes(content, path.suffix),
        **cost_of(content, path.suffix),
    }
    if timed_in is not None:
        out = work.run.root / "bench" / "trial.json"
        look, runtimes = pipeline.a_look(), [timed_in]
        rows = pipeline.bench([path], data=None, out=out, setting=look, runtimes=runtimes, keras=False)["results"]
        found |= {name: rows[0][name] for name in TIMED}
    return {name: value for name, value in found.items() if value is not None}


def _at_rungs(job: Job, costs: Mapping[str, float], seen: dict[int, list[float]]) -> pipeline.Observer:
    """Return an observer that notes the losses at each rung, and stops the training that is hopeless there."""
    shown: dict[str, float] = {}  # an epoch's metrics are those of every step until the next epoch ends

    def observe(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal shown
        if stage != "train" or metrics is shown or "val_accuracy" not in metrics:
            return
        shown = metrics
        epochs = job.config.training.epochs
        epoch = round(done / total * epochs)
        if epoch not in job.rungs or epoch >= epochs:
            return
        here = [_at_rung(name, metrics["val_accuracy"], costs) for name in job.objectives]
        seen[epoch] = here
        if hopeless(here, job.rungs[epoch]):
            raise _StopTrial(f"after epoch {epoch}: {metrics['val_accuracy']:.2%} of the validation images")

    return observe


def _at_rung(objective: str, accuracy: float, costs: Mapping[str, float]) -> float:
    """Return the loss that stands for an objective while the network is trained: of bytes parameters, of time MACs."""
    if objective in HIGHER_IS_BETTER:
        return -accuracy
    return costs["macs" if objective in ("macs", "effective_macs", *TIMED) else "parameters"]


def _costs(work: pipeline.Workspace, point: Mapping[str, Any]) -> dict[str, float]:
    """Return parameters and MACs of a point's network; where filters are to go, as they will be."""
    kept = 1.0
    if pruning_of(point) == "structured":
        kept = (1 - work.config.pruning.final_sparsity) ** 2  # of a kernel's inputs and of its filters
    return {name: value * kept for name, value in pipeline.untrained_cost(work).items()}


@contextlib.contextmanager
def _folder(job: Job) -> Iterator[Path]:
    if job.folder is not None:
        yield job.folder
        return
    with tempfile.TemporaryDirectory(prefix="edgecnn-trial-") as folder:
        yield Path(folder) / "run"


Runner = Callable[[Job], Outcome]
