"""Other machines to measure on: a board over ssh, and the emulated Raspberry Pi of deploy/pi."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgecnn import __version__, artifact
from edgecnn.boards import ssh
from edgecnn.boards.look import look
from edgecnn.boards.ssh import Host
from edgecnn.errors import BoardError, ConfigError, MissingExtraError

if TYPE_CHECKING:
    from edgecnn.bench.place import Place

EMULATOR = "pi-emulator"
_PROGRAM = "bench.pyz"
_DEPLOY = "deploy with packages, without --runtime c"
# Notes on the board when it started, and becomes Python with the arguments that follow.
_NOTE_START = (
    "import os, sys, time; os.environ['EDGECNN_STARTED_NS'] = str(time.monotonic_ns()); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@contextmanager
def place_of(device: str, *, root: str, via: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the place that `--device` names: ssh://USER@HOST, or `EMULATOR`; what was put there is gone afterwards.

    `root` is the folder of deployments on the board, `via` options of `ssh.parsed`.
    Raises `ConfigError` for anything else, `BoardError` for a board that nothing was deployed to.
    """
    if device == EMULATOR:
        with _emulator() as place:
            yield place
        return
    if not device.startswith("ssh://"):
        raise ConfigError(f"--device: got {device!r}; expected ssh://USER@HOST or {EMULATOR}")
    host = ssh.parsed(device, **via)
    with ssh.connected(host) as link, _board(link, root) as place:
        yield place


def emulator_root() -> Path:
    """Return where `make pi` keeps the emulated board: ``$EDGECNN_PI``, else in the user's cache."""
    return Path(os.environ.get("EDGECNN_PI") or artifact.user_cache() / "pi")


@contextmanager
def _board(host: Host, root: str) -> Iterator[Place]:
    found = look(host, root)
    if found.current is None:
        raise BoardError(f"{host}: nothing is deployed in {found.root}; run: edgecnn deploy MODEL {host.name}")
    run = f"{found.root}/current/run"
    folder = _answer(host, "mktemp", "-d", f"{found.root}/.bench.XXXXXX").decode().strip()
    try:
        put = _putter(folder, lambda content, path: _send(host, content, path))
        _send(host, _bench_pyz(), f"{folder}/{_PROGRAM}")
        python = ["sh", run, "--python"]
        with _watched(ssh.remote(host, *python, f"{folder}/{_PROGRAM}", "watch"), str(host), remedy=_DEPLOY) as (
            said,
            seen,
        ):
            yield _place(
                str(host),
                found.machine,
                said,
                seen,
                put=put,
                get=lambda there, path: artifact.write_atomic(path, _answer(host, "cat", there)),
                command=lambda options: ssh.remote(
                    host, *python, "-c", _NOTE_START, f"{folder}/{_PROGRAM}", "worker", json.dumps(options)
                ),
                has_timings=True,
            )
    finally:
        _answer(host, "rm", "-rf", folder)


@contextmanager
def _emulator() -> Iterator[Place]:
    root = emulator_root()
    lacking = [tool for tool in ("proot", "qemu-aarch64-static") if shutil.which(tool) is None]
    if lacking or not (root / ".made-from").is_file():
        raise MissingExtraError(
            f"--device {EMULATOR}: {', '.join(lacking) or root} is not there; run: make pi (as root)"
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _PROGRAM).write_bytes(_bench_pyz())
        run = str(artifact.for_the_board("pi/run.sh"))
        python = ["bash", run, str(root), name, "python3", _PROGRAM]

        def write(content: bytes, path: str) -> None:
            there = folder / PurePosixPath(path).relative_to("/board")
            there.parent.mkdir(exist_ok=True)
            there.write_bytes(content)

        with _watched([*python, "watch"], EMULATOR, remedy="build it again: make pi") as (said, seen):
            yield _place(
                EMULATOR,
                "aarch64",
                said,
                seen,
                put=_putter("/board", write),
                get=lambda there, path: artifact.write_atomic(
                    path, (folder / there.removeprefix("/board/")).read_bytes()
                ),
                command=lambda options: [*python, "worker", json.dumps(options)],
                has_timings=False,
            )


def _place(
    name: str,
    machine: str,
    said: Mapping[str, Any],
    seen: Callable[[float], Mapping[str, Any]],
    **ways: Any,
) -> Place:
    """Return the place of what its `watch` said."""
    from edgecnn.bench.place import Place

    facts = said["facts"]

    def versions(runtimes: Iterable[str]) -> dict[str, str]:
        known = [facts["versions"].get(runtime, {}) for runtime in runtimes]
        return {
            "edgecnn": __version__,
            "python": facts["python"],
            **{name: version for each in known for name, version in each.items()},
        }

    return Place(
        name=name,
        target="native" if machine == platform.machine() else machine,
        runtimes=facts["runtimes"],
        installed_bytes=facts["installed_bytes"].get,
        versions=versions,
        python_rss_bytes=lambda: facts["python_rss_bytes"],
        conditions=said["conditions"] if ways["has_timings"] else _without_times(said["conditions"]),
        seen=seen if ways["has_timings"] else lambda workers_s: {},
        **ways,
    )


def _without_times(conditions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conditions of a machine whose times mean nothing: what it is, not how busy its host is."""
    return {"cpu": conditions["cpu"], "system": conditions["system"], "not_clean": ["emulated: no times are measured"]}


def _putter(folder: str, write: Callable[[bytes, str], None]) -> Callable[[Path], str]:
    """Return what puts a file into a folder of its own in `folder`, its record beside it; each file once."""
    there: dict[Path, str] = {}

    def put(path: Path) -> str:
        if path not in there:
            there[path] = f"{folder}/{len(there)}/{path.name}"
            write(path.read_bytes(), there[path])
            record = artifact.record_path(path)
            if path.suffix in artifact.EXPORT_SUFFIXES and record.exists():
                write(record.read_bytes(), f"{there[path]}.json")
        return there[path]

    return put


@contextmanager
def _watched(
    command: list[str], name: str, *, remedy: str
) -> Iterator[tuple[Mapping[str, Any], Callable[[float], Mapping[str, Any]]]]:
    """Start the watch; yield what it says of the place, and what asks it at the end."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("{"):
            _, errors = process.communicate()
            why = (errors.strip().splitlines() or [line.strip() or "no answer"])[-1][:200]
            raise BoardError(f"{name}: what measures does not run there ({why}); {remedy}")

        def seen(workers_s: float) -> Mapping[str, Any]:
            answer, _ = process.communicate(f"{workers_s}\n")
            return json.loads(answer) if answer else {}

        try:
            yield json.loads(line), seen
        finally:
            if process.poll() is None and not process.stdin.closed:
                process.communicate()


def _bench_pyz() -> bytes:
    from edgecnn.export.pyz import bench_pyz

    return bench_pyz()


def _send(host: Host, content: bytes, path: str) -> None:
    _answer(host, "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path, stdin=content)


def _answer(host: Host, *words: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(ssh.remote(host, *words), input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-200:] or "the connection broke"
        raise BoardError(f"{host}: {said}; try again")
    return done.stdout
