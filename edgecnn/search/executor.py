"""Where trials run, behind the interface of `concurrent.futures`: processes of this machine, or a Dask cluster.

Either way a trial runs in a process of its worker (`worker.py`) that is watched: one that dies costs its trial alone,
one that takes too long or too much memory is ended.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecnn import extras
from edgecnn.errors import ConfigError, SearchError
from edgecnn.search import worker

_LOOK_S = 0.2  # between two looks at a trial's time and memory
_CONNECT_S = 10  # so long a scheduler may take to answer
_STARTS = 2  # so often a trial may be started on a cluster: once more after its worker was killed
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


class WorkerLost(Exception):
    """The process that ran a trial died in the middle of it."""


class LimitExceeded(Exception):
    """A trial took longer, or more memory, than it may; it was ended."""


@dataclass(frozen=True)
class Limits:
    """What one trial may use; None: as much as there is."""

    cores: int = 1
    memory_bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Workers:
    """An executor, how many trials it runs at once, and what raises `SearchError` when it is not there any more."""

    executor: Executor
    slots: int
    check: Callable[[], None] = lambda: None
    shares_files: bool = True  # whether trials can write into the study's folder


@contextlib.contextmanager
def local(workers: int | None, limits: Limits) -> Iterator[Workers]:
    """Yield processes of this machine, by default as many as its cores allow; each has cores of its own if it can."""
    usable = sorted(os.sched_getaffinity(0))
    if limits.cores > len(usable):
        raise ConfigError(f"--cores: {limits.cores}; expected at most the {len(usable)} of this machine")
    count = workers or len(usable) // limits.cores
    own = [usable[i * limits.cores : (i + 1) * limits.cores] for i in range(count)]
    processes = Processes(count, limits, own if count * limits.cores <= len(usable) else None)
    try:
        yield Workers(processes, count)
    finally:
        processes.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def cluster(scheduler: str, workers: int | None, limits: Limits) -> Iterator[Workers]:
    """Yield the workers of the Dask cluster at an address; by default as many trials at once as its threads allow.

    Raises `SearchError` when no scheduler answers there, or it has no worker.
    """
    extras.require("search", needed_by="search --scheduler")
    import dask
    from distributed import Client

    address = re.fullmatch(r"(?:tcp|tls)://(\[[^]]+\]|[^:/]+):(\d{1,5})", scheduler)
    if address is None:
        raise ConfigError(f"--scheduler: got {scheduler!r}; expected an address like tcp://host:8786")
    # Else Dask would ask again for a long time where nobody is.
    dask.config.set({"distributed.comm.timeouts.connect": _CONNECT_S})
    try:
        socket.create_connection((address[1].strip("[]"), int(address[2])), timeout=_CONNECT_S).close()
        with _quiet_dask():
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, OverflowError, ValueError) as error:
        raise SearchError(
            f"--scheduler {scheduler}: no Dask scheduler answers ({_first_line(error)}); start one: dask scheduler"
        ) from None
    with _quiet_dask():
        try:
            threads = sum(client.nthreads().values())
            if threads == 0:
                raise SearchError(
                    f"--scheduler {scheduler}: it has no workers; start some: dask worker {scheduler} --nthreads 1"
                )
            slots = workers or max(1, threads // limits.cores)
            yield Workers(
                _OnCluster(client, limits), slots, lambda: _check_alive(client, scheduler), shares_files=False
            )
        finally:
            client.close(timeout=1 if client.status != "running" else None)


class Processes(Executor):
    """An executor of watched processes; one that dies fails its call with `WorkerLost`, and another is started."""

    def __init__(self, count: int, limits: Limits, own_cores: Sequence[Sequence[int]] | None = None) -> None:
        self._limits = limits
        self._calls: queue.SimpleQueue[tuple[Future[Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._serve, args=(own_cores[i] if own_cores else None,), daemon=True)
            for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule a call of a function that a process can import by its name."""
        if self._stopped.is_set():
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        self._calls.put((future, (functools.partial(fn, **kwargs) if kwargs else fn, args)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes; with `cancel_futures` at once, else when they did what was asked."""
        if cancel_futures:
            self._stopped.set()
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self, cores: Sequence[int] | None) -> None:
        process: subprocess.Popen[bytes] | None = None
        while (asked := self._calls.get()) is not None:
            future, call = asked
            if self._stopped.is_set() or not future.set_running_or_notify_cancel():
                future.cancel()
                continue
            if process is None or process.poll() is not None:
                process = _started(self._limits.cores, cores)
            try:
                worked, result = self._called(process, call)
            except Exception as error:
                _end(process)
                worked, result = False, error
            if worked:
                future.set_result(result)
            else:
                future.set_exception(result)
        if process is not None:
            _end(process)

    def _called(self, process: subprocess.Popen[bytes], call: tuple[Any, ...]) -> Any:
        """Return what came of a call, (whether it worked, result or exception)."""
        assert process.stdin is not None
        assert process.stdout is not None
        begun = time.monotonic()
        try:
            worker.send(process.stdin, call)  # type: ignore[arg-type]
            while not select.select([process.stdout], [], [], _LOOK_S)[0]:
                self._look(process, time.monotonic() - begun)
            return pickle.loads(worker.receive(process.stdout))  # type: ignore[arg-type]
        except (EOFError, BrokenPipeError):
            raise WorkerLost(f"its process died ({_how_it_died(process)})") from None

    def _look(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        """Raise unless a process may go on."""
        if self._stopped.is_set():
            raise CancelledError
        if self._limits.seconds is not None and seconds > self._limits.seconds:
            raise LimitExceeded(f"took longer than {self._limits.seconds:g} s (--trial-time)")
        allowed = self._limits.memory_bytes
        if allowed is not None and (used := _memory_bytes(process.pid)) > allowed:
            raise LimitExceeded(f"took {used / 1e6:,.0f} MB of memory, allowed are {allowed / 1e6:,.0f} (--memory)")


class _OnCluster(Executor):
    """Dask's own executor; each trial runs in a watched process of the worker, and is started twice at most.

    Dask starts what a killed worker did elsewhere, by default three times. How often a trial was started is counted on
    the scheduler, where all workers see it.
    """

    def __init__(self, client: Any, limits: Limits) -> None:
        self._client, self._limits = client, limits
        self._executor = client.get_executor(pure=False, retries=0)
        self._starts: dict[int, Any] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule a call; its first argument is a trial's job."""
        number = args[0].number
        if number not in self._starts:
            from distributed import Variable

            self._starts[number] = Variable(f"edgecnn-{self._client.id}-{number}", client=self._client)
            self._starts[number].set(0)
        name = self._starts[number].name
        future: Future[Any] = self._executor.submit(_on_worker, name, self._limits, fn, args)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what was scheduled and counted."""
        self._executor.shutdown(wait=wait and not cancel_futures)
        for starts in self._starts.values():
            starts.delete()


def _on_worker(starts: str, limits: Limits, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Run a call in a process of a Dask worker, unless it was started too often before."""
    from distributed import Variable, get_client

    counted = Variable(starts, client=get_client())
    before = counted.get(timeout=_CONNECT_S)
    if before >= _STARTS:
        raise WorkerLost("its worker was killed")
    counted.set(before + 1)
    return _processes(limits, threading.get_ident()).submit(fn, *args).result()


@functools.cache
def _processes(limits: Limits, thread: int) -> Processes:
    """Return the process of one thread of a Dask worker, kept from one trial to the next: it has imported much."""
    return Processes(1, limits)


def _check_alive(client: Any, scheduler: str) -> None:
    if client.status != "running":
        raise SearchError(
            f"--scheduler {scheduler}: it went away; finished trials are kept: start it again and give the same "
            f"command, which goes on with the study"
        )


@contextlib.contextmanager
def _quiet_dask() -> Iterator[None]:
    """Keep Dask's log to itself: what must be said is said in one line."""
    import logging

    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _started(cores: int, own: Sequence[int] | None) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecnn.search.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **dict.fromkeys(_THREADS, str(cores))},
        start_new_session=True,  # Ctrl-C is the driver's to hear, which ends them
    )
    if own is not None:
        os.sched_setaffinity(process.pid, own)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started too
    process.wait()
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()


def _how_it_died(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _memory_bytes(pid: int) -> int:
    """Return the resident memory of a process, 0 of one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
