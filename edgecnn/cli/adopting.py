"""`edgecnn adopt`: the record that a model made elsewhere lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.cli.options import DataDirOption, ResizeOption
from edgecnn.cli.said import takes_said
from edgecnn.cli.terminal import progress, say
from edgecnn.device.resolution import NOTHING_SAID, Said


@takes_said
def adopt(
    model: Annotated[Path, typer.Argument(help="A .tflite, .onnx, .keras or .h5 file.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Labelled images: what is open is tried on them, and figures and a reject option are kept."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for a copy of it with its record. Default: beside it.", show_default=False),
    ] = None,
    stated: Said = NOTHING_SAID,
    allow_chance: Annotated[
        bool, typer.Option("--allow-chance", help="Go on with a model that reads the images no better than chance.")
    ] = False,
    resize: ResizeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Write the record of a model made elsewhere, for other commands; the last line is the model's path."""
    from edgecnn import pipeline
    from edgecnn.cli import choose
    from edgecnn.config import configure

    pipeline.check_suffix(model)
    images = None
    if data is None:
        choose.refuse({"--resize": resize, "--data-dir": data_dir}, "there are no images without --data")
    else:
        settings = configure(data=data, resize=resize)
        with progress() as observe:
            loaded = pipeline.load_data(settings, data_dir=data_dir, observe=observe)
        images = pipeline.Images(loaded, settings)
    print(pipeline.adopt(model, images=images, out=out, said=stated, allow_chance=allow_chance, say=say))
