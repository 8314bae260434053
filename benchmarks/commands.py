"""Time commands as whole processes with warm caches, against the goals: python -m benchmarks.commands."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from edgecnn import artifact
from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.device.preprocessing.pictures import read_gray
from edgecnn.export.pyz import to_pyz
from edgecnn.pipeline import build

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
WARMUP, RUNS = 2, 21
FIGURES = (("median_s", "goal_s"), ("ratio", "goal_ratio"))


@dataclass(frozen=True)
class Command:
    """What README calls a command, its arguments, and its goals, where it has any.

    `ratio` is the most that it may take as a multiple of what importing numpy and the runtime takes.
    """

    name: str
    arguments: list[str]
    seconds: float | None = None
    ratio: float | None = None


def main() -> int:
    """Measure, write commands.json, print a line a command; exit code 1 when a goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(commands(Path(folder)))
    conditions = {"host": artifact.host(), "versions": artifact.library_versions(), "warmup": WARMUP, "runs": RUNS}
    artifact.write_atomic(RESULT, json.dumps({"conditions": conditions, "results": rows}, indent=1) + "\n")
    for row in rows:
        print(f"{row['command']:<58} median {row['median_s']:.3f} s, ratio {row['ratio']:.2f}; goal {goal(row) or '-'}")
    return int(any(is_missed(row) for row in rows))


def commands(folder: Path) -> list[Command]:
    """Return the commands, the one that ratios refer to first; what they need is written to `folder`."""
    packed, digit = folder / "predict.pyz", folder / "digit.png"
    packed.write_bytes(to_pyz())
    photo = ROOT / "deploy/seven.png"
    Image.fromarray(to_mnist(read_gray(photo))).save(digit)
    plain = folder / "digit.pgm"
    Image.fromarray(to_mnist(read_gray(photo))).save(plain)
    in_c = build(ROOT / "models/edge35k/int8.tflite", out=folder / "c")
    model = ["--model", str(ROOT / "models/edge35k/int8.tflite")]
    python, edgecnn = [sys.executable], [sys.executable, "-m", "edgecnn"]
    return [
        Command("import numpy and LiteRT", [*python, "-c", "import numpy, ai_edge_litert.interpreter"]),
        Command("python predict.pyz digit.png (28x28)", [*python, str(packed), *model, str(digit)], ratio=1.25),
        Command(
            "python predict.pyz --model libmodel.so digit.png (28x28)",
            [*python, str(packed), "--model", str(in_c), str(digit)],
        ),
        Command("predict digit.pgm (edgecnn build)", [str(in_c.with_name("predict")), str(plain)], seconds=0.002),
        Command("python predict.pyz deploy/seven.png", [*python, str(packed), *model, str(photo)]),
        Command("edgecnn predict deploy/seven.png", [*edgecnn, "predict", *model, str(photo)], seconds=0.8),
        Command("edgecnn --help", [*edgecnn, "--help"], seconds=0.25),
    ]


def measured(commands: list[Command]) -> list[dict[str, Any]]:
    """Return min, median and max wall seconds of `RUNS` processes after `WARMUP` uncounted ones, and median ratios.

    The commands take turns, so that a machine that drifts hurts none more than another; a ratio is formed turn by turn.
    """
    turns = [[duration(command) for command in commands] for _ in range(WARMUP + RUNS)][WARMUP:]
    rows = []
    for command, durations in zip(commands, zip(*turns, strict=True), strict=True):
        row = {"command": command.name, "min_s": min(durations), "median_s": median(durations), "max_s": max(durations)}
        ratio = median(own / turn[0] for own, turn in zip(durations, turns, strict=True))
        rows.append(row | {"ratio": ratio, "goal_s": command.seconds, "goal_ratio": command.ratio})
    return rows


def duration(command: Command) -> float:
    """Return the wall seconds that a process takes."""
    started = time.perf_counter()
    nowhere = subprocess.DEVNULL  # a pipe takes longer to read than the quickest command to run
    subprocess.run(command.arguments, check=True, stdout=nowhere, stderr=nowhere, cwd=ROOT)
    return time.perf_counter() - started


def goal(row: dict[str, Any]) -> str:
    """Return what a row is to reach, or nothing."""
    if row["goal_s"] is not None:
        return f"{row['goal_s']:g} s"
    return "" if row["goal_ratio"] is None else f"ratio {row['goal_ratio']:.2f}"


def is_missed(row: dict[str, Any]) -> bool:
    """Return whether a row has a goal that it does not reach."""
    return any(row[goal] is not None and row[figure] > row[goal] for figure, goal in FIGURES)


if __name__ == "__main__":
    sys.exit(main())
