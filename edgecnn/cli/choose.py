"""What a command works on: what was named, else the latest run, else the released model."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.artifact import (
    EXPORT_SUFFIXES,
    EXPORTED,
    RELEASED_QAT,
    TRAINED,
    Run,
    checked,
    latest_run,
    read_bytes,
    read_record,
    record_path,
    released,
    released_models,
    sha256,
)
from edgecnn.cli.terminal import say
from edgecnn.config import RunConfig, configure, without_exporting
from edgecnn.config.names import DATA_SETS, arch_label, data_name
from edgecnn.config.toml import to_toml
from edgecnn.device.resolution import OPTIONS, Said
from edgecnn.errors import ArtifactError, ConfigError, EdgecnnError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.bench.budget import Budget
    from edgecnn.bench.place import Place
    from edgecnn.bench.session import Setting
    from edgecnn.data import DataSet
    from edgecnn.pipeline import Observer
    from edgecnn.search.executor import Limits, Workers
    from edgecnn.search.study import Asked

RUNS = Path("runs")


def run_directory(config: RunConfig) -> Path:
    """Return the folder for `config`: the same settings always name the same one, so that a run can go on."""
    digest = sha256(to_toml(without_exporting(config)).encode())[:8]
    return RUNS / f"{data_name(config.data)}-{arch_label(config.arch)}-{config.recipe}-{digest}"


def settings(arch: str, **options: Any) -> RunConfig:
    """Return a run's settings for the architecture `arch`, a name of the zoo or a file.

    An unknown name and a file that is not there are refused here, before anything is written.
    """
    from edgecnn import zoo

    digest = None
    if zoo.is_file(arch):
        # Absolute, so that a run finds it from wherever it is continued.
        arch = str(Path(arch).expanduser().resolve())
        digest = sha256(read_bytes(Path(arch)))
    return configure(arch=arch, arch_sha256=digest, pages=zoo.pages_of(arch), **options)


def comparison(arches: str, **options: Any) -> list[tuple[RunConfig, Path]]:
    """Return settings and run directory of each architecture in a list by comma, each once."""
    names = dict.fromkeys(name.strip() for name in arches.split(",") if name.strip())
    if len(names) < 2:
        raise ConfigError(f"--arch: got {arches!r}; expected two architectures or more, by comma: edge35k,edge4k")
    configs = [settings(name, **options) for name in names]
    return [(config, run_directory(config)) for config in configs]


def comparison_directory(asked: Sequence[tuple[RunConfig, Path]]) -> Path:
    """Return the folder for a comparison: of the same runs it is always the same."""
    digest = sha256("\n".join(root.name for _, root in asked).encode())[:8]
    return RUNS / f"compare-{data_name(asked[0][0].data)}-{digest}"


def trained_run(named: Path | None) -> Run:
    """Return the run that was named, else the one trained last."""
    run = Run(named) if named is not None else latest_run(RUNS, TRAINED)
    if run is None:
        raise ArtifactError(f"{RUNS}: no trained run; start one: edgecnn train")
    if named is None:
        say(f"run: {run.root}")
    return run


def complete_run(named: Path | None) -> Run:
    """Return the run that was named, else the one finished last."""
    run = Run(named) if named is not None else latest_run(RUNS)
    if run is None:
        raise ArtifactError(f"{RUNS}: no complete run; start one: edgecnn run")
    return run


def teacher(named: Path | None) -> Run | None:
    """Return the run whose teacher is to be used, if one was named."""
    return None if named is None else Run(named)


def path_of(named: Path) -> Path:
    """Return what was named, or the folder of the released model of that name: of two, what is there goes first.

    Raises `ArtifactError`, listing the released models, for what is neither and does not look like a file.
    """
    is_name = len(named.parts) == 1 and not named.exists() and not named.suffix
    return released(named.name) if is_name else named


def to_export(named: Path | None) -> tuple[Run | None, Path | None]:
    """Return (run, None) or (None, folder of a released model) to export from; of a model file, neither."""
    latest = latest_run(RUNS) if named is None else None
    if latest is not None:
        return latest, None
    if named is None:
        return None, released()
    path = path_of(named)
    if not path.is_dir():
        return None, None
    return (None, path) if path in released_models().values() else (Run(path), None)


def to_build(named: Path | None, recipe: str | None, out: Path | None) -> tuple[Run | None, Path, Path]:
    """Return (run or None, int8 .tflite file or folder with a model in C, folder for what is built of it)."""
    if named is not None and named.is_dir() and (named / "model.c").is_file():
        refuse({"--recipe": recipe}, "a model in C has one")
        whole = named.resolve()
        return None, named, (out or Path("export")) / (whole.parent if whole.name == "c" else whole).name
    opened, folder = to_export(named)
    if opened is not None:
        refuse({"--out": out}, f"run {opened.root} has its own")
        check_recipe(opened, recipe or "baseline")
        source = opened.exported(recipe or "baseline", "int8.tflite")
        return opened, source, source.with_name("build")
    refuse({"--recipe": recipe}, "a model file has one")
    assert folder is not None or named is not None
    source = folder / "int8.tflite" if folder is not None else path_of(Path(named or ""))
    own_name = source.resolve().parent.name if source.stem == "int8" else source.stem
    return None, source, (out or Path("export")) / own_name


def keras_model(named: Path | None, folder: Path | None, scheme: str) -> Path:
    """Return the Keras model to export: the file that was named, or that of a released model's folder.

    Of a folder with two, the one that was trained for int8 is int8's.
    """
    if folder is None:
        assert named is not None
        return named
    trained_for_int8 = folder / RELEASED_QAT
    return trained_for_int8 if scheme == "int8" and trained_for_int8.exists() else folder / "model.keras"


def c_options(form: str, scheme: str, *, kernel: str | None, name: str | None) -> dict[str, str] | None:
    """Return the options of an export to C, None of one to another format; raises `ConfigError` for what is wrong."""
    if form != "c":
        refuse({"--kernel": kernel, "--name": name}, "it is for --format c")
        return None
    if scheme != "int8":
        raise unknown("scheme for c", scheme, ("int8",))
    from edgecnn.export.c import check_options

    options = {"kernel": kernel or "auto", "name": name or "model"}
    check_options(**options)
    return options


def exports_in(named: Sequence[Path] | None) -> list[Path]:
    """Return the exported models that were named: files, all in folders and runs, or those of the latest run."""
    places = [path_of(path) for path in named or ()] or [trained_run(None).root]
    found: dict[Path, None] = {}
    for place in places:
        inside = (
            sorted(path for path in place.rglob("*") if path.suffix in EXPORT_SUFFIXES) if place.is_dir() else [place]
        )
        if not inside:
            raise ArtifactError(f"{place}: no exported model in it; make one: edgecnn export")
        found |= dict.fromkeys(inside)
    return list(found)


def check_recipe(run: Run, recipe: str) -> None:
    """Raise `ConfigError` listing the recipes whose model the run holds, unless `recipe` is one."""
    from edgecnn.pipeline import read_config

    read_config(run)  # says so when it is no run, or a damaged one
    if recipe not in (made := run.recipes()):
        raise unknown(f"{run.root}: recipe", recipe, made or ["none yet: edgecnn train"])


def settings_of(source: Path, data: str | None, *, resize: str | None = None, **exporting: Any) -> RunConfig:
    """Return the settings to export a .keras file with: its data set is named by its record, or by `data`.

    `exporting` is what `configure` takes of how models are exported.
    """
    read_bytes(source)
    if data is None and not record_path(source).exists():
        raise ConfigError(
            f"export {source}: it has no record that names its data set; pass --data {'|'.join(DATA_SETS)} or a path"
        )
    is_unnamed = not record_path(source).exists() or not read_record(source).data["name"]
    if data is not None and (data in DATA_SETS or is_unnamed):
        return configure(data=data, resize=resize, **exporting)
    record = checked(source)
    name = record.data["name"]
    if not name:  # it was adopted without images
        raise ConfigError(
            f"export {source}: its record names no data set; adopt it with one: edgecnn adopt --data PATH"
        )
    if name not in DATA_SETS and data is None:
        raise ConfigError(
            f"{source}: its data set is {name}, which has no place of its own; say where: --data .../{name}"
        )
    # The model's own split: validation images of another one would be images that it was trained on.
    if record.seed and "split_seed" not in record.data:
        raise ArtifactError(f"{source}: of a time when the seed, {record.seed}, chose its split; train it again")
    return configure(
        data=data or name,
        resize=resize or record.data.get("resize"),
        seed=record.seed,
        validation_fraction=record.data.get("validation_fraction"),
        **exporting,
    )


def bench_targets(named: Sequence[Path] | None) -> tuple[Run | None, list[Path]]:
    """Return (a run, []) or (None, the model files) that bench is to measure."""
    latest = None if named else latest_run(RUNS, EXPORTED)
    if latest is not None:
        return latest, []
    targets = [path_of(target) for target in named or [released()]]
    if len(targets) == 1 and Run(targets[0]).config.is_file():
        return Run(targets[0]), []
    models = [model for target in targets for model in _models_in(target)]
    return None, list({model.resolve(): model for model in models}.values())  # each once, however often it is named


def _models_in(target: Path) -> list[Path]:
    """Return the model files of a run or folder, or the one file that `target` is."""
    if not target.is_dir():
        if target.suffix not in EXPORT_SUFFIXES:
            raise ArtifactError(f"bench {target}: got {target.suffix or 'no suffix'}; expected a .tflite or .onnx file")
        return [target]
    pattern = "export/*/*" if Run(target).config.is_file() else "*"
    models = sorted(path for path in target.glob(pattern) if path.suffix in EXPORT_SUFFIXES)
    if not models:
        raise ArtifactError(f"bench: no .tflite or .onnx file in {target}; give a run or model files")
    return models


def data_of(
    models: Sequence[Path],
    named: str | None,
    *,
    resize: str | None = None,
    data_dir: Path | None,
    observe: Observer,
) -> DataSet | None:
    """Return the data set to measure `models` on, or None, saying why, when none is named or it cannot be had."""
    from edgecnn import pipeline

    described = [read_record(model).data for model in models if record_path(model).exists()]
    recorded = {(of["name"], of.get("resize")) for of in described if of["name"]}
    name, size = recorded.pop() if len(recorded) == 1 else (None, None)
    if named is None and name is None:
        say("accuracy is not measured: the records do not name one data set; pass --data")
        return None
    try:
        config = configure(data=named or name or "", resize=resize or size)
        return pipeline.load_data(config, data_dir=data_dir, observe=observe)
    except EdgecnnError as error:
        if named is not None or data_dir is not None:
            raise
        say(f"accuracy is not measured: {error}")
        return None


def data_to_show(run: Run, *, moved: str | None, data_dir: Path | None, observe: Observer) -> DataSet | None:
    """Return the run's data set, or None, saying why, when it cannot be had and no folder was named for it."""
    from edgecnn import pipeline

    try:
        return pipeline.data_of_run(run, moved=moved, data_dir=data_dir, observe=observe)
    except EdgecnnError as error:
        if data_dir is not None or moved is not None:
            raise
        say(f"test images are left out: {error}")
        return None


