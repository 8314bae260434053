"""A board for tests and benchmarks: a real sshd on loopback, and behind it an unprivileged user with an empty home."""

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
LACKS = [tool for tool in ("ssh", "ssh-keygen", "flock") if shutil.which(tool) is None]
if not Path(SSHD).exists():
    LACKS.append("sshd")
NO_BOARD = f"{', '.join(LACKS)} not installed; run: make board (as root)" if LACKS else ""
LACKS_FOR_MACHINE = [tool for tool in ("unshare", "sudo", "systemctl", "systemd-analyze") if shutil.which(tool) is None]
NO_MACHINE = (
    NO_BOARD
    or ("" if os.geteuid() == 0 else "a machine of its own needs root")
    or (f"{', '.join(LACKS_FOR_MACHINE)} not installed; run: make board (as root)" if LACKS_FOR_MACHINE else "")
)


class NoMachineError(Exception):
    """No machine of its own can be started here; the message says why."""


_NUMBERS = itertools.count()


@dataclass
class Board:
    """A user behind an sshd, and the configuration that ssh reaches them with."""

    user: str
    home: Path
    port: int
    config: Path
    server: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """What deploy is given."""
        return f"{self.user}@127.0.0.1:{self.port}"

    @property
    def options(self) -> list[str]:
        """The options of deploy that let ssh find its key and the board's."""
        return ["-F", str(self.config)]

    @property
    def root(self) -> Path:
        """The folder of its deployments."""
        return self.home / "edgecnn"

    def current(self) -> str | None:
        """Return the current version."""
        link = self.root / "current"
        return link.readlink().name if link.is_symlink() else None

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command there as its user, past any deployment."""
        command = ["ssh", "-F", str(self.config), "-p", str(self.port), f"{self.user}@127.0.0.1", *words]
        return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)

    def predicts(self) -> bool:
        """Return whether the current version passes its self-test there."""
        return self.run("sh edgecnn/current/run --self-test").returncode == 0

    def drop(self) -> None:
        """Break every connection, as a network does: the sshd processes behind them are killed."""
        kill_all(
            lambda one, all_of_them: f"sshd: {self.user}" in one.command and one.descends(self.server.pid, all_of_them)
        )


@contextlib.contextmanager
def board(tools: Sequence[str] = ()) -> Iterator[Board]:
    """Start an sshd with a key of its own, for a user who was made for it (as root), else for this one.

    The user finds no other programs than `tools`, where any are named.
    """
    with tempfile.TemporaryDirectory(prefix="edgecnn-board-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _user(folder) as (user, home):
            yield from _served(folder, user, home, tools)


@contextlib.contextmanager
def machine() -> Iterator[Board]:
    """Start a machine of its own with systemd as its process 1 (machine.sh), and an sshd; needs root.

    Raises `NoMachineError` where this system does not let it: in most containers.
    """
    with tempfile.TemporaryDirectory(prefix="edgecnn-machine-") as name:
        folder, port = Path(name), free_port()
        config = _keys(folder, port)
        script = Path(__file__).with_name("machine.sh")
        separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
        with _cgroup() as enter, (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*separate, script, folder, str(port)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                preexec_fn=enter,
            )
            try:
                try:
                    wait_for_port(port, alive=server)
                except OSError:
                    raise NoMachineError((folder / "log").read_text(errors="replace").strip()[-300:]) from None
                first = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()[0]
                yield Board("pi", Path(f"/proc/{first}/root/home/pi"), port, config, server)
            finally:
                server.kill()
                server.wait()


@contextlib.contextmanager
def _cgroup() -> Iterator[Callable[[], None]]:
    """Make a cgroup in every hierarchy; yield what moves a process into them. Gone when all in them have ended."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup" in line]
    own = [Path(place) / f"edgecnn-machine-{os.getpid()}" for place in mounted]
    for folder in own:
        try:
            folder.mkdir()
        except OSError as error:
            raise NoMachineError(f"no cgroup can be made: {error}") from None
        if (folder / "cpuset.mems").exists():
            for setting in ("cpuset.cpus", "cpuset.mems"):
                (folder / setting).write_text((folder.parent / setting).read_text())

    def enter() -> None:
        for folder in own:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    try:
        yield enter
    finally:
        for folder in own:
            _remove_cgroup(folder)


