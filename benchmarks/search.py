"""A search against its goals: python -m benchmarks.search [STEP ...], steps: front, throughput, scaling.

front: 40 short trials on `digits` over 2 workers, and how many of five hand-made configurations the front dominates.
throughput: trials that do nothing, through Dask with 2 workers. scaling: the same real trials with 1 worker and with 2,
each with a core of its own; on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.search_trials import noop, the_same
from edgecnn import artifact, pipeline
from edgecnn.bench.conditions import Watch, conditions, reasons
from edgecnn.cli import choose
from edgecnn.errors import SearchError
from edgecnn.search import driver, executor, showing, study, trial
from edgecnn.search.front import beats

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
OBJECTIVES = ("top1", "size_bytes")
TRIALS, NOOPS, REAL = 40, 300, 8
# What one would try without a search: networks of the zoo, trained as the data's recipe says, int8.
HAND_MADE = ("edge35k", "edge25k", "edge12k", "edge4k", "edge1k")
GOALS = {"front_seconds": 900.0, "dominated": 3, "noops_a_second": 50.0, "speed_up": 1.8}
MEANINGS = {
    "front_seconds": "seconds of the search",
    "dominated": "hand-made configurations dominated",
    "noops_a_second": "trials that do nothing, their points drawn by chance, through Dask with 2 workers, a second",
    "speed_up": "two workers to one, each on a core of its own,",
}
AT_MOST = ("front_seconds",)  # the other goals are at least


def main(arguments: list[str]) -> int:
    """Measure the steps named, or all, note them in search.json; exit code 1 when a goal is missed."""
    if unknown := set(arguments) - set(STEPS):
        print(f"usage: python -m benchmarks.search [{'|'.join(STEPS)} ...]; got {unknown.pop()}", file=sys.stderr)
        return 2
    recorded: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name in arguments or STEPS:
        found, watch = conditions(), Watch()
        with tempfile.TemporaryDirectory() as folder:
            figures = STEPS[name](Path(folder))
        found |= watch.seen()
        recorded[name] = {**figures, "conditions": found | {"not_clean": reasons(found)}}
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in figures.items() if not isinstance(value, list))}")
        artifact.write_atomic(RESULT, json.dumps(recorded, indent=1) + "\n")
    return int(bool(missed(recorded)))


def missed(recorded: dict[str, Any]) -> list[str]:
    """Return the goals that recorded figures miss."""
    return [
        name
        for name, value in _figures(recorded).items()
        if (value > GOALS[name] if name in AT_MOST else value < GOALS[name])
    ]


def goals(recorded: dict[str, Any]) -> str:
    """Return what was reached of the goals, in a sentence."""
    failed = missed(recorded)
    said = [
        f"{MEANINGS[name]} {value:g}, goal at {'most' if name in AT_MOST else 'least'} {GOALS[name]:g}"
        f"{': missed' if name in failed else ''}"
        for name, value in _figures(recorded).items()
    ]
    return f"Goals: {'; '.join(said)}."


def _figures(recorded: dict[str, Any]) -> dict[str, float]:
    steps = [step for name, step in recorded.items() if name in STEPS]
    return {key: value for step in steps for key, value in step.items() if key in GOALS}


def front(folder: Path) -> dict[str, Any]:
    """Search with the command that users type, then train what is hand-made; judge both on validation."""
    begun = time.monotonic()
    command = ["search", "--data", "digits", "--trials", str(TRIALS), "--workers", "2", "--out", str(folder / "study")]
    subprocess.run([sys.executable, "-m", "edgecnn", *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - begun
    opened = study.reopened(folder / "study")
    outcomes = study.outcomes(folder / "study")
    best = showing.best(opened, outcomes)
    rows = [hand_made(arch, folder / arch) for arch in HAND_MADE]
    for row in rows:
        own = [-row["top1"], row["size_bytes"]]
        row["dominated_by"] = [one.number for one in best if beats(opened.losses(one), own)]
    return {
        "front_seconds": round(seconds, 1),
        "trials": showing.summary(opened, outcomes),
        "trial_seconds": round(sum(one.seconds for one in outcomes), 1),
        "dominated": sum(bool(row["dominated_by"]) for row in rows),
        "hand_made": rows,
        "front": [
            {"trial": one.number, "made": showing.described(opened, one), "figures": one.figures} for one in best
        ],
    }


def hand_made(arch: str, root: Path) -> dict[str, Any]:
    """Return how a network of the zoo does in int8, trained as the data's own recipe says."""
    config = choose.settings(arch, data="digits")
    with pipeline.begin(config, root) as work:
        pipeline.train(work)
        path = pipeline.export(work, recipe="baseline", target=trial.TARGET)
        figures = trial.figures_of(work, path, timed_in=None)
    return {"arch": arch, "recipe": config.recipe, **{name: figures[name] for name in OBJECTIVES}}


def throughput(folder: Path) -> dict[str, Any]:
    """Return how many trials that do nothing two workers of Dask do a second; all else is as always.

    The goal is for points drawn by chance: what TPE takes to think grows with the trials, and is no matter of workers.
    """
    figures: dict[str, Any] = {}
    with cluster(folder / "dask") as address:
        _wait_for_workers(address)
        with executor.cluster(address, None, executor.Limits()) as workers:
            for sampler in ("random", "tpe"):
                opened = study.opened(folder / sampler, _asked(sampler))
                driver.search(opened, workers, trials=4, run=noop)  # the workers have imported what they need
                begun = time.monotonic()
                driver.search(opened, workers, trials=4 + NOOPS, run=noop)
                figures[f"{sampler}_a_second"] = round(NOOPS / (time.monotonic() - begun), 1)
    return {"trials": NOOPS, "noops_a_second": figures["random_a_second"], **figures}


def scaling(folder: Path) -> dict[str, Any]:
    """Return the seconds of the same real trials with one worker and with two, each on a core of its own."""
    seconds = {}
    for count in (1, 2):
        opened = study.opened(folder / str(count), _asked("random"))
        with executor.local(count, executor.Limits()) as workers:
            driver.search(opened, workers, trials=count, run=the_same)
            begun = time.monotonic()
            driver.search(opened, workers, trials=count + REAL, run=the_same)
            seconds[count] = time.monotonic() - begun
    return {
        "trials": REAL,
        "one_worker_s": round(seconds[1], 1),
        "two_workers_s": round(seconds[2], 1),
        "speed_up": round(seconds[1] / seconds[2], 2),
    }


def _asked(sampler: str) -> study.Asked:
    base = choose.settings("edge35k", data="digits", recipe="quick")
    return study.asked_for(base, pipeline.load_data(base), objectives=OBJECTIVES, sampler=sampler)


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Yield the address of a Dask scheduler with two workers of one thread each, all on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address, quiet = f"tcp://127.0.0.1:{port}", ["--no-dashboard"]
    commands = [
        ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-show", *quiet],
        *[["distributed.cli.dask_worker", address, "--nthreads", "1", "--local-directory", str(folder), *quiet]] * 2,
    ]
    nowhere: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [
        subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, start_new_session=True, **nowhere)
        for command in commands
    ]
    try:
        yield address
    finally:
        for process in reversed(processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for_workers(address: str) -> None:
    """Return when both workers are there."""
    ends, slots = time.monotonic() + 60, 0
    while slots < 2:
        try:
            with executor.cluster(address, None, executor.Limits()) as workers:
                slots = workers.slots
        except SearchError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.5)


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {"front": front, "throughput": throughput, "scaling": scaling}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
