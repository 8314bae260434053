"""Several architectures beside each other: each an ordinary run, trained one after the other, then tested."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgecnn import artifact, extras, zoo
from edgecnn.artifact import Run
from edgecnn.config import RunConfig
from edgecnn.config.names import arch_name, data_name
from edgecnn.errors import ConfigError, GateError
from edgecnn.pipeline.training import train
from edgecnn.pipeline.workspace import Observer, Workspace, begin, recorded_model, unobserved, verdict_of

_FIRST = 100  # test images whose mistakes are counted by themselves, as the sources did
COMPARISON = "compare.json"


def compare(
    asked: Sequence[tuple[RunConfig, Path]],
    *,
    out: Path,
    data_dir: Path | None = None,
    teacher: Run | None = None,
    observe: Observer = unobserved,
) -> Path:
    """Train each configuration in its run directory, or what is left of it, and compare them; return compare.json.

    Beside it in the folder `out` lie curves.png and parameters.png, where matplotlib is installed. A training that is
    refused (images that do not fit, chance level, no number) is a row with its reason and stops none of the others.
    Nothing is chosen by the test images.
    """
    extras.require("train", needed_by="compare")
    artifact.check_writable(out / COMPARISON)
    rows = [
        {"name": name, **compared(config, root, name=name, data_dir=data_dir, teacher=teacher, observe=observe)}
        for name, (config, root) in zip(names([config.arch for config, _ in asked]), asked, strict=True)
    ]
    path = out / COMPARISON
    artifact.write_atomic(path, json.dumps({"data": data_name(asked[0][0].data), "results": rows}, indent=1) + "\n")
    if extras.installed("report"):
        for name, content in _pictures(rows):
            artifact.write_atomic(out / name, content)
    return path


def names(arches: Sequence[str]) -> list[str]:
    """Return what each architecture is called: a file by its name without suffix, or with it, or by its whole path.

    The shortest of these by which all are told apart.
    """
    kinds = (_short_name, arch_name)
    found = ([name(arch) for arch in arches] for name in kinds)
    return next((some for some in found if len(set(some)) == len(arches)), list(arches))


def _short_name(arch: str) -> str:
    return Path(arch).stem if zoo.is_file(arch) else arch


def compared(
    config: RunConfig,
    root: Path,
    *,
    name: str = "",
    data_dir: Path | None = None,
    teacher: Run | None = None,
    observe: Observer = unobserved,
) -> dict[str, Any]:
    """Train one configuration in `root`, or what is left of it; return its row, with `error` where it was refused.

    `name` is what its stages are called by for the observer.
    """

    def named(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        observe(f"{name} {stage}".strip(), done, total, metrics)

    row: dict[str, Any] = {
        "arch": arch_name(config.arch),
        "run": str(root),
        "recipe": config.recipe,
        "seed": config.seed,
    }
    with begin(config, root, data_dir=data_dir, teacher=teacher, observe=named) as work:
        try:
            path = train(work)
        except (ConfigError, GateError) as error:  # it does not fit the images, or learns nothing
            return {**row, "error": str(error)}
        return {**row, "error": None, **_figures(work, path)}


def _figures(work: Workspace, path: Path) -> dict[str, Any]:
    """Return what a trained baseline costs, how it was trained and how it reads the test images."""
    from edgecnn import _tf
    from edgecnn.bench.accuracy import log_loss, top1_accuracy

    record, test = artifact.read_record(path), work.data.test
    probabilities = _tf.predict(recorded_model(path), test.images, record.contract)
    accuracy = top1_accuracy(probabilities, test.labels)
    first_wrong = probabilities[:_FIRST].argmax(axis=1) != test.labels[:_FIRST]
    return {
        "data": work.data.name,
        "parameters": record.parameters,
        "training": record.settings["training"],
        "epochs": len(record.metrics["history"]),
        "best_epoch": record.metrics["best_epoch"],
        "validation_top1": record.metrics["validation_top1"],
        "top1": accuracy.top1,
        "top1_low": accuracy.top1_low,
        "top1_high": accuracy.top1_high,
        "test_images": accuracy.images,
        "log_loss": log_loss(probabilities, test.labels),
        "first_100_wrong": int(first_wrong.sum()),
        "verdict": str(verdict_of(record)),
        "history": record.metrics["history"],
    }


def _pictures(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    from edgecnn.report import figures

    done = {row["name"]: row for row in rows if row["error"] is None}
    if not done:
        return
    draw = {
        "curves.png": partial(figures.compared_curves, {name: row["history"] for name, row in done.items()}),
        "parameters.png": partial(figures.against_parameters, done),
    }
    for name, drawn in draw.items():
        yield name, figures.to_png(drawn(theme=figures.LIGHT))
