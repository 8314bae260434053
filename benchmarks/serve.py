"""Load predict.pyz --serve on loopback, then send it rubbish, against the goals: python -m benchmarks.serve.

The load is open: every request has its time, 200 a second, whether or not earlier ones were answered, and its latency
counts from that time, so that a server that stalls cannot hide it (G. Tene, "How NOT to Measure Latency", 2013).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from edgecnn import artifact
from edgecnn.bench.conditions import Watch, conditions, reasons
from edgecnn.device import Predictor
from edgecnn.device.preprocessing import to_mnist
from edgecnn.export.pyz import to_pyz

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
MODEL = ROOT / "models/edge35k/int8.tflite"
RATE, CONNECTIONS, SECONDS, MALFORMED = 200, 16, 60, 1000
RATE_BESIDE = 50  # of good requests, beside the malformed ones
CANVASES = 0.1  # of the requests carry a drawing as a page's canvas gives it, 280x280; the others MNIST's 28x28
GOALS = {"p99_ms": 50.0, "lost": 0, "rss_growth_bytes": 5_000_000, "malformed_lost": 0, "malformed_unexpected": 0}
SLOW_SHARE = 0.1  # of the malformed requests; each ends after the server's deadline
SLOW_AT_ONCE, RUBBISH_AT_ONCE = 50, 8
_STROKES = {
    "0": [(50, 12), (30, 24), (24, 50), (30, 76), (50, 88), (70, 76), (76, 50), (70, 24), (50, 12)],
    "1": [(44, 22), (54, 12), (52, 88)],
    "2": [(28, 28), (40, 14), (62, 16), (70, 32), (58, 54), (26, 86), (76, 84)],
    "7": [(24, 16), (76, 14), (58, 50), (48, 90)],
}


@dataclass(frozen=True)
class Shot:
    """An image file and the label that the same predictor gives it."""

    image: bytes
    label: str


@dataclass
class Tally:
    """What became of requests: latencies in ms of those that were answered right, and why others were not."""

    latencies_ms: list[float] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return counts and percentiles."""
        found = np.asarray(self.latencies_ms or [float("nan")])
        figures = {f"p{p}_ms": round(float(np.percentile(found, p)), 2) for p in (50, 90, 99)}
        counts = {"requests": len(self.latencies_ms) + len(self.lost), "lost": len(self.lost)}
        return {**counts, "why_lost": dict(Counter(self.lost)), **figures, "max_ms": round(float(found.max()), 2)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write serve.json where nothing was cut short; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of load; fewer: nothing is recorded")
    parser.add_argument("--malformed", type=int, default=MALFORMED, help="requests; fewer: nothing is recorded")
    options = parser.parse_args(arguments)
    result = measured(options.seconds, options.malformed)
    if options.seconds >= SECONDS and options.malformed >= MALFORMED:
        artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("load", "malformed")}, indent=1))
    print(f"not clean: {'; '.join(result['conditions']['not_clean']) or 'nothing to say'}")
    print(f"missed: {', '.join(result['missed']) or 'none'}")
    return int(bool(result["missed"]))


def measured(seconds: float, malformed: int) -> dict[str, Any]:
    """Return what serve.json holds."""
    before, watch = conditions(), Watch()
    with serving() as (process, port):
        load = loaded(process.pid, port, seconds)
        rubbish = pelted(process.pid, port, malformed)
        is_alive = process.poll() is None
    found = before | watch.seen()
    figures = {
        "p99_ms": load["p99_ms"],
        "lost": load["lost"],
        "rss_growth_bytes": load["rss_growth_bytes"],
        "malformed_lost": rubbish["good"]["lost"],
        "malformed_unexpected": sum(row["unexpected"] for row in rubbish["kinds"].values()),
    }
    missed = [f"{name} {figures[name]} (goal {goal})" for name, goal in GOALS.items() if not figures[name] <= goal]
    return {
        "conditions": found | {"not_clean": reasons(found), "versions": artifact.library_versions()},
        "goals": GOALS,
        "missed": missed + ([] if is_alive else ["the server ended"]),
        "load": load,
        "malformed": rubbish,
    }


