"""Trials that tests and benchmarks run in real workers: they train nothing."""

import os
import signal
import time
from pathlib import Path

from edgecnn.errors import DataError
from edgecnn.search.trial import Job, Outcome


def noop(job: Job) -> Outcome:
    """Return figures that follow from the point alone."""
    filters, rate = job.point["filters"], job.point["learning_rate"]
    figures = {"top1": filters / (filters + 1) - rate, "size_bytes": 1000.0 * filters, "macs": 100.0 * filters}
    return Outcome(number=job.number, point=job.point, state="complete", figures=figures)


def noted(job: Job) -> Outcome:
    """Note that the trial was started, in the folder that $EDGECNN_STARTS names; the others here do it too."""
    with (Path(os.environ["EDGECNN_STARTS"]) / f"{job.number}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return noop(job)


def starts(folder: Path) -> dict[int, int]:
    """Return how often each trial was started."""
    return {int(path.name): len(path.read_text().splitlines()) for path in folder.iterdir()}


def _this_is_the_first_start(job: Job) -> bool:
    noted(job)
    return starts(Path(os.environ["EDGECNN_STARTS"]))[job.number] == 1


def killed_once(job: Job) -> Outcome:
    """Kill the own process in the first start of trial 1."""
    if _this_is_the_first_start(job) and job.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return noop(job)


def worker_killed_once(job: Job) -> Outcome:
    """Kill the Dask worker around the own process in the first start of trial 1."""
    if _this_is_the_first_start(job) and job.number == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return noop(job)


def killed_always(job: Job) -> Outcome:
    """Kill the own process in every start of trial 1."""
    noted(job)
    if job.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return noop(job)


def worker_killed_always(job: Job) -> Outcome:
    """Kill the Dask worker around the own process in every start of trial 1."""
    noted(job)
    if job.number == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return noop(job)


def slow(job: Job) -> Outcome:
    """Take a moment, so that there is a mid-trial to be killed in."""
    noted(job)
    time.sleep(0.3)
    return noop(job)


def endless(job: Job) -> Outcome:
    """Take for ever in trial 1."""
    if job.number == 1:
        time.sleep(600)
    return noop(job)


def hungry(job: Job) -> Outcome:
    """Take 400 MB and hold them in trial 1."""
    if job.number == 1:
        held = bytearray(os.urandom(1)) * 400_000_000
        time.sleep(60)
        del held
    return noop(job)


def broken(job: Job) -> Outcome:
    """Raise what is nobody's fault but the installation's."""
    raise RuntimeError("libexample.so: cannot open shared object file")


def without_data(job: Job) -> Outcome:
    """Raise what every other trial would raise too."""
    raise DataError("digits: not here; give --data-dir")
