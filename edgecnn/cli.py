"""The command line: parse, call, print. Heavy imports happen inside the commands."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from edgecnn import __version__
from edgecnn.device.errors import DeviceError
from edgecnn.errors import ArtifactError, ConfigError, DataError, EdgecnnError, StorageError

if TYPE_CHECKING:
    from edgecnn.artifact import Run
    from edgecnn.config import RunConfig
    from edgecnn.pipeline import Observer, Workspace

RUNS = Path("runs")

app = typer.Typer(
    name="edgecnn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich for it would double the time to show it
    help="From labelled images to device-ready models: train, prune, quantize, export and measure a compact CNN.",
    epilog="Exit codes: 0 done, 1 a gate refused the result, 2 bad input or something missing, 130 interrupted.",
)

DataOption = Annotated[str, typer.Option("--data", help="Data set: digits (embedded) or mnist.")]
ArchOption = Annotated[str, typer.Option("--arch", help="Architecture by name.")]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe", help="Training recipe: seed, small or quick. Default: the data set's.", show_default=False
    ),
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="Epochs at most, instead of the recipe's.")]
SparsityOption = Annotated[float | None, typer.Option("--sparsity", help="Share of weights to prune, in [0, 1).")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run directory. Default: runs/ and a name made of the settings.")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", help="Folder with MNIST's four .gz files. Default: $EDGECNN_DATA/mnist, then the cache."
    ),
]
RunArgument = Annotated[Path | None, typer.Argument(help="Run directory. Default: the latest.", show_default=False)]
StageRecipeOption = Annotated[str, typer.Option("--recipe", help="Which model of the run: baseline, pruned80, ...")]
FormatOption = Annotated[str, typer.Option("--format", help="tflite, onnx, or pyz (the predictor in one file).")]
SchemeOption = Annotated[
    str, typer.Option("--scheme", help="tflite: float32, float16, dynamic, int8; onnx: float32, int8.")
]
MaxDropOption = Annotated[
    float | None,
    typer.Option("--max-drop", help="Refuse an int8 model that loses more top-1 than this, in pp. [default: 0.5]"),
]
CalibrationOption = Annotated[
    int | None,
    typer.Option("--calibration-images", help="Training images that set the int8 ranges. [default: 500]"),
]
RuntimeOption = Annotated[
    str | None, typer.Option("--runtime", help="litert, tflite-runtime or ort. Default: the first that fits.")
]


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
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
) -> None:
    """Do the whole job: train, prune, quantize, export and measure. Killed and started again, it goes on."""
    config = _configured(data, arch, recipe, epochs, sparsity, seed, max_drop, calibration_images)
    from edgecnn import pipeline

    with _progress() as observe:
        done = pipeline.run(config, out or _default_out(config), data_dir=data_dir, observe=observe)
    _print_bench(done.bench)
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
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
) -> None:
    """Train the float32 baseline of a run; the other settings are noted for its later stages."""
    config = _configured(data, arch, recipe, epochs, sparsity, seed, max_drop, calibration_images)
    from edgecnn import extras, pipeline

    extras.require("train", needed_by="train")
    opened = pipeline.open_run(out or _default_out(config), config)
    with _workspace(opened, data_dir) as work:
        path = pipeline.train(work)
    print(path)


@app.command()
def prune(
    run: RunArgument = None,
    sparsity: SparsityOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Prune a run's baseline by magnitude (default: to the run's sparsity)."""
    from edgecnn import extras, pipeline

    extras.require("train", needed_by="prune")
    opened = _chosen_run(run)
    with _workspace(opened, data_dir) as work:
        recipe = pipeline.prune(work, sparsity=sparsity)
    print(opened.model(recipe))