@contextmanager
def serving() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run predict.pyz as users do, on a free port; yield the process and the port."""
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "predict.pyz"
        packed.write_bytes(to_pyz())
        command = [sys.executable, str(packed), "--model", str(MODEL), "--serve", "127.0.0.1:0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline().split(" ")[0].rsplit(":", 1)[1].strip("/"))
        finally:
            process.terminate()
            process.wait(60)


def shots() -> list[Shot]:
    """Return a hundred drawings, each in its own hand, a tenth of them as large as a page's canvas."""
    predictor, chance = Predictor(MODEL), random.Random(0)
    found = []
    for number in range(100):
        drawing = drawn(chance.choice(list(_STROKES.values())), chance)
        picture = drawing if number < 100 * CANVASES else to_mnist(drawing)
        found.append(Shot(encoded(Image.fromarray(picture), "PNG"), predictor.predict(picture).label))
    chance.shuffle(found)
    return found


def drawn(stroke: list[tuple[int, int]], chance: random.Random) -> np.ndarray:
    """Return a stroke in black on white, uint8 [280, 280], its size, place, corners and pen by chance."""
    sheet = Image.new("L", (280, 280), 255)
    scale, left, top, pen = (
        chance.uniform(1.2, 2.2),
        chance.uniform(10, 60),
        chance.uniform(5, 60),
        chance.randint(14, 24),
    )
    points = [(left + scale * (x + chance.gauss(0, 2)), top + scale * (y + chance.gauss(0, 2))) for x, y in stroke]
    brush = ImageDraw.Draw(sheet)
    brush.line(points, fill=0, width=pen, joint="curve")
    for x, y in points:
        brush.ellipse([x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2], fill=0)
    return np.asarray(sheet)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return an image as a file of a format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def loaded(pid: int, port: int, seconds: float) -> dict[str, Any]:
    """Return what an open load for so many seconds met, and how the server's memory grew from before its start."""
    sizes, before_s = [rss_bytes(pid)], cpu_s(pid)
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            sizes.append(rss_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    tally = open_load(port, RATE, lambda due_s: due_s < seconds)
    busy = {"server_busy_cores": round((cpu_s(pid) - before_s) / seconds, 3)}
    stop.set()
    watcher.join()
    asked = {"rate_per_s": RATE, "seconds": seconds, "connections": CONNECTIONS, "share_of_280x280": CANVASES}
    memory = {"rss_before_bytes": sizes[0], "rss_most_bytes": max(sizes), "rss_growth_bytes": max(sizes) - sizes[0]}
    return asked | tally.summary() | busy | memory


def open_load(port: int, rate: float, goes_on: Callable[[float], bool]) -> Tally:
    """Send a request every 1 / `rate` s, on whichever of the connections is free, while `goes_on` of its time says so.

    Where none is free it is sent late, and its latency has the wait in it.
    """
    images, tally, numbers = shots(), Tally(), itertools.count()
    start = time.perf_counter() + 0.1

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        for number in numbers:
            due_s = number / rate
            if not goes_on(due_s):
                break
            time.sleep(max(0.0, start + due_s - time.perf_counter()))
            problem = asked(connection, images[number % len(images)])
            if problem:
                tally.lost.append(problem)
                connection.close()
            else:
                tally.latencies_ms.append((time.perf_counter() - start - due_s) * 1e3)
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(CONNECTIONS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return tally


def asked(connection: HTTPConnection, shot: Shot) -> str:
    """Ask for a prediction; return what was wrong with the answer, nothing where it was right."""
    try:
        connection.request("POST", "/predict", shot.image, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, HTTPException) as error:
        return type(error).__name__
    if answer.status != 200:
        return f"status {answer.status}"
    label = json.loads(content)["label"]
    return "" if label == shot.label else f"{label} for {shot.label}"


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has taken."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


# Malformed requests: what is sent, and the status that must come back (None: the client leaves without looking).


def kinds() -> dict[str, tuple[list[bytes], int | None]]:
    """Return the malformed requests by name: their parts, and the status to expect."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    jpeg, seven = encoded(Image.fromarray(noise), "JPEG"), shots()[0].image
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    host = b"Host: localhost\r\n"
    return {
        "truncated JPEG": ([posted(jpeg[: len(jpeg) // 2])], 400),
        "truncated PNG": ([posted(seven[:-30])], 400),
        "zero bytes": ([posted(b"")], 400),
        "not an image": ([posted(b"not an image" * 100)], 400),
        "decompression bomb": ([posted(bomb)], 413),
        "huge, as stated": ([posted(b"", length=10**9)], 413),
        "huge, and sent": ([posted(b"", length=9 * 2**20), bytes(9 * 2**20)], 413),
        "wrong type": ([posted(seven, content_type=b"application/json")], 415),
        "chunked": ([b"POST /predict HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], 411),
        "no request": ([bytes(range(256)) * 4 + b"\r\n"], 400),
        "flood of headers": ([b"GET / HTTP/1.1\r\n" + host + b"A: b\r\n" * 5000], 431),
        "body never ends": ([posted(seven, length=len(seven) + 1)], 400),
        "client leaves": ([posted(seven, length=len(seven) + 1)], None),
    }


def posted(body: bytes, *, content_type: bytes = b"image/png", length: int | None = None) -> bytes:
    """Return a request with a body, and with the length that it states."""
    stated = len(body) if length is None else length
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (content_type, stated) + body


def pelted(pid: int, port: int, count: int) -> dict[str, Any]:
    """Return what became of so many malformed requests and of the good ones that were sent meanwhile."""
    before = rss_bytes(pid)
    slow = round(count * SLOW_SHARE)
    bad, is_over = list(kinds().items()), threading.Event()
    with (
        ThreadPoolExecutor(1) as beside,
        ThreadPoolExecutor(SLOW_AT_ONCE) as crawl,
        ThreadPoolExecutor(RUBBISH_AT_ONCE) as throw,
    ):
        good = beside.submit(open_load, port, RATE_BESIDE, lambda _: not is_over.is_set())
        crawlers = [crawl.submit(crawled, port) for _ in range(slow)]
        thrown = [
            (name, status, throw.submit(sent, port, parts, status))
            for name, (parts, status) in itertools.islice(itertools.cycle(bad), count - slow)
        ]
        results = [(name, status, future.result()) for name, status, future in thrown]
        results += [("slow sender", 408, future.result()) for future in crawlers]
        is_over.set()
        tally = good.result()
    rows: dict[str, dict[str, Any]] = {}
    for name, status, got in results:
        row = rows.setdefault(name, {"expected": status, "sent": 0, "unexpected": 0, "got": Counter()})
        row["sent"] += 1
        row["unexpected"] += got != status
        row["got"][str(got)] += 1
    return {
        "requests": count,
        "kinds": rows,
        "good": {"rate_per_s": RATE_BESIDE, **tally.summary()},
        "rss_growth_bytes": rss_bytes(pid) - before,
    }


def sent(port: int, parts: list[bytes], status: int | None) -> int | str | None:
    """Send a request and end there; return the status of the answer, or why there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
                if status is None:
                    return None
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused before all was sent, as it should be
            return int(connection.recv(65_536).split()[1])
    except (OSError, IndexError) as error:
        return type(error).__name__


def crawled(port: int) -> int | str | None:
    """Send a byte a second until the server has enough; return the status of its answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(posted(b"", length=1000))
            for _ in range(100):
                connection.sendall(b"x")
                try:
                    return int(connection.recv(65_536).split()[1])
                except TimeoutError:
                    continue
    except (OSError, IndexError) as error:
        return type(error).__name__
    return "none"


if __name__ == "__main__":
    sys.exit(main())
