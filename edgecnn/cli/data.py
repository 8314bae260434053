"""`edgecnn data`: look at a data set before anything is trained on it."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecnn.cli.options import DataDirOption, ResizeOption
from edgecnn.cli.terminal import print_summary, progress

if TYPE_CHECKING:
    from edgecnn.data import DataSet

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at a data set: figures, or a picture.")

NameArgument = Annotated[str, typer.Argument(help="Data set by name, or the path of a file or folder.")]


@app.command()
def info(
    data: NameArgument = "digits",
    resize: ResizeOption = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show a data set's size, images per class and split, duplicates between splits, and its sha256."""
    from edgecnn import artifact
    from edgecnn.data.summary import summary

    found = summary(_loaded(data, resize, data_dir))
    if json is not None:
        artifact.write_atomic(json, dumps(found.as_dict(), indent=1) + "\n")
    print_summary(found)


@app.command()
def preview(
    data: NameArgument = "digits",
    resize: ResizeOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="PNG file. Default: the data set's name and .png.", show_default=False)
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Draw the first ten training images of every class as one PNG file; the last line printed is its path."""
    from edgecnn import artifact
    from edgecnn.data import summary

    loaded = _loaded(data, resize, data_dir)
    path = out or Path(f"{loaded.name}.png")
    artifact.write_atomic(path, summary.preview(loaded))
    print(path)


def _loaded(data: str, resize: str | None, data_dir: Path | None) -> DataSet:
    from edgecnn import pipeline
    from edgecnn.config import configure

    with progress() as observe:
        return pipeline.load_data(configure(data=data, resize=resize), data_dir=data_dir, observe=observe)