@app.command()
def quantize(
    run: RunArgument = None,
    method: Annotated[str, typer.Option("--method", help="ptq (calibrate) or qat (fine-tune, zeros kept).")] = "ptq",
    recipe: StageRecipeOption = "baseline",
    max_drop: MaxDropOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Quantize a run's model to int8 TFLite, after training (ptq) or by quantization-aware training (qat)."""
    from edgecnn import extras, pipeline
    from edgecnn.errors import unknown

    if method not in ("ptq", "qat"):
        raise unknown("method", method, ("ptq", "qat"))
    extras.require("train", "litert", needed_by="quantize")
    opened = _chosen_run(run)
    _check_recipe(opened, recipe)
    with _workspace(opened, data_dir, max_drop=max_drop) as work:
        chosen = pipeline.train_quantized(work, recipe) if method == "qat" else recipe
        path = pipeline.export(work, recipe=chosen, form="tflite", scheme="int8")
    print(path)


@app.command()
def export(
    model: Annotated[
        Path | None,
        typer.Argument(
            help="Run directory or .keras file. Default: the latest run, else the released model.",
            show_default=False,
        ),
    ] = None,
    format: FormatOption = "tflite",
    scheme: SchemeOption = "int8",
    recipe: StageRecipeOption = "baseline",
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="onnx: leave the batch size open.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder for what belongs to no run.")] = Path("export"),
    data: Annotated[str | None, typer.Option("--data", help="Data set of a .keras file that has no record.")] = None,
    data_dir: DataDirOption = None,
    max_drop: MaxDropOption = None,
    calibration_images: CalibrationOption = None,
) -> None:
    """Export a model to TFLite or ONNX; the last line printed is the path written."""
    from edgecnn import artifact, pipeline

    if format == "pyz":
        print(_export_pyz(out))
        return
    pipeline.check_export(format, scheme)
    opened = artifact.Run(model) if model is not None and model.is_dir() else None
    if model is None:
        opened = artifact.latest_run(RUNS)
    if opened is not None:
        _check_recipe(opened, recipe)
        _say(f"exporting {recipe} of run {opened.root}")
        with _workspace(opened, data_dir, max_drop=max_drop, calibration_images=calibration_images) as work:
            path = pipeline.export(work, recipe=recipe, form=format, scheme=scheme, dynamic_batch=dynamic_batch)
    elif model is None and not dynamic_batch and calibration_images is None and _released_file(format, scheme).exists():
        _say(f"no complete run in {RUNS}/: copying the released edge35k, {scheme}")
        path = pipeline.copy_released(_released_file(format, scheme), out=out / "edge35k")
    else:
        source = model or artifact.released() / "model.keras"
        _say(f"exporting {source}")
        path = _export_file(source, format, scheme, dynamic_batch, out, data, data_dir, max_drop, calibration_images)
    print(path)


@app.command()
def bench(
    targets: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run directory, or model files. Default: the latest run, else the released model.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Where the JSON goes. Default: the run's bench/bench.json.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set for model files that have no record.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Measure accuracy, size and latency of exported models in every installed runtime."""
    from edgecnn import artifact, pipeline

    opened = _bench_run_target(targets)
    if opened is not None:
        _say(f"measuring run {opened.root}")
        with _workspace(opened, data_dir) as work:
            pipeline.bench_run(opened, data=work.data, observe=work.observe)
        out = opened.bench
    else:
        folder = None if targets else artifact.released()
        _say(f"measuring {'the released ' + folder.name if folder else ', '.join(map(str, targets or ()))}")
        models = sorted(folder.iterdir()) if folder else list(targets or ())
        out = json or Path("edgecnn-bench.json")
        with _progress() as observe:
            known = _data_of(models, data, data_dir, observe)
            pipeline.bench(models, data=known, out=out, relative_to=folder or Path.cwd(), observe=observe)
    if json is not None and json != out:
        artifact.write_atomic(json, out.read_text())
    _print_bench(out)
    print(json or out)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files: PNG, JPEG, ...", show_default=False)],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", help="A .tflite or .onnx file. Default: int8 of the latest run, else the released one."
        ),
    ] = None,
    runtime: RuntimeOption = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of the runtime.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Classify images; prints file, label and probability, tab-separated. The same code runs on the board."""
    from edgecnn.device.commands import predict_files

    chosen = model or _default_model(runtime)
    if model is None:
        _say(f"model: {chosen}")
    for line in predict_files(images, model=chosen, runtime=runtime, threads=threads, as_json=json):
        print(line, flush=True)


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
def inspect(model: Annotated[Path, typer.Argument(help="A .keras, .h5, .tflite or .onnx file.")]) -> None:
    """Show a model's layers: parameters, nonzero ones, MACs, bytes, scales and zero points."""
    from edgecnn import artifact
    from edgecnn.inspect import inspect_file
    from edgecnn.report.table import LAYER_HEADINGS, layer_rows

    content = artifact.read_bytes(model)
    if artifact.record_path(model).exists():
        artifact.checked(model)
    if model.suffix in (".tflite", ".onnx"):
        from edgecnn.device import runtimes

        runtimes.load(model)  # refuses a damaged file in a child process before anything here parses it
    _print_table(LAYER_HEADINGS, layer_rows(inspect_file(model)), text_columns=3)
    print(f"size_bytes {len(content):,}  gzip_bytes {artifact.gzip_size(content):,}  sha256 {artifact.sha256(content)}")


