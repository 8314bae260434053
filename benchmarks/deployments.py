"""Deploy to a real sshd, and break each step in turn: python -m benchmarks.deployments (as root).

The board is a machine of its own under systemd (machine.sh), with a service that answers over HTTP. After every broken
deployment the version before must be current, pass its self-test and answer; then the same is deployed unbroken.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.board import Board, free_port, machine
from edgecnn import artifact
from edgecnn.archives import checksums
from edgecnn.bench.conditions import conditions
from edgecnn.boards.wheelhouse import cache_folder
from edgecnn.device.selftest import EXPECTED, SUMS
from edgecnn.pipeline import export_bundle

RESULT = Path(__file__).with_suffix(".json")
MODELS = ("edge4k", "edge1k")
WAIT_S = "6"  # for a service that will never answer
Deploy = subprocess.CompletedProcess[str]


@dataclass
class Scene:
    """A board, and the bundles that are deployed to it by turns; `listen` is where its service does, if it has one."""

    board: Board
    folder: Path
    bundles: tuple[Path, Path]
    listen: str | None = None
    made: int = 0

    def fresh(self, edit: Callable[[Path], None] = lambda folder: None) -> Path:
        """Return a bundle that was not deployed yet, its model another than in the one before; `edit` changes it."""
        self.made += 1
        folder = Path(shutil.copytree(self.bundles[self.made % 2], self.folder / f"bundle{self.made}"))
        with (folder / "README.md").open("a") as readme:
            readme.write(f"\n{self.made}\n")
        edit(folder)
        names = [line.split("  ")[1] for line in (folder / SUMS).read_text().splitlines()]
        (folder / SUMS).write_text(checksums({name: (folder / name).read_bytes() for name in names}))
        return folder

    def command(self, bundle: Path, *options: str, address: str | None = None) -> list[str]:
        """Return the command that deploys a bundle."""
        service = [] if self.listen is None else ["--service", "--listen", self.listen]
        where = [address or self.board.address, *self.board.options]
        return [sys.executable, "-m", "edgecnn", "deploy", str(bundle), *where, *service, *options]

    def deploy(self, bundle: Path, *options: str, address: str | None = None, **environment: str) -> Deploy:
        """Deploy a bundle; return how that ended."""
        command = self.command(bundle, *options, address=address)
        given = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=given)

    def deploy_until(
        self, said: str, then: Callable[[subprocess.Popen[str]], None], bundle: Path, *options: str
    ) -> Deploy:
        """Deploy a bundle, and do `then` to the one who deploys when a line of it matches `said`."""
        command = self.command(bundle, *options)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as driver:
            assert driver.stderr is not None
            lines = []
            for line in driver.stderr:
                lines.append(line)
                if re.search(said, line):
                    then(driver)
            return subprocess.CompletedProcess(command, driver.wait(), "", "".join(lines))

    def serves(self, version: str | None) -> str:
        """Return what is wrong with the board where `version` should be current and serving; nothing if it is."""
        if self.board.current() != version:
            return f"{self.board.current()} is current, not {version}"
        if not self.board.predicts():
            return "the self-test of the current version fails"
        if self.listen is None:
            return ""
        model = self.board.root / "versions" / str(version) / "int8.tflite"
        served = health(self.listen)
        return "" if served == artifact.sha256(model.read_bytes()) else f"the service serves {served}"


def health(listen: str, seconds: float = 10) -> str:
    """Return the hash of the model that is served, or why none is, after some seconds of asking."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{listen}/health", timeout=5) as answer:
                return str(json.load(answer)["sha256"])
        except OSError as error:
            if time.monotonic() > end:
                return str(error)
            time.sleep(0.2)


