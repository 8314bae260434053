"""What runs until it is stopped ends between two lines: on Ctrl-C with exit code 130, on SIGTERM with 0."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether the process was asked to end, and by which signal."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.exit_code = 0

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until the process is asked to end; return whether it was."""
        return self._asked.wait(seconds)

    def ask(self, signum: int, _: FrameType | None) -> None:
        """Take note of a signal; the first one decides the exit code."""
        if not self._asked.is_set():
            self.exit_code = 130 if signum == signal.SIGINT else 0
        self._asked.set()


@contextmanager
def stopping() -> Iterator[Stop]:
    """Take SIGINT and SIGTERM as a wish to end, while the block runs."""
    stop = Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
