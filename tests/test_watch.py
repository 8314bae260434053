"""--watch: real processes and real files; whatever arrives is predicted once, when it is whole."""

import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from edgecnn.device import ImageError, ModelError
from edgecnn.device.watch import STILL_S, watch
from edgecnn.export.pyz import to_pyz
from tests.conftest import RELEASED, ROOT

pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
SEVEN = ROOT / "deploy" / "seven.png"
TIMEOUT_S = 60


class Watching:
    """A running `predict.pyz --watch`, its lines as they come."""

    def __init__(self, pyz: Path, folder: Path, *options: object) -> None:
        command = [sys.executable, "-I", pyz, "--model", RELEASED / "int8.tflite", "--watch", folder, *options]
        self.process = subprocess.Popen(
            [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()
        for name in ("stdout", "stderr"):
            threading.Thread(target=self._pump, args=(name,), daemon=True).start()

    def _pump(self, name: str) -> None:
        for line in getattr(self.process, name):
            self._lines.put((name, line.rstrip("\n")))

    def line(self) -> tuple[str, str]:
        """Return where the next line was written to, and the line."""
        return self._lines.get(timeout=TIMEOUT_S)

    def reads(self, name: str, label: str = "7") -> None:
        """Check that the next line is that of this file."""
        where, line = self.line()
        assert (where, *(cell.rsplit("/", 1)[-1] for cell in line.split("\t")[:2])) == ("stdout", name, label)

    def end(self, signum: int) -> int:
        """Send a signal; return the exit code, all lines having been read."""
        self.process.send_signal(signum)
        code = self.process.wait(TIMEOUT_S)
        assert self._lines.empty(), self._lines.get()
        return code


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "predict.pyz"
    path.write_bytes(to_pyz())
    return path


@pytest.fixture
def start(pyz: Path, tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """Return a function that starts to watch a folder, with options."""
    started = []

    def begin(*options: object) -> Watching:
        started.append(Watching(pyz, tmp_path / "in", *options))
        return started[-1]

    (tmp_path / "in").mkdir()
    yield begin
    for watching in started:
        watching.process.kill()
        watching.process.wait()
        watching.process.stdout.close()
        watching.process.stderr.close()


def test_what_is_there_and_what_arrives_is_read_once(start: Callable[..., Watching], tmp_path: Path) -> None:
    shutil.copy(SEVEN, tmp_path / "in" / "before.png")
    watching = start()
    watching.reads("before.png")
    shutil.copy(SEVEN, tmp_path / "in" / "copied.png")
    watching.reads("copied.png")
    shutil.copy(SEVEN, tmp_path / "in" / ".hidden.png")
    shutil.copy(SEVEN, tmp_path / "moved.part")
    (tmp_path / "moved.part").replace(tmp_path / "in" / "moved.png")
    watching.reads("moved.png")
    assert watching.end(signal.SIGTERM) == 0


def test_a_file_that_is_replaced_is_read_again(start: Callable[..., Watching], tmp_path: Path) -> None:
    watching = start()
    for _ in range(2):
        shutil.copy(SEVEN, tmp_path / "next.png")
        (tmp_path / "next.png").replace(tmp_path / "in" / "latest.png")
        watching.reads("latest.png")
    assert watching.end(signal.SIGINT) == 130


def test_a_bad_file_is_an_error_line_and_not_the_end(start: Callable[..., Watching], tmp_path: Path) -> None:
    watching = start()
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")
    where, line = watching.line()
    assert where == "stderr"
    assert line.startswith("error: ")
    assert "bad.png: not a readable image" in line
    shutil.copy(SEVEN, tmp_path / "in" / "good.png")
    watching.reads("good.png")
    assert watching.end(signal.SIGTERM) == 0


def test_a_file_that_is_written_slowly_is_read_when_it_is_whole(start: Callable[..., Watching], tmp_path: Path) -> None:
    content = SEVEN.read_bytes()
    watching = start()
    with (tmp_path / "in" / "slow.png").open("wb", buffering=0) as file:
        for at in range(0, len(content), len(content) // 8):
            file.write(content[at : at + len(content) // 8])
            # Longer than a file must be still: the pause is what is tested, as a slow network makes it.
            time.sleep(1.2 * STILL_S)
    watching.reads("slow.png")
    assert watching.end(signal.SIGTERM) == 0


def test_temporary_names_are_left_alone(start: Callable[..., Watching], tmp_path: Path) -> None:
    for name in ("a.png.part", "b.PNG.PART", ".c.png", "d.tmp", "e.png.crdownload", "f.png~"):
        (tmp_path / "in" / name).write_bytes(b"half")
    (tmp_path / "in" / "folder.png").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe.png")
    (tmp_path / "in" / "nowhere.png").symlink_to("gone")
    watching = start()
    (tmp_path / "in" / "a.png.part").write_bytes(SEVEN.read_bytes())
    (tmp_path / "in" / "a.png.part").rename(tmp_path / "in" / "a.png")
    watching.reads("a.png")
    assert watching.end(signal.SIGTERM) == 0


def test_json_holds_results_and_errors(start: Callable[..., Watching], tmp_path: Path) -> None:
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    watching = start("--json")
    where, line = watching.line()
    assert where == "stdout"
    value = json.loads(line)
    assert value["image"] == str(tmp_path / "in" / "bad.png")
    assert "bad.png: not a readable image" in value["error"]
    shutil.copy(SEVEN, tmp_path / "in" / "good.png")
    value = json.loads(watching.line()[1])
    assert (value["image"], value["label"]) == (str(tmp_path / "in" / "good.png"), "7")
    assert watching.end(signal.SIGINT) == 130


def test_pages_and_pictures_of_what_was_seen(start: Callable[..., Watching], tmp_path: Path) -> None:
    watching = start("--segment", "--show", tmp_path / "seen")
    shutil.copy(SEVEN, tmp_path / "in" / "page.png")
    cells = watching.line()[1].split("\t")
    assert (len(cells), cells[1], cells[6]) == (8, "0", "7")
    assert (tmp_path / "seen" / "page.png.steps.png").is_file()
    assert watching.end(signal.SIGTERM) == 0


def test_a_folder_that_disappears_is_one_line(start: Callable[..., Watching], tmp_path: Path) -> None:
    shutil.copy(SEVEN, tmp_path / "in" / "a.png")
    watching = start()
    watching.reads("a.png")
    shutil.rmtree(tmp_path / "in")
    where, line = watching.line()
    assert where == "stderr"
    assert line.startswith(f"error: --watch: cannot look into {tmp_path / 'in'} (No such file or directory); give")
    assert watching.process.wait(TIMEOUT_S) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch", "gone"], "error: --watch: cannot look into gone (No such file or directory); give a folder"),
        (["--watch", str(SEVEN)], "(Not a directory)"),
        (["--watch", ".", "--show", "."], "error: --show: . is where --watch looks for pictures; give another folder"),
        (["--watch", ".", "--show", "x.png"], "error: --show: x.png is where --watch looks for pictures"),
        (["--watch", ".", str(SEVEN)], "error: --watch and "),
        (["--watch", ".", "--doctor"], "error: --doctor and --watch; give one of them"),
        (["--self-test", "--camera"], "error: --self-test and --camera; give one of them"),
        (["--camera", "--segment"], "error: --camera reads one digit a frame; leave --segment out"),
        (["--watch", ".", "--model", "gone.tflite"], "gone.tflite: cannot read"),
    ],
)
def test_what_does_not_go_together_is_one_line(pyz: Path, tmp_path: Path, options: list[str], message: str) -> None:
    command = [sys.executable, "-I", pyz, "--model", RELEASED / "int8.tflite", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_is_no_traceback(pyz: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.png")
    command = [sys.executable, "-I", pyz, "--model", RELEASED / "int8.tflite", tmp_path / "endless.png"]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        with (tmp_path / "endless.png").open("wb"):  # opened when the predictor opens it
            process.send_signal(signal.SIGINT)
            try:
                assert process.communicate(timeout=TIMEOUT_S) == (b"", b"")
            finally:
                process.kill()  # it would wait for ever otherwise, and this test with it
        assert process.returncode == 130


class Clock:
    """Time that passes by being waited for, and what happens meanwhile: a function a look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *events: Callable[[], object]) -> None:
        self.now, self.events = 0.0, list(events)
        monkeypatch.setattr("edgecnn.device.watch.monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        """Let time pass; return True when nothing will happen any more and all that is still has been read."""
        self.now += seconds
        if self.events:
            self.events.pop(0)()
            return False
        return self.now > 20


def said_of(folder: Path, read: Callable[[Path], list[str]], *, wait: Callable[[float], bool]) -> list[str]:
    return [str(said) for _, said in watch(folder, read, wait=wait)]


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "a", []

    def first_half_then_all(found: Path) -> list[str]:
        read.append(found.read_text())
        if len(read) == 1:
            path.write_text("all of it")
        return [read[-1]]

    path.write_text("half")
    clock = Clock(monkeypatch)
    assert said_of(tmp_path, first_half_then_all, wait=clock.wait) == ["all of it"]
    assert read == ["half", "all of it"]


def test_what_cannot_be_read_yet_is_tried_once_more_before_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    clock = Clock(monkeypatch)

    def refuse(path: Path) -> list[str]:
        tries.append(clock.now)
        raise ImageError(f"{path.name}: half")

    (tmp_path / "a").write_text("half")
    assert said_of(tmp_path, refuse, wait=clock.wait) == ["a: half"]
    assert len(tries) == 2


def test_what_nobody_thought_of_does_not_end_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def divide(path: Path) -> list[str]:
        return [str(1 / (path.name != "a"))]

    for name in "ab":
        (tmp_path / name).write_text("")
    said = said_of(tmp_path, divide, wait=Clock(monkeypatch).wait)
    assert sorted(said) == [
        f"{tmp_path / 'a'}: cannot be predicted (ZeroDivisionError: division by zero)",
        "1.0",
    ]


def test_a_model_that_is_bad_for_all_ends_the_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> list[str]:
        raise ModelError("no probabilities")

    (tmp_path / "a").write_text("")
    with pytest.raises(ModelError, match="no probabilities"):
        said_of(tmp_path, refuse, wait=Clock(monkeypatch).wait)


def test_files_that_are_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgecnn.device import watch as module

    sizes: list[int] = []
    look = module._looked_at
    monkeypatch.setattr(module, "_looked_at", lambda *a: (found := look(*a), sizes.append(len(found)))[0])

    def put(number: int) -> None:
        (tmp_path / f"{number}").write_text("")

    def away() -> None:
        for path in tmp_path.iterdir():
            path.unlink()

    clock = Clock(
        monkeypatch, *(event for number in range(40) for event in (lambda n=number: put(n), *[str] * 3, away))
    )
    said = said_of(tmp_path, lambda path: [path.name], wait=clock.wait)
    assert said == [str(number) for number in range(40)]
    assert max(sizes) == 1


def test_the_oldest_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for age, name in enumerate("cab"):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    clock = Clock(monkeypatch)
    assert said_of(tmp_path, lambda path: [path.name], wait=clock.wait) == ["b", "a", "c"]


def test_every_truncation_is_told_from_the_whole(tmp_path: Path) -> None:
    """What --watch relies on: a picture that is cut off is an error, not another picture."""
    from edgecnn.device.preprocessing.pictures import read_gray

    for form in ("PNG", "JPEG"):
        whole = io.BytesIO()
        Image.open(SEVEN).save(whole, format=form)
        for share in (0.1, 0.5, 0.9, 0.99):
            (tmp_path / "cut").write_bytes(whole.getvalue()[: int(share * len(whole.getvalue()))])
            with pytest.raises(ImageError, match="not a readable image"):
                read_gray(tmp_path / "cut")
