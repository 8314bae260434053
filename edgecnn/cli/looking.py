"""`edgecnn verify`, `inspect`, `sensitivity`, `models` and `zoo`: what is there, and what it is made of."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.cli.options import (
    CalibrationMethodOption,
    CalibrationOption,
    DataDirOption,
    MovedOption,
    ResizeOption,
    RunArgument,
    StageRecipeOption,
)
from edgecnn.cli.terminal import print_layers, print_sensitivity, print_table, progress
from edgecnn.errors import ArtifactError


def verify(
    directory: Annotated[Path, typer.Argument(help="A run, models/, or any folder with artifacts and records.")],
) -> None:
    """Re-hash every artifact in a folder and compare it with its record."""
    from edgecnn import artifact

    if not directory.is_dir():
        raise ArtifactError(f"{directory}: no such folder; give a run or models/")
    findings = list(artifact.verify(directory))
    for path, problem in findings:
        print(f"{'BAD' if problem else 'ok '} {path}")
    problems = [problem for _, problem in findings if problem]
    if problems:
        raise ArtifactError("; ".join(problems))
    if not findings:
        raise ArtifactError(f"{directory}: no artifact in it; give a run or models/")
    print(f"{len(findings)} artifacts, all as their records say")


def inspect(
    model: Annotated[
        Path, typer.Argument(help="A .keras, .h5, .tflite or .onnx file, or a released model by name: its int8 file.")
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            help="float32 model of the same network and format. Default: the one exported beside it.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set to compare over, if no record names it.")] = None,
    resize: ResizeOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show a model's layers: parameters, sparsity, MACs, bytes, and how far quantization moved them (SQNR)."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose

    model = choose.model_file(model)
    artifact.read_bytes(model)  # a file that is not there is told before anything is loaded for it
    against = against or pipeline.float32_beside(model)
    if against is None:
        choose.refuse(
            {"--data": data, "--resize": resize, "--data-dir": data_dir}, "there is no float32 model to compare with"
        )
        images = None
    else:
        with progress() as observe:
            images = choose.images_to_compare(model, data, resize=resize, data_dir=data_dir, observe=observe)
    found = pipeline.inspected(model, against=against, images=images)
    if json is not None:
        artifact.write_atomic(json, dumps(found.as_dict(), indent=1) + "\n")
    print_layers(found)


def sensitivity(
    run: RunArgument = None,
    recipe: StageRecipeOption = "baseline",
    format: Annotated[str, typer.Option("--format", help="tflite or onnx.")] = "tflite",
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show how int8 hurts a run's model layer by layer: SQNR, and validation top-1 with that layer alone in int8."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose
    from edgecnn.config.settings import SCHEMES
    from edgecnn.errors import unknown

    if format not in SCHEMES:
        raise unknown("format", format, SCHEMES)
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    if json is not None:
        artifact.check_writable(json)
    options: dict[str, Any] = {"calibration_images": calibration_images, "calibration": calibration}
    options |= {"moved": data, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        layers = pipeline.sensitivity(work, recipe, format)
    if json is not None:
        artifact.write_atomic(json, dumps([layer.as_dict() for layer in layers], indent=1) + "\n")
    print_sensitivity(layers)


def models() -> None:
    """List the released models: parameters, accuracy and bytes; their names stand for a path in other commands."""
    from edgecnn.pipeline.released import MODEL_HEADINGS, model_rows

    print_table(MODEL_HEADINGS, model_rows(), text_columns=1)


def zoo() -> None:
    """List the architectures: parameters, MACs, the accuracy that their pages printed, and ours; names for --arch."""
    from edgecnn.pipeline.architectures import ZOO_HEADINGS, zoo_rows

    print_table(ZOO_HEADINGS, zoo_rows(), text_columns=1)
