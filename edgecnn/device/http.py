"""As much of HTTP/1.1 (RFC 9112) as the server needs: a request read from a stream, within limits; a response's bytes.

What is not needed is refused: bodies without a length, targets that are not a path, obsolete line folding.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

MAX_LINE = 8_192  # bytes; a stream's own limit, so that it stops reading there
MAX_HEAD = 16_384
MAX_HEADERS = 64
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([A-Za-z-]{1,32}) (\S+) HTTP/(\d)\.(\d)")
_SINGLE = ("host", "content-length", "content-type", "transfer-encoding", "expect")  # a second one is an attack


class HttpError(Exception):
    """An answer other than what was asked for: a status, a line that says why, and headers that go with it."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass(frozen=True)
class Head:
    """A request without its body; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    keeps_alive: bool
    length: int  # of the body, in bytes


@dataclass(frozen=True)
class Response:
    """What goes back: a status, a body and its type, and headers beside those that all responses have."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def json_response(status: int, values: dict[str, Any], **headers: str) -> Response:
    """Return `values` as a JSON response."""
    return Response(status, json.dumps(values).encode() + b"\n", headers=headers)


def error_response(error: HttpError) -> Response:
    """Return an error as ``{"error": "..."}``."""
    return json_response(error.status, {"error": str(error)}, **error.headers)


async def read_head(stream: asyncio.StreamReader, first: bytes = b"") -> Head:
    """Return the next request's head from `stream`, whose first bytes may have been read; raises `HttpError`."""
    line = first + await _line(stream, 414, "request line")
    while line == b"\r\n":  # some clients end a body with one that they do not count
        line = await _line(stream, 414, "request line")
    method, path, query, minor = _request_line(line)
    headers = await _headers(stream)
    if minor and "host" not in headers:
        raise HttpError(400, "Host: missing; HTTP/1.1 needs it")
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    keeps_alive = "close" not in tokens and (minor > 0 or "keep-alive" in tokens)
    return Head(method, path, query, headers, keeps_alive, _length(headers))


async def _line(stream: asyncio.StreamReader, status: int, what: str) -> bytes:
    """Return a line with its end; one that is too long is refused with `status`."""
    try:
        return await stream.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        raise HttpError(status, f"{what}: over {MAX_LINE} bytes; expected fewer") from None


def _request_line(line: bytes) -> tuple[str, str, dict[str, str], int]:
    """Return method, path, query and the minor version of HTTP/1."""
    parts = _REQUEST_LINE.fullmatch(line.removesuffix(b"\r\n"))
    if parts is None:
        raise HttpError(400, f"request line: {line[:60]!r}; expected a method, a path and HTTP/1.1")
    if parts[3] != b"1":
        raise HttpError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    path, _, query = parts[2].decode("latin-1").partition("?")
    if not path.startswith("/"):
        raise HttpError(400, f"target: {path[:60]!r}; expected a path")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=8)
    except ValueError:
        raise HttpError(400, f"query: {query[:60]!r}; expected name=value, at most eight") from None
    return parts[1].decode(), path, dict(pairs), int(parts[4])


async def _headers(stream: asyncio.StreamReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    seen = 0
    for _ in range(MAX_HEADERS + 1):
        line = await _line(stream, 431, "header")
        if line == b"\r\n":
            return headers
        seen += len(line)
        if seen > MAX_HEAD:
            raise HttpError(431, f"headers: over {MAX_HEAD} bytes; expected fewer")
        name, value = _header(line)
        if name in headers and name in _SINGLE:
            raise HttpError(400, f"{name}: given twice; expected it once")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise HttpError(431, f"headers: over {MAX_HEADERS}; expected fewer")


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.removesuffix(b"\r\n").partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or re.search(rb"[\r\n\0]", value):
        raise HttpError(400, f"header: {line[:60]!r}; expected name: value and both line ends, CR LF")
    return name.decode().lower(), value.strip(b" \t").decode("latin-1")


def _length(headers: dict[str, str]) -> int:
    """Return the length of the body in bytes; raises `HttpError` for one that is not stated."""
    length = headers.get("content-length")
    if "transfer-encoding" in headers:
        if length is not None:
            raise HttpError(400, "Transfer-Encoding and Content-Length: expected one of them")
        raise HttpError(411, "Transfer-Encoding: not read here; send the body whole, with Content-Length")
    if length is not None and not re.fullmatch(r"[0-9]{1,18}", length):
        raise HttpError(400, f"Content-Length: {length[:40]!r}; expected a number of bytes")
    return int(length or 0)


# A page that loads nothing but its own files, in nobody's frame.
_SAFETY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def to_bytes(response: Response, *, keeps_alive: bool, with_body: bool = True) -> bytes:
    """Return a response as it is sent; without its body, but with its length, where HEAD was asked."""
    headers = {
        "Date": formatdate(usegmt=True),
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Connection": "keep-alive" if keeps_alive else "close",
        **_SAFETY,
        **response.headers,
    }
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head + response.body if with_body else head
