"""Deployments: a model or a bundle, made fit for the board that is found, and put there."""

from __future__ import annotations

import platform
import tarfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from edgecnn import __version__, artifact
from edgecnn.boards import fleet, install, ssh
from edgecnn.boards.fleet import Outcome
from edgecnn.boards.look import Look, look
from edgecnn.boards.parcel import Parcel, parcel
from edgecnn.boards.ssh import Host
from edgecnn.boards.wheelhouse import Wheelhouse, cache_folder, wheelhouse
from edgecnn.device.errors import DeviceError
from edgecnn.device.files import LIBRARY
from edgecnn.device.selftest import SUMS, sums_of
from edgecnn.errors import ArtifactError, BoardError
from edgecnn.pipeline.bundles import bundle_files, compiled

Say = Callable[[str], None]
_WITHOUT_RUNTIME = ("numpy", "pillow")  # what the predictor needs beside a C library
DEFAULT_LISTEN = "127.0.0.1:8000"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be deployed, to any board. Bundles are made once for each kind of board and kept.

    `model` is an exported file with its record, or a bundle (folder or archive); `in_c`: by its C program or library.
    """

    model: Path
    name: str
    root: str
    in_c: bool = False
    service: bool = False
    listen: str | None = None  # None: where it listens already, else `DEFAULT_LISTEN`
    wheels: Path | None = None  # a folder to take packages from, instead of the package index
    wait_s: float = 60.0
    _made: dict[str | None, Mapping[str, bytes]] = field(default_factory=dict)
    _making: threading.Lock = field(default_factory=threading.Lock)

    def digest(self) -> str:
        """Return the hash of what is deployed and how: two with the same one put the same on a board."""
        content = b"" if self.model.is_dir() else artifact.read_bytes(self.model)
        if self.model.is_dir():
            content = artifact.read_bytes(self.model / SUMS)
        how = [self.root, str(self.in_c), str(self.service), str(self.listen), __version__]
        return artifact.sha256("\n".join([artifact.sha256(content), *how]).encode())

    def bundle_for(self, machine: str) -> Mapping[str, bytes]:
        """Return the bundle's files for a machine."""
        target = _target_for(machine) if self.in_c and not is_bundle(self.model) else None
        with self._making:
            if target not in self._made:
                self._made[target] = _bundle(self.model, self.name, target)
            return self._made[target]


@dataclass(frozen=True)
class Deployed:
    """How a deployment ended."""

    host: str
    version: str
    changed: bool
    seconds: float


def deploy(host: Host, wanted: Wanted, *, say: Say) -> Deployed:
    """Deploy to one board; `say` gets a line for each step. Raises `BoardError` or `GateError`."""
    started = time.monotonic()
    with ssh.connected(host) as link:
        found = look(link, wanted.root)
        say(f"{host}: {found.described()}")
        made = _parcel(host, found, wanted, say)
        changed = install.install(link, found, made, wait_s=wanted.wait_s, say=say)
    return Deployed(str(host), made.version, changed, round(time.monotonic() - started, 1))


def roll_back(host: Host, root: str, *, wait_s: float, say: Say) -> str:
    """Make the version before the current one again; return its name."""
    with ssh.connected(host) as link:
        found = look(link, root)
        if found.previous is None or found.previous not in found.versions:
            raise BoardError(f"{host}: {found.root} holds no version before the current one; deploy one")
        with install.locked(link, found.root):
            install.activate(link, found.root, found.previous, wait_s=wait_s)
        say(f"{host}: {found.previous} instead of {found.current}")
        return found.previous


def looked_at(host: Host, root: str) -> list[str]:
    """Return lines on what a board is and what was deployed to it."""
    with ssh.connected(host) as link:
        found = look(link, root)
    kept = ", ".join(version for version in found.versions if version != found.current)
    sudo = "without a password" if found.may_sudo else "no"
    service = "none" if found.unit is None else f"serves {found.unit} at {found.listen}"
    return [
        f"board     {found.described()}",
        f"root      {found.root}",
        f"current   {found.current or 'none'}",
        f"kept      {kept or 'none'}",
        f"systemd   {'yes' if found.has_systemd else 'no'}, sudo: {sudo}",
        f"service   {service}",
    ]


def deploy_to_many(
    hosts: Path,
    wanted: Wanted,
    via: Mapping[str, Any],
    *,
    parallel: int,
    canary: int,
    max_failed: float,
    say: Say,
) -> list[Outcome]:
    """Deploy to the boards in file `hosts`, `via` options of `ssh.parsed`; return how each ended, in the file's order.

    What is done is kept beside the file, so that the same command goes on where it was ended.
    """
    names = fleet.read_hosts(hosts)

    def one(name: str) -> tuple[str, str]:
        done = deploy(ssh.parsed(name, **via), wanted, say=say)
        return (fleet.DEPLOYED if done.changed else fleet.UNCHANGED), done.version

    return fleet.roll_out(
        names,
        one,
        wanted=wanted.digest(),
        state=hosts.with_name(hosts.name + ".deployed.json"),
        canary=canary,
        parallel=parallel,
        max_failed=max_failed,
        observe=lambda outcome: say(f"{outcome.host}: {outcome.state}: {outcome.note}"),
    )


