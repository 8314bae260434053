"""``predict.pyz --serve``: a page to draw on, and predictions as JSON, for one machine or a trusted network.

One loop talks to all connections and never waits for any; one thread predicts, since a model's interpreter serves one
caller at a time. Everything a client can make grow has a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from edgecnn.device.digest import sha256
from edgecnn.device.errors import DeviceError
from edgecnn.device.predictor import Predictor
from edgecnn.device.server import answers
from edgecnn.device.server.http import (
    MAX_LINE,
    Head,
    HttpError,
    Response,
    error_response,
    json_response,
    read_head,
    to_bytes,
)

DEFAULT_ADDRESS = "127.0.0.1:8000"
Say = Callable[[str], None]
_METHODS = {"/predict": ("POST",), "/health": ("GET", "HEAD")}  # of all other paths GET and HEAD
_CHUNK = 65_536
_LINGER_S = 1.0  # for a client to read why it was refused before the connection is gone


@dataclass(frozen=True)
class Limits:
    """What clients may ask for. Times in seconds; a request's is from its first byte to its last."""

    connections: int = 128
    queue: int = 32  # predictions that wait or are being made
    body_bytes: int = 8 * 2**20
    bodies_bytes: int = 64 * 2**20  # of all requests together
    pixels: int = 16_000_000
    request_s: float = 15.0
    idle_s: float = 30.0
    answer_s: float = 30.0
    stop_s: float = 5.0


def serve(predictor: Predictor, address: str, *, say: Say, limits: Limits | None = None) -> int:
    """Answer at `address` (HOST:PORT) until SIGINT or SIGTERM; return the exit code, 130 or 0.

    `say` gets a line with the URL once it listens, and one for what should never happen. Raises `DeviceError` where it
    cannot listen there.
    """
    host, port = parsed(address)
    limits = limits or Limits()
    return asyncio.run(_Server(predictor, limits, say).run(host, port))


