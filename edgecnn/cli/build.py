"""`edgecnn build`: a model as a library and a program for one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.cli.options import DataDirOption, KernelOption, MovedOption, NameOption
from edgecnn.cli.terminal import progress, say


def build(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory, int8 .tflite file, folder with model.c and model.h, or released model by name. "
            "Default: the latest run, else edge35k.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str, typer.Option("--target", help="native (this machine), aarch64, armv7, or armv6 (Raspberry Pi 1, Zero).")
    ] = "native",
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Which model of a run. Default: baseline.", show_default=False)
    ] = None,
    kernel: KernelOption = None,
    name: NameOption = None,
    cc: Annotated[
        str | None, typer.Option("--cc", help="Compiler, instead of the target's gcc.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for what belongs to no run. Default: export.", show_default=False),
    ] = None,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Compile a model in C into libmodel.so and the program predict; the last line printed is the library's path."""
    from edgecnn import native, pipeline
    from edgecnn.cli import choose

    native.check_target(target)
    native.compiler_of(target, cc)
    opened, source, folder = choose.to_build(model, recipe, out)
    if opened is not None and not source.exists():
        say(f"exporting {source.parent.name} of run {opened.root}")
        images: dict[str, Any] = {"moved": data, "data_dir": data_dir}
        with progress() as observe, pipeline.reopen(opened, **images, observe=observe) as work:
            pipeline.export(work, recipe=source.parent.name, target=pipeline.Target("tflite", "int8"))
    pipeline.check_source(source)
    as_c = choose.c_options("c", "int8", kernel=kernel, name=name)
    if source.is_dir():
        choose.refuse({"--kernel": kernel, "--name": name}, "the model is C already")
    say(f"building {source} for {target}")
    print(pipeline.build(source, target=target, out=folder / target, compiler=cc, say=say, **(as_c or {})))
