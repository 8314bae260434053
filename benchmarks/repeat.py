"""How far two benches of the released models in a row agree: python -m benchmarks.repeat [options of bench]."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgecnn import artifact

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
GOAL = 0.05


def main(arguments: list[str]) -> int:
    """Write repeat.json; exit code 1 when a ratio differs by more than the goal."""
    first, second = measured(arguments), measured(arguments)
    rows = [compared(a, b) for a, b in zip(first["results"], second["results"], strict=True)]
    widest = max(row["ratio_difference"] for row in rows)
    conditions = [{key: run["conditions"][key] for key in ("cpu", "not_clean", "latency")} for run in (first, second)]
    result = {"conditions": conditions, "goal": GOAL, "widest_ratio_difference": widest, "results": rows}
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    for row in rows:
        (one, other), (p50, then) = row["ratios"], row["p50_us"]
        print(
            f"{row['artifact']:<16} {row['runtime']:<7} ratio {one:.3f} and {other:.3f}, "
            f"{row['ratio_difference']:.1%} apart; p50 {p50:.1f} and {then:.1f} µs"
        )
    print(f"widest difference of a ratio {widest:.1%}; goal {GOAL:.0%}")
    for run in conditions:
        print(f"not clean: {'; '.join(run['not_clean']) or 'nothing to say'}")
    return int(widest > GOAL)


def measured(arguments: list[str]) -> dict[str, Any]:
    """Return the JSON of one `edgecnn bench` of the released models, as its own process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "bench.json"
        command = [sys.executable, "-m", "edgecnn", "bench", "models/edge35k", "--json", str(out), *arguments]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def compared(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return how far the ratio and the p50 of one row differ between two runs, relative to the first."""
    ratios = [row["ratio_to_baseline"] for row in (first, second)]
    return {
        "artifact": first["artifact"],
        "runtime": first["runtime"],
        "ratios": ratios,
        "ratio_difference": abs(ratios[1] / ratios[0] - 1),
        "p50_us": [row["p50_us"] for row in (first, second)],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
