"""Latency of one call, in microseconds: nothing subtracted, no run left out."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
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


def measure_interleaved(
    invokes: Sequence[Callable[[], object]], *, rounds: int, warmup: int, runs: int
) -> list[list[Latency]]:
    """Measure all `invokes` in turn, `rounds` times over (A B C A B C ...); return the rounds of each.

    A machine whose speed drifts or halves for a while then hurts none of them more than another.
    """
    turns = [[measure_latency(invoke, warmup=warmup, runs=runs) for invoke in invokes] for _ in range(rounds)]
    return [list(of_one) for of_one in zip(*turns, strict=True)]


def median_round(rounds: Sequence[Latency]) -> Latency:
    """Return the round whose p50 is the median (the lower one of an even number)."""
    return sorted(rounds, key=lambda r: r.p50_us)[(len(rounds) - 1) // 2]
