"""What runs on a board to measure there: ``bench.pyz worker OPTIONS``, ``bench.pyz watch``. The other end is a `Place`.

It is packed with `edgecnn.device` and what measures (`edgecnn.export.pyz`), and needs what the predictor needs there.
"""

from __future__ import annotations

import json
import platform
import sys
from typing import Any

from edgecnn.bench import conditions, footprint, worker
from edgecnn.device.runtimes import ladder


def main() -> None:
    """Be a worker, or watch the board while workers are measured."""
    if sys.argv[1] == "watch":
        _watch()
    else:
        worker.main(sys.argv[2])


def facts() -> dict[str, Any]:
    """Return what a row needs to know of the board's Python and runtimes."""
    installed = ladder.installed()
    return {
        "runtimes": installed,
        "installed_bytes": {name: footprint.installed_bytes(name) for name in installed},
        "versions": {name: footprint.versions([name]) for name in installed},
        "python": platform.python_version(),
        "python_rss_bytes": footprint.bare_python_rss_bytes() if worker.peak_rss_bytes() else None,
    }


def _watch() -> None:
    """Say a line on the board; when a line with the workers' CPU seconds comes, say what was seen meanwhile."""
    print(json.dumps({"conditions": conditions.conditions(), "facts": facts()}), flush=True)
    watch = conditions.Watch()
    line = sys.stdin.readline()
    if line:
        print(json.dumps(watch.seen(workers_s=float(line))), flush=True)
