"""The server: what it answers, what it refuses and how, and that nothing a client sends stops it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.device.preprocessing.pictures import read_gray
from edgecnn.device.preprocessing.segment import MOST_DIGITS
from edgecnn.export.pyz import to_pyz
from tests.conftest import ROOT
from tests.drawing import PAPERS, photo, plain, write
from tests.serving import MODEL, Server, encoded, rest, saved, serving, statuses

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="models/edge35k is not released yet")
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
SEVEN = photo(write("seven", plain(280, 280), left=40, top=40, size=200, pen=18))
NOISE = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return predict.pyz as users start it; what a test sends must leave it well."""
    pyz = saved(tmp_path_factory.mktemp("serving"), to_pyz(), "predict.pyz")
    with serving(pyz, "--model", MODEL, "--serve", "127.0.0.1:0") as started:
        yield started
        assert started.is_well()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Server]:
    """Return a server that waits for nobody long."""
    with serving(request_s=0.5, idle_s=0.5, bodies_bytes=100_000, body_bytes=90_000, connections=4) as started:
        yield started
        assert started.is_well()


# What it answers.


def test_a_digit_is_read(server: Server) -> None:
    answer = server.predict(encoded(SEVEN), "?pixels=1")
    assert answer.status == 200
    values = answer.values
    assert values["label"] == "7"
    assert values["probability"] == values["probabilities"]["7"] > 0.9
    assert list(values["probabilities"]) == [str(digit) for digit in range(10)]
    assert values["accepted"] is True
    assert values["reason"] == ""
    assert {"read", "preprocess", "infer"} <= set(values["timings_us"])
    assert np.array_equal(values["pixels"], to_mnist(SEVEN))
    assert "pixels" not in server.predict(encoded(SEVEN)).values


def test_784_bytes_are_pixels(server: Server) -> None:
    pixels = to_mnist(SEVEN)
    values = server.predict(pixels.tobytes(), "?pixels=1", "application/octet-stream").values
    assert values["label"] == "7"
    assert np.array_equal(values["pixels"], pixels)


def test_a_page_of_digits_is_read_in_order(server: Server) -> None:
    paper = plain(300, 700)
    for number, name in enumerate(("two", "zero", "four")):
        paper = write(name, paper, left=80 + 170 * number, top=70, size=130, pen=11)
    values = server.predict(encoded(photo(paper)), "?segment=1&pixels=1").values
    assert values["rows"] == [["2", "0", "4"]]
    assert [digit["label"] for digit in values["digits"]] == ["2", "0", "4"]
    assert all(digit["row"] == 0 and len(digit["box"]) == 4 for digit in values["digits"])
    assert np.shape(values["digits"][0]["pixels"]) == (28, 28)


def test_a_blank_picture_is_rejected_with_the_reason(server: Server) -> None:
    values = server.predict(encoded(Image.new("L", (90, 90), 200))).values
    assert values["accepted"] is False
    assert values["reason"] == "no ink on the paper"
    assert server.ask("GET", "/health").values["counts"]["rejected"] > 0


@pytest.mark.parametrize("content_type", ["image/png", "image/whatever; a=b", "application/x-www-form-urlencoded"])
def test_an_image_may_call_itself_what_clients_call_it(server: Server, content_type: str) -> None:
    assert server.predict(encoded(SEVEN), content_type=content_type).values["label"] == "7"


def palette_with_transparency() -> bytes:
    image = Image.fromarray(SEVEN).convert("P")
    return encoded(image, transparency=int(np.asarray(image)[0, 0]))


def alpha() -> bytes:
    return encoded(np.dstack([np.zeros_like(SEVEN)] * 3 + [255 - SEVEN]))


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (lambda: encoded(Image.fromarray(SEVEN).convert("CMYK"), "JPEG"), "CMYK JPEG"),
        (lambda: encoded(SEVEN.astype(np.uint16) * 257), "16-bit PNG"),
        (lambda: encoded(Image.fromarray(SEVEN).convert("1")), "1-bit PNG"),
        (lambda: encoded(Image.fromarray(SEVEN).convert("P")), "palette PNG"),
        (palette_with_transparency, "palette PNG with a transparent color"),
        (alpha, "PNG with alpha"),
        (lambda: encoded(SEVEN, "GIF", save_all=True, append_images=[Image.fromarray(255 - SEVEN)] * 3), "animation"),
        (lambda: encoded(SEVEN, "TIFF"), "TIFF"),
        (lambda: encoded(SEVEN, "WEBP"), "WebP"),
        (lambda: encoded(SEVEN, "BMP"), "BMP"),
        (lambda: encoded(SEVEN, "PPM"), "PGM"),
        (lambda: encoded(Image.fromarray(SEVEN).convert("RGB"), "JPEG", progressive=True), "progressive JPEG"),
    ],
)  # fmt: skip
def test_any_kind_of_image_is_read(server: Server, image: Callable[[], bytes], kind: str) -> None:
    answer = server.predict(image())
    assert (answer.status, answer.values.get("label")) == (200, "7"), (kind, answer.body)


