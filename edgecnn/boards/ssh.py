"""Commands on a board through the system's ssh: one connection, keys never accepted unseen, errors in one line."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import IO

from edgecnn.errors import BoardError, MissingExtraError

_OF_SSH = 255  # how ssh itself exits; the scripts here exit otherwise
_UP = "edgecnn: connected"
# These come first, and ssh takes the first value of each: neither a user's file nor an option can weaken them.
_ALWAYS = ("BatchMode=yes", "StrictHostKeyChecking=yes")
_UNLESS_TOLD = ("ConnectTimeout=10", "ServerAliveInterval=10", "ServerAliveCountMax=3", "LogLevel=ERROR")
# What begins with a dash would be an option of ssh.
_ADDRESS = re.compile(
    r"(?:ssh://)?((?:[\w.][\w.-]*@)?(?:[\w.][\w.-]*|\[[0-9A-Fa-f:.]+\]))(?::([0-9]{1,5}))?/?", re.ASCII
)


@dataclass(frozen=True)
class Host:
    """Where a board is and how ssh gets there: `name` is USER@HOST or an alias of ssh's own configuration."""

    name: str
    port: int | None = None
    options: tuple[str, ...] = ()  # of ssh, each NAME=VALUE
    config: Path | None = None
    control: Path | None = None  # the socket of a connection that is up

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


def parsed(text: str, *, port: int | None = None, options: Sequence[str] = (), config: Path | None = None) -> Host:
    """Return the host of USER@HOST, USER@HOST:PORT, ssh://USER@HOST:PORT or an alias; `port` where none is in it.

    Raises `BoardError` for anything else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[2] or port or 22) < 65_536:
        raise BoardError(f"{text!r}: no address of a board; expected USER@HOST or USER@HOST:PORT, like pi@raspberrypi")
    name = match[1].replace("[", "").replace("]", "")
    return Host(name, int(match[2]) if match[2] else port, tuple(options), config)


@contextmanager
def connected(host: Host) -> Iterator[Host]:
    """Connect, and yield the host with that connection, which all commands until the end share.

    Raises `BoardError`, saying what to do, where ssh does not get in.
    """
    with tempfile.TemporaryDirectory(prefix="edgecnn-") as folder, (Path(folder) / "stderr").open("w+b") as errors:
        control = Path(folder) / "ssh"
        command = [*_ssh(host), "-M", "-S", str(control), "--", host.name, f"echo '{_UP}'; exec cat >/dev/null"]
        master = _started(command, errors)
        try:
            assert master.stdout is not None
            if not any(_UP.encode() in line for line in master.stdout):  # a login script may print other lines
                errors.seek(0)
                raise _not_reached(host, errors.read().decode(errors="replace"))
            yield replace(host, control=control)
        finally:
            _end(master)


def run(host: Host, script: str, *arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a script of `scripts/` there, by sh, with `stdin`; return how it ended, its output in bytes.

    Raises `BoardError` where the connection breaks.
    """
    done = subprocess.run(command(host, script, *arguments), input=stdin, capture_output=True, check=False)
    if done.returncode == _OF_SSH:
        raise BoardError(f"{host}: the connection broke{_why(done.stderr)}; try again")
    return done


def start(host: Host, script: str, *arguments: object) -> subprocess.Popen[bytes]:
    """Start a script of `scripts/` there, its input and output as pipes."""
    return _started(command(host, script, *arguments), subprocess.DEVNULL)


def command(host: Host, script: str, *arguments: object) -> list[str]:
    """Return the command that runs a script of `scripts/` there: whatever shell the user has, sh reads it."""
    text = files("edgecnn.boards").joinpath("scripts", script).read_text()
    return remote(host, "sh", "-c", text, script, *arguments)


def remote(host: Host, *words: object) -> list[str]:
    """Return the ssh command that runs `words` there as they are."""
    # Where the connection is gone ssh would make another, without the lock that went with the first.
    only_shared = ["-o", "ControlMaster=no", "-o", "ProxyCommand=false"]
    shared = [] if host.control is None else ["-S", str(host.control), *only_shared]
    return [*_ssh(host, shared), "--", host.name, shlex.join(map(str, words))]


def _ssh(host: Host, first: Sequence[str] = ()) -> list[str]:
    options = [option for value in (*_ALWAYS, *host.options, *_UNLESS_TOLD) for option in ("-o", value)]
    port = [] if host.port is None else ["-p", str(host.port)]
    return ["ssh", "-T", *first, *([] if host.config is None else ["-F", str(host.config)]), *port, *options]


def _started(command: list[str], errors: IO[bytes] | int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    except FileNotFoundError:
        raise MissingExtraError("deploy: no ssh here; install it: apt install openssh-client") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a command end by the end of its input, else by force."""
    with suppress(BrokenPipeError):
        assert process.stdin is not None
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


# What ssh says, what that means, and what to do.
_REASONS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its key is not the one that is known: it was set up anew, or something else answers in its place; "
        "compare the fingerprint on the board, then: ssh-keygen -R {bare}, and ssh {host} once by hand",
    ),
    (
        "Host key verification failed",
        "its key is not known yet and is not accepted unseen; log in once by hand and compare the fingerprint: "
        "ssh {host}",
    ),
    (
        "Permission denied",
        "it refuses every key and may want a password, which is not asked for here; give it a key: ssh-copy-id {host}",
    ),
    ("Could not resolve hostname", "no such host is known to the network; check the name, or give its IP address"),
    ("timed out", "it does not answer; check that it is on, in this network, and its address"),
    ("No route to host", "it does not answer; check that it is on, in this network, and its address"),
    ("Network is unreachable", "it does not answer; check that it is on, in this network, and its address"),
    ("Connection refused", "it is there, and no ssh server answers at that port; enable ssh on it, or give --port"),
)  # fmt: skip


def _not_reached(host: Host, said: str) -> BoardError:
    """Return the error for what ssh said when it did not get in."""
    bare = host.name.rpartition("@")[2]
    known_as = bare if host.port in (None, 22) else f"'[{bare}]:{host.port}'"
    by_hand = host.name if host.port is None else f"-p {host.port} {host.name}"
    for words, meaning in _REASONS:
        if words in said:
            return BoardError(f"{host}: {meaning.format(bare=known_as, host=by_hand)}")
    return BoardError(f"{host}: ssh does not get in ({_last_line(said)}); try by hand: ssh {by_hand}")


def _why(said: bytes) -> str:
    text = said.decode(errors="replace").strip()
    return f" ({_last_line(text)})" if text else ""


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
