"""Time how data sets are read, and the memory that it takes: python -m benchmarks.loading. It needs EDGECNN_DATA.

Each is read in processes of its own, on two cores, with warm caches. Peak RSS is that of the whole process; the ratio
is to the decoded images. The interpreter with its libraries is several times as large as the images of the folder of
28x28, so that no ratio is asked of that; what reading adds to it is recorded for all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from edgecnn import artifact
from edgecnn.data import load

RESULT = Path(__file__).with_suffix(".json")
CORES = 2
RUNS = 5
# Name -> the most seconds, and the most that peak RSS may be as a multiple of the decoded images.
GOALS = {"mnist": (1.0, 2.0), "folder of 28x28": (10.0, None), "folder of 84x84": (10.0, 2.0)}
_MEASURED = """
import json, sys, time
from pathlib import Path
from edgecnn.data import load

def peak():  # not getrusage's, which knows of the process that this one was forked from
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) << 10

before = peak()
started = time.perf_counter()
data = load(sys.argv[1], validation_fraction=0.1)
seconds = time.perf_counter() - started
decoded = sum(split.images.nbytes for split in (data.train, data.validation, data.test))
figures = {"seconds": seconds, "decoded_bytes": decoded, "peak_rss_bytes": peak(), "rss_before_bytes": before}
print(json.dumps(figures))
"""


def main(arguments: list[str]) -> int:
    """Measure, write loading.json if it was for the full number of files; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="PNG files of the folder; fewer are a try")
    parser.add_argument("--runs", type=int, default=RUNS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {
            f"folder of {28 * times}x{28 * times}": str(write_folder(Path(scratch) / str(times), options.count, times))
            for times in (1, 3)
        }
        rows = [row(name, source, options.runs) for name, source in {"mnist": "mnist", **folders}.items()]
    for one in rows:
        print(
            f"{one['source']}: median {one['median_s']:.2f} s, goal {one['goal_s']:.1f}; peak RSS "
            f"{one['peak_rss_bytes'] / 1e6:.0f} MB, {one['ratio']:.2f} of the images, goal {one['goal_ratio'] or '-'}; "
            f"added by reading {one['added_ratio']:.2f}"
        )
    if options.count == parser.get_default("count"):
        conditions = {"host": artifact.host(), "cores": CORES, "runs": options.runs}
        artifact.write_atomic(RESULT, json.dumps({"conditions": conditions, "results": rows}, indent=1) + "\n")
    return int(any(map(is_missed, rows)))


def is_missed(one: dict[str, Any]) -> bool:
    """Return whether a row has a goal that it does not reach."""
    return bool(one["median_s"] > one["goal_s"] or (one["goal_ratio"] and one["ratio"] > one["goal_ratio"]))


def write_folder(root: Path, count: int, times: int) -> Path:
    """Write `count` images of MNIST, each side `times` as long, as PNG files in ten folders; return `root`."""
    source = load("mnist", validation_fraction=0.1).train
    for number in range(count):
        image, label = source.images[number % len(source), :, :, 0], source.labels[number % len(source)]
        path = root / str(label) / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.repeat(times, axis=0).repeat(times, axis=1)).save(path)
    return root


def row(name: str, source: str, runs: int) -> dict[str, Any]:
    """Return the figures of one source: the median time and the highest peak of its runs, after one uncounted."""
    figures = [measured(source) for _ in range(1 + runs)][1:]
    decoded, peak = figures[0]["decoded_bytes"], max(one["peak_rss_bytes"] for one in figures)
    added = max(one["peak_rss_bytes"] - one["rss_before_bytes"] for one in figures)
    goal_s, goal_ratio = GOALS[name]
    return {
        "source": name,
        "goal_s": goal_s,
        "goal_ratio": goal_ratio,
        "median_s": median(one["seconds"] for one in figures),
        "max_s": max(one["seconds"] for one in figures),
        "decoded_bytes": decoded,
        "peak_rss_bytes": peak,
        "ratio": peak / decoded,
        "added_ratio": added / decoded,
    }


def measured(source: str) -> dict[str, Any]:
    """Return seconds, decoded bytes and peak RSS of one process that reads `source` on `CORES` cores."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    done = subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, "-c", _MEASURED, source],
        check=True,
        capture_output=True,
        text=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
