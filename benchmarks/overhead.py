"""What the harness itself adds to an inference, by timing a call that does nothing: python -m benchmarks.overhead."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from edgecnn import artifact
from edgecnn.bench.latency import measure_latency, median_round

RESULT = Path(__file__).with_suffix(".json")
GOAL_US = 1.0


def main() -> int:
    """Write overhead.json; exit code 1 when the median of a no-op is over the goal."""
    latency = median_round([measure_latency(lambda: None, runs=1000, seconds=1.0) for _ in range(5)])
    result = {"host": artifact.host(), "p50_us": latency.p50_us, "p99_us": latency.p99_us, "goal_us": GOAL_US}
    artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    print(f"no-op: p50 {latency.p50_us:.3f} µs, p99 {latency.p99_us:.3f} µs; goal {GOAL_US} µs")
    return int(latency.p50_us > GOAL_US)


if __name__ == "__main__":
    sys.exit(main())
