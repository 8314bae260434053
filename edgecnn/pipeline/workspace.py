"""What every stage works on: a run directory, its configuration and its data; and when a stage is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.config import RunConfig, adjusted, without_exporting
from edgecnn.config.dicts import differences
from edgecnn.config.names import DATA_SETS, arch_name, data_name, resolved_data
from edgecnn.config.settings import Training
from edgecnn.config.toml import from_toml, to_toml
from edgecnn.curves import Verdict, verdict
from edgecnn.device.contract import Contract
from edgecnn.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.bench.accuracy import AccuracyDelta
    from edgecnn.data import DataSet

# Called with (stage, steps done, steps in all, metrics so far).
Observer = Callable[[str, int, int, dict[str, float]], None]


def unobserved(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
    """Do nothing: the observer of those who want no progress."""


@dataclass(frozen=True)
class Workspace:
    """A run directory with its configuration and its data."""

    run: Run
    config: RunConfig
    data: DataSet
    observe: Observer = unobserved


@contextmanager
def begin(
    config: RunConfig,
    root: Path,
    *,
    data_dir: Path | None = None,
    teacher: Run | None = None,
    observe: Observer = unobserved,
) -> Iterator[Workspace]:
    """Open run directory `root` for `config`, new or to go on with, and hold it against a second process.

    Nothing is written before the data is there. A run that was asked for other settings is refused. The `teacher` of
    another run becomes this one's too; `ConfigError` when the recipe has none.
    """
    opened = Run(root)
    if teacher is not None:
        _check_teacher(config, root, teacher)
    _refuse_other_settings(config, opened)
    data = load_data(config, data_dir=data_dir, observe=observe)
    for run in (opened,) if teacher is None else (teacher, opened):
        data = _as_trained_on(run, data)
    with artifact.locked(opened):
        _refuse_other_settings(config, opened)  # again: another process may have begun it meanwhile
        artifact.write_atomic(opened.config, to_toml(config))
        if teacher is not None:
            share_teacher(opened, teacher)
        yield Workspace(opened, config, data, observe)


def _check_teacher(config: RunConfig, root: Path, teacher: Run) -> None:
    """Raise `ConfigError` when the teacher of the run `teacher` is not one for `config`, or `root` has another one.

    Raises `ArtifactError` when there is none, or only a part.
    """
    if config.teacher is None:
        raise ConfigError(f"--teacher: recipe {config.recipe} learns from no teacher; leave it out, or --recipe strong")
    records = [teacher.teacher / str(number) / "record.json" for number in range(config.teacher.members)]
    if not all(record.exists() for record in records):
        raise ArtifactError(f"{teacher.root}: no complete teacher there; make one: edgecnn teach --out {teacher.root}")
    theirs = _where(config, read_config(teacher))
    other = [
        name
        for name in ("data", "resize", "validation_fraction", "teacher")
        if getattr(theirs, name) != getattr(config, name)
    ]
    if other:
        raise ConfigError(
            f"--teacher {teacher.root}: its {' and '.join(other)} are not those of recipe {config.recipe} on "
            f"{data_name(config.data)}; make one that fits: edgecnn teach --data {config.data} --recipe {config.recipe}"
        )
    own = [Run(root).teacher / record.relative_to(teacher.teacher) for record in records]
    if any(a.exists() and a.read_bytes() != b.read_bytes() for a, b in zip(own, records, strict=True)):
        raise ConfigError(f"--teacher {teacher.root}: {root} has a teacher of its own already; leave --teacher out")


def _refuse_other_settings(config: RunConfig, opened: Run) -> None:
    """Raise `ConfigError` when the run there trains otherwise; how it exports may be asked anew each time."""
    if not opened.config.exists():
        return
    found = _where(config, read_config(opened))
    changed = differences(without_exporting(config), without_exporting(found))
    if changed:
        raise ConfigError(
            f"{opened.root}: holds a run with other settings ({'; '.join(changed)}); choose another --out"
        )


def _where(asked: RunConfig, found: RunConfig) -> RunConfig:
    """Return `found` with its files where `asked` has them: what they hold is compared, not where they lie."""
    if not {asked.data, found.data} & set(DATA_SETS):
        found = replace(found, data=asked.data)
    same_code = found.arch_sha256 is not None and found.arch_sha256 == asked.arch_sha256
    if same_code and arch_name(found.arch) == arch_name(asked.arch):
        found = replace(found, arch=asked.arch)
    return found


@contextmanager
def reopen(
    opened: Run,
    *,
    moved: str | None = None,
    max_drop_pp: float | None = None,
    calibration_images: int | None = None,
    calibration: str | None = None,
    allow_chance: bool | None = None,
    data_dir: Path | None = None,
    observe: Observer = unobserved,
) -> Iterator[Workspace]:
    """Open a run as its config.toml says, with what is not None replaced, and hold it against a second process.

    `moved` is where the images of its data set lie now; config.toml says so afterwards.
    """
    config = _moved(read_config(opened), moved)
    exporting = adjusted(
        config.exporting,
        max_drop_pp=max_drop_pp,
        calibration_images=calibration_images,
        calibration=calibration,
        allow_chance=allow_chance,
    )
    with artifact.locked(opened):
        data = data_of_run(opened, moved=moved, data_dir=data_dir, observe=observe)
        if moved is not None:
            artifact.write_atomic(opened.config, to_toml(config))
        yield Workspace(opened, replace(config, exporting=exporting), data, observe)


def data_of_run(
    opened: Run, *, moved: str | None = None, data_dir: Path | None = None, observe: Observer = unobserved
) -> DataSet:
    """Return the data set of a run, whose images lie at `moved` if they were moved.

    Raises `DataError` when they are not there, `ArtifactError` when others are.
    """
    config = _moved(read_config(opened), moved)
    if config.data not in DATA_SETS and not Path(config.data).exists():
        raise DataError(
            f"{config.data}: the images of run {opened.root} are not there; if they were moved, say where: --data PATH"
        )
    return _as_trained_on(opened, load_data(config, data_dir=data_dir, observe=observe))


def _moved(config: RunConfig, moved: str | None) -> RunConfig:
    """Return `config` with its images at `moved`, a path, if that is given."""
    if moved is None:
        return config
    if {config.data, moved} & set(DATA_SETS):
        raise ConfigError(f"--data: got {moved}; the run has its own, {data_name(config.data)}; leave it out")
    return replace(config, data=resolved_data(moved))


def _as_trained_on(opened: Run, data: DataSet) -> DataSet:
    """Return `data` under the name that the run's records give it: its folder may be called otherwise by now.

    Raises `ArtifactError` when it holds other images than the run was trained on.
    """
    for model in (opened.model("baseline"), opened.teacher / "0" / "model.keras"):
        if artifact.record_path(model).exists():
            recorded = artifact.read_record(model).data
            _check_images(model, recorded, data)
            return replace(data, name=recorded["name"])
    return data


def refuse_other_images(model: Path, data: DataSet) -> None:
    """Raise `ArtifactError` when the record of `model` is of the same data set, and that was other images then.

    Of another data set are only those that have a name of their own.
    """
    if not artifact.record_path(model).exists():
        return
    recorded = artifact.read_record(model).data
    if recorded["name"] == data.name or recorded["name"] not in ("", *DATA_SETS):
        _check_images(model, recorded, data)


def _check_images(model: Path, recorded: Mapping[str, Any], data: DataSet) -> None:
    # A folder changes: images that are validation's today may be those that the model was trained on.
    if recorded["sha256"] != data.sha256:
        raise ArtifactError(
            f"{model}: trained on other images of {recorded['name']} (sha256 {recorded['sha256'][:12]}…, now "
            f"{data.sha256[:12]}…); restore them, or train again in another --out"
        )


def read_config(opened: Run) -> RunConfig:
    """Return what the run was asked for; `ArtifactError` when there is no run, `ConfigError` for bad settings."""
    from edgecnn import zoo

    try:
        text = opened.config.read_text()
    except UnicodeDecodeError:
        raise ArtifactError(f"{opened.config}: not a text file; restore it or choose another --out") from None
    except OSError as error:
        raise ArtifactError(
            f"{opened.root}: no run there (config.toml: {error.strerror}); start one: edgecnn run"
        ) from None
    try:
        config = from_toml(text, where=str(opened.config))
        zoo.check(config.arch)
    except ConfigError as error:
        where = "" if str(error).startswith(str(opened.config)) else f"{opened.config}: "
        raise ConfigError(f"{where}{error}") from None
    return config


def load_data(config: RunConfig, *, data_dir: Path | None = None, observe: Observer = unobserved) -> DataSet:
    """Return the data set that `config` names, split by its fraction; `observe` hears of files that were left out."""
    from edgecnn import data

    if config.data == "digits":
        extras.require("train", needed_by="data digits")
    found = data.load(
        config.data,
        validation_fraction=config.validation_fraction,
        data_dir=data_dir,
        resize=config.resize,
        observe=lambda what, done, total: observe(what, done, total, {}),
    )
    if found.left_out:
        observe(f"read {found.name}", 1, 1, {"left_out": len(found.left_out)})
    return found


def reading_line(data: DataSet) -> str | None:
    """Return, of images that have the shape and the classes of MNIST's digits and are none, what becomes of pictures.

    ``set.csv: images in MNIST's shape and classes, but stretch: 143 of 200 images would be changed by ...``; else None.
    """
    if not data.reading.may_surprise:
        return None
    return f"{data.name}: images in MNIST's shape and classes, but {data.reading}; predict stretches a picture to 28x28"


def share_teacher(run: Run, source: Run) -> None:
    """Give `run` the teacher of the run `source`, its lessons too: hard links where the disk can, else copies.

    What is there afterwards is compared with what the run asks for as if it had been made in it.
    """
    for suffix in (".keras", ".npz", ".json"):  # records last: one says that its model is complete
        for path in sorted(source.teacher.rglob(f"*{suffix}")):
            own = run.teacher / path.relative_to(source.teacher)
            unfinished = path.name.startswith("checkpoint") or (
                suffix == ".json" and not own.with_name("model.keras").exists()
            )
            if not unfinished and not own.exists():
                artifact.link(path, own)


def is_complete(work: Workspace, path: Path, *, settings: dict[str, Any], parents: Iterable[Path]) -> bool:
    """Return whether `path` is there as asked; raises `ArtifactError` when it is there but not as asked."""
    if not artifact.record_path(path).exists():
        return False
    record = artifact.checked(path)
    if record.settings != settings or record.seed != work.config.seed:
        raise ArtifactError(
            f"{path}: made with other settings ({record.settings}); choose another run, or remove it and its record"
        )
    # Before splits were one for all seeds, the seed chose it.
    if record.parents != parent_hashes(path, parents) or {"split_seed": record.seed, **record.data} != described_data(
        work
    ):
        raise ArtifactError(
            f"{path}: its parent or data changed since it was made; remove it and its record to make it again"
        )
    return True


def figures_of(delta: AccuracyDelta) -> dict[str, Any]:
    """Return what a record's metrics hold of `delta`."""
    return {
        "validation_top1": delta.top1,
        "parent_validation_top1": delta.parent_top1,
        "drop_pp": delta.drop_pp,
        "mcnemar_p": delta.mcnemar_p,
        "images": delta.images,
    }


