"""Time the released models beside other runtimes, all in the same rounds: python -m benchmarks.peers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgecnn import artifact, extras, pipeline
from edgecnn.config import configure
from edgecnn.report.table import notes

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "models" / "edge35k"
RESULT = Path(__file__).with_suffix(".json")
OURS = ("litert", "ort")
# Runtime -> its package.
PEERS = {"openvino": "openvino", "mnn": "MNN", "ncnn": "ncnn"}
KEPT = (
    "artifact", "scheme", "runtime", "error", "top1", "size_bytes", "p50_us", "p90_us", "p99_us", "spread",
    "ratio_to_baseline", "runtime_installed_bytes",
)  # fmt: skip


def main() -> int:
    """Measure, write peers.json, print a line a row: its ratio to the fastest of our artifacts."""
    with tempfile.TemporaryDirectory() as folder:
        models = [RELEASED / f"{scheme}.{form}" for scheme in ("float32", "int8") for form in ("tflite", "onnx")]
        models += dynamic(Path(folder))
        measured = pipeline.bench(
            models,
            data=pipeline.load_data(configure(data="mnist")),
            out=Path(folder) / "bench.json",
            runtimes=[*OURS, *PEERS],
        )
    rows = compared(measured["results"])
    conditions = measured["conditions"]
    conditions["versions"] |= {name: version(package) for name, package in PEERS.items()}
    result = {"conditions": conditions, "data": measured["data"], "best": named(best(rows)), "results": rows}
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    for row in rows:
        figures = row["error"] or f"p50 {row['p50_us']:7.1f} µs  ratio {row['ratio_to_best']:.2f}"
        print(f"{named(row):<28} {figures}")
    print(f"best: {result['best']}", *notes({**measured, "baseline": None, "results": []}), sep="\n")
    return 0


def dynamic(folder: Path) -> list[Path]:
    """Return the dynamic-range .tflite, which is not released, made in `folder`; nothing without TensorFlow."""
    if not extras.installed("train"):
        return []
    options = ["--format", "tflite", "--scheme", "dynamic", "--out", str(folder)]
    command = [sys.executable, "-m", "edgecnn", "export", str(RELEASED / "model.keras"), *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [Path(done.stdout.splitlines()[-1])]


def compared(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is kept of each row, with its `ratio_to_best`: its p50 to that of our best.

    Both are known as ratios to the bench's baseline, formed turn by turn, so that the machine's own pace is out of it.
    """
    fastest = best(results)["ratio_to_baseline"]
    return [
        {key: row[key] for key in KEPT}
        | {"ratio_to_best": None if row["error"] else row["ratio_to_baseline"] / fastest}
        for row in results
    ]


def best(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the fastest row of our artifacts in the runtimes that we deploy with."""
    ours = (row for row in results if row["runtime"] in OURS and not row["error"])
    return min(ours, key=lambda row: row["ratio_to_baseline"])


def named(row: dict[str, Any]) -> str:
    """Return what a row is called: its artifact and its runtime."""
    return f"{row['artifact']} ({row['runtime']})"


if __name__ == "__main__":
    sys.exit(main())
