"""What this project itself adds to an inference: python -m benchmarks.overhead.

The harness, by timing a call that does nothing; and the input contract, by timing images through `Classifier` beside
the same look-up, call and decoding written out by hand, in turns of one run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from edgecnn import artifact
from edgecnn.bench.latency import measure_latency, median_round
from edgecnn.device.classifier import Classifier, contract_of
from edgecnn.device.runtimes.loader import load

RESULT = Path(__file__).with_suffix(".json")
GOAL_US, GOAL_RATIO = 1.0, 1.05
_ROUNDS = 31


def main() -> int:
    """Write overhead.json; exit code 1 when a no-op or the contract costs more than its goal."""
    latency = median_round([measure_latency(lambda: None, runs=1000, seconds=1.0) for _ in range(5)])
    ratio = contract_ratio()
    result = {
        "host": artifact.host(),
        "p50_us": latency.p50_us,
        "p99_us": latency.p99_us,
        "goal_us": GOAL_US,
        "contract_ratio": ratio,
        "contract_goal": GOAL_RATIO,
    }
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    print(f"no-op: p50 {latency.p50_us:.3f} µs, p99 {latency.p99_us:.3f} µs; goal {GOAL_US} µs")
    print(f"an inference through the contract: {ratio:.3f} of the same by hand; goal {GOAL_RATIO}")
    return int(latency.p50_us > GOAL_US or ratio > GOAL_RATIO)


def contract_ratio() -> float:
    """Return how long edge35k's int8 file takes through its contract, as a share of the same written out by hand."""
    model = load(artifact.released() / "int8.tflite", runtime="litert")
    classifier = Classifier(model, contract_of(model))
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28, 1)).astype(np.uint8)
    table = np.arange(256, dtype=np.uint8)  # scale 1/255, zero point 0: the pixels as they are
    scale, zero = model.outputs[0].scale, model.outputs[0].zero_point

    def by_hand() -> NDArray[np.float32]:
        (raw,) = model.invoke([table[image]])
        return ((raw.astype(np.float64) - zero) * scale).astype(np.float32)

    assert np.array_equal(by_hand(), classifier.probabilities(image))
    return paired_ratio(lambda: classifier.probabilities(image), by_hand)


def paired_ratio(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the median ratio of the p50 of two calls that take turns."""
    turns = [
        [measure_latency(call, runs=300, seconds=0.05).p50_us for call in ((one, other) if even else (other, one))]
        for even in (number % 2 == 0 for number in range(_ROUNDS))
    ]
    return median(a / b if number % 2 == 0 else b / a for number, (a, b) in enumerate(turns))


if __name__ == "__main__":
    sys.exit(main())
