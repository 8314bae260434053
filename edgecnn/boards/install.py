"""Put a version on a board, try it there, and make it the current one; whatever fails leaves the old one serving."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import CompletedProcess, TimeoutExpired

from edgecnn.archives import to_tar, with_checksums
from edgecnn.boards import ssh
from edgecnn.boards.look import Look
from edgecnn.boards.parcel import Parcel
from edgecnn.boards.ssh import Host
from edgecnn.errors import BoardError, GateError

Say = Callable[[str], None]
_SPARE_BYTES = 16_000_000  # what a file system needs beside the files themselves, and a log or two
_HEARTBEAT_S = 10.0  # the board gives the lock up after 60 without one
_WENT_BACK, _NOT_SERVING, _STOPPED = 10, 11, 12


def install(host: Host, found: Look, parcel: Parcel, *, wait_s: float, say: Say) -> bool:
    """Deploy `parcel` to the board that was `found`; return whether it was not the current version already.

    A service is waited for up to `wait_s` seconds. `say` gets a line for each thing done. Raises `BoardError` for
    what stood in the way and `GateError` for a version that was refused; the one before is current then.
    """
    with locked(host, found.root):
        if not _is_there(host, found, parcel):
            check_space(host, found, parcel)
            _send_packages(host, found, parcel, say)
            _send_version(host, found, parcel, say)
        elif found.current == parcel.version and not parcel.has_service:
            return False
        activate(host, found.root, parcel.version, wait_s=wait_s)
    return found.current != parcel.version


def check_space(host: Host, found: Look, parcel: Parcel) -> None:
    """Raise `BoardError`, with what is needed and what is free, where the board has not enough space."""
    needed = sum(map(len, parcel.files.values())) + _SPARE_BYTES
    if parcel.wheels is not None and parcel.wheels.digest not in found.packages:
        needed += parcel.wheels.unpacked_bytes
    if needed > found.free_bytes:
        raise BoardError(
            f"{host}: needs {needed / 1e6:,.0f} MB in {found.root}, {found.free_bytes / 1e6:,.0f} MB are free; "
            f"make room, or give another --root"
        )


@contextmanager
def locked(host: Host, root: str) -> Iterator[None]:
    """Keep other deployments to `root` away; raises `BoardError` where one is going on."""
    process = ssh.start(host, "lock.sh", root)
    assert process.stdin is not None
    assert process.stdout is not None
    over = threading.Event()

    def beat() -> None:
        with suppress(OSError, ValueError):
            while not over.wait(_HEARTBEAT_S):
                process.stdin.write(b"still here\n")  # type: ignore[union-attr]
                process.stdin.flush()  # type: ignore[union-attr]

    try:
        lines = (line.decode(errors="replace").strip() for line in process.stdout)
        said = next((line for line in lines if line in ("busy", "locked")), "")  # a login script may print others
        if said == "busy":
            raise BoardError(f"{host}: another deployment to {root} is going on; wait for its end, then try again")
        if said != "locked":
            raise BoardError(f"{host}: {root} cannot be locked; check its rights and the space there")
        beating = threading.Thread(target=beat, daemon=True)
        beating.start()
        yield
    finally:
        over.set()
        with suppress(OSError):
            process.stdin.close()
        with suppress(TimeoutExpired):
            process.wait(5)
        process.kill()
        process.stdout.close()


def activate(host: Host, root: str, version: str, *, wait_s: float) -> None:
    """Make a version that is there the current one, its service restarted; raises `GateError` when that went back."""
    try:
        done = ssh.run(host, "activate.sh", root, version, f"{wait_s:g}")
    except BoardError as error:
        raise BoardError(f"{error}; the board ends the switch, or goes back, by itself") from None
    if done.returncode == 0:
        return
    said = _said(done)
    ends = {
        _WENT_BACK: "the version before is current again, and as it was",
        _NOT_SERVING: "the version before is current again, and does not answer either; see: journalctl -u edgecnn",
        _STOPPED: "there was none before, so the service is stopped and removed",
    }
    if done.returncode in ends:
        raise GateError(f"{host}: version {version} does not serve ({said}); {ends[done.returncode]}")
    raise BoardError(f"{host}: {root}/current was not changed ({said}); check the folder's rights")


def _is_there(host: Host, found: Look, parcel: Parcel) -> bool:
    """Return whether the version lies there whole."""
    if parcel.version not in found.versions:
        return False
    return ssh.run(host, "selftest.sh", found.root, parcel.version).returncode == 0


def _send_packages(host: Host, found: Look, parcel: Parcel, say: Say) -> None:
    wheels = parcel.wheels
    if wheels is None or wheels.digest in found.packages:
        return
    files = wheels.files()
    content = to_tar(with_checksums(files))
    say(f"{host}: sending {len(files)} packages, {len(content) / 1e6:,.1f} MB")
    done = ssh.run(host, "packages.sh", found.root, wheels.digest, wheels.python, stdin=content)
    if done.returncode != 0:
        raise BoardError(f"{host}: the packages could not be unpacked there ({_said(done)}); nothing was changed")


def _send_version(host: Host, found: Look, parcel: Parcel, say: Say) -> None:
    """Send the version and let it try itself; it appears under its name when it passed."""
    packages = "" if parcel.wheels is None else parcel.wheels.digest
    say(f"{host}: sending version {parcel.version}, {sum(map(len, parcel.files.values())) / 1e6:,.1f} MB")
    done = ssh.run(host, "version.sh", found.root, parcel.version, packages, stdin=to_tar(parcel.files))
    said = _said(done)
    if done.returncode == 10:
        raise GateError(f"{host}: the self-test failed there: {said.removeprefix('error: ')}; nothing was changed")
    if done.returncode != 0:
        raise BoardError(f"{host}: the version could not be written there ({said}); nothing was changed")
    say(f"{host}: self-test: {said}")


def _said(done: CompletedProcess[bytes]) -> str:
    """Return the last line that a script printed, of its errors if there are any."""
    for stream in (done.stderr, done.stdout):
        lines = [line.strip() for line in stream.decode(errors="replace").splitlines() if line.strip()]
        if lines:
            return lines[-1][:300]
    return f"exit code {done.returncode}"
