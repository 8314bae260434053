"""Several threads share one predictor, its counts and Pillow: each gets what it would get alone."""

from __future__ import annotations

import io
import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.device import Predictor
from edgecnn.device.predictor import Prediction
from edgecnn.device.preprocessing.pictures import read_gray
from edgecnn.device.runtimes.loader import load
from edgecnn.device.trust.stats import Stats, _read
from edgecnn.pipeline import build
from tests.conftest import RELEASED
from tests.drawing import STROKES, draw

THREADS, TIMES = 4, 150

pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def together(do: Callable[[int], Any]) -> list[Any]:
    """Return what `do` returns of each thread's number; the threads begin at the same moment."""
    ready = Barrier(THREADS)

    def begin(number: int) -> Any:
        ready.wait()
        return do(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


@pytest.fixture(scope="module")
def digits() -> list[np.ndarray]:
    """Digits in MNIST's shape, and turned, where the network is unsure: each has other probabilities."""
    reader = Predictor(RELEASED / "int8.tflite", runtime="litert")
    upright = [reader.see(np.asarray(draw(strokes))) for strokes in STROKES.values()]
    return [reader.see(np.rot90(digit, turns)) for digit in upright for turns in range(4)]


def predictor_in(runtime: str, folder: Path) -> Predictor:
    if runtime != "c":
        return Predictor(RELEASED / f"int8.{'onnx' if runtime == 'ort' else 'tflite'}", runtime=runtime)
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: apt-get install gcc")
    return Predictor(build(RELEASED / "int8.tflite", out=folder))


@pytest.mark.parametrize("runtime", ["litert", "ort", "c"])
def test_threads_get_what_one_alone_gets(runtime: str, digits: list[np.ndarray], tmp_path: Path) -> None:
    predictor = predictor_in(runtime, tmp_path)
    alone = [predictor.predict(digit) for digit in digits]
    assert len({one.probabilities for one in alone}) > 10, "they differ, so that a mixture shows"

    def predict(number: int) -> list[Prediction]:
        return [predictor.predict(digits[(number + turn) % len(digits)]) for turn in range(TIMES)]

    for number, got in enumerate(together(predict)):
        assert got == [alone[(number + turn) % len(digits)] for turn in range(TIMES)]


@pytest.mark.parametrize("name", ["int8.tflite", "int8.onnx"])
def test_outputs_are_the_callers_own(name: str) -> None:
    loaded = load(RELEASED / name)
    (given,) = loaded.inputs
    blank, striped = np.zeros((1, *given.shape[1:]), given.dtype), np.zeros((1, *given.shape[1:]), given.dtype)
    striped[:, ::2] = 1 if given.dtype == "float32" else 100
    (kept,) = loaded.invoke([blank])
    before = kept.copy()
    (other,) = loaded.invoke([striped])
    assert not np.array_equal(other, before)
    assert np.array_equal(kept, before)


def test_counts_of_several_threads_are_all_counted(tmp_path: Path) -> None:
    stats = Stats(tmp_path / "stats.json", model="m", known=None)
    pixels, prediction = np.full((28, 28), 7, np.uint8), Prediction("7", 0.9, (0.1, 0.9))
    together(lambda _: [stats.add(pixels, prediction) for _ in range(TIMES)])
    stats.save()
    assert _read(tmp_path / "stats.json", "m").all.images == THREADS * TIMES


def test_pictures_read_side_by_side_leave_the_filters_of_warnings_as_they_were() -> None:
    file = io.BytesIO()
    Image.new("L", (200, 200), 9).save(file, "PNG")
    before = list(warnings.filters)
    together(lambda _: [read_gray(io.BytesIO(file.getvalue())) for _ in range(50)])
    assert warnings.filters == before