def delta_of(record: Record) -> AccuracyDelta | None:
    """Return how a recorded model reads the validation images beside its parent; None for one that has none."""
    from edgecnn.bench.accuracy import AccuracyDelta

    figures = record.metrics
    if "mcnemar_p" not in figures:
        return None
    return AccuracyDelta(
        parent_top1=figures["parent_validation_top1"],
        top1=figures["validation_top1"],
        drop_pp=figures["drop_pp"],
        mcnemar_p=figures["mcnemar_p"],
        images=figures["images"],
    )


def accuracy_line(path: Path) -> str | None:
    """Return how an artifact reads the validation images beside its parent, in one line; None where nobody measured.

    ``baseline/int8.tflite: 99.18 % of 6,000 validation images, parent 99.20 %: -0.02 pp, p 1.00``
    """
    record = artifact.read_record(path)
    figures = record.metrics
    if (delta := delta_of(record)) is not None:
        said = str(delta)
    elif record.stage == "train":
        said = f"{figures['validation_top1'] * 100:.2f} % of the validation images"
    else:
        return None
    kept, stopped = record.settings.get("keep_float"), figures.get("stopped")
    in_float = f"; in float: {', '.join(kept)}" if kept else ""
    early = f"; stopped after epoch {len(figures['history'])}" if stopped else ""
    return f"{called(path, record)}: {said}{in_float}{early}"


