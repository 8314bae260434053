"""The only module that knows the order of the stages: data -> train -> compress -> export -> bench.

Each stage is a function that returns at once when its artifact is complete and unchanged, so a killed run that is
started again goes on where it was. An artifact whose bytes, parents or settings are not what they were is refused,
never silently rebuilt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.config import SCHEMES, Pruning, RunConfig, differences, from_toml, to_toml
from edgecnn.errors import ArtifactError, ConfigError, DataError, GateError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.data import DataSet
    from edgecnn.train import Fit

# Called with (stage, steps done, steps in all, metrics so far).
Observer = Callable[[str, int, int, dict[str, float]], None]

BENCH_SCHEMA = 1
LATENCY_WARMUP, LATENCY_RUNS = 200, 2000
SUFFIXES = {"tflite": ".tflite", "onnx": ".onnx"}
RELEASED = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
# What a run exports: recipe kind -> (format, scheme).
PLAN: dict[str, tuple[tuple[str, str], ...]] = {
    "baseline": tuple((form, scheme) for form in SCHEMES for scheme in SCHEMES[form]),
    "pruned": (("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32"), ("onnx", "int8")),
    "qat": (("tflite", "int8"), ("onnx", "int8")),
}


def _unobserved(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
    pass


@dataclass(frozen=True)
class Workspace:
    """A run directory with its configuration and its data: what every stage works on."""

    run: Run
    config: RunConfig
    data: DataSet
    observe: Observer = _unobserved


def run(config: RunConfig, root: Path, *, data_dir: Path | None = None, observe: Observer = _unobserved) -> Run:
    """Do the whole job in run directory `root`, or what is left of it; return the run.

    Raises `ConfigError` when `root` holds a run of other settings, and what the stages raise.
    """
    extras.require("train", "litert", needed_by="run")
    opened = open_run(root, config)
    with artifact.locked(opened):
        work = Workspace(opened, config, load_data(config, data_dir=data_dir, observe=observe), observe)
        train(work)
        pruned = prune(work)
        qat = train_quantized(work, pruned)
        exports = [(recipe, *target) for recipe in ("baseline", pruned, qat) for target in PLAN[_kind(recipe)]]
        for done, (recipe, form, scheme) in enumerate(exports):
            observe("export", done, len(exports), {})
            export(work, recipe=recipe, form=form, scheme=scheme)
        observe("export", len(exports), len(exports), {})
        bench_run(opened, data=work.data, observe=observe)
    return opened


def open_run(root: Path, config: RunConfig) -> Run:
    """Return the run in `root`, its config.toml written; one that was asked for other settings is refused."""
    opened = Run(root)
    if opened.config.exists():
        found = read_config(opened)
        if changed := differences(config, found):
            raise ConfigError(f"{root}: holds a run with other settings ({'; '.join(changed)}); choose another --out")
    else:
        artifact.write_atomic(opened.config, to_toml(config))
    return opened


def read_config(opened: Run) -> RunConfig:
    """Return what the run was asked for; raises `ArtifactError` when `opened` is no run directory."""
    try:
        text = opened.config.read_text()
    except OSError as error:
        raise ArtifactError(
            f"{opened.root}: no run there (config.toml: {error.strerror}); start one: edgecnn run"
        ) from None
    return from_toml(text, where=str(opened.config))


def load_data(config: RunConfig, *, data_dir: Path | None = None, observe: Observer = _unobserved) -> DataSet:
    """Return the data set that `config` names, split by its seed and fraction."""
    from edgecnn import data

    if config.data == "digits":
        extras.require("train", needed_by="data digits")
    return data.load(
        config.data,
        seed=config.seed,
        validation_fraction=config.validation_fraction,
        data_dir=data_dir,
        on_download=lambda file, done, total: observe(f"download {file}", done, total, {}),
    )


def train(work: Workspace) -> Path:
    """Train the float32 baseline; return the path of its model."""
    from edgecnn import _tf, zoo

    extras.require("train", needed_by="train")
    path = work.run.model("baseline")
    settings = {"arch": work.config.arch, "training": asdict(work.config.training)}
    if _complete(work, path, settings=settings, parents=()):
        return path
    _tf.seed_everything(work.config.seed)
    model = zoo.build(work.config.arch, input_shape=work.data.input_shape, classes=len(work.data.labels))
    fitted = _fit(work, path, "train", work.config.training)(model)
    _keep_model(work, path, model, fitted, recipe="baseline", settings=settings, parents=())
    return path


def prune(work: Workspace, *, sparsity: float | None = None) -> str:
    """Prune the baseline to `sparsity` (default: the run's); return the recipe's name, e.g. ``pruned80``."""
    from dataclasses import replace

    from edgecnn import _tf
    from edgecnn.compress.prune import prune as pruned_model

    extras.require("train", needed_by="prune")
    pruning = work.config.pruning if sparsity is None else replace(work.config.pruning, final_sparsity=sparsity)
    recipe, parent = pruned_name(pruning), work.run.model("baseline")
    path = work.run.model(recipe)
    settings = {"pruning": asdict(pruning)}
    if _complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    baseline = _parent_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = pruned_model(
        baseline,
        pruning=pruning,
        steps_per_epoch=-(-len(work.data.train) // pruning.training.batch_size),
        fit=_fit(work, path, "prune", pruning.training),
    )
    _keep_model(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def train_quantized(work: Workspace, parent_recipe: str) -> str:
    """Fine-tune a recipe's model with simulated int8, its zeros kept; return the name, e.g. ``pruned80-qat``."""
    from edgecnn import _tf
    from edgecnn.compress.qat import quantize_aware

    extras.require("train", needed_by="quantize")
    recipe, parent = f"{parent_recipe}-qat", work.run.model(parent_recipe)
    path = work.run.model(recipe)
    settings = {
        "qat": asdict(work.config.qat),
        "calibration_images": work.config.exporting.calibration_images,
    }
    if _complete(work, path, settings=settings, parents=(parent,)):
        return recipe
    float_model = _parent_model(parent)
    _tf.seed_everything(work.config.seed)
    model, fitted = quantize_aware(
        float_model, calibration_images=_calibration(work), fit=_fit(work, path, "qat", work.config.qat)
    )
    _keep_model(work, path, model, fitted, recipe=recipe, settings=settings, parents=(parent,))
    return recipe


def export(work: Workspace, *, recipe: str, form: str, scheme: str, dynamic_batch: bool = False) -> Path:
    """Export one recipe's model into the run; return the path of the artifact.

    The artifact is run against its Keras parent on the validation split before its record is written. Raises
    `GateError` when an int8 model loses more top-1 than the run's `max_drop_pp`.
    """
    check_export(form, scheme)
    file = scheme + ("-batchN" if dynamic_batch else "") + SUFFIXES[form]
    path, parent = work.run.exported(recipe, file), work.run.model(recipe)
    settings = _export_settings(work.config, scheme, dynamic_batch)
    if _complete(work, path, settings=settings, parents=(parent,)):
        if scheme == "int8":
            _check_drop(artifact.read_record(path).metrics, work.config, recipe, path.name)
    else:
        source = artifact.checked(parent)
        _export_to(path, _parent_model(parent), source, work, form, scheme, settings, parents=(parent,))
    return path


def export_model(
    model: Path,
    *,
    form: str,
    scheme: str,
    out: Path,
    config: RunConfig,
    data: DataSet,
    dynamic_batch: bool = False,
) -> Path:
    """Export a .keras file that belongs to no run into folder `out`, checked like one of a run; return the path."""
    from edgecnn import _tf

    check_export(form, scheme)
    extras.require("train", needed_by="export")
    loaded = _tf.load_model(model)
    check_image_input(loaded, data, where=str(model))
    path = out / (scheme + ("-batchN" if dynamic_batch else "") + SUFFIXES[form])
    settings = _export_settings(config, scheme, dynamic_batch)
    source = artifact.checked(model) if artifact.record_path(model).exists() else None
    work = Workspace(Run(out), config, data)
    _export_to(path, loaded, source, work, form, scheme, settings, parents=(model,))
    return path


def copy_released(released: Path, *, out: Path) -> Path:
    """Copy a released artifact and its record into folder `out` after checking its hash; return the path."""
    artifact.checked(released)
    path = out / released.name
    artifact.write_atomic(path, artifact.read_bytes(released))
    artifact.write_atomic(artifact.record_path(path), artifact.record_path(released).read_text())
    return path


def check_export(form: str, scheme: str) -> None:
    """Raise `ConfigError`, listing the valid names, unless `form` and `scheme` go together."""
    if form not in SCHEMES:
        raise unknown("format", form, SCHEMES)
    if scheme not in SCHEMES[form]:
        raise unknown(f"scheme for {form}", scheme, SCHEMES[form])


def check_image_input(model: Any, data: DataSet, *, where: str) -> None:
    """Raise `ArtifactError` unless the Keras `model` takes the images of `data` and knows their classes."""
    expected = (None, *data.input_shape)
    shape, outputs = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    if shape != expected:
        raise ArtifactError(f"{where}: input is {shape}; expected {expected}, the images of {data.name}")
    if outputs != (None, len(data.labels)):
        raise ArtifactError(f"{where}: output is {outputs}; expected {len(data.labels)} classes, those of {data.name}")


def bench_run(opened: Run, *, data: DataSet | None, observe: Observer = _unobserved) -> dict[str, Any]:
    """Measure every exported artifact of a run; return the result, written to bench/bench.json."""
    return bench(
        sorted((opened.root / "export").glob("*/*")),
        data=data,
        out=opened.bench,
        relative_to=opened.root,
        observe=observe,
    )


def bench(
    candidates: Iterable[Path],
    *,
    data: DataSet | None,
    out: Path,
    relative_to: Path,
    observe: Observer = _unobserved,
) -> dict[str, Any]:
    """Measure the models among `candidates` in every installed runtime, on one thread at batch 1; write `out`.

    Accuracy is over the test split of `data`, and null without one. Raises `ArtifactError` when no model can be
    measured or one is not what its record says.
    """
    from edgecnn.device import runtimes

    models = [path for path in candidates if path.suffix in SUFFIXES.values()]
    installed = runtimes.installed()
    pairs = [(m, r) for m in models for r in installed if runtimes.RUNTIMES[r].suffix == m.suffix]
    if not pairs:
        extras.require("litert", "ort", needed_by="bench")
        raise ArtifactError(f"bench: no exported model in {relative_to}; make one: edgecnn export --format tflite")
    rows = []
    for done, (path, runtime) in enumerate(pairs):
        observe("bench", done, len(pairs), {})
        rows.append(_measure(path, runtime, data, relative_to))
    observe("bench", len(pairs), len(pairs), {})
    result = {
        "schema": BENCH_SCHEMA,
        "conditions": {
            "host": artifact.host(),
            "versions": artifact.library_versions(),
            "commit": artifact.source_commit(),
            "load_average": os.getloadavg()[0],
            "latency": {"warmup": LATENCY_WARMUP, "runs": LATENCY_RUNS, "threads": 1, "batch": 1},
        },
        "data": None if data is None else {"name": data.name, "sha256": data.sha256, "test_images": len(data.test)},
        "results": rows,
    }
    artifact.write_atomic(out, json.dumps(result, indent=1) + "\n")
    return result


def release(opened: Run, *, name: str, recipe: str, out: Path) -> Path:
    """Copy a complete run's model of one recipe, its exports and records into ``out/name`` with a model card.

    Raises `ArtifactError` when the run is not complete or an artifact is not what its record says.
    """
    from dataclasses import replace

    from edgecnn.report.card import model_card

    if not opened.bench.exists():
        raise ArtifactError(f"{opened.root}: not measured yet; finish it: edgecnn run")
    config, folder = read_config(opened), out / name
    model = opened.model(recipe)
    sources = [
        model,
        *(opened.exported(recipe, file) for file in RELEASED if opened.exported(recipe, file).exists()),
    ]
    records = {}
    for source in sources:
        record = artifact.checked(source)
        parents = {} if source == model else {model.name: artifact.checked(model).sha256}
        records[source.name] = replace(record, parents=parents)
        artifact.write_atomic(folder / source.name, artifact.read_bytes(source))
        artifact.write_record(folder / source.name, records[source.name])
    measured = _released_rows(json.loads(opened.bench.read_text()), recipe)
    artifact.write_atomic(folder / "bench.json", json.dumps(measured, indent=1) + "\n")
    card = model_card(
        name,
        records,
        model=records[model.name],
        baseline=artifact.checked(opened.model("baseline")),
        bench=measured,
        command=f"edgecnn run --data {config.data} --arch {config.arch} --recipe {config.recipe} --seed {config.seed}",
        recipe=config.recipe,
        validation_fraction=config.validation_fraction,
    )
    artifact.write_atomic(folder / "MODEL_CARD.md", card)
    return folder


def pruned_name(pruning: Pruning) -> str:
    """Return the recipe name of a pruning: ``pruned80`` for 0.8, ``pruned87.5`` for 0.875."""
    return f"pruned{pruning.final_sparsity * 100:g}"


def _released_rows(measured: dict[str, Any], recipe: str) -> dict[str, Any]:
    rows = [r | {"artifact": Path(r["artifact"]).name} for r in measured["results"] if r["recipe"] == recipe]
    return measured | {"results": [row for row in rows if row["artifact"] in RELEASED]}


def _kind(recipe: str) -> str:
    return "qat" if recipe.endswith("-qat") else "baseline" if recipe == "baseline" else "pruned"


def _fit(work: Workspace, path: Path, stage: str, training: Any) -> Callable[..., Fit]:
    """Return the fit function of a stage: data, seed, checkpoint beside the artifact and progress filled in."""
    from edgecnn import train as training_stage

    def fit(model: Any, **options: Any) -> Fit:
        return training_stage.fit(
            model,
            (work.data.train.images, work.data.train.labels),
            (work.data.validation.images, work.data.validation.labels),
            training=training,
            seed=work.config.seed,
            checkpoint=_checkpoint(path),
            observe=lambda done, total, metrics: work.observe(stage, done, total, metrics),
            **options,
        )

    return fit


def _checkpoint(path: Path) -> Path:
    return path.with_name("checkpoint.npz")


def _complete(work: Workspace, path: Path, *, settings: dict[str, Any], parents: Iterable[Path]) -> bool:
    """Return whether `path` is there as asked; raises `ArtifactError` when it is there but not as asked."""
    if not artifact.record_path(path).exists():
        return False
    record = artifact.checked(path)
    expected = _hashes(path, parents)
    if record.settings != settings or record.seed != work.config.seed:
        raise ArtifactError(
            f"{path}: made with other settings ({record.settings}); choose another run or remove its folder"
        )
    if record.parents != expected or record.data["sha256"] != work.data.sha256:
        raise ArtifactError(
            f"{path}: its parent or data changed since it was made; remove it and its record to make it again"
        )
    return True


def _hashes(path: Path, parents: Iterable[Path]) -> dict[str, str]:
    return {os.path.relpath(p, path.parent): artifact.sha256(artifact.read_bytes(p)) for p in parents}


def _parent_model(path: Path) -> Any:
    from edgecnn import _tf

    artifact.checked(path)
    return _tf.load_model(path)


def _calibration(work: Workspace) -> NDArray[np.uint8]:
    from edgecnn.data import representative

    return representative(work.data.train, work.config.exporting.calibration_images, seed=work.config.seed)


def _keep_model(
    work: Workspace,
    path: Path,
    model: Any,
    fitted: Fit,
    *,
    recipe: str,
    settings: dict[str, Any],
    parents: Iterable[Path],
) -> None:
    """Write a trained Keras model and its record, then drop the checkpoint it came from."""
    from edgecnn import _tf

    content = _tf.save_model(model, suffix=path.suffix)
    parameters, nonzero = _tf.weight_counts(model)
    artifact.write_atomic(path, content)
    record = Record(
        stage="train" if recipe == "baseline" else "compress",
        recipe=recipe,
        scheme="float32",
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=_hashes(path, parents),
        parameters=parameters,
        nonzero_parameters=nonzero,
        seed=work.config.seed,
        settings=settings,
        data={"name": work.data.name, "sha256": work.data.sha256},
        labels=list(work.data.labels),
        input={"shape": [-1, *work.data.input_shape], "dtype": "float32", "range": [0, 1]},
        metrics={
            "best_epoch": fitted.best_epoch,
            "validation_top1": fitted.history[fitted.best_epoch]["val_accuracy"],
            "validation_loss": fitted.history[fitted.best_epoch]["val_loss"],
            "history": fitted.history,
        },
    )
    artifact.write_record(path, record)
    _checkpoint(path).unlink(missing_ok=True)


def _export_to(
    path: Path,
    model: Any,
    source: Record | None,
    work: Workspace,
    form: str,
    scheme: str,
    settings: dict[str, Any],
    *,
    parents: Iterable[Path],
) -> None:
    """Convert, compare with the Keras parent, and write artifact and record; nothing is written when refused."""
    from edgecnn import inspect

    extras.require("train", "litert" if form == "tflite" else "ort", needed_by=f"export --format {form}")
    content = _convert(model, form, scheme, work, dynamic_batch=settings["dynamic_batch"])
    metrics, given = _compared(path, content, model, work)
    if scheme == "int8":
        _check_drop(metrics, work.config, source.recipe if source else path.parent.name, path.name)
    layers = inspect.inspect_bytes(content, path.suffix)
    record = Record(
        stage="export",
        recipe=source.recipe if source else "baseline",
        scheme=scheme,
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=_hashes(path, parents),
        parameters=sum(layer.parameters for layer in layers),
        nonzero_parameters=sum(layer.nonzero_parameters for layer in layers),
        seed=work.config.seed,
        settings=settings,
        data={"name": work.data.name, "sha256": work.data.sha256},
        labels=list(work.data.labels),
        input=given,
        metrics=metrics,
    )
    artifact.write_atomic(path, content)
    artifact.write_record(path, record)


def _export_settings(config: RunConfig, scheme: str, dynamic_batch: bool) -> dict[str, Any]:
    """Return what determines an export's bytes besides its parent."""
    calibration = {"calibration_images": config.exporting.calibration_images} if scheme == "int8" else {}
    return {"scheme": scheme, "dynamic_batch": dynamic_batch, **calibration}


def _check_drop(metrics: dict[str, Any], config: RunConfig, recipe: str, file: str) -> None:
    """Raise `GateError` when an int8 model lost more top-1 on validation than allowed."""
    if metrics["drop_pp"] > config.exporting.max_drop_pp:
        raise GateError(
            f"export {recipe}/{file}: top-1 on {metrics['images']} validation images is "
            f"{metrics['validation_top1']:.2%}, its parent's {metrics['parent_validation_top1']:.2%}: "
            f"it loses {metrics['drop_pp']:.2f} pp; allowed: {config.exporting.max_drop_pp} (--max-drop); try more --calibration-images, or quantize --method qat"
        )


def _convert(model: Any, form: str, scheme: str, work: Workspace, *, dynamic_batch: bool) -> bytes:
    from edgecnn.compress.qat import is_quantization_aware, without_wrappers
    from edgecnn.export.onnx import to_onnx
    from edgecnn.export.tflite import to_tflite

    calibration = _calibration(work) if scheme == "int8" else None
    quantization_aware = is_quantization_aware(model)
    if form == "tflite":
        if dynamic_batch:
            raise ConfigError("export tflite: --dynamic-batch is for onnx; a TFLite file has one batch size")
        return to_tflite(
            model, scheme=scheme, representative_dataset=calibration, quantization_aware=quantization_aware
        )
    # tf2onnx does not know tfmot's per-channel ranges: the weights QAT found are exported, their ranges calibrated.
    plain = without_wrappers(model) if quantization_aware else model
    return to_onnx(plain, scheme=scheme, representative_dataset=calibration, dynamic_batch=dynamic_batch)


def _compared(path: Path, content: bytes, model: Any, work: Workspace) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run `content` in its runtime against its Keras parent on validation; return (metrics, input description)."""
    import tempfile

    from edgecnn import _tf
    from edgecnn.bench.accuracy import top1_accuracy
    from edgecnn.bench.parity import compare
    from edgecnn.device import Predictor

    validation = work.data.validation
    with tempfile.TemporaryDirectory() as folder:
        candidate = Path(folder) / path.name
        candidate.write_bytes(content)
        predictor = Predictor(candidate)
        got = predictor.probabilities(validation.images)
    reference = _tf.predict(model, validation.images)
    parity = compare(reference, got)
    own, parent = (top1_accuracy(p, validation.labels).top1 for p in (got, reference))
    spec = predictor.model.input
    given = {
        "shape": list(spec.shape),
        "dtype": spec.dtype,
        "range": [0, 1] if spec.dtype == "float32" else [0, 255],
    }
    return {
        "validation_top1": own,
        "parent_validation_top1": parent,
        "drop_pp": round((parent - own) * 100, 6),
        "top1_agreement": parity.top1_agreement,
        "max_abs_error": parity.max_abs_error,
        "images": parity.images,
    }, given


def _measure(path: Path, runtime: str, data: DataSet | None, relative_to: Path) -> dict[str, Any]:
    import numpy as np

    from edgecnn.bench.accuracy import top1_accuracy
    from edgecnn.bench.latency import measure_latency
    from edgecnn.device import Predictor

    record = artifact.checked(path) if artifact.record_path(path).exists() else None
    content = artifact.read_bytes(path)
    predictor = Predictor(path, runtime=runtime)
    model = predictor.model
    accuracy = None
    if data is not None:
        if data.input_shape != model.input.shape[1:]:
            raise DataError(
                f"bench {path}: input is {list(model.input.shape)}; the images of {data.name} are {data.input_shape}"
            )
        accuracy = top1_accuracy(predictor.probabilities(data.test.images), data.test.labels)
    sample = np.zeros([max(1, n) for n in model.input.shape], model.input.dtype)
    if data is not None:
        sample = predictor.encode(data.test.images[:1])
    latency = measure_latency(lambda: model.invoke(sample), warmup=LATENCY_WARMUP, runs=LATENCY_RUNS)
    return {
        "artifact": os.path.relpath(path, relative_to),
        "recipe": record.recipe if record else None,
        "scheme": record.scheme if record else None,
        "runtime": runtime,
        "threads": 1,
        "top1": accuracy and accuracy.top1,
        "top1_low": accuracy and accuracy.top1_low,
        "top1_high": accuracy and accuracy.top1_high,
        "size_bytes": len(content),
        "gzip_bytes": artifact.gzip_size(content),
        "parameters": record.parameters if record else None,
        "nonzero_parameters": record.nonzero_parameters if record else None,
        "p50_us": latency.p50_us,
        "p90_us": latency.p90_us,
        "p99_us": latency.p99_us,
    }
