"""`edgecnn prune`, `cluster` and `quantize`: smaller models out of a run's."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgecnn.cli.options import (
    AllowChanceOption,
    ClustersOption,
    DataDirOption,
    MaxDropOption,
    MethodOption,
    MovedOption,
    RoundsOption,
    RunArgument,
    SparsityOption,
    StageRecipeOption,
)
from edgecnn.cli.terminal import progress, say_accuracy


def prune(
    run: RunArgument = None,
    method: MethodOption = None,
    sparsity: SparsityOption = None,
    rounds: RoundsOption = None,
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Prune a run's model (default: its baseline, to the run's sparsity): single weights, patterns or whole filters."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("train", needed_by="prune")
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    options: dict[str, Any] = {"max_drop_pp": max_drop, "moved": data, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        made = pipeline.prune(work, recipe, method=method, sparsity=sparsity, rounds=rounds)
    say_accuracy(opened.model(made))
    print(opened.model(made))


def cluster(
    run: RunArgument = None,
    clusters: ClustersOption = None,
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Leave every kernel of a run's model with a few distinct values, which compress well; zeros stay zero."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("train", needed_by="cluster")
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    options: dict[str, Any] = {"max_drop_pp": max_drop, "moved": data, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        made = pipeline.cluster(work, recipe, clusters=clusters)
    say_accuracy(opened.model(made))
    print(opened.model(made))


def quantize(
    run: RunArgument = None,
    method: Annotated[
        str, typer.Option("--method", help="ptq (calibrate) or qat (fine-tune, zeros and clusters kept).")
    ] = "ptq",
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    allow_chance: AllowChanceOption = False,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Quantize a run's model to int8 TFLite, after training (ptq) or by quantization-aware training (qat)."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose
    from edgecnn.errors import unknown

    if method not in ("ptq", "qat"):
        raise unknown("method", method, ("ptq", "qat"))
    extras.require("train", "litert", needed_by="quantize")
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    options: dict[str, Any] = {"max_drop_pp": max_drop, "allow_chance": allow_chance or None}
    options |= {"moved": data, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        chosen = pipeline.train_quantized(work, recipe) if method == "qat" else recipe
        path = pipeline.export(work, recipe=chosen, target=pipeline.Target("tflite", "int8"))
    say_accuracy(path)
    print(path)
