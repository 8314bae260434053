"""`edgecnn export`: one function for each thing that it can be asked for, and for each thing to export from."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecnn.artifact import EXPORT_SUFFIXES, Run
from edgecnn.cli.options import (
    AllowChanceOption,
    CalibrationMethodOption,
    CalibrationOption,
    DataDirOption,
    FormatOption,
    KernelOption,
    MaxDropOption,
    ModelFormatOption,
    NameOption,
    ResizeOption,
    SchemeOption,
    TargetOption,
)
from edgecnn.cli.said import takes_said
from edgecnn.cli.terminal import progress, say, say_accuracy
from edgecnn.device.resolution import NOTHING_SAID, Said

if TYPE_CHECKING:
    from edgecnn.pipeline import Target
    from edgecnn.pipeline.exports import Check


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `edgecnn export` was asked for; None where an option was not given."""

    model: Path | None
    format: str
    scheme: str
    recipe: str | None
    dynamic_batch: bool = False
    keep_float: str | None
    bias_correction: bool = False
    per_tensor: bool = False
    out: Path | None
    data: str | None
    resize: str | None
    data_dir: Path | None
    max_drop: float | None
    allow_chance: bool = False
    calibration_images: int | None
    calibration: str | None
    kernel: str | None
    name: str | None
    model_format: str | None
    target: str | None
    said: Said = NOTHING_SAID
    check: Check | None = None  # raises for a model that what is made of it cannot be made of, before it is written

    @property
    def folder(self) -> Path:
        """Where what belongs to no run goes."""
        return self.out or Path("export")

    @property
    def calibrated(self) -> dict[str, Any]:
        """How the ranges of integers are set."""
        return {"calibration_images": self.calibration_images, "calibration": self.calibration}

    @property
    def exporting(self) -> dict[str, Any]:
        """What `configure` takes of how models are exported."""
        return {"max_drop_pp": self.max_drop, "allow_chance": self.allow_chance or None, **self.calibrated}


@takes_said
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory, .keras file, released model by name, for c an int8 .tflite, for bundle any .tflite or "
            ".onnx with its record. Default: the latest run, else edge35k.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = "tflite",
    scheme: SchemeOption = "int8",
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Which model of a run. Default: baseline.", show_default=False)
    ] = None,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="onnx: leave the batch size open.")] = False,
    keep_float: Annotated[
        str | None,
        typer.Option(
            "--keep-float",
            help="int8: layers to leave in float, by comma, or auto: the fewest with which --max-drop holds.",
            show_default=False,
        ),
    ] = None,
    bias_correction: Annotated[
        bool, typer.Option("--bias-correction", help="int8: take off the biases what rounding shifts the outputs by.")
    ] = False,
    per_tensor: Annotated[
        bool,
        typer.Option("--per-tensor", help="int8: one scale a kernel instead of one a filter: smaller, less exact."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for what belongs to no run. Default: export.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Data set of a .keras file that has no record; where a run's images lie, if moved."
        ),
    ] = None,
    resize: ResizeOption = None,
    data_dir: DataDirOption = None,
    max_drop: MaxDropOption = None,
    allow_chance: AllowChanceOption = False,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
    kernel: KernelOption = None,
    name: NameOption = None,
    model_format: ModelFormatOption = None,
    target: TargetOption = None,
    stated: Said = NOTHING_SAID,
) -> None:
    """Export a model to TFLite, ONNX or C, or as a bundle for a board; the last line printed is the path written."""
    asked = Asked(
        model=model,
        format=format,
        scheme=scheme,
        recipe=recipe,
        dynamic_batch=dynamic_batch,
        keep_float=keep_float,
        bias_correction=bias_correction,
        per_tensor=per_tensor,
        out=out,
        data=data,
        resize=resize,
        data_dir=data_dir,
        max_drop=max_drop,
        allow_chance=allow_chance,
        calibration_images=calibration_images,
        calibration=calibration,
        kernel=kernel,
        name=name,
        model_format=model_format,
        target=target,
        said=stated,
    )
    print(_exported(asked))


def to_bundle(
    model: Path | None, *, scheme: str, recipe: str | None = None, model_format: str | None = None
) -> tuple[Path, str]:
    """Return the exported file that a bundle of `model` is made of, exported where it must be, and its name."""
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(Asked) if field.default is MISSING)
    chosen = {"model": model, "format": "bundle", "scheme": scheme, "recipe": recipe, "model_format": model_format}
    return _to_bundle(Asked(**values | chosen))