def _remove_cgroup(folder: Path, seconds: float = 10) -> None:
    """Remove a cgroup and those in it, once the processes in them are gone."""
    end = time.monotonic() + seconds
    while folder.exists() and time.monotonic() < end:
        for inner in (*sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True), folder):
            with contextlib.suppress(OSError):
                inner.rmdir()
        time.sleep(0.05)


def _keys(folder: Path, port: int) -> Path:
    """Make a key for the board and one for its user; return a configuration for ssh that knows both."""
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    config = folder / "config"
    host_key = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known").write_text(f"board {host_key}\n")
    config.write_text(
        f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  HostKeyAlias board\n  UserKnownHostsFile {folder}/known\n  GlobalKnownHostsFile /dev/null\n"
    )
    return config


def _served(folder: Path, user: str, home: Path, tools: Sequence[str]) -> Iterator[Board]:
    port = free_port()
    config = _keys(folder, port)
    sshd_config = folder / "sshd_config"
    sshd_config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"MaxSessions 40\nMaxStartups 100\n"
    )
    if tools:
        (folder / "tools").mkdir()
        for tool in tools:
            (folder / "tools" / tool).symlink_to(shutil.which(tool) or "/nowhere")
        with sshd_config.open("a") as config_file:
            config_file.write(f"SetEnv PATH={folder}/tools\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    log = (folder / "log").open("wb")
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", sshd_config], stdout=log, stderr=log)
    try:
        wait_for_port(port)
        yield Board(user, home, port, config, server)
    finally:
        server.kill()
        server.wait()
        log.close()


_LOGGED_IN, _ATTEMPTS = 8, 20  # how userdel exits while a process of the user is there


@contextlib.contextmanager
def _user(folder: Path) -> Iterator[tuple[str, Path]]:
    if os.geteuid() != 0:
        own = pwd.getpwuid(os.geteuid())
        yield own.pw_name, Path(own.pw_dir)
        return
    name = f"board{os.getpid()}x{next(_NUMBERS)}"
    # A password that nothing matches: sshd refuses users whose account is locked.
    made = ["useradd", "-m", "-d", str(folder / "home"), "-s", "/bin/sh", "-p", "*", name]
    subprocess.run(made, check=True, capture_output=True)
    try:
        yield name, folder / "home"
    finally:
        _remove_user(name)


def _remove_user(name: str) -> None:
    """End a user's processes and remove the user; one that is just starting, or not quite gone, is met again."""
    for attempt in range(_ATTEMPTS):
        kill_all(lambda one, _: one.user == name)
        done = subprocess.run(["userdel", name], capture_output=True, check=attempt == _ATTEMPTS - 1)
        if done.returncode != _LOGGED_IN:
            done.check_returncode()
            return
        time.sleep(0.5)


@dataclass(frozen=True)
class Process:
    """A line of ps."""

    user: str
    parent: int
    command: str

    def descends(self, ancestor: int, others: Mapping[int, "Process"]) -> bool:
        """Return whether it was started by `ancestor` or by what that started."""
        if self.parent == ancestor:
            return True
        return self.parent in others and others[self.parent].descends(ancestor, others)


def kill_all(is_meant: Callable[[Process, Mapping[int, Process]], bool]) -> None:
    """Kill the processes, among all of this machine by their ids, that are meant, each by its id."""
    listing = subprocess.run(["ps", "-eo", "pid=,user:32=,ppid=,args="], capture_output=True, text=True, check=True)
    found = {}
    for line in listing.stdout.splitlines():
        pid, user, parent, command = line.split(None, 3)
        found[int(pid)] = Process(user, int(parent), command)
    for number, process in found.items():
        if is_meant(process, found):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for_port(port: int, seconds: float = 20, alive: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until something listens there, while `alive` is."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end or (alive is not None and alive.poll() is not None):
                raise
            time.sleep(0.05)
