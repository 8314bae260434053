"""The report stage: a run's records and measurements as one page with pictures; nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Run
from edgecnn.config.names import arch_name, data_name
from edgecnn.errors import ArtifactError, unknown
from edgecnn.pipeline.measure import SCHEMA
from edgecnn.pipeline.workspace import read_config, verdict_of

if TYPE_CHECKING:
    from edgecnn.data import DataSet
    from edgecnn.report.page import Picture

FORMS = ("html", "markdown")
_WORST = 10
_LISTED_MISTAKES = 8


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
    for fault in _faults(measured):
        raise ArtifactError(f"{opened.bench}: {fault}; measure again: edgecnn bench {opened.root}")
    for row in rows:
        path = opened.root / row["artifact"]
        if artifact.sha256(artifact.read_bytes(path)) != row["sha256"]:
            raise ArtifactError(f"{path}: changed since it was measured; measure again: edgecnn bench {opened.root}")
    return measured


@dataclass(frozen=True)
class _Kind:
    """What a value of bench.json must be: in words for the error, and as a test."""

    words: str
    fits: Callable[[Any], bool]

    def or_null(self) -> _Kind:
        return _Kind(f"{self.words} or null", lambda value: value is None or self.fits(value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e18 < value < 1e18  # neither NaN nor infinite


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**18


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


_TEXT = _Kind("a line of text", _is_text)
_TEXTS = _Kind("a list of texts", _list_of(_is_text))
_COUNT = _Kind("a whole number from 0", _is_count)
_NUMBER = _Kind("a number", _is_number)
_TIME = _Kind("a number above 0", lambda value: _is_number(value) and value > 0)
_SHARE = _Kind("a share from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_OBJECT = _Kind("an object", lambda value: isinstance(value, dict))
_ROWS = _Kind("a list of objects, at least one", lambda value: bool(value) and _list_of(_OBJECT.fits)(value))

# What the report reads of bench.json; the rest may be there or not.
_WHOLE = {"conditions": _OBJECT, "data": _OBJECT.or_null(), "baseline": _TEXT.or_null(), "results": _ROWS}
_CONDITIONS = {"not_clean": _TEXTS}
_DATA = {"sha256": _TEXT, "test_images": _COUNT, "labels": _TEXTS}
_ROW = {
    **dict.fromkeys(("artifact", "runtime", "sha256"), _TEXT),
    **dict.fromkeys(("recipe", "scheme", "error"), _TEXT.or_null()),
    **dict.fromkeys(("size_bytes", "gzip_bytes"), _COUNT),
    **dict.fromkeys(("p50_us", "p90_us", "p99_us", "end_to_end_p50_us"), _TIME.or_null()),
    **dict.fromkeys(("ratio_to_baseline", "cold_start_ms", "rss_over_python_bytes"), _NUMBER.or_null()),
    **dict.fromkeys(("top1", "mcnemar_p", "top1_agreement"), _SHARE.or_null()),
}
# What rows have since models have a rule of what to refuse; older ones do not.
_COVERED = {"coverage": _SHARE, "top1": _SHARE}
_SINCE_RULES = {
    **dict.fromkeys(("accepted", "top1_accepted"), _SHARE.or_null()),
    "coverage": _Kind("a list of shares", _list_of(lambda value: _is_like(value, _COVERED))).or_null(),
}
_BIN = {"confidence": _SHARE, "top1": _SHARE, "images": _COUNT}


def _faults(measured: dict[str, Any]) -> Iterator[str]:
    """Yield where a bench result is not as `bench` writes it, what is there and what is expected."""
    yield from _misfits(measured, _WHOLE, "")
    yield from _misfits(measured["conditions"], _CONDITIONS, "conditions.")
    data = measured["data"]
    if data is not None:
        yield from _misfits(data, _DATA, "data.")
    for number, row in enumerate(measured["results"]):
        place = f"results[{number}]."
        yield from _misfits(row, _ROW, place)
        accuracy = _accuracy_kinds(data) if row["top1"] is not None else dict.fromkeys(("first_100_wrong",), _NOTHING)
        yield from _misfits(row, accuracy, place)
        yield from _misfits(row, {key: kind for key, kind in _SINCE_RULES.items() if key in row}, place)


_NOTHING = _Kind("null, as top1 is", lambda value: value is None)


def _accuracy_kinds(data: dict[str, Any] | None) -> dict[str, _Kind]:
    """Return what stands in a row that has a top-1: figures over `data`, whose labels and images set the bounds."""
    if data is None:
        return {"top1": _Kind("null, as data is", lambda value: value is None)}
    images, classes = data["test_images"], len(data["labels"])
    label, image = _below(classes), _below(images)
    mistake = {"image": image, "label": label, "predicted": label, "probability": _SHARE}
    row_of_counts = _Kind("", lambda value: _list_of(_is_count)(value) and len(value) == classes)
    first = _Kind(f"classes of the first {min(100, images)} images", lambda value: _are(value, label, min(100, images)))
    return {
        **dict.fromkeys(("top1_low", "top1_high", "calibration_error"), _SHARE),
        "confusion": _Kind(f"{classes} lists of {classes} counts", lambda value: _are(value, row_of_counts, classes)),
        "calibration": _Kind("a list of bins", _list_of(lambda value: _is_like(value, _BIN) and value["images"] > 0)),
        "first_100": first,
        "first_100_wrong": _COUNT,
        "worst_mistakes": _Kind("a list of mistakes", _list_of(lambda value: _is_like(value, mistake))),
    }


def _below(limit: int) -> _Kind:
    return _Kind(f"a whole number below {limit}", lambda value: _is_count(value) and value < limit)


def _are(values: Any, kind: _Kind, number: int) -> bool:
    return _list_of(kind.fits)(values) and len(values) == number


def _is_like(value: Any, kinds: dict[str, _Kind]) -> bool:
    return isinstance(value, dict) and not any(_misfits(value, kinds, ""))


def _misfits(values: dict[str, Any], kinds: dict[str, _Kind], place: str) -> Iterator[str]:
    for key, kind in kinds.items():
        if key not in values:
            yield f"{place}{key} is missing"
        elif not kind.fits(values[key]):
            yield f"{place}{key} is {_brief(values[key])}, expected {kind.words}"


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


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
    yield "network", f"{arch_name(config.arch)}, {record.parameters:,} parameters"
    yield "data", data_name(config.data)
    yield "recipe", f"{config.recipe}, seed {config.seed}"
    yield "commit", record.commit or "-"
    if row is not None:
        yield "looked at", f"{row['artifact']} in {row['runtime']}"


def _pictures(
    opened: Run, measured: dict[str, Any], row: dict[str, Any] | None, data: DataSet | None
) -> Iterator[Picture]:
    yield from _trade_offs(measured["results"], measured["conditions"]["not_clean"])
    for recipe in opened.recipes():
        yield from _curves(opened, recipe)
    if row is None:
        return
    described = measured["data"]
    yield from _accuracy(row, described)
    yield from _coverage(row)
    if data is not None and (data.sha256, len(data.test)) == (described["sha256"], described["test_images"]):
        yield from _images(row, data, described["labels"])
    yield _layers(opened, row)


def _trade_offs(rows: list[dict[str, Any]], not_clean: list[str]) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    for name, cost, axis in (("size", "size_bytes", "size_bytes"), ("latency", "p50_us", "p50 latency, µs")):
        both = [row for row in rows if row["top1"] is not None and row[cost] is not None]
        doubts = not_clean if name == "latency" else []
        if both:
            yield picture(
                f"pareto-{name}",
                f"Accuracy against {name}",
                "Colour is the recipe, shape the runtime. What no other model beats is joined and named; the table has "
                "the rest. The bars are 95 % Wilson intervals: models whose bars overlap widely may be equally good.",
                partial(figures.pareto, both, cost=cost, axis=axis, not_clean=doubts),
                alt=f"{_unbeaten(both, cost, axis)}{' Not clean.' if doubts else ''}",
            )


def _unbeaten(rows: list[dict[str, Any]], cost: str, axis: str) -> str:
    """Return which of the models no other one beats, with their top-1 and their cost."""
    from edgecnn.report.figures import short_name
    from edgecnn.report.pareto import front

    best = [rows[i] for i in front([(row[cost], row["top1"]) for row in rows])]
    named = "; ".join(f"{short_name(row)}, {row['top1']:.2%}, {row[cost]:,.0f}" for row in best)
    return f"{len(best)} of {len(rows)} models not beaten by another (top-1, {axis}): {named}."


def _curves(opened: Run, recipe: str) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    record = artifact.read_record(opened.model(recipe))
    history, best = record.metrics["history"], record.metrics["best_epoch"]
    judged = verdict_of(record)
    yield picture(
        f"curves-{recipe}",
        f"Training of {recipe}: {judged.word}",
        f"{judged.sentence()} The dotted line is the epoch that was kept.",
        lambda theme: figures.curves(history, best_epoch=best, theme=theme),
        alt=f"Loss and top-1 of {len(history)} epochs: {judged.sentence()}",
    )


def _accuracy(row: dict[str, Any], data: dict[str, Any]) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    yield picture(
        "confusion",
        "Confusion matrix",
        f"Of {row['artifact']}: the true class down, the predicted one across; mistakes in red."
        f"{_most_confused(row['confusion'], data['labels'])}",
        lambda theme: figures.confusion(row["confusion"], data["labels"], theme),
        alt=_confused(row["confusion"], data["labels"]),
    )
    yield picture(
        "calibration",
        "Calibration",
        f"On the dotted line the model is as often right as it is sure. Expected calibration error "
        f"{row['calibration_error']:.4f} over 15 bins of equal width.",
        lambda theme: figures.calibration(row["calibration"], theme),
        alt=_sure(row["calibration"], row["calibration_error"]),
    )


def _coverage(row: dict[str, Any]) -> Iterator[Picture]:
    """Yield what is accepted, of a row that was measured since there is a rule for it."""
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    curve = row.get("coverage")
    if not curve:
        return
    accepted = None if row.get("accepted") is None else (row["accepted"], row["top1_accepted"])
    rule = (
        "The record has no rule of what to refuse: edgecnn decide."
        if accepted is None
        else f"The record's rule accepts {accepted[0]:.2%} of them, the dot, and {accepted[1]:.2%} of these are right."
    )
    yield picture(
        "coverage",
        "What is accepted",
        f"Top-1 of the test images of which the model is surest, by how many these are. {rule}",
        lambda theme: figures.coverage(curve, accepted, theme),
        alt="; ".join(f"{one['coverage']:.1%} of the images: {one['top1']:.2%} right" for one in curve) + f". {rule}",
    )


def _confused(counts: list[list[int]], labels: list[str]) -> str:
    """Return how many answers were wrong and which mistake was the most frequent."""
    mistakes = _mistakes(counts)
    often = f"; most often {_in_words(mistakes[0], labels)}" if mistakes else ""
    return f"{sum(n for n, _, _ in mistakes)} of {sum(map(sum, counts))} wrong{often}."


def _most_confused(counts: list[list[int]], labels: list[str]) -> str:
    """Return the most frequent mistakes as a sentence; none where they are few."""
    often = [mistake for mistake in _mistakes(counts) if mistake[0] > 1][:_LISTED_MISTAKES]
    return f" Most often: {'; '.join(_in_words(mistake, labels) for mistake in often)}." if often else ""


def _mistakes(counts: list[list[int]]) -> list[tuple[int, int, int]]:
    """Return (how often, true class, predicted class) of every mistake that was made, the most frequent first."""
    made = [(n, i, j) for i, line in enumerate(counts) for j, n in enumerate(line) if i != j and n]
    return sorted(made, key=lambda mistake: -mistake[0])


def _in_words(mistake: tuple[int, int, int], labels: list[str]) -> str:
    times, true, predicted = mistake
    return f"{labels[true]} read as {labels[predicted]}, {times} times"


def _sure(curve: list[dict[str, float]], error: float) -> str:
    bins = "; ".join(f"{b['confidence']:.0%} sure, {b['top1']:.0%} right, {b['images']} images" for b in curve)
    return f"Expected calibration error {error:.4f}. By bin: {bins}."


def _images(row: dict[str, Any], data: DataSet, labels: list[str]) -> Iterator[Picture]:
    from edgecnn.report import figures
    from edgecnn.report.page import picture

    first = row["first_100"]
    images, truth = data.test.images[: len(first)], data.test.labels[: len(first)].tolist()
    wrong = [place for place, answer in enumerate(first) if answer != truth[place]]
    yield picture(
        "first-100",
        f"The first {len(first)} test images: {len(wrong)} wrong",
        f"In their order in the set. {'None is' if not wrong else 'In red: those'} read as another class"
        f"{', with the answer that was given' if wrong else ''}.",
        lambda theme: figures.first_images(images, truth, first, labels, theme),
        alt=f"{len(wrong)} of the first {len(first)} wrong"
        + "".join(f"; no. {i}: {labels[truth[i]]} read as {labels[first[i]]}" for i in wrong),
    )
    worst = row["worst_mistakes"][:_WORST]
    if worst:
        yield picture(
            "worst-mistakes",
            "The worst mistakes",
            "Wrong answers of which the model was surest.",
            lambda theme: figures.worst(data.test.images[[m["image"] for m in worst]], worst, labels, theme),
            alt="; ".join(
                f"no. {m['image']}: {labels[m['label']]} read as {labels[m['predicted']]}, {m['probability']:.1%} sure"
                for m in worst
            ),
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
        alt="; ".join(f"{name} has the most {what}: {share:.0%}" for what, name, share in figures.dearest(layers))
        or "No layer has weights.",
    )