def _exported(asked: Asked) -> Path:
    """Export in the format asked for; return the path written."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    if asked.format == "bundle":
        return _bundle(asked)
    choose.refuse({"--model-format": asked.model_format, "--target": asked.target}, "it is for --format bundle")
    if asked.format == "pyz":
        return pipeline.pack_predictor(asked.folder)
    as_c = choose.c_options(asked.format, asked.scheme, kernel=asked.kernel, name=asked.name)
    return _model(asked) if as_c is None else _c(asked, as_c)


def _bundle(asked: Asked) -> Path:
    """Export the model that goes into it, then the bundle: a folder and an archive; return the archive's path."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    choose.c_options(asked.format, asked.scheme, kernel=asked.kernel, name=asked.name)
    if asked.target is not None:
        from edgecnn import native

        native.compiler_of(asked.target, None)  # what cannot be compiled is told before anything is exported
    file, name = _to_bundle(asked)
    if asked.target is not None:
        pipeline.check_source(file)
    folder, archive = pipeline.export_bundle(
        file, out=asked.folder, name=f"{name}-{file.stem}-{file.suffix[1:]}", target=asked.target
    )
    say(f"bundle: {folder}, and packed")
    return archive


def _to_bundle(asked: Asked) -> tuple[Path, str]:
    return _bundled_file(asked) if _is_exported(asked.model) else _bundled_model(asked)


def _is_exported(model: Path | None) -> bool:
    return model is not None and model.suffix in EXPORT_SUFFIXES


def _bundled_file(asked: Asked) -> tuple[Path, str]:
    """Return the exported file that was named, and what to call it by."""
    from edgecnn.cli import choose

    assert asked.model is not None
    _refuse_for_file(asked, "the file is made already")
    choose.refuse({"--model-format": asked.model_format}, "the file has one")
    return asked.model, asked.model.resolve().parent.name


def _bundled_model(asked: Asked) -> tuple[Path, str]:
    """Export the model from a run, a released folder or a .keras file; return its path, and what to call it by."""
    from edgecnn.cli import choose

    asked = replace(asked, format=asked.model_format or "tflite")
    target = _target(asked)
    run, folder = choose.to_export(asked.model)
    if run is not None:
        path = _model(replace(asked, model=run.root, out=None))
        return path, f"{run.root.resolve().name}-{path.parent.name}"
    if folder is not None and _is_released(asked, target, folder):
        _refuse_for_released(asked)
        return folder / target.file, folder.name
    path = _model(asked)
    return path, path.parent.name


def _c(asked: Asked, options: dict[str, Any]) -> Path:
    """Export to C, by way of the int8 .tflite file that it is made from."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    if asked.model is not None and asked.model.suffix == ".tflite":
        return _c_of_file(asked, asked.model, options)
    choose.refuse({"--keep-float": asked.keep_float}, "C is made of integers alone")
    path = _model(replace(asked, format="tflite", check=partial(pipeline.check_c, **options)))
    return pipeline.export_c(path, out=path.with_name("c"), **options)


def _c_of_file(asked: Asked, file: Path, options: dict[str, Any]) -> Path:
    from edgecnn import pipeline

    _refuse_for_file(asked, "the file is int8 already")
    more: dict[str, Any] = {"said": asked.said, "warn": lambda line: say(f"warning: {line}"), **options}
    return pipeline.export_c(file, out=asked.folder / _folder_name(file, asked.scheme) / "c", **more)


def _refuse_for_file(asked: Asked, why: str) -> None:
    """Refuse what says how to make the model, of one that is made."""
    from edgecnn.cli import choose

    given: dict[str, object] = {"--recipe": asked.recipe, "--data": asked.data, "--resize": asked.resize}
    choose.refuse({**given, "--data-dir": asked.data_dir}, "the file is exported as it is")
    made_otherwise = {
        "--keep-float": asked.keep_float,
        "--bias-correction": asked.bias_correction or None,
        "--per-tensor": asked.per_tensor or None,
    }
    measured: dict[str, object] = {"--max-drop": asked.max_drop, "--allow-chance": asked.allow_chance or None}
    choose.refuse({**measured, "--calibration-images": asked.calibration_images}, why)
    choose.refuse({"--calibration": asked.calibration, **made_otherwise}, why)


def _folder_name(file: Path, scheme: str) -> str:
    """Return what a file is called by: ``models/edge35k/int8.tflite`` by its folder, ``mine.tflite`` by itself."""
    return file.resolve().parent.name if file.stem == scheme else file.stem


def _model(asked: Asked) -> Path:
    """Export to TFLite or ONNX: from a run, a released folder or a .keras file."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    target = _target(asked)
    run, folder = choose.to_export(asked.model)
    if run is not None:
        path = _model_of_run(asked, target, run)
    elif folder is not None and _is_released(asked, target, folder):
        path = _released_model(asked, target, folder)
    else:
        path = _model_of_file(asked, target, folder)
    if target.keep_float == pipeline.AUTO and "-mixed" not in path.name:
        say("no layer needs to stay in float")
    say_accuracy(path)
    return path


