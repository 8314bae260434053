"""Artifacts on disk: records, hashes, the run directory, atomic writes. Standard library only.

An artifact is written under a temporary name, flushed, renamed, and its record written last, so that a record's
presence means that the stage is complete. The record of `model.keras` (one model a stage) is `record.json` beside
it; an exported `int8.tflite` has `int8.tflite.json`, since several share a folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecnn.device.contract import SCHEMA, Contract, from_dict, of_first_schema
from edgecnn.device.errors import DeviceError
from edgecnn.device.files import content_sha256, external_data
from edgecnn.errors import ArtifactError, StorageError

# Where records of schema 1 stated their input. A `predict.pyz` of that time compares it, and so prints this.
_FOR_OLD_READERS = "a contract of schema 2; make predict.pyz anew: edgecnn export --format pyz"
EXPORT_SUFFIXES = (".tflite", ".onnx")
MODEL_SUFFIXES = (".keras", ".h5", *EXPORT_SUFFIXES, ".c", ".h", ".so")
RELEASED_QAT = "qat.h5"  # the model trained for int8 in a released folder, beside its float parent, model.keras
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # as write_atomic names them
_STAGE_MODELS = ("model.keras", "model.h5")
_RECORDED_LIBRARIES = (
    "edgecnn",
    "numpy",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "onnx",
    "tf2onnx",
    "onnxruntime",
    "ai-edge-litert",
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an artifact is, where it came from and how it did.

    `parents` maps each parent's path, relative to the artifact's folder, to its sha256. `contract` says what the
    network takes for a picture, and what its scores are.
    """

    stage: str  # train, compress, export or adopt
    recipe: str
    scheme: str
    artifact: str  # file name, relative to the record's folder
    sha256: str
    size_bytes: int
    gzip_bytes: int
    parents: dict[str, str]
    parameters: int
    nonzero_parameters: int
    seed: int
    settings: dict[str, Any]
    data: dict[str, Any]  # name and sha256 of the data set, validation_fraction, split_seed
    contract: Contract
    metrics: dict[str, Any]
    decision: dict[str, Any] = field(default_factory=dict)  # of an export: when to trust it (`device.decision`)
    versions: dict[str, str] = field(default_factory=lambda: library_versions())
    commit: str | None = field(default_factory=lambda: source_commit())
    host: dict[str, str] = field(default_factory=lambda: host())
    schema: int = SCHEMA

    @property
    def labels(self) -> list[str]:
        """The names of the classes, in the order of the scores."""
        return list(self.contract.labels)

    def as_dict(self) -> dict[str, Any]:
        """Return it as its file holds it; `record_from` reads it back."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {**values, "contract": self.contract.as_dict(), "input": _FOR_OLD_READERS}


@dataclass(frozen=True)
class Run:
    """The paths of one run directory."""

    root: Path

    @property
    def config(self) -> Path:
        """All that was asked for, defaults written out."""
        return self.root / "config.toml"

    @property
    def bench(self) -> Path:
        """The measurements; written last, so its presence makes a run complete."""
        return self.root / "bench" / "bench.json"

    def model(self, recipe: str) -> Path:
        """Return the Keras model of a recipe: the baseline, a pruned one, or a QAT one.

        QAT models are HDF5: tf_keras cannot read tfmot's quantization wrappers back from the .keras format.
        """
        if recipe == "baseline":
            return self.root / "train" / "model.keras"
        return self.root / "compress" / recipe / ("model.h5" if recipe.endswith("-qat") else "model.keras")

    @property
    def teacher(self) -> Path:
        """The folder of the teacher: its members, numbered, and the lessons made of their answers."""
        return self.root / "teacher"

    @property
    def typicality(self) -> Path:
        """What is typical of the run's data: the network that every export's record holds."""
        return self.root / "typicality.json"

    def exported(self, recipe: str, file: str) -> Path:
        """Return the path of an exported artifact, e.g. ``export/pruned80-qat/int8.tflite``."""
        return self.root / "export" / recipe / file

    def exports(self) -> list[Path]:
        """Return the exported artifacts that are complete."""
        found = sorted((self.root / "export").glob("*/*"))
        return [path for path in found if path.suffix in EXPORT_SUFFIXES and record_path(path).exists()]

    def recipes(self) -> list[str]:
        """Return the recipes whose Keras model is complete, in the order they were made from each other."""
        found = [path.parent.name for path in sorted((self.root / "compress").glob("*/record.json"))]
        return [r for r in ("baseline", *found) if record_path(self.model(r)).exists()]


# What makes a run trained, exported or complete: files that exist no earlier.
TRAINED, EXPORTED, COMPLETE = "train/record.json", "export/*/*.json", "bench/bench.json"


def latest_run(runs: Path, holding: str = COMPLETE) -> Run | None:
    """Return the run under `runs` that got its newest file of pattern `holding` last, or None if none has one."""
    newest = {
        config.parent: max((path.stat().st_mtime_ns for path in config.parent.glob(holding)), default=0)
        for config in runs.glob("*/config.toml")
    }
    found = [root for root, time in newest.items() if time]
    return Run(max(found, key=lambda root: newest[root])) if found else None


def released(name: str = "edge35k") -> Path:
    """Return the folder of a released model; raises `ArtifactError`, listing what there is, for an unknown name."""
    found = released_models()
    if name not in found:
        listed = f"one of: {', '.join(found)}" if found else "a run or a model file: no model is released here"
        raise ArtifactError(f"{name}: no such path, and no released model; expected a path or {listed}")
    return found[name]


def released_models() -> dict[str, Path]:
    """Return the folders of the released models by name: inside an installed package, or at the top of a checkout."""
    for place in _shipped("models"):
        if found := {path.parent.name: path.parent for path in sorted(place.glob("*/record.json"))}:
            return found
    return {}


def user_cache() -> Path:
    """Return the folder of this user's caches: ``$XDG_CACHE_HOME/edgecnn``, else ``~/.cache/edgecnn``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecnn"