def _parcel(host: Host, found: Look, wanted: Wanted, say: Say) -> Parcel:
    service = wanted.service or found.unit is not None
    if service:
        _check_service(host, found)
    bundle = wanted.bundle_for(found.machine)
    in_c = LIBRARY in bundle
    unit = artifact.for_the_board("edgecnn.service").read_text() if service else None
    listen = wanted.listen or found.listen or DEFAULT_LISTEN
    wheels = None
    if service or not in_c:
        wheels = _wheels(host, found, wanted, bundle, say)
    return parcel(bundle, found, wheels=wheels, unit=unit, listen=listen)


def _check_service(host: Host, found: Look) -> None:
    """Raise `BoardError` where a unit cannot be installed."""
    if not found.has_systemd:
        raise BoardError(
            f"{host}: no systemd runs there; leave --service out, and start {found.root}/current/run yourself"
        )
    if not found.may_sudo:
        raise BoardError(
            f"{host}: a service takes root's rights there, and sudo wants a password; allow it without one "
            f"(sudo visudo), log in as root, or leave --service out"
        )
    if found.unit not in (None, found.root):
        raise BoardError(f"{host}: edgecnn.service there serves {found.unit}; deploy with --root {found.unit}")


def _wheels(host: Host, found: Look, wanted: Wanted, bundle: Mapping[str, bytes], say: Say) -> Wheelhouse:
    text = bundle["requirements.txt"].decode()
    requirements = requirements_for(text, found.machine, only=_WITHOUT_RUNTIME if LIBRARY in bundle else None)
    try:
        return wheelhouse(found, requirements, cache=cache_folder(), source=wanted.wheels)
    except BoardError as error:
        raise BoardError(f"{host}: {str(error).removeprefix('deploy: ')}") from None


def requirements_for(text: str, machine: str, *, only: Sequence[str] | None = None) -> list[str]:
    """Return the requirements of a bundle's requirements.txt for a machine; of packages `only`, if named."""
    found = []
    for line in text.splitlines():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        is_for_32_bits = machine == "armv7"
        if not requirement or requirement.startswith("#"):
            continue
        if marker and is_for_32_bits != ("==" in marker):
            continue
        if only is None or requirement.partition("==")[0] in only:
            found.append(requirement)
    return found


def is_bundle(path: Path) -> bool:
    """Return whether `path` is a bundle: a folder with checksums, or an archive."""
    return path.name.endswith(".tar.gz") or (path / SUMS).is_file()


def read_bundle(path: Path) -> dict[str, bytes]:
    """Return the files of a bundle, folder or archive; raises `ArtifactError` for one that is not as its sums say."""
    files = _unpacked(path) if path.is_file() else {p.name: artifact.read_bytes(p) for p in sorted(path.iterdir())}
    if SUMS not in files:
        raise ArtifactError(f"{path}: no {SUMS} in it; expected a bundle; make one: edgecnn export --format bundle")
    sums = _sums(path, files[SUMS])
    for name, value in sums.items():
        if name not in files or artifact.sha256(files[name]) != value:
            raise ArtifactError(f"{path}: {name} is not what {SUMS} says; copy or export the bundle again")
    return {name: files[name] for name in (*sums, SUMS)}


def _sums(path: Path, content: bytes) -> dict[str, str]:
    """Return the sha256 of each file of a bundle by its name."""
    try:
        return dict(sums_of(content, where=path / SUMS))
    except DeviceError as error:  # what is wrong here is no board's
        raise ArtifactError(str(error)) from None


def _unpacked(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path, "r:gz") as tar:
            members = [member for member in tar.getmembers() if member.isfile()]
            contents = [(PurePosixPath(member.name).name, tar.extractfile(member)) for member in members]
            return {name: content.read() for name, content in contents if content is not None}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ArtifactError(
            f"{path}: no readable archive ({error}); make one: edgecnn export --format bundle"
        ) from None


def _bundle(model: Path, name: str, target: str | None) -> Mapping[str, bytes]:
    if is_bundle(model):
        return read_bundle(model)
    return bundle_files(model, name=name, in_c={} if target is None else compiled(model, target))


def _target_for(machine: str) -> str:
    """Return what C is compiled for on a board of that machine."""
    from edgecnn import native

    if machine == platform.machine():
        return "native"
    if machine not in native.TARGETS:
        known = ", ".join(name for name in native.TARGETS if name != "native")
        raise BoardError(f"deploy: nothing is compiled here for {machine}; expected a board of {known}")
    native.compiler_of(machine)
    return machine