def images_to_compare(
    model: Path, named: str | None, *, resize: str | None = None, data_dir: Path | None, observe: Observer
) -> NDArray[np.uint8] | None:
    """Return images of the data set named, else the record's, or None, saying why, when none can be had."""
    from edgecnn import pipeline

    if named is None and not record_path(model).exists():
        say("only weights are compared: no record names the data set; pass --data")
        return None
    try:
        config = settings_of(model, named, resize=resize)
        return pipeline.images_to_compare(config, data_dir=data_dir, observe=observe)
    except EdgecnnError as error:
        if named is not None or data_dir is not None:
            raise
        say(f"only weights are compared: {error}")
        return None


def refuse(options: dict[str, object], why: str) -> None:
    """Raise `ConfigError` when an option was given that does not apply here: ignoring it would mislead."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]}: does not apply here, {why}; leave it out")


def refuse_said(stated: Said, why: str) -> None:
    """Raise `ConfigError` for options that say what a model takes, where that is known."""
    refuse({option: True for part in stated.clues() for option in (OPTIONS[part],)}, why)


def budget(path: Path | None, limits: Sequence[str] | None) -> Budget | None:
    """Return the budget in file `path` with `limits` (NAME=NUMBER) over it, read before anything is measured."""
    from edgecnn.bench import budget as budgets

    if path is None and not limits:
        return None
    try:
        in_file = [] if path is None else [budgets.parse(read_bytes(path).decode(), where=str(path))]
        return budgets.combined(*in_file, budgets.from_limits(limits or (), where="--budget"))
    except (budgets.BudgetError, UnicodeDecodeError) as error:
        raise ConfigError(str(error)) from None


def setting(
    *, quick: bool, thorough: bool, rounds: int | None, threads: int, pin: str | None, shape: str | None
) -> Setting:
    """Return how to measure; raises `ConfigError` for cores that are not there and for what is no number."""
    from edgecnn.bench.session import EFFORTS, Setting

    if quick and thorough:
        raise ConfigError("bench: --quick and --thorough; give one of them")
    cores = _numbers(pin, "--pin")
    if cores and (absent := sorted(set(cores) - os.sched_getaffinity(0))):
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise ConfigError(f"--pin: core {absent[0]} is not there; expected some of: {usable}")
    effort = EFFORTS["quick" if quick else "thorough" if thorough else "default"]
    effort = replace(effort, rounds=rounds or effort.rounds)
    return Setting(effort, threads=threads, pin=cores, shape=_numbers(shape, "--shape"))


@contextmanager
def bench_place(
    device: str | None, root: str, *, options: Sequence[str] | None, config: Path | None
) -> Iterator[Place | None]:
    """Yield where to measure, None for this machine."""
    if device is None:
        refuse({"--ssh-option": options, "--ssh-config": config}, "it is for --device ssh://USER@HOST")
        yield None
        return
    from edgecnn.boards.parcel import check_root
    from edgecnn.pipeline.places import place_of

    with place_of(device, root=check_root(root), via={"options": options or (), "config": config}) as place:
        yield place


def model_file(named: Path | None, runtime: str | None = None) -> Path:
    """Return the model file that was named, or int8 of a released model, in the format of an installed runtime.

    When nothing was named: int8 of the latest complete run, else of the released edge35k.
    """
    file = _int8_for(runtime)
    if named is not None:
        path = path_of(named)
        return path / file if (path / file).exists() else path
    latest = latest_run(RUNS)
    if latest is not None and latest.exported("baseline", file).exists():
        return latest.exported("baseline", file)
    return released() / file


def _int8_for(runtime: str | None) -> str:
    """Return the name of the int8 file that `runtime` takes, or that the first runtime that works here does."""
    from edgecnn.device.files import C_LIBRARY
    from edgecnn.device.runtimes import ladder

    if runtime == C_LIBRARY:
        return "int8.tflite"
    usable = (
        [runtime] if runtime in ladder.LADDER else [name for name in ladder.installed() if ladder.works(name).works]
    )
    return f"int8{ladder.LADDER[usable[0]].suffix if usable else '.tflite'}"


def _numbers(text: str | None, option: str) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"{option}: got {text!r}; expected whole numbers by comma, like 0,1") from None


def search_directory(base: RunConfig) -> Path:
    """Return the folder for a study of a data set."""
    return RUNS / f"search-{data_name(base.data)}"


def study_folder(named: Path | None) -> Path:
    """Return the folder of the study that was named, else of the one under runs/ that was begun or shown last."""
    if named is not None:
        return named
    found = sorted(RUNS.glob("*/study.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise ArtifactError(f"{RUNS}: no study there; start one: edgecnn search")
    say(f"study: {found[-1].parent}")
    return found[-1].parent


def asked_for(base: RunConfig, *, data_dir: Path | None, observe: Observer, **wanted: Any) -> Asked:
    """Return what a study is asked for, after a look at its data."""
    from edgecnn import pipeline
    from edgecnn.search import study

    return study.asked_for(base, pipeline.load_data(base, data_dir=data_dir, observe=observe), **wanted)


def workers(scheduler: str | None, count: int | None, limits: Limits) -> AbstractContextManager[Workers]:
    """Return where trials run: the cluster that was named, else this machine."""
    from edgecnn.search import executor

    return executor.local(count, limits) if scheduler is None else executor.cluster(scheduler, count, limits)


def trial_limits(*, cores: int, memory: str | None, trial_time: str | None) -> Limits:
    """Return what one trial may use; raises `ConfigError` for what is no amount of memory or time."""
    from edgecnn.search.executor import Limits

    units = {"M": 10**6, "G": 10**9, "": 1}
    amount = None if memory is None else int(_with_unit(memory, units, "--memory", "800M or 4G"))
    return Limits(cores=cores, memory_bytes=amount, seconds=seconds(trial_time, "--trial-time"))


def seconds(text: str | None, option: str) -> float | None:
    """Return the seconds of ``90s``, ``30m`` or ``2h``; raises `ConfigError` for other text."""
    return None if text is None else _with_unit(text, {"s": 1, "m": 60, "h": 3600, "": 1}, option, "90s, 30m or 2h")


def _with_unit(text: str, units: dict[str, int], option: str, like: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]?)", text)
    if match is None or match[2] not in units or float(match[1]) == 0:
        raise ConfigError(f"{option}: got {text!r}; expected a number and a unit, like {like}")
    return float(match[1]) * units[match[2]]
