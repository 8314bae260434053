"""deploy/c: one library for all processors of a machine, which takes the instructions that it finds."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgecnn.export.c import to_c
from tests.conftest import ROOT
from tests.test_export_c import MACHINES, STRICT, images_for, odd_widths, reference

CALLS = ("version", "input", "output", "label", "contract", "predict", "probabilities")
OF_PICTURES = ("encode", "place")
CONTENT = odd_widths()
needs_aarch64 = pytest.mark.skipif(bool(MACHINES["aarch64"].lacks), reason=f"not here: {MACHINES['aarch64'].lacks}")

pytestmark = pytest.mark.skipif(shutil.which("make") is None or shutil.which("gcc") is None, reason="no make and gcc")


def made(folder: Path, *, name: str, compiler: str = "gcc") -> Path:
    """Make libmodel.so in a copy of deploy/c; return that folder, whose parent has the exported model."""
    for file, text in to_c(CONTENT, name=name, kernel="dense").items():
        (folder / file).write_text(text)
    copy = folder / "deploy"
    shutil.copytree(ROOT / "deploy" / "c", copy, ignore=shutil.ignore_patterns("*.o", "*.so", "predict"))
    flags = f"-O2 {' '.join(STRICT)}"
    settings = [f"MODEL={folder}", f"NAME={name}", f"CC={compiler}", f"LIBRARY_CFLAGS={flags}"]
    done = subprocess.run(["make", "-C", copy, *settings, "libmodel.so"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return copy


def offered(library: Path) -> set[str]:
    """Return the names that others can link with."""
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in listed.stdout.splitlines()}


def test_the_library_offers_what_the_header_declares_and_is_exact(tmp_path: Path) -> None:
    library = made(tmp_path, name="digit") / "libmodel.so"
    assert offered(library) == {f"digit_{call}" for call in (*CALLS, *OF_PICTURES)}
    predict = ctypes.CDLL(str(library)).digit_predict
    images = images_for(CONTENT, 8)
    arena, scores = (ctypes.c_uint32 * 16384)(), np.zeros((8, 5), np.int8)
    for image, row in zip(images, scores, strict=True):
        places = ctypes.c_char_p(image.tobytes()), arena, ctypes.c_size_t(ctypes.sizeof(arena))
        assert predict(*places, row.ctypes.data_as(ctypes.c_void_p)) == 0
    assert np.array_equal(scores, reference(CONTENT, images))


@needs_aarch64
@pytest.mark.parametrize(("cpu", "has_dot_product"), [("cortex-a72", False), ("max", True)])
def test_the_processor_decides_which_instructions_run(cpu: str, has_dot_product: bool, tmp_path: Path) -> None:
    """What a processor lacks would end the program; what it has must be used: qemu lists the instructions."""
    compiler = MACHINES["aarch64"].compiler
    folder = made(tmp_path, name="model", compiler=compiler)
    assert offered(folder / "libmodel.so") == {f"model_{call}" for call in (*CALLS, *OF_PICTURES)}
    program, sources = tmp_path / "golden", [ROOT / "tests" / "golden.c", *folder.glob("*.o")]
    subprocess.run([compiler, "-static", "-I", tmp_path, *sources, "-o", program], check=True)
    images = images_for(CONTENT, 2)
    cases = zip(images, reference(CONTENT, images), strict=True)
    (tmp_path / "cases").write_bytes(b"".join(i.tobytes() + s.tobytes() for i, s in cases))
    log = tmp_path / "log"
    run = ["qemu-aarch64-static", "-cpu", cpu, "-d", "in_asm", "-D", log, program, tmp_path / "cases"]
    subprocess.run(run, check=True)
    assert ("sadalp" in log.read_text()) != has_dot_product, "pairs of products are added only where there is no sdot"
