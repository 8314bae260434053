"""The command line: parse, call, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import io
import sys
from json import dumps, loads
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from edgecnn import __version__
from edgecnn.cli.build import build
from edgecnn.cli.data import app as data_app
from edgecnn.cli.deploy import deploy
from edgecnn.cli.exporting import export
from edgecnn.cli.options import (
    ROOT,
    ArchOption,
    CalibrationMethodOption,
    CalibrationOption,
    ClustersOption,
    DataDirOption,
    DataOption,
    EpochsOption,
    MaxDropOption,
    MethodOption,
    MovedOption,
    OutOption,
    RecipeOption,
    ResizeOption,
    RootOption,
    RoundsOption,
    RunArgument,
    SeedOption,
    SparsityOption,
    SshConfigOption,
    SshOption,
    StageRecipeOption,
    TeacherOption,
)
from edgecnn.cli.search import app as search_app
from edgecnn.cli.terminal import (
    print_bench,
    print_comparison,
    print_layers,
    print_sensitivity,
    progress,
    say,
    say_accuracy,
)
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

app.add_typer(data_app, name="data")
app.add_typer(search_app, name="search")


@app.command()
def run(
    data: DataOption = "digits",
    resize: ResizeOption = None,
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
        resize=resize,
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
        say_accuracy(path)
    print_bench(done.bench)
    page = done.bench.with_name("report.html")
    say(f"report: {page}" if page.exists() else "no report: needs pip install 'edgecnn[report]'")
    print(done.root)


@app.command()
def train(
    data: DataOption = "digits",
    resize: ResizeOption = None,
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
        resize=resize,
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
    say_accuracy(path)
    print(path)


@app.command()
def teach(
    data: DataOption = "digits",
    resize: ResizeOption = None,
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
    config = configure(data=data, resize=resize, recipe=recipe)

    if config.teacher is None:
        raise ConfigError(f"teach: recipe {config.recipe} has no teacher; name one that has: --recipe strong")
    root = out or choose.run_directory(config)
    with progress() as observe, pipeline.begin(config, root, data_dir=data_dir, observe=observe) as work:
        pipeline.teach(work)
    for path in sorted(work.run.teacher.glob("*/model.keras")):
        say_accuracy(path)
    print(work.run.teacher)


@app.command()
def compare(
    arch: Annotated[str, typer.Option("--arch", help="Architectures by comma: names (edgecnn zoo) or files.")],
    data: DataOption = "digits",
    resize: ResizeOption = None,
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

    asked = choose.comparison(arch, data=data, resize=resize, recipe=recipe, epochs=epochs, seed=seed)
    options: dict[str, Any] = {"data_dir": data_dir, "teacher": choose.teacher(teacher)}
    with progress() as observe:
        path = pipeline.compare(asked, out=out or choose.comparison_directory(asked), **options, observe=observe)
    print_comparison(path)
    print(path)
    if refused := [row["name"] for row in loads(path.read_text())["results"] if row["error"]]:
        raise GateError(f"compare: {', '.join(refused)} no model that is worth keeping; see the reasons above")


@app.command()
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


@app.command()
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


@app.command()
def quantize(
    run: RunArgument = None,
    method: Annotated[
        str, typer.Option("--method", help="ptq (calibrate) or qat (fine-tune, zeros and clusters kept).")
    ] = "ptq",
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
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
    options: dict[str, Any] = {"max_drop_pp": max_drop, "moved": data, "data_dir": data_dir}
    with progress() as observe, pipeline.reopen(opened, **options, observe=observe) as work:
        chosen = pipeline.train_quantized(work, recipe) if method == "qat" else recipe
        path = pipeline.export(work, recipe=chosen, target=pipeline.Target("tflite", "int8"))
    say_accuracy(path)
    print(path)


app.command()(export)
app.command()(build)
app.command()(deploy)


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
            "--runtime", help="Runtimes, by comma; also c, openvino, mnn, ncnn. Default: the board's, if installed."
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
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Data set for model files that have no record; where a run's images lie, if moved."
        ),
    ] = None,
    resize: ResizeOption = None,
    data_dir: DataDirOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="ssh://USER@HOST, with what edgecnn deploy put there, or pi-emulator, without times. Default: here.",
            show_default=False,
        ),
    ] = None,
    root: RootOption = ROOT,
    ssh_option: SshOption = None,
    ssh_config: SshConfigOption = None,
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
    with choose.bench_place(device, root, options=ssh_option, config=ssh_config) as place:
        options["place"] = place
        say(f"measuring {opened.root if opened else ', '.join(map(str, models))}")
        if opened is not None:
            choose.refuse({"--resize": resize}, f"run {opened.root} has its own")
            out = opened.bench
            with progress() as observe, pipeline.reopen(opened, moved=data, data_dir=data_dir, observe=observe) as work:
                result = pipeline.bench_run(opened, data=work.data, observe=observe, **options)
        else:
            out = json or Path("edgecnn-bench.json")
            with progress() as observe:
                known = choose.data_of(models, data, resize=resize, data_dir=data_dir, observe=observe)
                result = pipeline.bench(
                    models, data=known, out=out, must_fit=data is not None, observe=observe, **options
                )
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
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Draw a measured run: trade-offs, learning curves, mistakes, calibration, layers; the last line is the path."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("report", needed_by="report")
    opened = choose.complete_run(run)
    with progress() as observe:
        images = choose.data_to_show(opened, moved=data, data_dir=data_dir, observe=observe)
    print(pipeline.report(opened, data=images, form=format, shown=artifact))


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


@app.command()
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
            say("interrupted; a run goes on where it was when the same command is given again")
        raise
    except (EdgecnnError, DeviceError) as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}; check the path, its rights and free space", 2)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
