"""Where models are measured: how a worker is started there, how files come and go, and what is known of the place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn.bench import conditions, footprint
from edgecnn.device.runtimes import ladder


@dataclass(frozen=True)
class Place:
    """A machine to measure on: this one, a board, or an emulated one, whose times mean nothing.

    `name` is None for this machine. `put` takes a file there and returns its path there, `get` brings one back.
    `seen` returns the conditions meanwhile, when all is measured; it takes the CPU seconds of the workers.
    """

    name: str | None
    target: str | None  # what C is compiled for there (edgecnn.native); None: libraries beside the models do
    command: Callable[[Mapping[str, Any]], list[str]]
    put: Callable[[Path], str]
    get: Callable[[str, Path], None]
    runtimes: Sequence[str]
    installed_bytes: Callable[[str], int | None]
    versions: Callable[[Iterable[str]], Mapping[str, str]]
    python_rss_bytes: Callable[[], int | None]
    conditions: Mapping[str, Any]
    seen: Callable[[float], Mapping[str, Any]]
    has_timings: bool = True


def here(*, look_s: float = 0.5) -> Place:
    """Return this machine, its conditions as they are now; call it before anything is started."""
    found, watch = conditions.conditions(look_s=look_s), conditions.Watch()
    return Place(
        name=None,
        target=None,
        command=lambda options: [sys.executable, "-m", "edgecnn.bench.worker", json.dumps(options)],
        put=str,
        get=lambda there, path: None,
        runtimes=ladder.installed(),
        installed_bytes=footprint.installed_bytes,
        versions=footprint.versions,
        python_rss_bytes=footprint.bare_python_rss_bytes,
        conditions=found,
        seen=lambda workers_s: watch.seen(),
    )