def for_the_board(name: str) -> Path:
    """Return the path of a file of deploy/; raises `ArtifactError` when the installation lacks it."""
    for place in _shipped("deploy"):
        if (place / name).is_file():
            return place / name
    raise ArtifactError(f"deploy/{name}: not in this installation; install edgecnn again")


def _shipped(folder: str) -> tuple[Path, Path]:
    """Return where a folder that is no Python may lie: in an installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parent
    return package / folder, package.parent / folder


@contextlib.contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the run directory against a second edgecnn; raises `ArtifactError` when another one holds it."""
    try:
        run.root.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(run.root, os.O_RDONLY)
    except OSError as error:
        raise StorageError(
            f"{run.root}: cannot use it as run directory ({error.strerror}); choose another --out"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtifactError(
                f"{run.root}: another edgecnn works there; wait for it or choose another --out"
            ) from None
        sweep(run.root)
        yield
    finally:
        os.close(descriptor)


def parts_of(model: Path) -> tuple[Path, ...]:
    """Return the files that a model is made of: itself, and those that its weights lie in."""
    try:
        return (model, *external_data(model, read_bytes(model)))
    except DeviceError as error:
        raise ArtifactError(str(error)) from None


def record_path(artifact: Path) -> Path:
    """Return where the record of `artifact` lies."""
    return artifact.with_name("record.json" if artifact.name in _STAGE_MODELS else artifact.name + ".json")


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def gzip_size(content: bytes) -> int:
    """Return the bytes that `content` takes after gzip at level 9 with a zero time stamp."""
    return len(gzip.compress(content, 9, mtime=0))


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `path` so that it holds either all of `content` or what it held before.

    Raises `StorageError` when the disk refuses; the temporary file is removed.
    """
    raw = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _fsync_directory(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot write {len(raw)} bytes ({error.strerror}); free space or choose another --out"
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_folder(folder: Path, files: dict[str, bytes], *, programs: Container[str]) -> None:
    """Write `folder` so that it holds either all of `files` or what it held before; `programs` may be run.

    Raises `StorageError` when the disk refuses; the temporary folder is removed.
    """
    temporary = former = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        for name, content in files.items():
            write_atomic(temporary / name, content)
            (temporary / name).chmod(0o755 if name in programs else 0o644)
        temporary.chmod(0o755)
        if folder.exists():
            former = folder.rename(temporary.with_name(f"{temporary.name}.old"))
        temporary.rename(folder)
        _fsync_directory(folder.parent)
    except OSError as error:
        raise StorageError(f"{folder}: cannot write it ({error.strerror}); choose another --out") from None
    finally:
        if former is not None and not folder.exists():
            former.rename(folder)
        for leftover in filter(None, (temporary, former)):
            shutil.rmtree(leftover, ignore_errors=True)


def link(source: Path, target: Path) -> None:
    """Make `target` another name of the file `source`, or a copy where the disk cannot link."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)
    except OSError:
        write_atomic(target, read_bytes(source))


def check_writable(path: Path) -> None:
    """Raise `StorageError` unless a file can be written at `path`: before work is done whose result goes there."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise StorageError(f"{path}: cannot write there ({error.strerror}); choose another file") from None


def keep(artifact: Path, content: bytes, record: Record) -> None:
    """Write an artifact and then its record; a record of what was there before goes first.

    A kill in between leaves an artifact without a record, which is an incomplete stage, never a mismatch.
    """
    record_path(artifact).unlink(missing_ok=True)
    write_atomic(artifact, content)
    write_record(artifact, record)


def sweep(directory: Path) -> None:
    """Remove the temporary files that killed writes left in `directory`; call it while the run is locked."""
    for path in directory.rglob(".*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink()


def write_record(artifact: Path, record: Record) -> None:
    """Write the record beside `artifact`, as JSON with stable key order."""
    write_atomic(record_path(artifact), json.dumps(record.as_dict(), indent=1) + "\n")


def read_record(artifact: Path) -> Record:
    """Return the record beside `artifact`; raises `ArtifactError` when there is none or it cannot be read."""
    path = record_path(artifact)
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{artifact}: no record {path.name} beside it; the stage is not complete") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a readable record ({error}); restore it or make the artifact again") from None
    return record_from(values, where=path)


def checked(artifact: Path) -> Record:
    """Return the record of `artifact` after hashing its bytes; raises `ArtifactError` when they differ."""
    record = read_record(artifact)
    if (got := identity(artifact)) != record.sha256:
        raise ArtifactError(
            f"{artifact}: sha256 is {got[:12]}…, its record says {record.sha256[:12]}…; "
            f"the file was changed or damaged: restore it, or delete it and its record to make it again"
        )
    return record


def identity(artifact: Path) -> str:
    """Return the sha256 that a record keeps of a file; of an .onnx file whose weights lie in others, of those too.

    Raises `ArtifactError` when one of them is absent, empty or unreadable.
    """
    try:
        return content_sha256(artifact, read_bytes(artifact))
    except DeviceError as error:
        raise ArtifactError(str(error)) from None


def read_bytes(artifact: Path) -> bytes:
    """Return the file's bytes; raises `ArtifactError` when it is absent, empty or unreadable."""
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{artifact}: cannot read ({error.strerror}); check the path") from None
    if not content:
        raise ArtifactError(f"{artifact}: the file is empty; restore it or make it again")
    return content


def verify(directory: Path) -> Iterator[tuple[Path, str | None]]:
    """Re-hash every artifact under `directory`; yield (artifact, problem or None).

    A model file without a record is a problem, as is a record without its artifact, and a parent that lies where
    the record says with other bytes. A parent that is not there (an artifact copied by itself) is not.
    """
    recorded = {_artifact_of(path) for path in directory.rglob("*.json") if _is_record(path)}
    present = {path for path in directory.rglob("*") if path.suffix in MODEL_SUFFIXES}
    for artifact in sorted(recorded | present):
        try:
            yield artifact, _parent_problem(artifact, checked(artifact))
        except ArtifactError as error:
            yield artifact, str(error)


_FIELDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("stage", "recipe", "scheme", "artifact", "sha256"), str),
    **dict.fromkeys(("size_bytes", "gzip_bytes", "parameters", "nonzero_parameters", "seed"), int),
    **dict.fromkeys(("parents", "settings", "data", "metrics", "decision", "versions", "host"), dict),
    "commit": (str, type(None)),
}


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that shape an artifact, and of Python."""
    from importlib.metadata import PackageNotFoundError, version  # 30 ms that few commands need

    found = {"python": platform.python_version()}
    for name in _RECORDED_LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def source_commit() -> str | None:
    """Return the git commit of the checkout edgecnn runs from (``-dirty`` with local changes), or None."""
    source = Path(__file__).resolve().parent.parent
    if not (source / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(source), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def host() -> dict[str, str]:
    """Return machine, system and CPU model; no host name, which is nobody's business."""
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cpu": cpu_model(),
    }


