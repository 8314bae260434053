"""Shared fixtures: one quick run, made once a session by the command that users type."""

import fcntl
import gzip
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "models" / "edge35k"
Edgecnn = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure() -> None:
    # A shell's command in the background ignores Ctrl-C and hands that on to what it starts; here tests send it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return f"EDGECNN_DATA: {os.environ.get('EDGECNN_DATA', 'not set; tests that need MNIST are skipped')}"


@pytest.fixture(scope="session")
def edgecnn() -> Edgecnn:
    """Return a function that runs the command line in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgecnn", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd or ROOT,
            env={**os.environ, **environment},
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def quick_run(edgecnn: Edgecnn, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the directory of a complete run on the embedded digits; read it, never write to it."""
    base = tmp_path_factory.getbasetemp()
    # One run for all processes of a parallel session: they share the folder above their own.
    root = (base if worker_id == "master" else base.parent) / "quick"
    with Path(f"{root}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "bench" / "report.html").exists():
            done = edgecnn("run", "--recipe", "quick", "--out", root)
            assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Return the folder of the real MNIST files, or skip."""
    from edgecnn.data import mnist

    folder = mnist.find()
    if folder is None:
        pytest.skip("MNIST is not here: set EDGECNN_DATA to a folder that holds mnist/")
    return folder


@pytest.fixture(scope="session")
def mnist_test(mnist_dir: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return MNIST's test images uint8 [10000, 28, 28, 1] and labels."""
    from edgecnn.data import mnist

    test = mnist.read(data_dir=mnist_dir).test
    return test.images, test.labels


def stored_kernels(content: bytes) -> list[np.ndarray]:
    """Return a .tflite file's kernels as stored, in order: [filters, height, width, inputs] or [units, inputs]."""
    from edgecnn.inspect import tflite

    return [step.kernel.stored for step in tflite.operations(content) if step.kernel is not None]


def idx_bytes(array: np.ndarray, magic: int) -> bytes:
    """Return `array` in the idx format."""
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx_set(folder: Path, *, images: int = 20) -> None:
    """Write four well-formed idx .gz files that are not MNIST."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "t10k"):
        pictures, labels = rng.integers(0, 256, (images, 28, 28)), np.arange(images) % 10
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(pictures, 2051)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels, 2049)))
