"""Seconds to 99.3 % of MNIST's validation images, `strong` beside `seed`: python -m benchmarks.time_to_accuracy RUN.

Both train edge35k in this process, one after the other, with all cores. `strong` is given a teacher that is there
in RUN; what that took to make, once for all its students and longer than one of them, is not in its time.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgecnn import artifact
from edgecnn.artifact import Run
from edgecnn.config import configure
from edgecnn.pipeline import begin, train

RESULT = Path(__file__).with_suffix(".json")
TOP1 = 0.993
GOAL_RATIO = 0.5


class Reached(Exception):
    """The validation images are read as well as asked; what more training would bring is not of interest here."""


def main(arguments: list[str]) -> int:
    """Measure both, write time_to_accuracy.json; exit code 1 when the goal is missed."""
    if len(arguments) != 1:
        print("usage: python -m benchmarks.time_to_accuracy TEACHER_RUN", file=sys.stderr)
        return 2
    strong = measured("strong", teacher=Run(Path(arguments[0])))
    seed = measured("seed")
    ratio = strong["seconds"] / seed["seconds"] if strong["reached"] else None
    result = {
        "validation_top1": TOP1,
        "rows": [strong, seed],
        "ratio": ratio,
        "ratio_is_at_most": not seed["reached"],  # `seed` ended without it: the true ratio is smaller still
        "goal_ratio": GOAL_RATIO,
        "conditions": {
            "host": artifact.host(),
            "cores": len(os.sched_getaffinity(0)),
            "versions": artifact.library_versions(),
        },
    }
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    for row in (strong, seed):
        how = "reached" if row["reached"] else "not reached"
        print(f"{row['recipe']}: {how} in {row['epochs']} epochs, {row['seconds']:.0f} s")
    print(f"ratio {ratio if ratio is None else round(ratio, 2)}, goal {GOAL_RATIO}")
    return int(ratio is None or ratio > GOAL_RATIO)


def measured(recipe: str, *, teacher: Run | None = None) -> dict[str, Any]:
    """Train by `recipe` until the validation top-1 is reached or the training ends; return seconds and epochs.

    The clock starts with the first step, so that TensorFlow's start-up and reading the data count for neither.
    """
    started = 0.0
    best: list[float] = []

    def observe(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        nonlocal started
        if stage != "train":
            return
        started = started or time.perf_counter()
        top1 = metrics.get("val_accuracy")
        if top1 is not None and (not best or top1 != best[-1]):
            best.append(top1)
            if top1 >= TOP1:
                raise Reached

    reached = False
    with tempfile.TemporaryDirectory() as folder:
        config = configure(data="mnist", recipe=recipe)
        with begin(config, Path(folder) / "run", teacher=teacher, observe=observe) as work:
            try:
                train(work)
            except Reached:
                reached = True
            seconds = time.perf_counter() - started
            checkpoint = work.run.model("baseline").with_name("checkpoint.npz")
            epochs = (
                epochs_in(checkpoint)
                if reached
                else len(artifact.read_record(work.run.model("baseline")).metrics["history"])
            )
    return {"recipe": recipe, "reached": reached, "seconds": seconds, "epochs": epochs, "validation_top1": max(best)}


def epochs_in(checkpoint: Path) -> int:
    """Return how many epochs a checkpoint holds."""
    import numpy as np

    with np.load(checkpoint) as saved:
        return len(json.loads(str(saved["state"]))["history"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
