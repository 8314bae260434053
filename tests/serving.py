"""A server in a process of its own, and plain sockets to talk to it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.conftest import RELEASED, ROOT

MODEL = RELEASED / "int8.tflite"
# The command line has no option for limits; a process with smaller ones calls what it calls.
_LIMITED = """
import sys
from edgecnn.device import Predictor
from edgecnn.device.server import Limits, serve
limits = Limits(**dict((k, float(v) if "." in v else int(v)) for k, v in (a.split("=") for a in sys.argv[2:])))
sys.exit(serve(Predictor(sys.argv[1]), "127.0.0.1:0", say=lambda line: print(line, flush=True), limits=limits))
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def values(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    url: str
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send one well-formed request on a connection of its own."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def predict(self, image: bytes, query: str = "", content_type: str = "image/png") -> Answer:
        return self.ask("POST", f"/predict{query}", image, Content_Type=content_type)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def send(self, *parts: bytes, ends: bool = False) -> bytes:
        """Send bytes as they are and return all that comes back until the server closes."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            return rest(connection)

    def is_well(self) -> bool:
        return self.process.poll() is None and self.ask("GET", "/health").status == 200


def rest(connection: socket.socket) -> bytes:
    """Return what a connection says until its end."""
    found = b""
    while chunk := connection.recv(65_536):
        found += chunk
    return found


def statuses(answers: bytes) -> list[int]:
    """Return the statuses of responses that follow each other."""
    stream = BytesIO(answers)
    found = []
    while line := stream.readline():
        found.append(int(line.split()[1]))
        length = 0
        while (header := stream.readline().strip()) != b"":
            name, _, value = header.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        stream.read(length)
    return found


@contextmanager
def serving(*command: object, **limits: float) -> Iterator[Server]:
    """Run `command`, or a server with other limits, and end it as a service manager would."""
    arguments = command or ("-c", _LIMITED, MODEL, *(f"{name}={value}" for name, value in limits.items()))
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split(" ")[0]
        assert url.startswith("http://"), process.communicate(timeout=60)
        yield Server(process, url, int(url.rsplit(":", 1)[1].strip("/")))
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode in (0, 130), f"exit code {process.returncode}: {said}"
    assert said == "", f"exit code {process.returncode}: {said}"


def encoded(picture: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Return a picture as a file of a format."""
    file = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, form, **options)
    return file.getvalue()


def saved(folder: Path, content: bytes, name: str) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
