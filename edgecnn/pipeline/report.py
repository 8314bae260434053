"""The report stage: a run's records and measurements as one page with pictures; nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError, unknown
from edgecnn.pipeline.measure import SCHEMA
from edgecnn.pipeline.workspace import read_config

if TYPE_CHECKING:
    from edgecnn.data import DataSet
    from edgecnn.report.page import Picture

FORMS = ("html", "markdown")
_WORST = 10


def report(opened: Run, *, data: DataSet | None, form: str = "html", shown: str | None = None) -> Path:
    """Write a complete run's report and its pictures (PNG) into the run's bench folder; return the page's path.

    `shown` is the artifact whose mistakes, calibration and layers are drawn (default: the baseline's int8 TFLite
    file, else the first with an accuracy). `data` gives the images of the test split; without it they are left out.
    Raises `ArtifactError` when the run was not measured, or has changed since.
    """
    if form not in FORMS:
        raise unknown("format", form, FORMS)
    extras.require("report", needed_by="report")
    from edgecnn.report import page

    measured = _measured(opened)
    row = _shown(measured["results"], shown)
    content = page.Report(
        name=f"edgecnn: {opened.root.resolve().name}",
        facts=list(_facts(opened, row)),
        measured=measured,
        pictures=list(_pictures(opened, measured, row, data)),
    )
    for picture in content.pictures:
        artifact.write_atomic(opened.bench.with_name(f"{picture.name}.png"), picture.png)
    text = page.to_html(content) if form == "html" else page.to_report_markdown(content)
    path = opened.bench.with_name("report.html" if form == "html" else "report.md")
    artifact.write_atomic(path, text)
    return path


def _measured(opened: Run) -> dict[str, Any]:
    """Return the run's bench result; `ArtifactError` when there is none, of another schema, or of other bytes."""
    read_config(opened)  # says so when it is no run
    try:
        measured: dict[str, Any] = json.loads(opened.bench.read_text())
        schema, rows = measured["schema"], measured["results"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{opened.bench}: no measurements there ({error}); make them: edgecnn bench") from None
    if schema != SCHEMA:
        raise ArtifactError(f"{opened.bench}: schema {schema}, expected {SCHEMA}; measure again: edgecnn bench")
    for row in rows:
        path = opened.root / row["artifact"]
        if artifact.sha256(artifact.read_bytes(path)) != row["sha256"]:
            raise ArtifactError(f"{path}: changed since it was measured; measure again: edgecnn bench {opened.root}")
    return measured


def _shown(rows: list[dict[str, Any]], named: str | None) -> dict[str, Any] | None:
    """Return the row to look at closely, or None when no row has an accuracy."""
    measured = [row for row in rows if row["top1"] is not None]
    if named is not None:
        found = [row for row in measured if named in (row["artifact"], Path(row["artifact"]).name)]
        if not found:
            raise unknown("artifact", named, {row["artifact"] for row in measured})
        return found[0]
    usual = [row for row in measured if row["artifact"] == "export/baseline/int8.tflite"]
    return next(iter(usual or measured), None)


def _facts(opened: Run, row: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    config = read_config(opened)
    record = artifact.read_record(opened.model("baseline"))
    yield "network", f"{config.arch}, {record.parameters:,} parameters"
    yield "data", config.data
    yield "recipe", f"{config.recipe}, seed {config.seed}"
    yield "commit", record.commit or "-"
    if row is not None:
        yield "looked at", f"{row['artifact']} in {row['runtime']}"


def _pictures(
    opened: Run, measured: dict[str, Any], row: dict[str, Any] | None, data: DataSet | None
) -> Iterator[Picture]:
    yield from _trade_offs(measured["results"])
    for recipe in opened.recipes():
        yield from _curves(opened, recipe)
    if row is None:
        return
    yield from _accuracy(row, measured["data"]["labels"])
    if data is not None and data.sha256 == measured["data"]["sha256"]:
        yield from _images(row, data)
    yield _layers(opened, row)


def _trade_offs(rows: list[dict[str, Any]]) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    for name, cost, axis in (("size", "size_bytes", "size_bytes"), ("latency", "p50_us", "p50 latency, µs")):
        both = [row for row in rows if row["top1"] is not None and row[cost] is not None]
        if both:
            yield picture(
                f"pareto-{name}",
                f"Accuracy against {name}",
                "What no other model beats is joined and in bold. The bars are 95 % Wilson intervals: "
                "models whose bars overlap widely may be equally good.",
                partial(figures.pareto, both, cost=cost, axis=axis),
            )


def _curves(opened: Run, recipe: str) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.curves import verdict
    from edgecnn.report.page import picture

    record = artifact.read_record(opened.model(recipe))
    history, best = record.metrics["history"], record.metrics["best_epoch"]
    judged = verdict(history, classes=len(record.labels))
    yield picture(
        f"curves-{recipe}",
        f"Training of {recipe}: {judged.word}",
        f"{judged.sentence} The dotted line is the epoch that was kept.",
        lambda theme: figures.curves(history, best_epoch=best, theme=theme),
    )


def _accuracy(row: dict[str, Any], labels: list[str]) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    yield picture(
        "confusion",
        "Confusion matrix",
        f"Of {row['artifact']}: the true class down, the predicted one across; mistakes in red.",
        lambda theme: figures.confusion(row["confusion"], labels, theme),
    )
    yield picture(
        "calibration",
        "Calibration",
        f"On the dotted line the model is as often right as it is sure. Expected calibration error "
        f"{row['calibration_error']:.4f} over 15 bins of equal width.",
        lambda theme: figures.calibration(row["calibration"], theme),
    )


def _images(row: dict[str, Any], data: DataSet) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    first, labels, wrong = row["first_100"], list(data.labels), row["first_100_wrong"]
    images, truth = data.test.images[: len(first)], data.test.labels[: len(first)].tolist()
    yield picture(
        "first-100",
        f"The first {len(first)} test images: {wrong} wrong",
        f"In their order in the set. {'None is' if not wrong else 'In red: those'} read as another class"
        f"{', with the answer that was given' if wrong else ''}.",
        lambda theme: figures.first_images(images, truth, first, labels, theme),
    )
    worst = row["worst_mistakes"][:_WORST]
    if worst:
        yield picture(
            "worst-mistakes",
            "The worst mistakes",
            "Wrong answers of which the model was surest.",
            lambda theme: figures.worst(data.test.images[[m["image"] for m in worst]], worst, labels, theme),
        )


def _layers(opened: Run, row: dict[str, Any]) -> Picture:
    from edgecnn.inspect import inspect_file
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    layers = inspect_file(opened.root / row["artifact"])
    return picture(
        "layers",
        "Where the cost lies",
        f"Layer by layer, of {row['artifact']}; edgecnn inspect has the figures.",
        lambda theme: figures.layer_bars(layers, theme),
    )
