"""What the predictor takes for an image, and what it refuses: files, their content, Pillow's images, arrays."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.device import ImageError, Predictor
from edgecnn.device.preprocessing.sight import Source, _read_any, _see_any, read_gray
from tests.conftest import RELEASED, ROOT

SEVEN = ROOT / "deploy" / "seven.png"
SHAPE = (20, 24, 3)

needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


class OneWay(io.RawIOBase):
    """A file that cannot be wound back, as what comes over a network."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        return self._content.readinto(room)


WAYS: dict[str, Callable[[Path], Source]] = {
    "path": lambda path: path,
    "text": str,
    "bytes": Path.read_bytes,
    "opened": lambda path: path.open("rb"),
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
    "one way": lambda path: io.BufferedReader(OneWay(path.read_bytes())),
    "Pillow": Image.open,
    "array": lambda path: np.asarray(Image.open(path)),
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(RELEASED / "int8.tflite", runtime="litert")


def closed(source: Source) -> None:
    if not isinstance(source, np.ndarray | str | bytes | Path):
        source.close()


def stretched(source: Source, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """What a network of color images sees."""
    return _see_any(shape, _read_any(shape, source, None))[0]


@needs_released
@pytest.mark.parametrize("way", WAYS)
def test_one_image_is_read_alike_however_it_is_given(predictor: Predictor, way: str) -> None:
    source = WAYS[way](SEVEN)
    assert predictor.predict(source) == predictor.predict(SEVEN)
    source = WAYS[way](SEVEN) if way == "one way" else source  # others are wound back
    assert np.array_equal(predictor.see(source), predictor.see(SEVEN))
    if way == "one way":
        return
    assert predictor.look(source)[0].label == "7"
    assert len(predictor.steps(source)) == len(predictor.steps(SEVEN))
    assert predictor.predict_page(source) == predictor.predict_page(SEVEN)
    closed(source)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_network_of_color_images_reads_it_alike_too(tmp_path: Path, mode: str, way: str) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(colors).convert(mode).save(tmp_path / "a.png")
    source = WAYS[way](tmp_path / "a.png")
    assert np.array_equal(stretched(source), stretched(tmp_path / "a.png"))
    closed(source)


def test_colors_become_gray_as_those_of_a_file(tmp_path: Path) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    assert np.array_equal(read_gray(colors), read_gray(tmp_path / "a.png"))
    assert np.array_equal(stretched(colors, (20, 24, 1)), stretched(tmp_path / "a.png", (20, 24, 1)))


@needs_released
def test_a_last_axis_of_one_is_gray(predictor: Predictor) -> None:
    gray = np.asarray(Image.open(SEVEN))
    assert predictor.predict(gray[..., None]) == predictor.predict(gray)
    assert np.array_equal(stretched(gray[..., None]), stretched(gray))


def test_an_image_of_pillow_is_turned_as_its_exif_says_and_stays_as_it_is(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "tiff", "webp"):
        path = tmp_path / f"turned.{suffix}"
        Image.open(SEVEN).resize((300, 400)).save(path, exif=exif)
        with Image.open(path) as image:
            assert np.array_equal(read_gray(image), read_gray(path)), suffix
            difference = np.abs(stretched(image).astype(int) - stretched(path)).max()
            assert difference <= (4 if suffix == "jpg" else 0), "of a JPEG the file is decoded at a part of its size"
            if suffix != "tiff":  # that Pillow itself turns when it decodes it
                assert image.size == (300, 400), "the caller's stays as it is"
            assert image.getpixel((0, 0)) is not None, "it is still open"


def test_images_of_pillow_in_any_mode_are_read() -> None:
    gray = Image.open(SEVEN)
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I", "I;16"):
        assert read_gray(
            gray.convert("I").point(lambda v: v * 256) if mode.startswith("I") else gray.convert(mode)
        ).any()
    with pytest.raises(ImageError, match="image: floating-point pixels; expected 8 or 16 bits"):
        read_gray(gray.convert("F"))


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, r"image: NoneType; expected the path of an image file"),
    "a number": (5, r"image: int; expected the path of an image file"),
    "a list": ([[1, 2], [3, 4]], r"image: list; expected .*uint8 \[height, width\]"),
    "a class of one's own": (Image.Exif(), r"image: PIL.Image.Exif; expected"),
    "text": (io.StringIO("a"), r"image: a file opened as text; expected binary mode"),
    "floats from 0 to 1": (np.full((9, 9), 0.5), r"image: float64 \[9, 9\] from 0.5 to 0.5; expected uint8 from 0"),
    "floats to 255": (
        np.array([[0, 250.5]], np.float32),
        r"image: float32 \[1, 2\] from 0 to 250.5; expected uint8 from 0",
    ),
    "nan": (np.full((9, 9), np.nan), r"image: float64 \[9, 9\] from nan to nan; expected uint8"),
    "integers": (np.array([[-7, 300]]), r"image: int64 \[1, 2\] from -7 to 300; expected uint8 from 0"),
    "a mask": (np.ones((9, 9), np.bool_), r"image: bool \[9, 9\]; expected uint8 from 0"),
    "objects": (np.array([[{}]]), r"image: object \[1, 1\]; expected uint8 from 0"),
    "an empty one": (np.zeros((0, 9), np.uint8), r"image: uint8 \[0, 9\]; expected uint8 \[height, width\]"),
    "channels first": (np.zeros((3, 9, 9), np.uint8), r"image: uint8 \[3, 9, 9\]; expected uint8 \[height, width\]"),
    "with alpha": (np.zeros((9, 9, 4), np.uint8), r"image: uint8 \[9, 9, 4\]; expected uint8 \[height, width\]"),
    "a batch": (np.zeros((1, 9, 9, 3), np.uint8), r"image: uint8 \[1, 9, 9, 3\]; expected .* one image"),
    "no dimension": (np.uint8(3) * np.ones((), np.uint8), r"image: uint8; expected|image: numpy.uint8; expected"),
    "bytes that are no file": (b"no image", r"image: not a readable image"),
    "no bytes": (b"", r"image: not a readable image"),
    "a file of them": (io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(50)), r"image: not a readable image"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_one_line_that_says_what_came(name: str) -> None:
    given, said = REFUSED[name]
    for read in (read_gray, stretched):
        with warnings.catch_warnings(), pytest.raises(ImageError, match=said) as caught:
            warnings.simplefilter("error")
            read(given)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_closed_is_one_line() -> None:
    with SEVEN.open("rb") as file:
        pass
    with pytest.raises(ImageError, match=r"image: not a readable image \(.*closed file"):
        read_gray(file)