@app.command()
def release(
    run: RunArgument = None,
    name: Annotated[str, typer.Option("--name", help="Name of the released model.")] = "edge35k",
    recipe: StageRecipeOption = "baseline",
    out: Annotated[Path, typer.Option("--out", help="Folder of released models.")] = Path("models"),
) -> None:
    """Gather a complete run's model and exports into one folder with records and a model card."""
    from edgecnn import artifact, pipeline

    opened = artifact.Run(run) if run is not None else artifact.latest_run(RUNS)
    if opened is None:
        raise ArtifactError(f"{RUNS}: no complete run; start one: edgecnn run")
    _check_recipe(opened, recipe)
    print(pipeline.release(opened, name=name, recipe=recipe, out=out))


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
    try:
        app(standalone_mode=True)
    except (EdgecnnError, DeviceError) as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        _fail(str(StorageError(f"{error.filename or 'disk'}: {error.strerror}; free space and start again")), 2)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


def _configured(
    data: str,
    arch: str,
    recipe: str | None,
    epochs: int | None,
    sparsity: float | None,
    seed: int,
    max_drop: float | None,
    calibration_images: int | None,
) -> RunConfig:
    from edgecnn import config, zoo

    zoo.layers(arch)  # an unknown name is refused before anything is written
    return config.configure(
        data=data,
        arch=arch,
        recipe=recipe,
        epochs=epochs,
        sparsity=sparsity,
        seed=seed,
        max_drop_pp=max_drop,
        calibration_images=calibration_images,
    )


def _default_out(config: RunConfig) -> Path:
    """Return the folder for `config`: the same settings always name the same one, so that a run can go on."""
    from edgecnn.artifact import sha256
    from edgecnn.config import to_toml

    digest = sha256(to_toml(config).encode())[:8]
    return RUNS / f"{config.data}-{config.arch}-{config.recipe}-{digest}"


def _chosen_run(run: Path | None) -> Run:
    from edgecnn import artifact

    chosen = artifact.Run(run) if run is not None else artifact.latest_run(RUNS, complete=False)
    if chosen is None:
        raise ArtifactError(f"{RUNS}: no trained run; start one: edgecnn train")
    if run is None:
        _say(f"run: {chosen.root}")
    return chosen


def _check_recipe(opened: Run, recipe: str) -> None:
    from edgecnn.errors import unknown
    from edgecnn.pipeline import read_config

    read_config(opened)
    if recipe not in (made := opened.recipes()):
        raise unknown(f"{opened.root}: recipe", recipe, made or ["none yet: edgecnn train"])


@contextmanager
def _workspace(
    opened: Run,
    data_dir: Path | None,
    *,
    max_drop: float | None = None,
    calibration_images: int | None = None,
) -> Iterator[Workspace]:
    """Open a run for a stage: locked, its configuration read, its data loaded, a progress bar shown."""
    from dataclasses import replace

    from edgecnn import artifact, config, pipeline

    settings = pipeline.read_config(opened)
    settings = replace(settings, exporting=config.adjusted(settings.exporting, max_drop, calibration_images))
    with artifact.locked(opened), _progress() as observe:
        data = pipeline.load_data(settings, data_dir=data_dir, observe=observe)
        yield pipeline.Workspace(opened, settings, data, observe)


def _export_pyz(out: Path) -> Path:
    from edgecnn.artifact import write_atomic
    from edgecnn.export.pyz import to_pyz

    path = out / "predict.pyz"
    write_atomic(path, to_pyz())
    return path


