"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecnn.config.names import DATA_SETS
from edgecnn.config.recipes import IMPROVED, PAGE, RECIPES

DataOption = Annotated[
    str,
    typer.Option("--data", help=f"Data set: {', '.join(DATA_SETS)}, or the path of your own (edgecnn data info PATH)."),
]
MovedOption = Annotated[
    str | None,
    typer.Option("--data", help="Where the run's images lie now, if they were moved.", show_default=False),
]
ResizeOption = Annotated[
    str | None,
    typer.Option(
        "--resize",
        "--image-size",
        help="HEIGHTxWIDTH, or with xCHANNELS, that images are stretched to. Default: as they are.",
        show_default=False,
    ),
]
ArchOption = Annotated[
    str,
    typer.Option(
        "--arch",
        help="Architecture by name (edgecnn zoo), or a file: .keras or .h5 (its layers), or .py with build(shape, "
        "classes), which is run; or written out: 'layers:C24@5n P2 S48@3 G'.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help=f"Training recipe: {', '.join(RECIPES)}; {PAGE}, the architecture's own, or {IMPROVED}, with a better "
        "schedule. Default: the data set's.",
        show_default=False,
    ),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs at most, instead of the recipe's.")]
SparsityOption = Annotated[float | None, typer.Option("--sparsity", help="Share of weights to prune, in [0, 1).")]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="magnitude (layer by layer), global (one threshold), 2:4, block, or structured (whole filters and units). "
        "Default: the run's, magnitude.",
        show_default=False,
    ),
]
RoundsOption = Annotated[
    int | None, typer.Option("--rounds", help="Prune and train so many times, to rising sparsities. [default: 1]")
]
ClustersOption = Annotated[
    int | None,
    typer.Option("--clusters", help="Distinct values per kernel, 2 to 255. Default: the run's.", show_default=False),
]
TeacherOption = Annotated[
    Path | None,
    typer.Option(
        "--teacher", help="Run whose teacher to use instead of training one: edgecnn teach.", show_default=False
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run directory. Default: runs/ and a name made of the settings.")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with MNIST's four .gz files. Default: $EDGECNN_DATA/NAME, then the cache."),
]
RunArgument = Annotated[Path | None, typer.Argument(help="Run directory. Default: the latest.", show_default=False)]
StageRecipeOption = Annotated[str, typer.Option("--recipe", help="Which model of the run: baseline, pruned80, ...")]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="tflite, onnx, c (model.h and model.c), pyz (the predictor in one file), or bundle (what a board needs).",
    ),
]
ModelFormatOption = Annotated[
    str | None,
    typer.Option(
        "--model-format", help="bundle: tflite or onnx, of the model in it. [default: tflite]", show_default=False
    ),
]
TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="bundle: put the model in, compiled, for native (this machine), aarch64, armv7 or armv6.",
        show_default=False,
    ),
]
SchemeOption = Annotated[
    str,
    typer.Option("--scheme", help="tflite: float32, float16, dynamic, int8, int16x8; onnx: float32, int8; c: int8."),
]
KernelOption = Annotated[
    str | None,
    typer.Option(
        "--kernel",
        help="c: dense, sparse (zeros are not stored), or auto: sparse from 60 % zeros on, layer by layer. "
        "[default: auto]",
        show_default=False,
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option("--name", help="c: what its names begin with. [default: model]", show_default=False),
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        help="Refuse a model that loses more top-1 than this to its parent, in pp. Default: the recipe's, mostly 0.5.",
    ),
]
AllowChanceOption = Annotated[
    bool, typer.Option("--allow-chance", help="Export also what reads the validation images no better than chance.")
]
CalibrationOption = Annotated[
    int | None,
    typer.Option("--calibration-images", help="Training images that set the int8 ranges. [default: 500]"),
]
CalibrationMethodOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="How they set them: minmax (all values), percentile (99.99 % of them) or mse (least squared error). "
        "[default: minmax]",
        show_default=False,
    ),
]
ROOT = "~/edgecnn"
RootOption = Annotated[str, typer.Option("--root", help="Folder of the deployments on the board.")]
SshOption = Annotated[
    list[str] | None, typer.Option("--ssh-option", help="NAME=VALUE for ssh -o. Repeatable.", show_default=False)
]
SshConfigOption = Annotated[
    Path | None, typer.Option("--ssh-config", "-F", help="Configuration file of ssh.", show_default=False)
]