def _target(asked: Asked) -> Target:
    """Return format and scheme; raises `ConfigError` for options that do not go with them."""
    from edgecnn import pipeline
    from edgecnn.cli import choose
    from edgecnn.config.settings import CALIBRATED

    kept = tuple(name.strip() for name in asked.keep_float.split(",")) if asked.keep_float else ()
    target = pipeline.Target(
        asked.format,
        asked.scheme,
        asked.dynamic_batch,
        keep_float=kept,
        bias_correction=asked.bias_correction,
        per_tensor=asked.per_tensor,
    )
    if asked.scheme not in CALIBRATED:
        choose.refuse({"--calibration": asked.calibration}, f"{asked.scheme} has no ranges to set")
    return target


def _model_of_run(asked: Asked, target: Target, run: Run) -> Path:
    from edgecnn import pipeline
    from edgecnn.cli import choose

    choose.refuse({"--out": asked.out, "--resize": asked.resize}, f"run {run.root} has its own")
    choose.refuse_said(asked.said, f"the records of run {run.root} say it")
    recipe = asked.recipe or "baseline"
    say(f"exporting {recipe} of run {run.root}")
    choose.check_recipe(run, recipe)
    options: dict[str, Any] = {**asked.exporting, "moved": asked.data, "data_dir": asked.data_dir}
    with progress() as observe, pipeline.reopen(run, **options, observe=observe) as work:
        return pipeline.export(work, recipe=recipe, target=target, check=asked.check)


def _is_released(asked: Asked, target: Target, folder: Path) -> bool:
    """Return whether the released folder holds what is asked for, so that nothing need be made."""
    return target.is_plain and not any(asked.calibrated.values()) and (folder / target.file).exists()


def _released_model(asked: Asked, target: Target, folder: Path) -> Path:
    from edgecnn import pipeline
    from edgecnn.cli import choose

    nothing_else = f"no complete run in {choose.RUNS}/: " if asked.model is None else ""
    say(f"{nothing_else}copying the released {folder.name}, {target.file}")
    _refuse_for_released(asked)
    return pipeline.copy_released(folder / target.file, out=asked.folder / folder.name, check=asked.check)


def _refuse_for_released(asked: Asked) -> None:
    """Refuse what says how to make or measure the model, of a released one that is taken as it is."""
    from edgecnn.cli import choose

    given: dict[str, object] = {"--recipe": asked.recipe, "--data": asked.data, "--resize": asked.resize}
    choose.refuse(given, "the released model has its own")
    choose.refuse_said(asked.said, "its record says it")
    measuring: dict[str, object] = {"--max-drop": asked.max_drop, "--allow-chance": asked.allow_chance or None}
    choose.refuse({**measuring, "--data-dir": asked.data_dir}, "nothing is measured of a file that is copied")


def _model_of_file(asked: Asked, target: Target, folder: Path | None) -> Path:
    """Export a .keras file, or that of a released folder which does not hold what is asked for."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    source = choose.keras_model(asked.model, folder, asked.scheme)
    choose.refuse({"--recipe": asked.recipe}, "a model file has one")
    say(f"exporting {source}")
    settings = choose.settings_of(source, asked.data, resize=asked.resize, **asked.exporting)
    is_named_by_folder = folder is not None or source.name == "model.keras"
    into = asked.folder / (source.parent.name if is_named_by_folder else source.stem)
    with progress() as observe:
        images = pipeline.load_data(settings, data_dir=asked.data_dir, observe=observe)
        return pipeline.export_model(
            source,
            target=target,
            out=into,
            config=settings,
            data=images,
            said=asked.said,
            say=say,
            check=asked.check,
        )
