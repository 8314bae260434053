"""The chain on other images than MNIST's digits, against the goals: python -m benchmarks.other_data [NAME ...].

Each is an ordinary run under --runs: trained (hours for the recipe `strong`; a killed one goes on), its best epoch
chosen on validation images, exported to float32 and int8; the test images are read once, by the exported files.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from edgecnn import artifact, zoo
from edgecnn.bench.accuracy import top1_accuracy
from edgecnn.config import RunConfig, configure
from edgecnn.device import Predictor
from edgecnn.pipeline import Target, begin, export, train

RESULT = Path(__file__).with_suffix(".json")
SCHEMES = (("tflite", "float32"), ("tflite", "int8"), ("onnx", "float32"), ("onnx", "int8"))


class Case(NamedTuple):
    """What is trained, in which folder, and what its TFLite files must reach."""

    config: RunConfig
    folder: str
    top1: float  # of float32, at least
    drop_pp: float | None  # from float32 to int8, at most


CASES = {
    "fashion-mnist": Case(
        configure(data="fashion-mnist", arch="edge35k", recipe="strong"), "fashion", top1=0.92, drop_pp=0.1
    ),
    # The run of `benchmarks.zoo`.
    "two-digits": Case(
        configure(data="two-digits", arch="classes100", recipe="improved", epochs=10, pages=zoo.pages_of("classes100")),
        "zoo/classes100-improved-10",
        top1=0.97,
        drop_pp=None,
    ),
}


def main(arguments: list[str]) -> int:
    """Train and export each case that is asked for, record it; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.other_data", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(CASES)}; default: all")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    asked = parser.parse_args(arguments)
    rows = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in asked.names or CASES:
        if name not in CASES:
            parser.error(f"{name}: unknown; expected one of {', '.join(CASES)}")
        rows[name] = measured(CASES[name], asked.runs)
        artifact.write_atomic(RESULT, json.dumps(rows, indent=1) + "\n")
        print(said(name, rows[name]), flush=True)
    return int(not all(rows[name]["met"] for name in asked.names or CASES))


def measured(case: Case, runs: Path) -> dict[str, Any]:
    """Return the row of a case: parameters, epochs, top-1 of each exported file on the test images, and the goals."""
    with begin(case.config, runs / case.folder) as work:
        record = artifact.read_record(train(work))
        paths = [export(work, recipe="baseline", target=Target(*scheme)) for scheme in SCHEMES]
        test = work.data.test
        top1 = {
            path.name: top1_accuracy(Predictor(path).probabilities(test.images), test.labels).top1 for path in paths
        }
    drop_pp = (top1["float32.tflite"] - top1["int8.tflite"]) * 100
    return {
        "arch": case.config.arch,
        "recipe": case.config.recipe,
        "parameters": record.parameters,
        "epochs": len(record.metrics["history"]),
        "classes": len(record.labels),
        "test_images": len(test),
        "top1": top1,
        "drop_pp": drop_pp,
        "goal": {"top1": case.top1, "drop_pp": case.drop_pp},
        "met": top1["float32.tflite"] >= case.top1 and (case.drop_pp is None or drop_pp <= case.drop_pp),
        "conditions": {
            "host": artifact.host(),
            "versions": artifact.library_versions(),
            "commit": artifact.source_commit(),
        },
    }


def said(name: str, row: dict[str, Any]) -> str:
    """Return a row in one line."""
    files = ", ".join(f"{file} {top1:.2%}" for file, top1 in row["top1"].items())
    goal = row["goal"]
    limit = "" if goal["drop_pp"] is None else f", int8 within {goal['drop_pp']} pp"
    outcome = "met" if row["met"] else "missed"
    return f"{name}: {files}; int8 loses {row['drop_pp']:.2f} pp; goal {goal['top1']:.0%}{limit}: {outcome}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