def _released_file(form: str, scheme: str) -> Path:
    from edgecnn import artifact
    from edgecnn.pipeline import SUFFIXES

    return artifact.released() / f"{scheme}{SUFFIXES[form]}"


def _export_file(
    source: Path,
    form: str,
    scheme: str,
    dynamic_batch: bool,
    out: Path,
    data: str | None,
    data_dir: Path | None,
    max_drop: float | None,
    calibration_images: int | None,
) -> Path:
    from edgecnn import artifact, config, extras, pipeline

    extras.require("train", needed_by="export")
    artifact.read_bytes(source)
    if data is None and not artifact.record_path(source).exists():
        raise ConfigError(
            f"export {source}: it has no record that names its data set; pass --data {'|'.join(config.DATA_SETS)}"
        )
    name = data or artifact.checked(source).data["name"]
    settings = config.configure(data=name, max_drop_pp=max_drop, calibration_images=calibration_images)
    with _progress() as observe:
        loaded = pipeline.load_data(settings, data_dir=data_dir, observe=observe)
        folder = out / (source.parent.name if source.name == "model.keras" else source.stem)
        return pipeline.export_model(
            source,
            form=form,
            scheme=scheme,
            out=folder,
            config=settings,
            data=loaded,
            dynamic_batch=dynamic_batch,
        )


def _bench_run_target(targets: Sequence[Path] | None) -> Run | None:
    """Return the run that bench is to measure, or None when it is model files (or the released ones)."""
    from edgecnn import artifact
    from edgecnn.artifact import Run

    if not targets:
        return artifact.latest_run(RUNS)
    folders = [target for target in targets if target.is_dir()]
    if not folders:
        return None
    if len(targets) > 1:
        raise ConfigError(f"bench: {folders[0]} is a folder among {len(targets)} targets; give one run, or model files")
    return Run(folders[0])


def _data_of(models: Sequence[Path], name: str | None, data_dir: Path | None, observe: Observer) -> Any:
    """Return the data set to measure on, or None, saying why, when no record names one or it cannot be had."""
    from edgecnn import artifact, config, pipeline

    named = {
        artifact.read_record(m).data["name"] for m in models if m.suffix != ".json" and artifact.record_path(m).exists()
    }
    if name is None and len(named) != 1:
        _say("accuracy is not measured: no single data set is named by the records; pass --data")
        return None
    try:
        return pipeline.load_data(config.configure(data=name or named.pop()), data_dir=data_dir, observe=observe)
    except (DataError, EdgecnnError) as error:
        if name is not None or data_dir is not None:
            raise
        _say(f"accuracy is not measured: {error}")
        return None


def _default_model(runtime: str | None) -> Path:
    """Return int8 of the latest complete run, else the released one, in the format of an installed runtime."""
    from edgecnn import artifact
    from edgecnn.device import runtimes

    usable = [runtime] if runtime in runtimes.RUNTIMES else runtimes.installed()
    suffix = runtimes.RUNTIMES[usable[0]].suffix if usable else ".tflite"
    latest = artifact.latest_run(RUNS)
    if latest is not None and latest.exported("baseline", f"int8{suffix}").exists():
        return latest.exported("baseline", f"int8{suffix}")
    return artifact.released() / f"int8{suffix}"


def _print_bench(path: Path) -> None:
    import json

    from edgecnn.report.table import BENCH_HEADINGS, bench_rows

    _print_table(BENCH_HEADINGS, bench_rows(json.loads(path.read_text())["results"]), text_columns=3)


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < text_columns else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # As wide as it needs to be: a table cut to 80 columns in a log has lost its figures.
    console = Console()
    console.width = max(console.width, sum(max(map(len, column)) + 3 for column in zip(headings, *rows, strict=True)))
    console.print(table)


@contextmanager
def _progress() -> Iterator[Observer]:
    """Show a bar a stage, with time left, on stderr; without a terminal a line when a stage is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True)
    bars: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def observe(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, figures="")
            figures = f"val_accuracy {metrics['val_accuracy']:.4f}" if "val_accuracy" in metrics else ""
            progress.update(bars[stage], completed=done, total=total or None, figures=figures)
            if not console.is_terminal and total and done == total:
                _say(f"{stage}: done {figures}".rstrip())

        yield observe