def parsed(address: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, an IPv6 host in brackets; raises `DeviceError` for anything else."""
    parts = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})", address)
    if parts is None or int(parts[2]) > 65_535:
        raise DeviceError(f"--serve: {address!r}; expected HOST:PORT, such as {DEFAULT_ADDRESS} or 0.0.0.0:8000")
    return parts[1].strip("[]"), int(parts[2])


class _Server:
    """The state that connections share."""

    def __init__(self, predictor: Predictor, limits: Limits, say: Say) -> None:
        self.predictor, self.limits, self.say = predictor, limits, say
        self.files = answers.page_files()
        self.sha256 = sha256(predictor.model.path.read_bytes())
        self.worker = ThreadPoolExecutor(1, "predictor")
        self.started = time.monotonic()
        self.counts = Counter({"predictions": 0, "rejected": 0})
        self.statuses: Counter[int] = Counter()
        self.waiting = 0  # predictions
        self.held_bytes = 0  # of bodies
        self.idle: dict[asyncio.StreamWriter, None] = {}  # connections between two requests, the longest first
        self.talks: set[asyncio.Task[None]] = set()
        self.refusals: set[asyncio.Task[None]] = set()  # of connections beyond the limit
        self.stopping = asyncio.Event()
        self.exit_code = 0
        self.checks_host = True

    async def run(self, host: str, port: int) -> int:
        """Listen, and end when told to, what was asked by then answered; return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number)
        try:
            listener = await asyncio.start_server(self.talk, host, port, limit=MAX_LINE)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DeviceError(f"--serve: cannot listen on {host}:{port} ({reason}); give another HOST:PORT") from None
        await loop.run_in_executor(self.worker, answers.warm_up, self.predictor, self.limits.pixels)
        self.checks_host = all(_is_loopback(socket.getsockname()[0]) for socket in listener.sockets)
        self.say(f"{_url(host, listener.sockets[0].getsockname()[1])} ({self._model()}); Ctrl-C stops it")
        await self.stopping.wait()
        listener.close()
        for writer in list(self.idle):
            writer.close()
        if self.talks:
            await asyncio.wait(self.talks, timeout=self.limits.stop_s)
        self.worker.shutdown(wait=False, cancel_futures=True)
        return self.exit_code

    def _stop(self, number: int) -> None:
        """Take note of a signal; the first one decides the exit code."""
        if not self.stopping.is_set():
            self.exit_code = 130 if number == signal.SIGINT else 0
        self.stopping.set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other, until either side has enough."""
        task = asyncio.current_task()
        assert task is not None
        among = self.talks if self._has_room() else self.refusals
        if len(self.refusals) >= self.limits.connections:
            writer.transport.abort()
            return
        among.add(task)
        try:
            if among is self.refusals:
                await self._refuse(reader, writer, HttpError(503, "too many connections; try again", Retry_After="1"))
            while among is self.talks and not self.stopping.is_set() and await self._exchange(reader, writer):
                pass
        except OSError:
            pass  # the client is gone, or does not read
        finally:
            await _end(writer)
            among.discard(task)

    def _has_room(self) -> bool:
        """Return whether one more connection may stay; one that has nothing to ask makes room for it."""
        if len(self.talks) >= self.limits.connections and self.idle:
            oldest = next(iter(self.idle))
            del self.idle[oldest]
            oldest.close()
            return True
        return len(self.talks) < self.limits.connections

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer the next request; return whether another one may follow."""
        first = await self._first_byte(reader, writer)
        if not first:
            return False
        head = None
        try:
            async with asyncio.timeout(self.limits.request_s):
                head = await read_head(reader, first)
                self._check(head)
                body = await self._body(head, reader, writer)
        except HttpError as error:
            if head is None or head.length or "transfer-encoding" in head.headers:  # where the next one starts is lost
                return await self._refuse(reader, writer, error)
            return await self._send(writer, head, error_response(error))
        except asyncio.IncompleteReadError:
            return await self._refuse(reader, writer, HttpError(400, "the request ends too early; send all of it"))
        except TimeoutError:
            seconds = f"{self.limits.request_s:g} s"
            return await self._refuse(
                reader, writer, HttpError(408, f"the request took over {seconds}; send it faster")
            )
        try:
            return await self._send(writer, head, await self._respond(head, body))
        finally:
            self.held_bytes -= len(body)

    async def _first_byte(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Return the first byte of the next request, or nothing where none comes."""
        self.idle[writer] = None
        try:
            async with asyncio.timeout(self.limits.idle_s):
                return await reader.read(1)
        except TimeoutError:
            return b""
        finally:
            self.idle.pop(writer, None)

    def _check(self, head: Head) -> None:
        """Raise `HttpError` for a request that will be refused whatever its body is."""
        if self.checks_host and "host" in head.headers and not _is_local(head.headers["host"]):
            # A page elsewhere whose name was made to lead here (DNS rebinding) would read the answers.
            raise HttpError(421, f"Host: {head.headers['host'][:60]!r}; expected localhost, 127.0.0.1 or [::1]")
        if head.path not in _METHODS and head.path not in self.files:
            raise HttpError(404, f"{head.path[:60]!r}: nothing there; expected /, /predict or /health")
        methods = _METHODS.get(head.path, ("GET", "HEAD"))
        if head.method not in methods:
            raise HttpError(405, f"{head.method}: expected {' or '.join(methods)}", Allow=", ".join(methods))
        if head.length > self.limits.body_bytes:
            most = self.limits.body_bytes
            raise HttpError(413, f"body: {head.length} bytes; expected at most {most}; scale the image down")
        if head.path == "/predict":
            answers.check(head)

    async def _body(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Return the body, counted in what all bodies may hold until it is answered."""
        if "expect" in head.headers:
            if head.headers["expect"].lower() != "100-continue":
                raise HttpError(417, "Expect: expected 100-continue")
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray()
        try:
            while len(body) < head.length:
                chunk = await reader.read(min(_CHUNK, head.length - len(body)))
                if not chunk:
                    raise asyncio.IncompleteReadError(b"", head.length)
                body += chunk
                self.held_bytes += len(chunk)
                if self.held_bytes > self.limits.bodies_bytes:
                    raise HttpError(503, "too much is being sent at once; try again", Retry_After="1")
        except BaseException:
            self.held_bytes -= len(body)
            raise
        return bytes(body)

    async def _respond(self, head: Head, body: bytes) -> Response:
        try:
            if head.path == "/health":
                return json_response(200, self.health())
            if head.path == "/predict":
                return await self._predict(head, body)
            return self.files[head.path]
        except HttpError as error:
            return error_response(error)

    async def _predict(self, head: Head, body: bytes) -> Response:
        """Return the worker's answer; the queue before it is short, so that a client need not wait to be refused."""
        if self.waiting >= self.limits.queue:
            raise HttpError(503, f"{self.waiting} predictions are waiting; try again", Retry_After="1")
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self.worker, self._answer, head, body)
        future.add_done_callback(self._is_done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.answer_s)
        except TimeoutError:
            raise HttpError(503, f"no answer in {self.limits.answer_s:g} s; try again", Retry_After="5") from None

    def _is_done(self, _: asyncio.Future[Response]) -> None:
        self.waiting -= 1

    def _answer(self, head: Head, body: bytes) -> Response:
        """Run in the worker's thread; whatever goes wrong there is an answer too."""
        try:
            content_type = head.headers.get("content-type", "")
            values = answers.answer(self.predictor, body, content_type, head.query, self.limits.pixels)
        except HttpError as error:
            return error_response(error)
        except Exception as error:
            self.say(f"error: {head.path}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return error_response(HttpError(500, "the prediction failed; the server's output says why"))
        found = values.get("digits", [values])
        self.counts["predictions"] += len(found)
        self.counts["rejected"] += sum(not one["accepted"] for one in found)
        return json_response(200, values)

    def health(self) -> dict[str, Any]:
        """Return what /health says."""
        return {
            "status": "ok",
            "model": self.predictor.model.path.name,
            "sha256": self.sha256,
            "runtime": self.predictor.model.runtime,
            "labels": self.predictor.labels,
            "input": self.predictor.shape,
            "reads": "digits" if self.predictor.reads_digits else "images",
            "uptime_s": round(time.monotonic() - self.started, 1),
            "counts": {
                "requests": self.statuses.total(),
                **self.counts,
                "waiting": self.waiting,
                "connections": len(self.talks),
                "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            },
            "limits": asdict(self.limits),
        }

    async def _send(self, writer: asyncio.StreamWriter, head: Head, response: Response) -> bool:
        """Send a response; return whether the connection stays."""
        self.statuses[response.status] += 1
        stays = head.keeps_alive and not self.stopping.is_set()
        writer.write(to_bytes(response, keeps_alive=stays, with_body=head.method != "HEAD"))
        async with asyncio.timeout(self.limits.request_s):
            await writer.drain()
        return stays

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: HttpError) -> bool:
        """Send an error and end the connection, what still comes in thrown away for a moment.

        A socket closed with bytes unread resets the connection, and the client would not see the answer.
        """
        self.statuses[error.status] += 1
        writer.write(to_bytes(error_response(error), keeps_alive=False))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await writer.drain()
                writer.write_eof()
                while await reader.read(_CHUNK):
                    pass
        return False

    def _model(self) -> str:
        return f"{self.predictor.model.path.name} in {self.predictor.model.runtime}"


async def _end(writer: asyncio.StreamWriter) -> None:
    """Close a connection, and drop what its client does not read."""
    writer.close()
    try:
        async with asyncio.timeout(_LINGER_S):
            await writer.wait_closed()
    except OSError:
        writer.transport.abort()


def _is_loopback(host: str) -> bool:
    """Return whether an address, which may have a zone, is one of this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False


def _is_local(host: str) -> bool:
    """Return whether a Host header names this machine, whatever the port: a tunnel may have another."""
    name = re.sub(r":[0-9]*$", "", host)
    return name.lower() == "localhost" or _is_loopback(name.strip("[]"))


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
