"""Latency of one call, in microseconds: nanosecond clock, nothing subtracted, no call left out."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Latency:
    """Percentiles over all `runs` calls of one round."""

    p50_us: float
    p90_us: float
    p99_us: float
    runs: int


def measure_latency(invoke: Callable[[], object], *, runs: int, seconds: float = 0.0) -> Latency:
    """Time calls of `invoke` one by one until there are `runs` of them and `seconds` have passed."""
    return percentiles(durations_ns(invoke, runs=runs, seconds=seconds))


def durations_ns(invoke: Callable[[], object], *, runs: int, seconds: float = 0.0) -> array[int]:
    """Return the nanoseconds of each call: `runs` of them, or as many as fit into `seconds` if that is more.

    Garbage collection is held off meanwhile: its pauses belong to whoever made the garbage.
    """
    if runs < 1:
        raise ValueError(f"durations_ns: {runs} runs; expected at least 1")
    clock = time.perf_counter_ns
    durations = array("q")
    with _no_garbage_collection():
        end = clock() + int(seconds * 1e9)
        while len(durations) < runs or clock() < end:
            start = clock()
            invoke()
            durations.append(clock() - start)
    return durations


def percentiles(durations: Sequence[int]) -> Latency:
    """Return the percentiles of nanoseconds, in microseconds."""
    p50, p90, p99 = (float(value) / 1000 for value in np.percentile(durations, (50, 90, 99)))
    return Latency(p50, p90, p99, len(durations))


def warm_up(invoke: Callable[[], object], *, seconds: float, batch: int = 50, tolerance: float = 0.02) -> int:
    """Call `invoke` until three batches in a row have medians within `tolerance`, or `seconds` have passed.

    Returns the number of calls.
    """
    medians: list[float] = []
    end = time.perf_counter() + seconds
    while True:
        medians.append(measure_latency(invoke, runs=batch).p50_us)
        last = medians[-3:]
        if time.perf_counter() >= end or (len(last) == 3 and max(last) <= min(last) * (1 + tolerance)):
            return batch * len(medians)


def median_round(rounds: Sequence[Latency]) -> Latency:
    """Return the round whose p50 is the median (the lower one of an even number)."""
    return sorted(rounds, key=lambda r: r.p50_us)[(len(rounds) - 1) // 2]


def spread(rounds: Sequence[Latency]) -> float:
    """Return how far the slowest round's p50 lies above the fastest one's, as a fraction."""
    return max(r.p50_us for r in rounds) / min(r.p50_us for r in rounds) - 1


def ratio_to(turns: Sequence[Latency], baseline: Sequence[Latency]) -> float:
    """Return the median, over the turns, of p50 divided by the baseline's p50 in the same turn."""
    return median(own.p50_us / other.p50_us for own, other in zip(turns, baseline, strict=True))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
