"""`edgecnn release` and `decide`: a run's models made ready for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli.options import DataDirOption, RunArgument, StageRecipeOption
from edgecnn.cli.terminal import progress


def release(
    run: RunArgument = None,
    name: Annotated[str, typer.Option("--name", help="Name of the released model.")] = "edge35k",
    recipe: StageRecipeOption = "baseline",
    out: Annotated[Path, typer.Option("--out", help="Folder of released models.")] = Path("models"),
    seeds: Annotated[
        Path | None,
        typer.Option("--seeds", help="Recorded figures of several seeds (JSON), for the card.", show_default=False),
    ] = None,
) -> None:
    """Gather a complete run's model and exports into one folder with records and a model card."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    opened = choose.complete_run(run)
    choose.check_recipe(opened, recipe)
    print(pipeline.release(opened, name=name, recipe=recipe, out=out, seeds=seeds))


def decide(
    models: Annotated[
        list[Path] | None,
        typer.Argument(help="Run directories, folders or files of exported models. Default: the latest run."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Fit on validation when to trust exported models, and write it into their records; models stay as they are."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    with progress() as observe:
        decided = pipeline.decide(choose.exports_in(models), data_dir=data_dir, observe=observe)
    for path in decided:
        print(pipeline.decision_line(path))