def cpu_model() -> str:
    """Return the CPU's name as Linux gives it (x86 ``model name``, a board's ``Model``), else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in names.items()}
    return names.get("model name") or names.get("Model") or platform.machine()


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def record_from(values: Any, *, where: Path) -> Record:
    """Return the record that JSON of schema 1 or 2 holds; raises `ArtifactError` for anything else."""
    if not isinstance(values, dict) or values.get("schema") not in range(1, SCHEMA + 1):
        found = values.get("schema") if isinstance(values, dict) else None
        newer = isinstance(found, int) and found > SCHEMA
        remedy = "install a newer edgecnn" if newer else "restore it or make the artifact again"
        raise ArtifactError(f"{where}: a record of schema {found!r:.20}; expected 1 to {SCHEMA}; {remedy}")
    try:
        record = Record(**_in_second_schema(values))
    except (TypeError, KeyError, AttributeError, DeviceError) as error:
        raise ArtifactError(f"{where}: not a complete record ({error}); make the artifact again") from None
    for name, kind in _FIELDS.items():
        if not isinstance(getattr(record, name), kind):
            raise ArtifactError(
                f"{where}: {name} is {getattr(record, name)!r:.60}; restore it or make the artifact again"
            )
    texts = [*record.parents.values(), record.data.get("name"), record.data.get("sha256")]
    if not all(isinstance(text, str) for text in texts):
        raise ArtifactError(f"{where}: parents or data hold what is no text; restore it or make the artifact again")
    return record


def _in_second_schema(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Record` for what a record holds."""
    others = {name: value for name, value in values.items() if name not in ("labels", "input", "contract", "schema")}
    if values["schema"] == 1:
        return others | {"contract": of_first_schema(values["input"], values["labels"])}
    return others | {"contract": from_dict(values["contract"])}


def _is_record(path: Path) -> bool:
    return path.name == "record.json" or path.name.removesuffix(".json").endswith(MODEL_SUFFIXES)


def _artifact_of(record: Path) -> Path:
    if record.name != "record.json":
        return record.with_name(record.name.removesuffix(".json"))
    return next(
        (record.with_name(n) for n in _STAGE_MODELS if record.with_name(n).exists()),
        record.with_name("model.keras"),
    )


def _parent_problem(artifact: Path, record: Record) -> str | None:
    for name, expected in record.parents.items():
        parent = artifact.parent / name
        if parent.is_file() and (got := sha256(parent.read_bytes())) != expected:
            return (
                f"{artifact}: its parent {name} has sha256 {got[:12]}…, the record says {expected[:12]}…; "
                f"the parent was changed: restore it, or make this artifact again"
            )
    return None