@contextmanager
def cut_after(port: int, count: int) -> Iterator[int]:
    """Yield a port that leads to `port` and breaks the connection when `count` bytes have gone there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, port, count), daemon=True).start()
        yield int(listener.getsockname()[1])


def _relay(listener: socket.socket, port: int, count: int) -> None:
    with suppress(OSError):
        near, _ = listener.accept()
        with near, closing(socket.create_connection(("127.0.0.1", port))) as far, selectors.DefaultSelector() as both:
            both.register(near, selectors.EVENT_READ, far)
            both.register(far, selectors.EVENT_READ, near)
            while count > 0:
                for key, _ in both.select():
                    source: socket.socket = key.fileobj  # type: ignore[assignment]
                    content = source.recv(65_536)
                    key.data.sendall(content)
                    count -= len(content) if source is near else 0
                    if not content:
                        return


# What goes wrong. Each returns how the deployment ended; none of it may end well.


def copy_cut(scene: Scene) -> Deploy:
    """The connection breaks in the middle of the version's files."""
    with cut_after(scene.board.port, 300_000) as port:
        return scene.deploy(scene.fresh(), address=f"{scene.board.user}@127.0.0.1:{port}")


def packages_cut(scene: Scene) -> Deploy:
    """The connection breaks in the middle of the packages."""
    other = _wheels(scene)
    with cut_after(scene.board.port, 20_000_000) as port:
        address = f"{scene.board.user}@127.0.0.1:{port}"
        return scene.deploy(scene.fresh(), "--wheelhouse", str(other), address=address)


def connection_dropped_in_copy(scene: Scene) -> Deploy:
    """The sshd processes die while the copy begins."""
    return scene.deploy_until("sending version", lambda _: scene.board.drop(), scene.fresh(_large))


def no_space(scene: Scene) -> Deploy:
    """The disk is full before anything is sent."""
    return _with_full(scene, "df -Pk . | awk 'NR==2 {print $4 - 8000}' | xargs -I{} fallocate -l {}K filler")


def disk_full_in_copy(scene: Scene) -> Deploy:
    """The disk takes no new file, which shows only when the first is written."""
    return _with_full(scene, "mkdir -p filler.d; seq 60000 | (cd filler.d; xargs touch) 2>/dev/null; :")


def _with_full(scene: Scene, fill: str) -> Deploy:
    scene.board.run(fill)
    try:
        return scene.deploy(scene.fresh())
    finally:
        scene.board.run("rm -rf filler filler.d")


def expected_scores_differ(scene: Scene) -> Deploy:
    """The board computes something else than the bundle expects."""

    def edit(folder: Path) -> None:
        expected = json.loads((folder / EXPECTED).read_text())
        expected["scores"] = [row[1:] + row[:1] for row in expected["scores"]]
        (folder / EXPECTED).write_text(json.dumps(expected))

    return scene.deploy(scene.fresh(edit))