def test_health_says_what_runs_and_counts(server: Server) -> None:
    before = server.ask("GET", "/health").values
    assert before["status"] == "ok"
    assert (before["model"], before["runtime"]) == ("int8.tflite", "litert")
    assert before["sha256"] in MODEL.with_name("int8.tflite.json").read_text()
    server.predict(encoded(SEVEN))
    server.predict(b"x")
    after = server.ask("GET", "/health").values
    assert after["counts"]["predictions"] == before["counts"]["predictions"] + 1
    assert after["counts"]["statuses"]["400"] == before["counts"]["statuses"].get("400", 0) + 1
    assert after["uptime_s"] >= before["uptime_s"]
    assert after["limits"]["body_bytes"] == 8 * 2**20


def test_the_page_comes_with_all_its_files_and_may_load_no_others(server: Server) -> None:
    for path, kind in (("/", "html"), ("/page.css", "css"), ("/page.js", "javascript"), ("/icon.svg", "svg")):
        answer = server.ask("GET", path)
        assert answer.status == 200
        assert kind in answer.headers["content-type"]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert b"https://" not in answer.body
        assert "access-control-allow-origin" not in answer.headers
        head = server.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(answer.body))


# What it refuses: a status and a line, and it goes on.


def eps() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


def of_many_scans() -> bytes:
    whole = encoded(Image.fromarray(SEVEN).convert("RGB"), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + 200 * last + whole[-2:]


def crowd() -> np.ndarray:
    page = np.full((1200, 1200), 230, np.uint8)
    for row in range(10, 1180, 40):
        for column in range(10, 1180, 40):
            page[row : row + 24, column : column + 5] = 30
    return page


@pytest.mark.parametrize(
    ("image", "status", "said"),
    [
        (lambda: b"", 400, "body: 0 bytes; expected an image file"),
        (lambda: b"not an image", 400, "image: not a readable image (of no known format)"),
        (lambda: encoded(NOISE[:400, :400], "JPEG")[:20_000], 400, "image: not a readable image (image file is trunc"),
        (lambda: encoded(SEVEN)[:-200], 400, "image: not a readable image"),
        (lambda: encoded(Image.new("1", (20_000, 20_000))), 413, "far too many pixels; expected at most 16000000"),
        (lambda: encoded(Image.new("1", (5_000, 4_000))), 413, "5000x4000 pixels; expected at most 16000000"),
        (lambda: encoded(Image.new("F", (90, 90)), "TIFF"), 400, "floating-point pixels; expected 8 or 16 bits"),
        (eps, 400, "EPS, which is a program; expected pixels"),
        (of_many_scans, 400, "a JPEG of over 100 scans; expected a photo"),
    ],
)  # fmt: skip
def test_a_bad_image_costs_a_line(server: Server, image: Callable[[], bytes], status: int, said: str) -> None:
    answer = server.predict(image())
    assert answer.status == status
    assert said in answer.values["error"]
    assert list(answer.values) == ["error"]


def test_a_page_of_noise_is_refused_at_once(server: Server) -> None:
    answer = server.predict(encoded(crowd()), "?segment=1")
    assert answer.status == 400
    assert f"expected a page of at most {MOST_DIGITS} digits" in answer.values["error"]


@pytest.mark.parametrize(
    ("content_type", "query", "body", "status", "said"),
    [
        ("multipart/form-data; boundary=x", "", b"--x", 415, "'multipart/form-data'; expected an image's"),
        ("application/json", "", b"{}", 415, "'application/json'"),
        ("application/octet-stream", "", b"x" * 783, 400, "body of application/octet-stream: 783 bytes; expected 784"),
        ("image/png", "?sgment=1", b"x", 400, "sgment='1'; expected segment or pixels, each 0 or 1"),
        ("image/png", "?segment=yes", b"x", 400, "segment='yes'"),
        ("image/png", "?segment", b"x", 400, "expected name=value"),
        ("image/png", "?" + "&".join(f"a{n}=1" for n in range(9)), b"x", 400, "at most eight"),
    ],
)
def test_a_wrong_type_or_query_is_named(
    server: Server, content_type: str, query: str, body: bytes, status: int, said: str
) -> None:
    answer = server.predict(body, query, content_type)
    assert answer.status == status
    assert said in answer.values["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("GET", "/predict", 405, "POST"),
        ("HEAD", "/predict", 405, "POST"),
        ("DELETE", "/", 405, "GET, HEAD"),
        ("OPTIONS", "/predict", 405, "POST"),
        ("POST", "/health", 405, "GET, HEAD"),
        ("GET", "/nothing", 404, None),
        ("GET", "/predict/", 404, None),
        ("GET", "/../../../../etc/passwd", 404, None),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, None),
        ("GET", "//etc/passwd", 404, None),
        ("GET", "/page/page.js", 404, None),
        ("GET", "/page.js%00", 404, None),
    ],
)
def test_only_what_is_listed_is_there(server: Server, method: str, path: str, status: int, allowed: str | None) -> None:
    answer = server.ask(method, path)
    assert answer.status == status
    assert answer.headers.get("allow") == allowed
    assert b"root:" not in answer.body


