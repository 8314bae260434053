"""A model under measurement, in a process of its own: what the benchmark talks to."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from edgecnn.bench.place import Place, here
from edgecnn.device.contract import Contract

START_TIMEOUT_S = 120
ANSWER_TIMEOUT_S = 600  # over what a command is asked to take; ten thousand images of a slow model


class SubjectError(Exception):
    """The model cannot be measured; the message says why, in one line."""


class RefusedError(SubjectError):
    """The worker is well and refuses a command: what it asks for is not for this model."""


class Subject:
    """Starts a worker for one model in one runtime; usable as a context manager.

    Attributes: `cold_start_ms`, from the start of the process to the answer of its first inference; `inputs`,
    `outputs` and `peak_rss_bytes`, as the worker gives them. Raises `SubjectError` when the worker refuses or dies.
    """

    def __init__(
        self,
        model: Path,
        runtime: str,
        *,
        threads: int = 1,
        pin: Sequence[int] | None = None,
        shape: Sequence[int] | None = None,
        library: Path | None = None,
        contract: Contract | None = None,
        place: Place | None = None,
    ) -> None:
        place = place or here(look_s=0)
        options = {"model": place.put(model), "runtime": runtime, "threads": threads, "pin": pin, "shape": shape}
        options["library"] = library and place.put(library)
        # As the model says in its own runtime: another one may take and give floats instead of integers.
        options["contract"] = contract and contract.unstored().as_dict()
        started = time.perf_counter()
        self._process = subprocess.Popen(
            place.command(options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            first = self._answer(START_TIMEOUT_S)
        except SubjectError:
            self.close()
            raise
        self.cold_start_ms: float = first.get("cold_start_ms", (time.perf_counter() - started) * 1000)
        self.inputs: list[dict[str, Any]] = first["inputs"]
        self.outputs: list[dict[str, Any]] = first["outputs"]
        self.peak_rss_bytes: int | None = first["peak_rss_bytes"]

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Return the worker's answer to a command of `worker.Worker`; raises `RefusedError` when it has none."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([command, arguments]) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; reading says of what
        return self._answer(ANSWER_TIMEOUT_S + arguments.get("seconds", 0))

    def close(self) -> None:
        """End the worker."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, timeout_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        # One line a command: nothing is left in the buffer that select could not see.
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            self.close()
            raise SubjectError(f"no answer in {timeout_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise SubjectError(_ending(self._process.wait(START_TIMEOUT_S)))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer


def _ending(code: int) -> str:
    return f"died of signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"ended with exit code {code}"
