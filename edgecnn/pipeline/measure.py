"""The bench stage: every exported model in every installed runtime, as one table and one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError, DataError
from edgecnn.pipeline.exports import SUFFIXES
from edgecnn.pipeline.workspace import Observer, unobserved

if TYPE_CHECKING:
    from edgecnn.data import DataSet
    from edgecnn.device import Predictor

SCHEMA = 1
WARMUP, RUNS, THREADS = 200, 2000, 1


def bench_run(opened: Run, *, data: DataSet | None, observe: Observer = unobserved) -> dict[str, Any]:
    """Measure every exported artifact of a run; return the result, written to bench/bench.json."""
    exports = sorted((opened.root / "export").glob("*/*"))
    return bench(exports, data=data, out=opened.bench, relative_to=opened.root, observe=observe)


def bench(
    candidates: Iterable[Path],
    *,
    data: DataSet | None,
    out: Path,
    relative_to: Path | None = None,
    observe: Observer = unobserved,
) -> dict[str, Any]:
    """Measure the models among `candidates` in every installed runtime, on one thread at batch 1; write `out`.

    Artifacts are named relative to a folder, else by file name alone. Accuracy is over the test split of `data`, and
    null without one. Raises `ArtifactError` when there is nothing to measure or a model is not what its record says.
    """
    from edgecnn.device import runtimes

    models = [path for path in candidates if path.suffix in SUFFIXES.values()]
    if not models:
        raise ArtifactError("bench: no exported model to measure; make one: edgecnn export --format tflite")
    pairs = [(m, r) for m in models for r in runtimes.installed() if runtimes.RUNTIMES[r].suffix == m.suffix]
    if not pairs:
        extras.require("litert", "ort", needed_by="bench")
    rows = []
    for done, (path, runtime) in enumerate(pairs):
        observe("bench", done, len(pairs), {})
        name = path.name if relative_to is None else os.path.relpath(path, relative_to)
        rows.append(_measure(path, name, runtime, data))
    observe("bench", len(pairs), len(pairs), {})
    result = {"schema": SCHEMA, "conditions": _conditions(), "data": _described(data), "results": rows}
    artifact.write_atomic(out, json.dumps(result, indent=1) + "\n")
    return result


def _measure(path: Path, name: str, runtime: str, data: DataSet | None) -> dict[str, Any]:
    """Return the row of one model in one runtime."""
    from edgecnn.bench.latency import measure_latency
    from edgecnn.device import Predictor

    record = artifact.checked(path) if artifact.record_path(path).exists() else None
    content = artifact.read_bytes(path)
    predictor = Predictor(path, runtime=runtime, threads=THREADS)
    accuracy = _accuracy(predictor, data, where=str(path))
    sample = _sample(predictor, data)
    latency = measure_latency(lambda: predictor.model.invoke(sample), warmup=WARMUP, runs=RUNS)
    return {
        "artifact": name,
        "recipe": record and record.recipe,
        "scheme": record and record.scheme,
        "runtime": runtime,
        "threads": THREADS,
        **accuracy,
        "size_bytes": len(content),
        "gzip_bytes": artifact.gzip_size(content),
        "parameters": record and record.parameters,
        "nonzero_parameters": record and record.nonzero_parameters,
        "p50_us": latency.p50_us,
        "p90_us": latency.p90_us,
        "p99_us": latency.p99_us,
    }


def _accuracy(predictor: Predictor, data: DataSet | None, *, where: str) -> dict[str, Any]:
    """Return top1, top1_low and top1_high on the test split, null without data."""
    from edgecnn.bench.accuracy import top1_accuracy

    if data is None:
        return {"top1": None, "top1_low": None, "top1_high": None}
    if data.input_shape != predictor.model.input.shape[1:] or len(data.labels) != len(predictor.labels):
        raise DataError(f"bench {where}: {data.name} has other images or classes; name its own with --data")
    measured = asdict(top1_accuracy(predictor.probabilities(data.test.images), data.test.labels))
    return {key: measured[key] for key in ("top1", "top1_low", "top1_high")}


def _sample(predictor: Predictor, data: DataSet | None) -> Any:
    """Return the input that is timed: a test image, or zeros without data."""
    import numpy as np

    pixels = np.zeros((1, 28, 28, 1), np.uint8) if data is None else data.test.images[:1]
    return predictor.encode(pixels)


def _conditions() -> dict[str, Any]:
    return {
        "host": artifact.host(),
        "versions": artifact.library_versions(),
        "commit": artifact.source_commit(),
        "load_average": os.getloadavg()[0],
        "latency": {"warmup": WARMUP, "runs": RUNS, "threads": THREADS, "batch": 1},
    }


def _described(data: DataSet | None) -> dict[str, Any] | None:
    return None if data is None else {"name": data.name, "sha256": data.sha256, "test_images": len(data.test)}