LINE, HOST, END = b"POST /predict HTTP/1.1\r\n", b"Host: localhost\r\n", b"\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\nrubbish\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\n", 400),
        (b"GET /health\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n" + HOST + END, 400),
        (b"GET /health HTTP/2.0\r\n\r\n", 505),
        (b"GET /health HTTP/1.1\n\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + HOST + END, 400),
        (b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n", 400),
        (LINE + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (LINE + HOST + b"Content-Length: 1e3\r\n\r\n", 400),
        (LINE + HOST + b"Content-Length: \xb2\r\n\r\n", 400),
        (LINE + HOST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400),
        (LINE + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (LINE + HOST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", 411),
        (LINE + HOST + END, 411),
        (LINE + HOST + b"Content-Length: 99999999\r\n\r\n", 413),
        (LINE + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (LINE + HOST + b"Content-Length: 5\r\nExpect: wonders\r\n\r\n", 417),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 1000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"A%d: %s\r\n" % (n, b"b" * 2000) for n in range(60)) + b"\r\n", 431),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_and_the_connection_closed(server: Server, sent: bytes, status: int) -> None:
    answer = server.send(sent, ends=True)
    assert statuses(answer) == [status]
    assert b'{"error": "' in answer


@pytest.mark.parametrize("cut", [5, 40, 90, 200])
def test_a_request_that_ends_too_early_is_refused(server: Server, cut: int) -> None:
    image = encoded(SEVEN)
    answer = server.send((POST % len(image) + image)[:cut], ends=True)
    assert statuses(answer) == [400]
    assert b"ends too early" in answer


def test_rubbish_never_stops_it(server: Server) -> None:
    random = np.random.default_rng(0)
    image = encoded(SEVEN)
    for _ in range(100):
        damaged = bytearray(POST % len(image) + image)
        for place in random.integers(0, len(damaged), 5):
            damaged[place] = random.integers(256)
        assert all(200 <= status < 600 for status in statuses(server.send(bytes(damaged), ends=True)))
        damaged = bytearray(image)
        for place in random.integers(0, len(damaged), 5):
            damaged[place] = random.integers(256)
        assert server.predict(bytes(damaged)).status in (200, 400, 413)
    assert server.predict(image).values["label"] == "7"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:1", 200), ("127.0.0.1:80", 200), ("[::1]:80", 200), ("127.0.0.2", 200),
        ("example.org", 421), ("localhost.example.org", 421), ("10.0.0.1", 421), ("127.0.0.1.example.org", 421),
        ("", 421), ("localhost:80:80", 421),
    ],
)  # fmt: skip
def test_names_of_others_are_refused_on_loopback(server: Server, host: str, status: int) -> None:
    assert server.ask("GET", "/health", Host=host).status == status


# Connections.


def test_a_connection_carries_many_requests_also_sent_ahead(server: Server) -> None:
    image = encoded(SEVEN)
    head = GET.replace(b"GET", b"HEAD")
    ahead = GET + b"\r\n" + POST % len(image) + image + head + GET
    answer = server.send(ahead, GET.replace(b"health", b"no"), POST % 1 + b"x" + LAST + GET)
    start = answer.index(b"HTTP/1.1", answer.index(b'"label": "7"'))  # of the one without a body
    end = answer.index(b"\r\n\r\n", start) + 4
    assert statuses(answer[:start]) == [200, 200]
    assert statuses(answer[end:]) == [200, 404, 400, 200], "nothing after the one that asks to close"


def test_http_1_0_closes_unless_asked_not_to(server: Server) -> None:
    assert statuses(server.send(b"GET /health HTTP/1.0\r\n\r\n" + GET)) == [200]
    kept = b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert statuses(server.send(kept + kept + LAST)) == [200, 200, 200]


def test_a_client_that_asks_first_is_told_to_go_on(server: Server) -> None:
    image = encoded(SEVEN)
    asking = (POST % len(image)).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
    with server.connect() as connection:
        connection.sendall(asking)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(image)
        assert statuses(rest(connection)) == [200]
    refused = (POST % 10**9).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    assert statuses(server.send(refused)) == [413], "before any of it is sent"


def test_the_answer_arrives_though_the_body_was_not_read(server: Server) -> None:
    body = bytes(9 * 2**20)
    with server.connect() as connection:
        sender = threading.Thread(target=send_all, args=(connection, POST % len(body) + body))
        sender.start()
        assert connection.recv(12) == b"HTTP/1.1 413"
        connection.close()
        sender.join()


def send_all(connection: socket.socket, content: bytes) -> None:
    with contextlib.suppress(OSError):  # the server had enough
        connection.sendall(content)


def test_a_client_may_leave_at_any_time(server: Server) -> None:
    image = encoded(NOISE)
    for sent in (b"", b"PO", POST % len(image), POST % len(image) + image[:9999], POST % len(image) + image):
        with server.connect() as connection:
            connection.sendall(sent)
    assert server.predict(encoded(SEVEN)).values["label"] == "7"


@pytest.mark.parametrize("parts", [[b"GET /hea"], [b"GET /health HTTP/1.1\r\n"], [POST % 500, b"x" * 100]])
def test_a_slow_sender_is_not_waited_for(hasty: Server, parts: list[bytes]) -> None:
    assert statuses(hasty.send(*parts)) == [408]


def test_a_trickle_does_not_put_the_end_off(hasty: Server) -> None:
    with hasty.connect() as slow, hasty.connect() as other:
        slow.sendall(POST % 500)
        slow.settimeout(0.1)
        answer = b""
        for _ in range(100):
            send_all(slow, b"x")
            try:
                answer = slow.recv(9999)
                break
            except TimeoutError:
                other.sendall(GET)
                assert other.recv(9999).startswith(b"HTTP/1.1 200"), "others are served meanwhile"
        assert statuses(answer) == [408]


def test_a_connection_that_asks_nothing_is_closed(hasty: Server) -> None:
    assert hasty.send(b"") == b""
    assert statuses(hasty.send(GET)) == [200]


def test_bodies_together_have_a_limit(hasty: Server) -> None:
    with hasty.connect() as first:
        first.sendall(POST % 90_000 + bytes(60_000))
        answer = hasty.send(POST % 80_000 + bytes(79_000))
        assert statuses(answer) == [503]
        assert b"Retry-After: 1\r\n" in answer
        assert statuses(rest(first)) == [408]
    assert hasty.predict(bytes(85_000)).status == 400, "and what was held is free again"


def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    with serving(connections=2) as server, server.connect() as oldest, server.connect() as other:
        for connection in (oldest, other):
            connection.sendall(GET)
            assert connection.recv(9999).startswith(b"HTTP/1.1 200")
        assert statuses(server.send(LAST)) == [200]
        assert oldest.recv(1) == b""


def test_connections_have_a_limit() -> None:
    with serving(connections=2) as server, server.connect() as one, server.connect() as other:
        for connection in (one, other):
            connection.sendall(GET + b"GET /")
            assert connection.recv(9999).startswith(b"HTTP/1.1 200")
        answer = server.send(LAST)
        assert statuses(answer) == [503]
        assert b"too many connections" in answer
        for connection in (one, other):
            connection.sendall(b"health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(9999).startswith(b"HTTP/1.1 200"), "who was there is served"


def test_beyond_its_queue_it_says_so_at_once() -> None:
    large = encoded(NOISE, "BMP")
    with serving(queue=2) as server, ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: server.predict(large), range(8)))
        found = [answer.status for answer in answers]
        assert set(found) == {200, 503}
        assert found.count(200) >= 2
        refused = next(answer for answer in answers if answer.status == 503)
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "keep-alive"
        assert "predictions are waiting; try again" in refused.values["error"]
        assert server.predict(encoded(SEVEN)).values["label"] == "7"


# Start and stop.


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_stops_when_told_and_answers_what_was_asked(number: signal.Signals, code: int) -> None:
    with serving() as server, server.connect() as idle, server.connect() as busy:
        idle.sendall(GET)
        assert idle.recv(9999).startswith(b"HTTP/1.1 200")
        image = encoded(NOISE, "BMP")
        busy.sendall(GET + POST % len(image) + image[:9])
        assert busy.recv(9999).startswith(b"HTTP/1.1 200")
        server.process.send_signal(number)
        assert idle.recv(1) == b""
        busy.sendall(image[9:])
        answer = rest(busy)
        assert statuses(answer) == [200]
        assert b"Connection: close" in answer
        assert server.process.wait(60) == code


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere", "error: --serve: 'nowhere'; expected HOST:PORT, such as 127.0.0.1:8000 or 0.0.0.0:8000"),
        ("127.0.0.1:65536", "error: --serve: '127.0.0.1:65536'; expected HOST:PORT"),
        ("::1:8000", "error: --serve: '::1:8000'; expected HOST:PORT"),
        ("deploy/seven.png", "error: --serve: 'deploy/seven.png'; expected HOST:PORT"),
        ("192.0.2.1:8000", "error: --serve: cannot listen on 192.0.2.1:8000 ("),
    ],
)
def test_an_address_that_is_none_is_one_line(address: str, said: str) -> None:
    assert refused("--serve", address).startswith(said)


