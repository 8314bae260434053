"""How much a seed matters: test top-1 of one recipe trained with several: python -m benchmarks.seeds RUN RUN ...

Each run gives its baseline as exported to float32 and int8 TFLite. Nothing is chosen by these figures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

from edgecnn import artifact
from edgecnn.artifact import Run
from edgecnn.device import Predictor
from edgecnn.pipeline import load_data, read_config

RESULT = Path(__file__).with_suffix(".json")
SCHEMES = ("float32", "int8")
# Of the mean over the seeds: float32 at least this top-1, int8 at most so many percentage points below it.
GOAL_TOP1, GOAL_DROP_PP = 0.996, 0.03


def main(arguments: list[str]) -> int:
    """Read the test images with every run's models, write seeds.json; exit code 1 when a goal is missed."""
    runs = [Run(Path(argument)) for argument in arguments]
    if not runs:
        print("usage: python -m benchmarks.seeds RUN ...", file=sys.stderr)
        return 2
    configs = [read_config(run) for run in runs]
    data = load_data(configs[0])
    rows = [row(run, data.test.images, data.test.labels) for run in runs]
    means = {scheme: fmean(r[f"{scheme}_top1"] for r in rows) for scheme in SCHEMES}
    result = {
        "recipe": configs[0].recipe,
        "arch": configs[0].arch,
        "data": data.name,
        "images": len(data.test),
        "rows": rows,
        **{f"mean_{scheme}_top1": mean for scheme, mean in means.items()},
        "goal_float32_top1": GOAL_TOP1,
        "goal_drop_pp": GOAL_DROP_PP,
        "conditions": {"host": artifact.host(), "versions": artifact.library_versions()},
    }
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    for r in rows:
        print(f"seed {r['seed']}: float32 {r['float32_top1']:.2%}, int8 {r['int8_top1']:.2%}")
    print(f"mean: float32 {means['float32']:.3%}, int8 {means['int8']:.3%}")
    return int(means["float32"] < GOAL_TOP1 or (means["float32"] - means["int8"]) * 100 > GOAL_DROP_PP)


def row(run: Run, images: Any, labels: Any) -> dict[str, Any]:
    """Return a run's seed, its validation top-1, and how many test images its float32 and int8 models read."""
    model = artifact.checked(run.model("baseline"))
    figures: dict[str, Any] = {
        "seed": model.seed,
        "parameters": model.parameters,
        "validation_top1": model.metrics["validation_top1"],
    }
    for scheme in SCHEMES:
        exported = run.exported("baseline", f"{scheme}.tflite")
        artifact.checked(exported)
        right = Predictor(exported).probabilities(images).argmax(axis=1) == labels
        figures |= {f"{scheme}_top1": float(right.mean()), f"{scheme}_correct": int(right.sum())}
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
