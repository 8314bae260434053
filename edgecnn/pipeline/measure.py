"""The bench stage: every exported model in every installed runtime, as one table and one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError, DataError
from edgecnn.pipeline.exports import SUFFIXES
from edgecnn.pipeline.workspace import Observer, unobserved

if TYPE_CHECKING:
    from edgecnn.bench.latency import Latency
    from edgecnn.data import DataSet
    from edgecnn.device import Predictor

SCHEMA = 1
ROUNDS, WARMUP, RUNS, THREADS = 5, 50, 400, 1


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

    Latency is that of the median of five rounds in which the models take turns. Artifacts are named relative to a
    folder, else by file name alone. Accuracy is over the test split of `data`, and null without one. Raises
    `ArtifactError` when there is nothing to measure or a model is not what its record says.
    """
    from edgecnn.bench.latency import measure_interleaved
    from edgecnn.device import Predictor, runtimes

    models = [path for path in candidates if path.suffix in SUFFIXES.values()]
    if not models:
        raise ArtifactError("bench: no exported model to measure; make one: edgecnn export --format tflite")
    pairs = [(m, r) for m in models for r in runtimes.installed() if runtimes.RUNTIMES[r].suffix == m.suffix]
    if not pairs:
        extras.require("litert", "ort", needed_by="bench")
    rows, timed = [], []
    for done, (path, runtime) in enumerate(pairs):
        observe("bench", done, len(pairs), {})
        name = path.name if relative_to is None else os.path.relpath(path, relative_to)
        predictor = Predictor(path, runtime=runtime, threads=THREADS)
        rows.append(_row(path, name, predictor, data))
        timed.append(_timed(predictor, data))
    latencies = measure_interleaved(timed, rounds=ROUNDS, warmup=WARMUP, runs=RUNS)
    observe("bench", len(pairs), len(pairs), {})
    results = [row | _latency(rounds) for row, rounds in zip(rows, latencies, strict=True)]
    result = {"schema": SCHEMA, "conditions": _conditions(), "data": _described(data), "results": results}
    artifact.write_atomic(out, json.dumps(result, indent=1) + "\n")
    return result


def _row(path: Path, name: str, predictor: Predictor, data: DataSet | None) -> dict[str, Any]:
    """Return what is known of one model in one runtime before it is timed."""
    record = artifact.checked(path) if artifact.record_path(path).exists() else None
    content = artifact.read_bytes(path)
    return {
        "artifact": name,
        "recipe": record and record.recipe,
        "scheme": record and record.scheme,
        "runtime": predictor.model.runtime,
        "threads": THREADS,
        **_accuracy(predictor, data, where=str(path)),
        "size_bytes": len(content),
        "gzip_bytes": artifact.gzip_size(content),
        "parameters": record and record.parameters,
        "nonzero_parameters": record and record.nonzero_parameters,
    }


def _latency(rounds: list[Latency]) -> dict[str, Any]:
    """Return the percentiles of the median round, and the p50 of every round to judge it by."""
    from edgecnn.bench.latency import median_round

    chosen = asdict(median_round(rounds))
    percentiles = {key: chosen[key] for key in ("p50_us", "p90_us", "p99_us")}
    return percentiles | {"rounds_p50_us": [r.p50_us for r in rounds]}


def _accuracy(predictor: Predictor, data: DataSet | None, *, where: str) -> dict[str, Any]:
    """Return top1, top1_low and top1_high on the test split, null without data."""
    from edgecnn.bench.accuracy import top1_accuracy

    if data is None:
        return {"top1": None, "top1_low": None, "top1_high": None}
    if data.input_shape != predictor.input.shape[1:] or len(data.labels) != len(predictor.labels):
        raise DataError(f"bench {where}: {data.name} has other images or classes; name its own with --data")
    measured = asdict(top1_accuracy(predictor.probabilities(data.test.images), data.test.labels))
    return {key: measured[key] for key in ("top1", "top1_low", "top1_high")}


def _timed(predictor: Predictor, data: DataSet | None) -> Callable[[], object]:
    """Return one inference on a test image (zeros without data), input already encoded."""
    import numpy as np

    pixels = np.zeros((1, 28, 28, 1), np.uint8) if data is None else data.test.images[:1]
    sample = predictor.encode(pixels)
    return lambda: predictor.model.invoke([sample])


def _conditions() -> dict[str, Any]:
    return {
        "host": artifact.host(),
        "versions": artifact.library_versions(),
        "commit": artifact.source_commit(),
        "load_average": os.getloadavg()[0],
        "latency": {"rounds": ROUNDS, "warmup": WARMUP, "runs": RUNS, "threads": THREADS, "batch": 1},
    }


def _described(data: DataSet | None) -> dict[str, Any] | None:
    return None if data is None else {"name": data.name, "sha256": data.sha256, "test_images": len(data.test)}
