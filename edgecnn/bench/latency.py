"""Latency of one call, in microseconds: nothing subtracted, no run left out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Percentiles over `runs` timed calls, after `warmup` calls that were not timed."""

    p50_us: float
    p90_us: float
    p99_us: float
    runs: int
    warmup: int


def measure_latency(invoke: Callable[[], object], *, warmup: int, runs: int) -> Latency:
    """Time `runs` calls of `invoke` one by one with the nanosecond clock.

    Garbage collection is held off meanwhile: its pauses belong to whoever made the garbage.
    """
    if runs < 1:
        raise ValueError(f"measure_latency: {runs} runs; expected at least 1")
    for _ in range(warmup):
        invoke()
    clock = time.perf_counter_ns
    durations = np.empty(runs, dtype=np.int64)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for i in range(runs):
            start = clock()
            invoke()
            durations[i] = clock() - start
    finally:
        if collecting:
            gc.enable()
    p50, p90, p99 = (float(value) / 1000 for value in np.percentile(durations, (50, 90, 99)))
    return Latency(p50, p90, p99, runs, warmup)
