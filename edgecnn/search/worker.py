"""The process in which trials run, one after the other; `executor.py` is its other end.

Started as ``python -m edgecnn.search.worker``. It reads pickled calls, (function, arguments), from standard input and
writes what came of each to what was its standard output, each with its length before it. It ends at once when its
standard input does: whoever started it is gone, and nobody waits for the rest.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from typing import BinaryIO

Message = tuple[bool, object]  # whether it worked, and the result or the exception


def send(stream: BinaryIO, message: object) -> None:
    """Write one pickled message."""
    content = pickle.dumps(message)
    stream.write(len(content).to_bytes(8) + content)
    stream.flush()


def receive(stream: BinaryIO) -> bytes:
    """Return the pickle of the next message; raises `EOFError` where there is no whole one."""
    return _exactly(stream, int.from_bytes(_exactly(stream, 8)))


def _exactly(stream: BinaryIO, count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def main() -> None:
    """Answer calls until standard input ends."""
    # Only answers go to where answers are read: what a library prints goes nowhere.
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        send(answers, _answer(calls.get()))


def _listen(stream: BinaryIO, calls: queue.SimpleQueue[bytes]) -> None:
    """Pass on what is called; a thread of its own notices during a call too that the other end is gone."""
    while True:
        try:
            calls.put(receive(stream))
        except EOFError:
            os._exit(1)


def _answer(call: bytes) -> Message:
    try:
        function, arguments = pickle.loads(call)
        return True, function(*arguments)
    except Exception as error:  # whatever a trial raises is for the driver to judge
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # not every exception of every library can be sent
            return False, RuntimeError(f"{type(error).__name__}: {error}")
        return False, error


if __name__ == "__main__":
    main()
