"""The command line: parse, call, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import io
import sys
from json import dumps, loads
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from edgecnn import __version__
from edgecnn.cli.options import (
    ArchOption,
    CalibrationMethodOption,
    CalibrationOption,
    ClustersOption,
    DataDirOption,
    DataOption,
    EpochsOption,
    FormatOption,
    KernelOption,
    MaxDropOption,
    MethodOption,
    NameOption,
    OutOption,
    RecipeOption,
    RoundsOption,
    RunArgument,
    SchemeOption,
    SeedOption,
    SparsityOption,
    StageRecipeOption,
    TeacherOption,
)
from edgecnn.cli.terminal import print_bench, print_comparison, print_layers, print_sensitivity, progress, say
from edgecnn.device.errors import DeviceError
from edgecnn.errors import ArtifactError, EdgecnnError

app = typer.Typer(
    name="edgecnn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich for it would double the time to show it
    help="From labelled images to device-ready models: train, prune, quantize, export and measure a compact CNN.",
    epilog="Exit codes: 0 done, 1 a gate refused the result, 2 bad input or something missing, 130 interrupted.",
)


@app.command()
def run(
    data: DataOption = "digits",
    arch: ArchOption = "edge35k",
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    sparsity: SparsityOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
) -> None:
    """Do the whole job: train, prune, quantize, export and measure. Killed and started again, it goes on."""
    from edgecnn import pipeline
    from edgecnn.cli import choose

    config = choose.settings(
        arch,
        data=data,
        recipe=recipe,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        max_drop_pp=max_drop,
        calibration_images=calibration_images,
        calibration=calibration,
    )
    with progress() as observe:
        root = out or choose.run_directory(config)
        options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
        done = pipeline.run(config, root, **options, observe=observe, note=say)
    for path in (*map(done.model, done.recipes()), *done.exports()):
        _say_accuracy(path)
    print_bench(done.bench)
    page = done.bench.with_name("report.html")
    say(f"report: {page}" if page.exists() else "no report: needs pip install 'edgecnn[report]'")
    print(done.root)


@app.command()
def train(
    data: DataOption = "digits",
    arch: ArchOption = "edge35k",
    recipe: RecipeOption = None,
    epochs: EpochsOption = None,
    sparsity: SparsityOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    data_dir: DataDirOption = None,
    teacher: TeacherOption = None,
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
) -> None:
    """Train the float32 baseline of a run; the other settings are noted for its later stages."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    config = choose.settings(
        arch,
        data=data,
        recipe=recipe,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        max_drop_pp=max_drop,
        calibration_images=calibration_images,
        calibration=calibration,
    )
    extras.require("train", needed_by="train")
    root = out or choose.run_directory(config)
    given: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
    with progress() as observe, pipeline.begin(config, root, **given, observe=observe) as work:
        path = pipeline.train(work)
    _say_accuracy(path)
    print(path)