def test_a_port_that_is_taken_is_one_line(server: Server) -> None:
    assert "in use" in refused("--serve", f"127.0.0.1:{server.port}").lower()


def test_what_goes_not_together_is_one_line() -> None:
    assert "--serve and deploy/seven.png; give one of them" in refused("--serve", "127.0.0.1:0", "deploy/seven.png")
    assert "leave --segment, --json and --show out" in refused("--serve", "127.0.0.1:0", "--segment")


def refused(*arguments: str) -> str:
    """Return the one line with which a command ends at once."""
    command = [sys.executable, "-m", "edgecnn.device", "--model", str(MODEL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_workstation_serves_too_and_every_name_is_welcome_beyond_loopback() -> None:
    with serving("-m", "edgecnn", "predict", "--model", MODEL, "--serve", "0.0.0.0:0") as server:
        assert server.url == f"http://0.0.0.0:{server.port}/"
        assert server.ask("GET", "/", Host="board.local").status == 200
        assert server.predict((ROOT / "deploy" / "seven.png").read_bytes()).values["label"] == "7"


def test_what_was_asked_is_counted_in_a_file(tmp_path: Path) -> None:
    counts = tmp_path / "counts.json"
    with serving("-m", "edgecnn.device", "--model", MODEL, "--serve", "127.0.0.1:0", "--stats", counts) as server:
        for _ in range(3):
            assert server.predict(encoded(SEVEN)).status == 200
    assert json.loads(counts.read_text())["all"]["images"] == 3, "none of its own at the start"


def test_the_first_frame_of_an_animation_is_what_the_network_saw(server: Server, tmp_path: Path) -> None:
    two = photo(write("two", PAPERS["plain"](280, 280), left=40, top=40, size=200, pen=18))
    content = encoded(SEVEN, "GIF", save_all=True, append_images=[Image.fromarray(two)])
    values = server.predict(content, "?pixels=1").values
    assert values["label"] == "7"
    assert np.array_equal(values["pixels"], to_mnist(read_gray(saved(tmp_path, content, "a.gif"))))
