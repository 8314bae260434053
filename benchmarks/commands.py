"""Time commands as whole processes with warm caches, against the goals: python -m benchmarks.commands."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgecnn import artifact
from edgecnn.export.pyz import to_pyz

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
WARMUP, RUNS = 2, 11


def main() -> int:
    """Measure, write commands.json, print a line a command; exit code 1 when a goal is missed."""
    model, image = ROOT / "models/edge35k/int8.tflite", ROOT / "deploy/seven.png"
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "predict.pyz"
        packed.write_bytes(to_pyz())
        python, edgecnn = [sys.executable], [sys.executable, "-m", "edgecnn"]
        # (what README calls it, the command, the goal in seconds or None)
        commands: list[tuple[str, list[str], float | None]] = [
            ("edgecnn --help", [*edgecnn, "--help"], 0.25),
            ("edgecnn predict deploy/seven.png", [*edgecnn, "predict", "--model", str(model), str(image)], 0.8),
            ("python predict.pyz deploy/seven.png", [*python, str(packed), "--model", str(model), str(image)], None),
            ("import numpy and LiteRT", [*python, "-c", "import numpy, ai_edge_litert.interpreter"], None),
        ]
        rows = [measured(name, command, goal) for name, command, goal in commands]
    conditions = {"host": artifact.host(), "versions": artifact.library_versions(), "warmup": WARMUP, "runs": RUNS}
    artifact.write_atomic(RESULT, json.dumps({"conditions": conditions, "results": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['command']:<40} median {row['median_s']:.3f} s  goal {row['goal_s'] or '-'}")
    return int(any(row["goal_s"] is not None and row["median_s"] > row["goal_s"] for row in rows))


def measured(name: str, command: list[str], goal_s: float | None) -> dict[str, Any]:
    """Return min, median and max wall seconds of `RUNS` processes after `WARMUP` uncounted ones."""
    durations = []
    for _ in range(WARMUP + RUNS):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        durations.append(time.perf_counter() - started)
    counted = sorted(durations[WARMUP:])
    return {
        "command": name,
        "min_s": counted[0],
        "median_s": statistics.median(counted),
        "max_s": counted[-1],
        "goal_s": goal_s,
    }


if __name__ == "__main__":
    sys.exit(main())
