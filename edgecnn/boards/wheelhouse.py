"""The packages that a board needs, fetched here as wheels for its Python, since boards are often offline."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgecnn import artifact
from edgecnn.archives import checksums
from edgecnn.boards.look import OLDEST_PYTHON, Look
from edgecnn.device.selftest import SUMS
from edgecnn.errors import ArtifactError, BoardError

_OLDEST_GLIBC = 17  # of manylinux2014, the oldest that wheels are still made for
_WITH_C = "deploy the model in C, which needs no packages: --runtime c"


@dataclass(frozen=True)
class Wheelhouse:
    """Wheels of one folder, and the path of the Python on the board that they are for."""

    wheels: tuple[Path, ...]
    python: str

    @cached_property
    def digest(self) -> str:
        """What the packages are called on the board: the hash of their content."""
        sums = [hashlib.sha256(wheel.read_bytes()).hexdigest() + wheel.name for wheel in self.wheels]
        return hashlib.sha256("\n".join([self.python, *sums]).encode()).hexdigest()[:16]

    @cached_property
    def unpacked_bytes(self) -> int:
        """How much space they take on the board while they are unpacked, bytecode included."""
        contents = [zipfile.ZipFile(wheel).infolist() for wheel in self.wheels]
        code = sum(member.file_size for found in contents for member in found if member.filename.endswith(".py"))
        return code + sum(wheel.stat().st_size for wheel in self.wheels) + sum(
            member.file_size for found in contents for member in found
        )  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """Return the wheels' content by name."""
        return {wheel.name: artifact.read_bytes(wheel) for wheel in self.wheels}


def wheelhouse(found: Look, requirements: Sequence[str], *, cache: Path, source: Path | None = None) -> Wheelhouse:
    """Return the wheels of `requirements` (``numpy==2.4.6``) for a board's first Python that there are wheels for.

    They are fetched by pip, from a folder of wheels where `source` names one, and kept in `cache`. What they depend on
    besides is left out: predicting does not need it. Raises `BoardError` where the board's Python is too old or there
    is none, or no wheels exist for it.
    """
    if found.glibc is None:
        raise BoardError(f"deploy: {found.libc} there; wheels are for GNU libc alone; {_WITH_C}")
    if not found.usable_pythons:
        versions = ", ".join(f"{major}.{minor}" for (major, minor), _ in found.pythons) or "none"
        oldest = ".".join(map(str, OLDEST_PYTHON))
        raise BoardError(f"deploy: Python there: {versions}; needs {oldest} or newer; install it, or {_WITH_C}")
    refusals = []
    for version, path in found.usable_pythons:
        try:
            return Wheelhouse(_fetched(found, version, requirements, cache, source), path)
        except _NoWheelsError as error:
            refusals.append(str(error))
    raise BoardError(refusals[0])


class _NoWheelsError(Exception):
    """There are no wheels for a Python on a board."""


def _fetched(
    found: Look, python: tuple[int, int], requirements: Sequence[str], cache: Path, source: Path | None
) -> tuple[Path, ...]:
    """Return the wheels in the cache, fetched first where they are not there."""
    assert found.glibc is not None
    wanted = "\n".join([found.machine, str(found.glibc), str(python), str(source), *requirements])
    folder = cache / artifact.sha256(wanted.encode())[:16]
    with _locked(folder.with_suffix(".lock")):
        if not (folder / SUMS).is_file():
            _fetch(folder, found, python, requirements, source)
    return _whole(folder)


def _fetch(
    folder: Path, found: Look, python: tuple[int, int], requirements: Sequence[str], source: Path | None
) -> None:
    """Let pip fetch the wheels; the folder appears when all are there, with their checksums."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        made = Path(fresh) / "wheels"
        done = subprocess.run(
            [*_pip(source), "--dest", str(made), *_for(found, python), *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise _NoWheelsError(_refusal(found, python, requirements, done.stderr))
        wheels = {wheel.name: wheel.read_bytes() for wheel in sorted(made.glob("*.whl"))}
        artifact.write_atomic(made / SUMS, checksums(wheels))
        made.rename(folder)


def _pip(source: Path | None) -> list[str]:
    offline = [] if source is None else ["--no-index", "--find-links", str(source)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    return [sys.executable, "-m", "pip", "download", *quiet, "--only-binary=:all:", "--no-deps", *offline]


def _for(found: Look, python: tuple[int, int]) -> list[str]:
    """Return pip's options for a platform: wheels for every glibc up to the board's run there."""
    assert found.glibc is not None
    minors = range(found.glibc[1], _OLDEST_GLIBC - 1, -1)
    platforms = [f"manylinux_2_{minor}_{_pip_machine(found.machine)}" for minor in minors]
    platforms.append(f"manylinux2014_{_pip_machine(found.machine)}")
    version = "{}.{}".format(*python)
    return [*(word for platform in platforms for word in ("--platform", platform)), "--python-version", version]


def _pip_machine(machine: str) -> str:
    return f"{machine}l" if machine in ("armv6", "armv7") else machine


def _refusal(found: Look, python: tuple[int, int], requirements: Sequence[str], said: str) -> str:
    version = "{}.{}".format(*python)
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    if "No module named pip" in said:
        return f"deploy: {sys.executable} has no pip to fetch wheels with; install it: python -m ensurepip"
    reason = lines[-1][:150] if lines else said.strip()[-150:]
    return (
        f"deploy: no wheels of {', '.join(requirements)} for {found.machine}, {found.libc}, Python {version} "
        f"({reason}); give a folder with them, --wheelhouse DIR, or {_WITH_C}"
    )


def _whole(folder: Path) -> tuple[Path, ...]:
    """Return the wheels in `folder`; raises `ArtifactError` for one that was damaged since it was fetched."""
    lines = artifact.read_bytes(folder / SUMS).decode().splitlines()
    sums = {folder / name: value for value, _, name in (line.partition("  ") for line in lines)}
    for wheel, value in sums.items():
        if artifact.sha256(artifact.read_bytes(wheel)) != value:
            raise ArtifactError(f"{wheel}: sha256 is not what it was when it was fetched; remove {folder}")
    return tuple(sorted(sums))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one deployment at a time fetch the same wheels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cache_folder() -> Path:
    """Return where wheels are kept."""
    return artifact.user_cache() / "wheels"
