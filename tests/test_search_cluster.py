"""A search on a real Dask cluster: a scheduler and two worker processes on loopback."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("distributed")

from edgecnn.errors import SearchError
from edgecnn.search import driver, executor, study
from edgecnn.search.trial import Outcome, Runner
from tests import search_trials
from tests.conftest import ROOT, Edgecnn
from tests.test_search import asked


class Cluster:
    """A scheduler and two workers of one thread each, in processes of their own."""

    def __init__(self, folder: Path, starts: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "EDGECNN_STARTS": str(starts)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]
        self.scheduler = self._start("distributed.cli.dask_scheduler", *place)
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("no scheduler after 30 s")

    def start_workers(self) -> None:
        place = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder)]
        for _ in range(2):
            self._start("distributed.cli.dask_worker", self.address, *place)

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], cwd=ROOT, env=self._environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def starts(tmp_path: Path) -> Path:
    folder = tmp_path / "starts"
    folder.mkdir()
    return folder


@pytest.fixture
def cluster(tmp_path: Path, starts: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "dask", starts)
    try:
        made.start_scheduler()
        made.start_workers()
        yield made
    finally:
        made.stop()


@contextmanager
def workers_of(cluster: Cluster) -> Iterator[executor.Workers]:
    """Wait until both workers are there."""
    ends = time.monotonic() + 40
    while True:
        try:
            with executor.cluster(cluster.address, None, executor.Limits()) as found:
                if found.slots == 2:
                    yield found
                    return
        except SearchError as error:
            assert "it has no workers" in str(error)
        assert time.monotonic() < ends, "no two workers after 40 s"
        time.sleep(0.2)


def searched(folder: Path, cluster: Cluster, run: Runner, trials: int) -> list[Outcome]:
    with workers_of(cluster) as found:
        return driver.search(study.opened(folder, asked()), found, trials=trials, run=run)


def test_trials_run_on_both_workers_and_a_killed_one_costs_one_more_start(
    cluster: Cluster, tmp_path: Path, starts: Path
) -> None:
    found = searched(tmp_path / "study", cluster, search_trials.worker_killed_once, 8)
    assert {one.state for one in found} == {"complete"}
    assert search_trials.starts(starts) == {number: 1 + (number == 1) for number in range(8)}
    first, again = (starts / "1").read_text().split()
    assert first != again


def test_a_trial_that_kills_its_worker_twice_has_failed(cluster: Cluster, tmp_path: Path, starts: Path) -> None:
    found = searched(tmp_path / "study", cluster, search_trials.worker_killed_always, 4)
    assert [one.state for one in found] == ["complete", "failed", "complete", "complete"]
    assert "killed" in found[1].reason
    assert search_trials.starts(starts)[1] == 2


def test_a_scheduler_that_goes_away_is_one_line_and_the_study_goes_on(
    cluster: Cluster, tmp_path: Path, starts: Path
) -> None:
    folder = tmp_path / "study"
    with workers_of(cluster) as found:

        def observe(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
            if done == 4:
                cluster.scheduler.kill()

        with pytest.raises(SearchError) as caught:
            driver.search(study.opened(folder, asked()), found, trials=10, run=search_trials.slow, observe=observe)
    assert re.fullmatch(
        rf"--scheduler {cluster.address}: it went away; finished trials are kept: start it again and give the same "
        "command, which goes on with the study",
        str(caught.value),
    )
    finished = [int(path.parent.name) for path in folder.glob("trials/*/result.json")]
    assert len(finished) >= 4
    cluster.stop()
    cluster.start_scheduler()
    cluster.start_workers()
    done = searched(folder, cluster, search_trials.slow, 10)
    assert [one.state for one in done] == ["complete"] * 10
    started = search_trials.starts(starts)
    assert all(started[number] == 1 for number in finished)


def test_a_real_trial_comes_back_from_a_cluster(cluster: Cluster, tmp_path: Path, edgecnn: Edgecnn) -> None:
    """Its artifact and record arrive by content hash; the data was reached by its name."""
    with workers_of(cluster):
        pass
    folder = tmp_path / "study"
    done = edgecnn(
        "search", "--data", "digits", "--recipe", "quick", "--epochs", "6", "--trials", "1", "--seed", "2",
        "--scheduler", cluster.address, "--out", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(folder)
    artifacts = list((folder / "artifacts").glob("*.tflite"))
    assert artifacts
    assert edgecnn("verify", folder).returncode == 0
    assert not list(folder.glob("trials/*/run")), "a worker of another machine could not have written there"


def test_a_scheduler_without_workers_is_one_line(tmp_path: Path, starts: Path, edgecnn: Edgecnn) -> None:
    made = Cluster(tmp_path, starts)
    try:
        made.start_scheduler()
        done = edgecnn("search", "--data", "digits", "--scheduler", made.address, "--out", tmp_path / "study")
    finally:
        made.stop()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"error: --scheduler {made.address}: it has no workers; start some: dask worker ")