def called(path: Path, record: Record) -> str:
    """Return what an artifact is called in what is said of it: its recipe, of an export with the file."""
    return f"{path.parent.name}/{path.name}" if record.stage == "export" else record.recipe


def verdict_of(record: Record) -> Verdict:
    """Return what the curves of a trained model say."""
    trained_by = next(
        record.settings[key] for key in ("qat", "clustering", "pruning", "training") if key in record.settings
    )
    training = trained_by.get("training", trained_by)
    return verdict(
        record.metrics["history"],
        classes=len(record.labels),
        best_epoch=record.metrics["best_epoch"],
        learning_rate=training["learning_rate"],
        initializer=training.get("initializer", Training.initializer) if record.stage == "train" else None,
        at_chance=record.metrics.get("at_chance"),
    )


def verdict_line(path: Path) -> str | None:
    """Return what the curves of a trained model say, in one line; None for what was not trained."""
    record = artifact.read_record(path)
    return None if record.stage == "export" else f"{record.recipe}: {verdict_of(record)}"


def parent_hashes(path: Path, parents: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of each parent by its path relative to the folder of `path`."""
    return {os.path.relpath(p, path.parent): artifact.sha256(artifact.read_bytes(p)) for p in parents}


def recorded_model(path: Path) -> Any:
    """Return the Keras model in `path` after comparing it with its record."""
    from edgecnn import _tf

    artifact.checked(path)
    return _tf.load_model(path)


def calibration_images(work: Workspace, count: int) -> NDArray[np.uint8]:
    """Return `count` representative images of the run: from the training split, never from test."""
    from edgecnn.data import representative

    return representative(work.data.train, count, seed=work.config.seed)


def calibration_inputs(work: Workspace, count: int, contract: Contract) -> NDArray[np.float32]:
    """Return `calibration_images` as a network of this contract takes them, float32 [N, ...]."""
    return contract.network_input(calibration_images(work, count))


def described_data(work: Workspace) -> dict[str, Any]:
    """Return what a record says of the data of a workspace."""
    return described(work.data, work.config)


def described(data: DataSet, config: RunConfig) -> dict[str, Any]:
    """Return what a record says of the data: enough to read and split it the same way again."""
    from edgecnn.data import SPLIT_SEED

    resize = {} if config.resize is None else {"resize": config.resize}
    return {
        "name": data.name,
        "sha256": data.sha256,
        "validation_fraction": config.validation_fraction,
        "split_seed": SPLIT_SEED,
        **resize,
    }
