"""What a board is: its machine, libc, Pythons, free space, and what was deployed to it before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecnn.boards import ssh
from edgecnn.boards.ssh import Host
from edgecnn.errors import BoardError

_END = "end of the look"
# ELF's class and machine (e_ident[4], e_machine) of the board's own programs.
_MACHINES = {(1, 40): "armv7", (2, 183): "aarch64", (2, 62): "x86_64", (1, 3): "x86", (2, 243): "riscv64"}
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Look:
    """A board as it was found. `root` is the folder of its deployments; versions are named by their content."""

    root: str
    machine: str  # aarch64, armv7, armv6, x86_64, or what the kernel calls it
    libc: str
    model: str
    pythons: tuple[tuple[tuple[int, int], str], ...]  # (version, path), the board's own python3 first
    free_bytes: int
    current: str | None
    previous: str | None
    versions: tuple[str, ...]
    packages: tuple[str, ...]
    has_systemd: bool
    may_sudo: bool
    unit: str | None  # the root that edgecnn.service serves
    listen: str | None  # where it listens

    @property
    def glibc(self) -> tuple[int, int] | None:
        """The version of GNU libc, None of another one."""
        words = self.libc.split()
        numbers = words[1].split(".") if len(words) == 2 and words[0] == "glibc" else []
        return (int(numbers[0]), int(numbers[1])) if len(numbers) > 1 else None

    @property
    def usable_pythons(self) -> list[tuple[tuple[int, int], str]]:
        """Those that are new enough, each with its version."""
        return [found for found in self.pythons if found[0] >= OLDEST_PYTHON]

    def described(self) -> str:
        """Return the board in a line."""
        pythons = ", ".join(sorted({f"{major}.{minor}" for (major, minor), _ in self.pythons})) or "none"
        free = f"{self.free_bytes / 1e6:,.0f} MB free"
        name = f"{self.model}, " if self.model else ""
        return f"{name}{self.machine}, {self.libc}, Python {pythons}, {free}"


def look(host: Host, root: str) -> Look:
    """Return what the board is; raises `BoardError` where nothing can be deployed to `root` at all."""
    done = ssh.run(host, "look.sh", root)
    lines = done.stdout.decode(errors="replace").splitlines()
    if _END not in lines:
        said = done.stderr.decode(errors="replace").strip()[:200]
        raise BoardError(f"{host}: its shell does not run sh scripts ({said or 'no answer'}); expected a POSIX system")
    found = [tuple(line.partition(" ")[::2]) for line in lines]
    if lacking := _all(found, "lacks"):
        raise BoardError(f"{host}: {', '.join(lacking)} is missing there; install it (coreutils, util-linux, tar)")
    if unwritable := _one(found, "unwritable"):
        raise BoardError(f"{host}: {unwritable} cannot be written to by this user; give another --root")
    return _look(found)


def _look(found: Sequence[tuple[str, ...]]) -> Look:
    pythons = [line.split(" ", 1) for line in _all(found, "python")]
    return Look(
        root=_one(found, "root") or "",
        machine=_machine(_one(found, "elf") or "", _one(found, "machine") or ""),
        libc=_one(found, "libc") or "unknown libc",
        model=_one(found, "model") or "",
        pythons=tuple((_version(version), path) for version, path in pythons),
        free_bytes=_product(_one(found, "free_blocks") or "0 0"),
        current=_one(found, "current"),
        previous=_one(found, "previous"),
        versions=tuple(_all(found, "version")),
        packages=tuple(_all(found, "packages")),
        has_systemd=_one(found, "systemd") == "yes",
        may_sudo=_one(found, "sudo") == "yes",
        unit=_one(found, "unit"),
        listen=_one(found, "listen"),
    )


def _machine(elf: str, kernel: str) -> str:
    """Return the machine of the board's programs, from bytes 4 to 19 of one of them in hex."""
    try:
        content = bytes.fromhex(elf)
        machine = _MACHINES.get((content[0], int.from_bytes(content[14:16], "little")), kernel)
    except (ValueError, IndexError):
        return kernel
    return "armv6" if machine == "armv7" and kernel == "armv6l" else machine


def machine_of(program: bytes) -> str | None:
    """Return the machine that an ELF file is for, None of any other file."""
    return _machine(program[4:20].hex(), "another machine") if program.startswith(b"\x7fELF") else None


def _product(text: str) -> int:
    count, size = text.split()
    return int(count) * int(size)


def _version(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


def _all(found: Sequence[tuple[str, ...]], name: str) -> list[str]:
    return [value for key, value in found if key == name and value]


def _one(found: Sequence[tuple[str, ...]], name: str) -> str | None:
    return next(iter(_all(found, name)), None)
