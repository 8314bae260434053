"""What commands show: tables on stdout, notes and progress on stderr."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecnn.bench.accuracy import AccuracyDelta
    from edgecnn.data.summary import Summary
    from edgecnn.pipeline import Inspection, LayerSensitivity, Observer


def say(message: str) -> None:
    """Print a note to stderr, so that stdout holds results alone."""
    print(message, file=sys.stderr)


def say_accuracy(path: Path) -> None:
    """Say how an artifact reads the validation images, what the curves of a training show, and what else is odd."""
    from edgecnn import pipeline

    for line in (pipeline.accuracy_line(path), pipeline.verdict_line(path), *pipeline.notes(path)):
        if line is not None:
            say(line)


def print_bench(path: Path) -> None:
    """Print the table of a bench JSON file and what must be said beside it."""
    from edgecnn.report.table import BENCH_HEADINGS, bench_rows, notes

    measured = json.loads(path.read_text())
    print_table(BENCH_HEADINGS, bench_rows(measured["results"]), text_columns=3)
    for note in notes(measured):
        print(note)


def print_comparison(path: Path) -> None:
    """Print the table of a compare.json: what each architecture costs, how it reads the test images, its verdict."""
    headings = (
        "architecture",
        "parameters",
        "test top-1 %",
        "log loss",
        "first 100 wrong",
        "epochs",
        "best",
        "verdict",
    )
    compared = json.loads(path.read_text())
    rows = [
        [
            row["name"],
            f"{row['parameters']:,}",
            f"{row['top1'] * 100:.2f}",
            f"{row['log_loss']:.4f}",
            str(row["first_100_wrong"]),
            str(row["epochs"]),
            str(row["best_epoch"] + 1),
            row["verdict"].split(":")[0],
        ]
        for row in compared["results"]
        if row["error"] is None
    ]
    if rows:
        print_table(headings, rows, text_columns=1)
    for row in compared["results"]:
        print(f"{row['name']}: {row['error'] or row['verdict']}")


def print_layers(found: Inspection) -> None:
    """Print the table of a model's layers, what they were compared with, and the figures of the file."""
    from edgecnn.report.table import layer_figures, layer_table

    print_table(*layer_table(layer_figures(found.layers)), text_columns=3)
    if found.against is not None:
        over = f" over {found.images} training images" if found.images else ", weights alone"
        print(f"SQNR against {found.against}{over}")
    figures = found.as_dict()
    print(f"size_bytes {figures['size_bytes']:,}  gzip_bytes {figures['gzip_bytes']:,}  sha256 {figures['sha256']}")


def print_sensitivity(layers: Sequence[LayerSensitivity]) -> None:
    """Print what int8 does to each layer, and what the deltas of top-1 are compared with."""
    from edgecnn.report.table import decibels

    headings = ("layer in int8", "weight SQNR dB", "output SQNR dB", "alone pp", "p", "all but it pp", "p")
    rows = [
        [
            m.layer,
            decibels(m.weight_sqnr_db) or "-",
            decibels(m.sqnr_db) or "-",
            *(cell for delta in (m.alone, m.spared) for cell in _delta_cells(delta)),
        ]
        for m in layers
    ]
    print_table(headings, rows, text_columns=1)
    first = layers[0].alone
    print(f"pp: top-1 of {first.images:,} validation images against the Keras model's {first.parent_top1 * 100:.2f} %")


def print_summary(found: Summary) -> None:
    """Print a data set's figures, the images of each class, and what is odd about it."""
    print(f"{found.name}: {found.height}x{found.width}x{found.channels}, {len(found.labels)} classes")
    rows = [
        [label, *(f"{counts[number]:,}" for counts in found.counts.values())]
        for number, label in enumerate(found.labels)
    ]
    totals = ["all", *(f"{sum(counts):,}" for counts in found.counts.values())]
    print_table(("class", *found.counts), [*rows, totals], text_columns=1)
    for where, count in found.duplicates.items():
        if count:
            print(f"{count:,} duplicates {where}")
    if not any(found.duplicates.values()):
        print("no duplicates")
    if found.contradictions:
        print(f"{found.contradictions:,} images under two labels")
    print(f"pictures: {found.reading}")
    for file in found.left_out:
        print(f"left out: {file}")
    print(f"sha256 {found.sha256}")


def _delta_cells(delta: AccuracyDelta | None) -> tuple[str, str]:
    return ("-", "-") if delta is None else (f"{0.0 - delta.drop_pp:+.2f}", f"{delta.mcnemar_p:.2g}")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> None:
    """Print a table, the first `text_columns` columns to the left and figures to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text_columns else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it needs to be: a table cut to 80 columns in a log has lost its figures.
    console = Console()
    console.width = max(console.width, sum(max(map(len, column)) + 3 for column in zip(headings, *rows, strict=True)))
    console.print(table)


@contextmanager
def progress() -> Iterator[Observer]:
    """Show a bar a stage, with time left, on stderr; without a terminal a line when a stage is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as shown,
        _interrupts_heard() as raise_if_interrupted,
    ):

        def observe(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            raise_if_interrupted()
            if stage not in bars:
                bars[stage] = shown.add_task(stage, figures="")
            figures = f"val_accuracy {metrics['val_accuracy']:.4f}" if "val_accuracy" in metrics else ""
            if "best_top1" in metrics:
                figures = f"{done} of {total}, best top-1 {metrics['best_top1']:.4f}" if stage == "search" else ""
            if "left_out" in metrics:
                figures = f"but for {metrics['left_out']:.0f} unreadable files: edgecnn data info lists them"
            shown.update(bars[stage], completed=done, total=total or None, figures=figures)
            if not console.is_terminal and total and done == total:
                say(f"{stage}: done {figures}".rstrip())

        yield observe


@contextmanager
def _interrupts_heard() -> Iterator[Callable[[], None]]:
    """Remember an interrupt and yield a function that raises it again.

    One that falls into a destructor or a library's callback is printed there and lost; the next step of work then
    raises it.
    """
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        raise KeyboardInterrupt

    def raise_if_heard() -> None:
        if heard:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, hear)
    try:
        yield raise_if_heard
    finally:
        signal.signal(signal.SIGINT, before)