@app.command()
def teach(
    data: DataOption = "digits",
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
    config = configure(data=data, recipe=recipe)

    if config.teacher is None:
        raise ConfigError(f"teach: recipe {config.recipe} has no teacher; name one that has: --recipe strong")
    root = out or choose.run_directory(config)
    with progress() as observe, pipeline.begin(config, root, data_dir=data_dir, observe=observe) as work:
        pipeline.teach(work)
    for path in sorted(work.run.teacher.glob("*/model.keras")):
        _say_accuracy(path)
    print(work.run.teacher)


@app.command()
def compare(
    arch: Annotated[str, typer.Option("--arch", help="Architectures by comma: names (edgecnn zoo) or files.")],
    data: DataOption = "digits",
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

    asked = choose.comparison(arch, data=data, recipe=recipe, epochs=epochs, seed=seed)
    options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
    with progress() as observe:
        path = pipeline.compare(asked, out=out or choose.comparison_directory(asked), **options, observe=observe)
    print_comparison(path)
    print(path)
    if refused := [row["arch"] for row in loads(path.read_text())["results"] if row["error"]]:
        raise GateError(f"compare: {', '.join(refused)} learned nothing that is worth keeping; see the reasons above")


@app.command()
def prune(
    run: RunArgument = None,
    method: MethodOption = None,
    sparsity: SparsityOption = None,
    rounds: RoundsOption = None,
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Prune a run's model (default: its baseline, to the run's sparsity): single weights, patterns or whole filters."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("train", needed_by="prune")
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    options: dict[str, Any] = {"max_drop_pp": max_drop, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        made = pipeline.prune(work, recipe, method=method, sparsity=sparsity, rounds=rounds)
    _say_accuracy(opened.model(made))
    print(opened.model(made))


@app.command()
def cluster(
    run: RunArgument = None,
    clusters: ClustersOption = None,
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Leave every kernel of a run's model with a few distinct values, which compress well; zeros stay zero."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("train", needed_by="cluster")
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    options: dict[str, Any] = {"max_drop_pp": max_drop, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        made = pipeline.cluster(work, recipe, clusters=clusters)
    _say_accuracy(opened.model(made))
    print(opened.model(made))


@app.command()
def quantize(
    run: RunArgument = None,
    method: Annotated[
        str, typer.Option("--method", help="ptq (calibrate) or qat (fine-tune, zeros and clusters kept).")
    ] = "ptq",
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
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
    options: dict[str, Any] = {"max_drop_pp": max_drop, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        chosen = pipeline.train_quantized(work, recipe) if method == "qat" else recipe
        path = pipeline.export(work, recipe=chosen, target=pipeline.Target("tflite", "int8"))
    _say_accuracy(path)
    print(path)


@app.command()
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory, .keras file, released model by name, for c an int8 .tflite. Default: the latest run, "
            "else edge35k.",
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
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for what belongs to no run. Default: export.", show_default=False),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set of a .keras file that has no record.")] = None,
    data_dir: DataDirOption = None,
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
    kernel: KernelOption = None,
    name: NameOption = None,
) -> None:
    """Export a model to TFLite, ONNX or C; the last line printed is the path written."""
    from edgecnn import pipeline
    from edgecnn.cli import choose
    from edgecnn.config import CALIBRATED

    if format == "pyz":
        print(pipeline.pack_predictor(out or Path("export")))
        return
    as_c = choose.c_options(format, scheme, kernel=kernel, name=name)
    kept = tuple(name.strip() for name in keep_float.split(",")) if keep_float else ()
    calibrated = {"calibration_images": calibration_images, "calibration": calibration}
    exporting: dict[str, Any] = {"max_drop_pp": max_drop, **calibrated}
    if as_c is not None and model is not None and model.suffix == ".tflite":
        choose.refuse({"--recipe": recipe, "--data": data, "--data-dir": data_dir}, "the file is exported as it is")
        made_otherwise = {"--keep-float": keep_float, "--bias-correction": bias_correction or None}
        choose.refuse({"--max-drop": max_drop, "--calibration-images": calibration_images}, "the file is int8 already")
        choose.refuse({"--calibration": calibration, **made_otherwise}, "the file is int8 already")
        folder_name = model.resolve().parent.name if model.stem == scheme else model.stem
        print(pipeline.export_c(model, out=(out or Path("export")) / folder_name / "c", **as_c))
        return
    if as_c is not None:
        choose.refuse({"--keep-float": keep_float}, "C is made of integers alone")
    # C is made from the int8 .tflite file.
    form = "tflite" if as_c else format
    target = pipeline.Target(form, scheme, dynamic_batch, keep_float=kept, bias_correction=bias_correction)
    if scheme not in CALIBRATED:
        choose.refuse({"--calibration": calibration}, f"{scheme} has no ranges to set")
    opened, folder = choose.to_export(model)
    if opened is not None:
        choose.refuse({"--out": out, "--data": data}, f"run {opened.root} has its own")
        recipe = recipe or "baseline"
        say(f"exporting {recipe} of run {opened.root}")
        choose.check_recipe(opened, recipe)
        with progress() as observe, pipeline.reopen(opened, **exporting, data_dir=data_dir, observe=observe) as work:
            path = pipeline.export(work, recipe=recipe, target=target)
    elif folder is not None and target.is_plain and not any(calibrated.values()) and (folder / target.file).exists():
        nothing_else = f"no complete run in {choose.RUNS}/: " if model is None else ""
        say(f"{nothing_else}copying the released {folder.name}, {target.file}")
        choose.refuse({"--recipe": recipe, "--data": data}, "the released model has its own")
        choose.refuse({"--max-drop": max_drop, "--data-dir": data_dir}, "nothing is measured of a file that is copied")
        path = pipeline.copy_released(folder / target.file, out=(out or Path("export")) / folder.name)
    else:
        source = choose.keras_model(model, folder, scheme)
        choose.refuse({"--recipe": recipe}, "a model file has one")
        say(f"exporting {source}")
        settings = choose.settings_of(source, data, **exporting)
        whole = folder is not None or source.name == "model.keras"
        into = (out or Path("export")) / (source.parent.name if whole else source.stem)
        with progress() as observe:
            images = pipeline.load_data(settings, data_dir=data_dir, observe=observe)
            path = pipeline.export_model(source, target=target, out=into, config=settings, data=images)
    if target.keep_float == pipeline.AUTO and "-mixed" not in path.name:
        say("no layer needs to stay in float")
    _say_accuracy(path)
    print(path if as_c is None else pipeline.export_c(path, out=path.with_name("c"), **as_c))


@app.command()
def bench(
    targets: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run directory, model files or names of released models. Default: the latest run, else edge35k.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime", help="Runtimes, by comma; also openvino, mnn, ncnn. Default: the board's, if installed."
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of a runtime.")] = 1,
    pin: Annotated[str | None, typer.Option("--pin", help="Cores to run on, by comma: 0 or 2,3.")] = None,
    shape: Annotated[str | None, typer.Option("--shape", help="Input shape for a model that leaves it open.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look: rounds of a tenth of a second.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="MLPerf Tiny's rule: rounds of ten seconds.")] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds to measure. [default: 5]")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Artifact that ratios refer to.")] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Budget file (TOML); exit 1, naming each limit that is broken.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="A limit for every row, over --check: top1_min=0.99. Repeatable."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Where the JSON goes. Default: the run's bench/bench.json.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set for model files that have no record.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Measure accuracy, size, latency and cold start of models, each in a process of its own, taking turns."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose

    limits = choose.budget(check, budget)
    options: dict[str, Any] = {
        "setting": choose.setting(quick=quick, thorough=thorough, rounds=rounds, threads=threads, pin=pin, shape=shape),
        "runtimes": runtime.split(",") if runtime else None,
        "baseline": baseline,
        "keras": not quick,  # TensorFlow takes longer to start than a look may
    }
    opened, models = choose.bench_targets(targets)
    if json is not None:
        artifact.check_writable(json)
    say(f"measuring {opened.root if opened else ', '.join(map(str, models))}")
    if opened is not None:
        choose.refuse({"--data": data}, f"run {opened.root} has its own")
        out = opened.bench
        with progress() as observe, pipeline.reopen(opened, data_dir=data_dir, observe=observe) as work:
            result = pipeline.bench_run(opened, data=work.data, observe=observe, **options)
    else:
        out = json or Path("edgecnn-bench.json")
        with progress() as observe:
            known = choose.data_of(models, data, data_dir=data_dir, observe=observe)
            result = pipeline.bench(models, data=known, out=out, must_fit=data is not None, observe=observe, **options)
    if json not in (None, out):
        artifact.write_atomic(Path(json or out), out.read_text())
    print_bench(out)
    if opened is not None and out.with_name("report.html").exists():
        say(f"report.html beside it shows what was measured before; draw it again: edgecnn report {opened.root}")
    print(json or out)
    pipeline.check_budget(result, limits)


@app.command()
def report(
    run: RunArgument = None,
    format: Annotated[str, typer.Option("--format", help="html (one page, opens offline) or markdown.")] = "html",
    artifact: Annotated[
        str | None,
        typer.Option("--artifact", help="Whose mistakes and layers are drawn. Default: the baseline's int8.tflite."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Draw a measured run: trade-offs, learning curves, mistakes, calibration, layers; the last line is the path."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("report", needed_by="report")
    opened = choose.complete_run(run)
    with progress() as observe:
        data = choose.data_to_show(opened, data_dir=data_dir, observe=observe)
    print(pipeline.report(opened, data=data, form=format, shown=artifact))


# The options are those of predict.pyz, which parses them: the same program on the workstation and on the board.
@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def predict(context: typer.Context) -> None:
    """Classify images; prints file, label and probability, tab-separated. The same code runs on the board."""
    from edgecnn.device import command_line

    def find_model(named: Path | None, runtime: str | None) -> Path:
        if named is not None and named.is_file():
            return named
        from edgecnn.cli import choose

        model = choose.model_file(named, runtime)
        if model != named:
            say(f"model: {model}")
        return model

    raise typer.Exit(command_line.main(context.args, prog="edgecnn predict", find_model=find_model))


@app.command()
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


@app.command()
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
    data_dir: DataDirOption = None,
) -> None:
    """Show a model's layers: parameters, sparsity, MACs, bytes, and how far quantization moved them (SQNR)."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose

    model = choose.model_file(model)
    artifact.read_bytes(model)  # a file that is not there is told before anything is loaded for it
    against = against or pipeline.float32_beside(model)
    if against is None:
        choose.refuse({"--data": data, "--data-dir": data_dir}, "there is no float32 model to compare with")
        images = None
    else:
        with progress() as observe:
            images = choose.images_to_compare(model, data, data_dir=data_dir, observe=observe)
    found = pipeline.inspected(model, against=against, images=images)
    if json is not None:
        artifact.write_atomic(json, dumps(found.as_dict(), indent=1) + "\n")
    print_layers(found)


@app.command()
def sensitivity(
    run: RunArgument = None,
    recipe: StageRecipeOption = "baseline",
    format: Annotated[str, typer.Option("--format", help="tflite or onnx.")] = "tflite",
    calibration_images: CalibrationOption = None,
    calibration: CalibrationMethodOption = None,
    json: Annotated[Path | None, typer.Option("--json", help="File for the figures as JSON.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Show how int8 hurts a run's model layer by layer: SQNR, and validation top-1 with that layer alone in int8."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose
    from edgecnn.config import SCHEMES
    from edgecnn.errors import unknown

    if format not in SCHEMES:
        raise unknown("format", format, SCHEMES)
    opened = choose.trained_run(run)
    choose.check_recipe(opened, recipe)
    if json is not None:
        artifact.check_writable(json)
    options: dict[str, Any] = {"calibration_images": calibration_images, "calibration": calibration}
    with progress() as observe, pipeline.reopen(opened, **options, data_dir=data_dir, observe=observe) as work:
        layers = pipeline.sensitivity(work, recipe, format)
    if json is not None:
        artifact.write_atomic(json, dumps([layer.as_dict() for layer in layers], indent=1) + "\n")
    print_sensitivity(layers)


@app.command()
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


@app.command()
def models() -> None:
    """List the released models: parameters, accuracy and bytes; their names stand for a path in other commands."""
    from edgecnn.cli.terminal import print_table
    from edgecnn.pipeline.released import MODEL_HEADINGS, model_rows

    print_table(MODEL_HEADINGS, model_rows(), text_columns=1)


@app.command()
def zoo() -> None:
    """List the architectures: parameters, MACs, the accuracy that their pages printed, and ours; names for --arch."""
    from edgecnn.cli.terminal import print_table
    from edgecnn.pipeline.architectures import ZOO_HEADINGS, zoo_rows

    print_table(ZOO_HEADINGS, zoo_rows(), text_columns=1)


def _version(value: bool) -> None:
    if value:
        print(f"edgecnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit; an expected error is one line on stderr and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be one that the terminal cannot show
    try:
        app(standalone_mode=True)
    except SystemExit as ended:
        if ended.code == 130:
            say("interrupted; the same command goes on where it was")
        raise
    except (EdgecnnError, DeviceError) as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}; check the path, its rights and free space", 2)
    sys.exit(0)


def _say_accuracy(path: Path) -> None:
    """Say how an artifact reads the validation images beside its parent, and what the curves of a training show."""
    from edgecnn import pipeline

    for line in (pipeline.accuracy_line(path), pipeline.verdict_line(path)):
        if line is not None:
            say(line)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
