"""`edgecnn run`, `train`, `teach` and `compare`: what begins with labelled images and makes a run, or several."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.cli.options import (
    AllowChanceOption,
    ArchOption,
    CalibrationMethodOption,
    CalibrationOption,
    DataDirOption,
    DataOption,
    EpochsOption,
    MaxDropOption,
    OutOption,
    RecipeOption,
    ResizeOption,
    SeedOption,
    SparsityOption,
    TeacherOption,
)
from edgecnn.cli.terminal import print_bench, print_comparison, progress, say, say_accuracy


def run(
    data: DataOption = "digits",
    resize: ResizeOption = None,
    arch: ArchOption = "edge35k",
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    sparsity: SparsityOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
    max_drop: MaxDropOption = None,
    allow_chance: AllowChanceOption = False,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
) -> None:
    """Do the whole job: train, prune, quantize, export and measure. Killed and started again, it goes on."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    config = choose.settings(
        arch,
        data=data,
        resize=resize,
        recipe=recipe,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        max_drop_pp=max_drop,
        allow_chance=allow_chance or None,
        calibration_images=calibration_images,
        calibration=calibration,
    )
    with progress() as observe:
        root = out or choose.run_directory(config)
        options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
        done = pipeline.run(config, root, **options, observe=observe, note=say)
    for path in (*map(done.model, done.recipes()), *done.exports()):
        say_accuracy(path)
    print_bench(done.bench)
    page = done.bench.with_name("report.html")
    say(f"report: {page}" if page.exists() else "no report: needs pip install 'edgecnn[report]'")
    print(done.root)


def train(
    data: DataOption = "digits",
    resize: ResizeOption = None,
    arch: ArchOption = "edge35k",
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    sparsity: SparsityOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
    max_drop: MaxDropOption = None,
    allow_chance: AllowChanceOption = False,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
) -> None:
    """Train the float32 baseline of a run; the other settings are noted for its later stages."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    config = choose.settings(
        arch,
        data=data,
        resize=resize,
        recipe=recipe,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        max_drop_pp=max_drop,
        allow_chance=allow_chance or None,
        calibration_images=calibration_images,
        calibration=calibration,
    )
    extras.require("train", needed_by="train")
    root = out or choose.run_directory(config)
    given: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
    with progress() as observe, pipeline.begin(config, root, **given, observe=observe) as work:
        if (said := pipeline.reading_line(work.data)) is not None:
            say(said)
        path = pipeline.train(work)
    say_accuracy(path)
    print(path)


def teach(
    data: DataOption = "digits",
    resize: ResizeOption = None,
    recipe: RecipeOption = "strong",
    out: OutOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Train a recipe's teacher and prepare its lessons, for the runs that are given them with --teacher."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose
    from edgecnn.config import configure
    from edgecnn.errors import ConfigError

    extras.require("train", needed_by="teach")
    config = configure(data=data, resize=resize, recipe=recipe)

    if config.teacher is None:
        raise ConfigError(f"teach: recipe {config.recipe} has no teacher; name one that has: --recipe strong")
    root = out or choose.run_directory(config)
    with progress() as observe, pipeline.begin(config, root, data_dir=data_dir, observe=observe) as work:
        pipeline.teach(work)
    for path in sorted(work.run.teacher.glob("*/model.keras")):
        say_accuracy(path)
    print(work.run.teacher)


def compare(
    arch: Annotated[str, typer.Option("--arch", help="Architectures by comma: names (edgecnn zoo) or files.")],
    data: DataOption = "digits",
    resize: ResizeOption = None,
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for table and pictures. Default: runs/compare-...")
    ] = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Train several architectures, each an ordinary run, and show accuracy, log loss, curves and size side by side."""
    from edgecnn import pipeline
    from edgecnn.cli import choose
    from edgecnn.errors import GateError

    asked = choose.comparison(arch, data=data, resize=resize, recipe=recipe, epochs=epochs, seed=seed)
    options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
    with progress() as observe:
        path = pipeline.compare(asked, out=out or choose.comparison_directory(asked), **options, observe=observe)
    print_comparison(path)
    print(path)
    if refused := [row["name"] for row in loads(path.read_text())["results"] if row["error"]]:
        raise GateError(f"compare: {', '.join(refused)} no model that is worth keeping; see the reasons above")
