"""deploy/c/pico: a model on a microcontroller without an operating system, compiled, and run where QEMU can."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgecnn.export.c import to_c
from tests.conftest import RELEASED, ROOT

COMPILER, EMULATOR = "arm-none-eabi-gcc", "qemu-system-arm"
MODELS = ("edge35k", "edge35k-sparse90")


def newlib_is_here() -> bool:
    if shutil.which(COMPILER) is None:
        return False
    asked = subprocess.run([COMPILER, "-print-file-name=nano.specs"], capture_output=True, text=True, check=True)
    return Path(asked.stdout.strip()).is_absolute()


pytestmark = [
    pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet"),
    pytest.mark.skipif(
        not newlib_is_here() or shutil.which("make") is None,
        reason=f"not here: make, {COMPILER} or its C library (gcc-arm-none-eabi, libnewlib-arm-none-eabi)",
    ),
]


@pytest.fixture(params=MODELS)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a copy of the example in whose folder `model` a released model lies in C."""
    shutil.copytree(ROOT / "deploy" / "c", tmp_path / "c", ignore=shutil.ignore_patterns("*.elf", "*.o", "predict"))
    folder = tmp_path / "c" / "pico" / "model"
    folder.mkdir()
    content = (RELEASED.with_name(request.param) / "int8.tflite").read_bytes()
    for name, text in to_c(content, labels=tuple("0123456789")).items():
        (folder / name).write_text(text)
    return folder.parent


def made(folder: Path, *what: str) -> str:
    """Make something of the example without a warning; return what is printed: QEMU prints on stderr."""
    done = subprocess.run(
        ["make", "-s", "-C", folder, "MODEL=model", *what], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    return done.stdout + done.stderr


def test_it_is_compiled_for_the_pico(example: Path) -> None:
    made(example, "digit-pico.elf")
    read = ["readelf", "-A", "-h", example / "digit-pico.elf"]
    told = subprocess.run(read, capture_output=True, text=True, check=True).stdout
    assert "Tag_CPU_arch: v6S-M" in told
    entry = int(told.split("Entry point address:")[1].split()[0], 16)
    assert 0x20000000 <= entry < 0x20040000, "in the memory that a debug probe loads it into"
    listed = subprocess.run(["nm", example / "digit-pico.elf"], capture_output=True, text=True, check=True).stdout
    assert not {"malloc", "_sbrk", "printf"} & {line.split()[-1] for line in listed.splitlines()}


def test_it_reads_its_digit_on_an_emulated_cortex_m3(example: Path) -> None:
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"not here: {EMULATOR} (qemu-system-arm)")
    assert made(example, "run").splitlines()[-1] == "7\t255"


def test_its_vectors_lie_where_the_processor_looks(example: Path) -> None:
    made(example, "digit-mps2.elf")
    dump = ["arm-none-eabi-objdump", "-s", "-j", ".text", "--stop-address=8", example / "digit-mps2.elf"]
    words = subprocess.run(dump, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()[1:3]
    stack, reset = (int.from_bytes(bytes.fromhex(word), "little") for word in words)
    assert stack == 0x20400000
    assert reset % 2 == 1, "Thumb code"
