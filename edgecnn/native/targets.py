"""The machines that C is compiled for: their compilers, what these are told, and what runs their programs here."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass

from edgecnn.errors import MissingExtraError, unknown


@dataclass(frozen=True)
class Target:
    """A machine: compilers by preference, Debian's package with one, flags, and the CPUs that QEMU is to be."""

    compilers: tuple[str, ...]
    package: str
    flags: tuple[str, ...] = ()
    emulator: str = ""  # empty: programs run as they are
    cpus: tuple[str, ...] = ()


_ARM = {"compilers": ("arm-linux-gnueabihf-gcc",), "package": "gcc-arm-linux-gnueabihf", "emulator": "qemu-arm"}
EMULATORS_PACKAGE = "qemu-user-static"
TARGETS = {
    "native": Target(("gcc", "cc", "clang"), "gcc libc6-dev"),
    "aarch64": Target(
        ("aarch64-linux-gnu-gcc",),
        "gcc-aarch64-linux-gnu",
        emulator="qemu-aarch64",
        cpus=("cortex-a53", "max"),
    ),
    "armv7": Target(**_ARM, flags=("-march=armv7-a+fp", "-mfloat-abi=hard"), cpus=("cortex-a7",)),  # type: ignore[arg-type]
    # Raspberry Pi 1 and Zero: Arm's own instructions, for there are no Thumb-2 ones.
    "armv6": Target(**_ARM, flags=("-march=armv6+fp", "-mfloat-abi=hard", "-marm"), cpus=("arm1176",)),  # type: ignore[arg-type]
}
# Kernels beyond what every processor of a machine has: the name in dispatch.c, and what the compiler is told for it.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "x86_64": {"avx2": ("-mavx2",), "avx512vnni": ("-mavx512f", "-mavx512vnni")},
    "aarch64": {"dotprod": ("-march=armv8.2-a+dotprod",)},
}


def check_target(name: str) -> Target:
    """Return a target by name; raises `ConfigError`, listing the targets, for an unknown one."""
    if name not in TARGETS:
        raise unknown("target", name, TARGETS)
    return TARGETS[name]


def compiler_of(name: str, asked: str | None = None) -> list[str]:
    """Return the command of a target's compiler, or of the one that was asked for.

    Raises `MissingExtraError`, naming Debian's package, where there is none.
    """
    target = check_target(name)
    if asked is not None:
        command = shlex.split(asked)
        if not command or shutil.which(command[0]) is None:
            raise MissingExtraError(f"build --cc: {asked!r} is no program here; give a compiler's name or path")
        return command
    found = next((compiler for compiler in target.compilers if shutil.which(compiler)), None)
    if found is None:
        raise MissingExtraError(
            f"build --target {name}: {target.compilers[0]} is not installed; run: apt-get install {target.package}"
        )
    return [found]


def runners_of(name: str) -> list[list[str]] | None:
    """Return what to put before a program of the target so that it runs here, once a CPU; None where nothing does."""
    target = check_target(name)
    if not target.emulator:
        return [[]]
    names = (f"{target.emulator}-static", target.emulator)
    emulator = next((name for name in names if shutil.which(name)), None)
    return None if emulator is None else [[emulator, "-cpu", cpu] for cpu in target.cpus]
