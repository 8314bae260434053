"""`edgecnn search`: many short trials for the best trade-offs, on this machine's cores or on a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecnn.cli.options import DataDirOption, DataOption, RecipeOption, ResizeOption, SeedOption, TeacherOption
from edgecnn.cli.terminal import print_table, progress, say

if TYPE_CHECKING:
    from edgecnn.search.study import Study

app = typer.Typer(rich_markup_mode=None)

StudyArgument = Annotated[
    Path | None, typer.Argument(help="Folder of the study. Default: the latest under runs/.", show_default=False)
]
StorageOption = Annotated[
    str | None,
    typer.Option("--storage", help="Database URL that Optuna takes. Default: study.db (SQLite) in the study's folder."),
]


@app.callback(invoke_without_command=True)
def search(
    context: typer.Context,
    data: DataOption = "digits",
    resize: ResizeOption = None,
    recipe: RecipeOption = None,
    objectives: Annotated[
        str,
        typer.Option("--objectives", help="By comma: top1 (on validation), size_bytes, macs, p50_us, gzip_bytes, ..."),
    ] = "top1,size_bytes",
    check: Annotated[
        Path | None,
        typer.Option("--check", help="Budget file (TOML) as of edgecnn bench: limits that trials must keep."),
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option("--budget", help="A limit, over --check: size_bytes_max=8000. Repeatable.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Trials of the study in all. [default: 40, with --time any]")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="Begin no trial after that: 90s, 30m, 2h.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Epochs of a trial at most. [default: a third of the recipe's]")
    ] = None,
    seed: SeedOption = 0,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe or random.")] = "tpe",
    runtime: Annotated[str, typer.Option("--runtime", help="Whose p50_us counts, if it is wanted.")] = "litert",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Trials at once. [default: as cores allow]")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Dask scheduler, tcp://host:8786. Default: this machine's cores.")
    ] = None,
    cores: Annotated[int, typer.Option("--cores", min=1, help="Cores of a trial.")] = 1,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory of a trial at most: 800M, 4G.")] = None,
    trial_time: Annotated[str | None, typer.Option("--trial-time", help="Time of a trial at most: 10m.")] = None,
    storage: StorageOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the study. Default: runs/search- and the data's name.")
    ] = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Search for the best trade-offs: many short trials, the promising ones longer. Given again, it goes on."""
    if context.invoked_subcommand is not None:
        return
    from edgecnn import extras
    from edgecnn.artifact import Run, locked
    from edgecnn.cli import choose
    from edgecnn.search import driver
    from edgecnn.search.study import limits, opened
    from edgecnn.search.study import objectives as named

    extras.require("search", "train", "litert", needed_by="search")
    trial_limits = choose.trial_limits(cores=cores, memory=memory, trial_time=trial_time)
    wanted: dict[str, Any] = {"objectives": named(objectives), "limits": limits(choose.budget(check, budget))}
    wanted |= {"epochs": epochs, "seed": seed, "sampler": sampler, "runtime": runtime, "teacher": teacher is not None}
    base = choose.settings("edge35k", data=data, resize=resize, recipe=recipe, seed=seed)
    folder = out or choose.search_directory(base)
    ends = choose.seconds(time, "--time")
    count = 40 if trials is None and ends is None else trials
    with progress() as observe, locked(Run(folder)):
        asked = choose.asked_for(base, data_dir=data_dir, observe=observe, **wanted)
        # Before a study is begun: without workers there is none.
        with choose.workers(scheduler, workers, trial_limits) as found:
            study = opened(folder, asked, storage=storage)
            places = driver.Places(data_dir=data_dir and data_dir.resolve(), teacher=teacher and teacher.resolve())
            outcomes = driver.search(study, found, trials=count, seconds=ends, places=places, observe=observe)
    _print_study(study, outcomes)
    print(folder)
    driver.check_budget(study, outcomes)


@app.command()
def show(study: StudyArgument = None, storage: StorageOption = None) -> None:
    """Show a study's front and the importances of its parameters, draw both; the last line printed is the page."""
    from edgecnn import extras
    from edgecnn.cli import choose
    from edgecnn.search import driver, showing
    from edgecnn.search.study import outcomes, reopened

    extras.require("search", needed_by="search show")
    opened = reopened(choose.study_folder(study), storage=storage)
    found = outcomes(opened.folder)
    _print_study(opened, found)
    driver.check_budget(opened, found)
    if extras.installed("report"):
        print(showing.draw(opened, found))
    else:
        say("no pictures: needs pip install 'edgecnn[report]'")


@app.command()
def export(
    study: StudyArgument = None,
    where: Annotated[
        str,
        typer.Option("--where", help="Condition on the trial's figures: 'size_bytes < 8000 and top1 > 0.99'."),
    ] = "top1 >= 0",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run directory. Default: runs/, the study's name and the trial's number."),
    ] = None,
    storage: StorageOption = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
) -> None:
    """Train the best trial that fits a condition in full, through the gates; the last line is the exported file."""
    from edgecnn import extras
    from edgecnn.cli import choose
    from edgecnn.search import retraining, showing
    from edgecnn.search.front import condition
    from edgecnn.search.study import outcomes, reopened
    from edgecnn.search.trial import FIGURES, TIMED

    extras.require("search", "train", "litert", needed_by="search export")
    asked = condition(where, (*FIGURES, *TIMED))
    opened = reopened(choose.study_folder(study), storage=storage)
    best = showing.best_where(opened, outcomes(opened.folder), asked)
    say(f"trial {best.number}: {showing.described(opened, best)}")
    root = out or choose.RUNS / f"{opened.folder.resolve().name}-trial{best.number}"
    with progress() as observe:
        options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher), "observe": observe}
        path = retraining.retrained(opened, best, root, condition=asked, say=say, **options)
    print(path)


def _print_study(study: Study, outcomes: Any) -> None:
    from edgecnn.search import showing

    say(showing.summary(study, outcomes))
    headings, rows = showing.front_table(study, outcomes)
    if rows:
        print_table(headings, rows, text_columns=3)
    if shares := showing.importances(study):
        print_table(*showing.importance_table(shares), text_columns=1)