def model_damaged(scene: Scene) -> Deploy:
    """The model's bytes are not those of its record, though the checksums agree."""

    def edit(folder: Path) -> None:
        content = bytearray((folder / "int8.tflite").read_bytes())
        content[len(content) // 2] ^= 0xFF
        (folder / "int8.tflite").write_bytes(content)

    return scene.deploy(scene.fresh(edit))


def predictor_crashes(scene: Scene) -> Deploy:
    """predict.pyz ends with a traceback."""
    return scene.deploy(scene.fresh(_main_begins("raise RuntimeError('broken')\n")))


def cached_wheel_damaged(scene: Scene) -> Deploy:
    """A wheel in the workstation's cache was cut short."""
    cache = scene.folder / f"cache{scene.made}"
    shutil.copytree(cache_folder(), cache / "edgecnn" / "wheels")
    for wheel in cache.rglob("numpy*.whl"):
        wheel.write_bytes(wheel.read_bytes()[:1_000_000] + bytes(1_000_000))
    for folder in scene.board.root.glob("packages/*"):
        assert folder.is_dir()
    return scene.deploy(scene.fresh(), XDG_CACHE_HOME=str(cache))


def wheel_does_not_unpack(scene: Scene) -> Deploy:
    """A wheel of the user's own wheelhouse has a damaged member, which shows on the board alone."""
    folder = _wheels(scene)
    wheel = next(folder.glob("numpy*.whl"))
    content = bytearray(wheel.read_bytes())
    member = next(m for m in zipfile.ZipFile(wheel).infolist() if m.compress_size > 1_000_000)
    content[member.header_offset + 500_000] ^= 0xFF
    wheel.write_bytes(content)
    return scene.deploy(scene.fresh(), "--wheelhouse", str(folder))


def wheel_missing(scene: Scene) -> Deploy:
    """The user's own wheelhouse lacks a package."""
    folder = _wheels(scene)
    next(folder.glob("numpy*.whl")).unlink()
    return scene.deploy(scene.fresh(), "--wheelhouse", str(folder))


def driver_killed_in_copy(scene: Scene) -> Deploy:
    """The one who deploys is killed while it sends."""
    return scene.deploy_until("sending version", lambda driver: driver.kill(), scene.fresh(_large))


def driver_killed_before_switch(scene: Scene) -> Deploy:
    """The one who deploys is killed when the self-test has passed, and the version would not serve."""
    return scene.deploy_until(
        "self-test:", lambda driver: driver.kill(), scene.fresh(ends_when_serving), "--wait", WAIT_S
    )


def driver_killed_in_switch(scene: Scene) -> Deploy:
    """The one who deploys is killed while the board waits for a service that does not come up."""
    return _in_switch(scene, lambda driver: driver.kill())


def driver_interrupted_in_switch(scene: Scene) -> Deploy:
    """Ctrl-C while the board waits for a service that does not come up."""
    return _in_switch(scene, lambda driver: driver.send_signal(signal.SIGINT))


def connection_dropped_in_switch(scene: Scene) -> Deploy:
    """The sshd processes die while the board waits for a service that does not come up."""
    return _in_switch(scene, lambda _: scene.board.drop())


def _in_switch(scene: Scene, then: Callable[[subprocess.Popen[str]], None]) -> Deploy:
    before = scene.board.current()

    def when_switched(driver: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 20
        while scene.board.current() == before and time.monotonic() < end:
            time.sleep(0.02)
        then(driver)

    return scene.deploy_until("self-test:", when_switched, scene.fresh(ends_when_serving), "--wait", WAIT_S)


def service_ends_at_once(scene: Scene) -> Deploy:
    """The service ends with an error whenever it is started."""
    return scene.deploy(scene.fresh(ends_when_serving), "--wait", WAIT_S)


def service_falls_again_and_again(scene: Scene) -> Deploy:
    """The service answers, and falls two seconds later, whenever it is started."""
    edit = _main_begins(
        "import sys, threading, os\nif '--serve' in sys.argv: threading.Timer(2, os._exit, (1,)).start()\n"
    )
    return scene.deploy(scene.fresh(edit), "--wait", WAIT_S)


def service_takes_too_much_memory(scene: Scene) -> Deploy:
    """The service takes more memory than it may."""
    edit = _main_begins("import sys\nif '--serve' in sys.argv: held = b'x' * 600_000_000\n")
    return scene.deploy(scene.fresh(edit), "--wait", WAIT_S)


def service_writes_where_it_may_not(scene: Scene) -> Deploy:
    """The service needs to write into its own folder."""
    edit = _main_begins("import sys\nif '--serve' in sys.argv: open(__file__ + '.log', 'w')\n")
    return scene.deploy(scene.fresh(edit), "--wait", WAIT_S)


def port_is_taken(scene: Scene) -> Deploy:
    """Something else listens where the service should."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        return scene.deploy(scene.fresh(), "--listen", listen, "--wait", WAIT_S)


def another_deployment_is_going_on(scene: Scene) -> Deploy:
    """Two deploy at once: the second is refused, the first does not come up."""
    seen: list[Deploy] = []
    bad = scene.fresh(ends_when_serving)
    scene.deploy_until("self-test:", lambda _: seen.append(scene.deploy(scene.fresh())), bad, "--wait", WAIT_S)
    return seen[0]


def ends_when_serving(folder: Path) -> None:
    """Change a bundle so that its self-test passes and its service does not come up."""
    _main_begins("import sys\nif '--serve' in sys.argv: sys.exit(1)\n")(folder)


def _large(folder: Path) -> None:
    """Add a file to a bundle that takes a while to send."""
    (folder / "ballast").write_bytes(os.urandom(1_000_000) * 100)
    with (folder / SUMS).open("a") as sums:
        sums.write("0  ballast\n")


def _main_begins(code: str) -> Callable[[Path], None]:
    """Return an edit of a bundle that puts code before what predict.pyz does."""

    def edit(folder: Path) -> None:
        with zipfile.ZipFile(folder / "predict.pyz") as old:
            members = {name: old.read(name) for name in old.namelist() if name != "__main__.pyc"}
        with (folder / "predict.pyz").open("wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w") as new:
                for name, content in members.items():
                    new.writestr(name, code.encode() + content if name == "__main__.py" else content)

    return edit


def _wheels(scene: Scene) -> Path:
    """Return a folder with the wheels that were fetched for the board, one of them under other bytes than there."""
    folder = Path(tempfile.mkdtemp(dir=scene.folder))
    for wheel in max(cache_folder().glob("*/"), key=lambda found: found.stat().st_mtime).glob("*.whl"):
        shutil.copy(wheel, folder)
    pillow = next(folder.glob("pillow*.whl"))
    with zipfile.ZipFile(pillow, "a") as wheel_file:
        wheel_file.comment = str(scene.made).encode()
    return folder


# By step: looking, fetching, copying, trying, switching, serving.
FAULTS: tuple[Callable[[Scene], Deploy], ...] = (
    no_space,
    cached_wheel_damaged,
    wheel_missing,
    wheel_does_not_unpack,
    packages_cut,
    copy_cut,
    connection_dropped_in_copy,
    driver_killed_in_copy,
    disk_full_in_copy,
    expected_scores_differ,
    model_damaged,
    predictor_crashes,
)
FAULTS_OF_SERVICE: tuple[Callable[[Scene], Deploy], ...] = (
    another_deployment_is_going_on,
    driver_killed_before_switch,
    driver_killed_in_switch,
    driver_interrupted_in_switch,
    connection_dropped_in_switch,
    service_ends_at_once,
    service_falls_again_and_again,
    service_takes_too_much_memory,
    service_writes_where_it_may_not,
    port_is_taken,
)


def bundles(folder: Path, *, target: str | None = None, models: Sequence[str] = MODELS) -> tuple[Path, Path]:
    """Return a bundle of each of two models, or twice that of one; with a `target`, in C for that machine too."""
    files = {model: artifact.released(model) / "int8.tflite" for model in models}
    made = [export_bundle(file, out=folder, name=model, target=target)[0] for model, file in files.items()]
    return made[0], made[-1]


def broken(scene: Scene, fault: Callable[[Scene], Deploy]) -> dict[str, object]:
    """Let a deployment break, look what serves, then deploy unbroken; return what was seen."""
    before = scene.board.current()
    started = time.monotonic()
    done = fault(scene)
    scene.board.run("flock edgecnn/.lock true")  # until the board has noticed
    scene.board.run("flock edgecnn/.switching true")  # and ended the switch that it began, or gone back
    wrong = scene.serves(before)
    after = scene.deploy(scene.fresh())
    worked = after.returncode == 0 and not scene.serves(after.stdout.strip())
    return {
        "fault": fault.__name__,
        "what": (fault.__doc__ or "").strip(),
        "exit_code": done.returncode,
        "said": _last_line(done.stderr),
        "old_serves": not wrong and done.returncode != 0,
        "wrong": wrong,
        "next_succeeds": worked,
        "next_said": "" if worked else _last_line(after.stderr),
        "seconds": round(time.monotonic() - started, 1),
    }


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def main() -> int:
    """Break a deployment in every way; write what was seen; exit 1 where an old version did not serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="names of faults, by comma")
    options = parser.parse_args()
    every = [*FAULTS, *FAULTS_OF_SERVICE]
    chosen = [fault for fault in every if not options.only or fault.__name__ in options.only.split(",")]
    found, rows = conditions(), []
    with tempfile.TemporaryDirectory() as name, machine() as board:
        scene = Scene(board, Path(name), bundles(Path(name)), f"127.0.0.1:{free_port()}")
        first = scene.deploy(scene.fresh())
        assert first.returncode == 0, first.stderr
        for fault in chosen:
            rows.append(broken(scene, fault))
            print(json.dumps(rows[-1]), flush=True)
    kept = sum(bool(row["old_serves"]) for row in rows)
    recovered = sum(bool(row["next_succeeds"]) for row in rows)
    result = {
        "conditions": found,
        "deployments": len(rows),
        "old_serves": kept,
        "next_succeeds": recovered,
        "rows": rows,
    }
    if not options.only:
        artifact.write_atomic(RESULT, json.dumps(result, indent=1) + "\n")
    print(
        f"{len(rows)} broken deployments: the old version served after {kept}, the next went through after {recovered}"
    )
    return 0 if kept == recovered == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
