"""The reader of small plain pictures: what it takes it reads as Pillow does, and it takes nothing else."""

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, PngImagePlugin

from edgecnn.device.pictures import read_gray
from edgecnn.device.plain import decode_plain, read_plain
from tests.conftest import ROOT

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
pictures = shapes.flatmap(lambda shape: arrays(np.uint8, st.sampled_from([shape, (*shape, 3)])))


def encoded(picture: Image.Image, form: str = "png", **options: object) -> bytes:
    content = io.BytesIO()
    picture.save(content, form, **options)
    return content.getvalue()


def filtered_png(pixels: np.ndarray, how: int) -> bytes:
    """A gray PNG every row of which has the same filter; Pillow chooses its own."""
    height, width = pixels.shape
    wide = np.pad(pixels.astype(int), ((1, 0), (1, 0)))
    left, up, corner = wide[1:, :-1], wide[:-1, 1:], wide[:-1, :-1]
    guess = left + up - corner
    near = np.abs(np.stack([guess - left, guess - up, guess - corner])).argmin(axis=0)
    paeth = np.choose(near, [left, up, corner])
    rows = (pixels - [0, left, up, (left + up) // 2, paeth][how]).astype(np.uint8)
    data = zlib.compress(b"".join(bytes([how]) + row.tobytes() for row in rows))
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    chunks = [(b"IHDR", header), (b"IDAT", data[:7]), (b"IDAT", data[7:]), (b"IEND", b"")]
    packed = (len(d).to_bytes(4, "big") + n + d + zlib.crc32(n + d).to_bytes(4, "big") for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@given(pictures, st.sampled_from(["png", "ppm"]))
def test_it_reads_what_pillow_reads(pixels: np.ndarray, form: str) -> None:
    picture = Image.fromarray(pixels)
    got = decode_plain(encoded(picture, form))
    if form == "ppm" and picture.mode == "RGB":
        assert got is None
    else:
        assert got == (*picture.size, picture.convert("L").tobytes())


@pytest.mark.parametrize("how", range(5))
def test_every_filter_of_png(how: int) -> None:
    pixels = np.random.default_rng(how).integers(0, 256, (9, 13), np.uint8)
    content = filtered_png(pixels, how)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels), "the test's own encoder"
    assert decode_plain(content) == (13, 9, pixels.tobytes())


def with_exif() -> bytes:
    turned = Image.Exif()
    turned[0x0112] = 6
    return encoded(Image.new("L", (28, 28)), exif=turned)


def animated() -> bytes:
    frames = [Image.new("L", (9, 9), level) for level in (0, 255)]
    return encoded(frames[0], save_all=True, append_images=frames[1:])


def commented() -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Title", "a digit")
    return encoded(Image.new("L", (9, 9), 7), pnginfo=notes, dpi=(96, 96))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(with_exif(), id="turned by EXIF"),
        pytest.param(animated(), id="animation"),
        pytest.param(encoded(Image.new("RGBA", (9, 9))), id="transparency"),
        pytest.param(encoded(Image.new("P", (9, 9))), id="palette"),
        pytest.param(encoded(Image.new("1", (9, 9))), id="1 bit"),
        pytest.param(encoded(Image.new("I;16", (9, 9))), id="16 bits"),
        pytest.param(encoded(Image.new("L", (9, 9)), transparency=3), id="a transparent level"),
        pytest.param(encoded(Image.new("L", (100, 100))), id="large"),
        pytest.param(encoded(Image.new("L", (9, 9)))[:-20], id="cut off"),
        pytest.param(b"P5 28 28 65535\n" + bytes(2 * 784), id="PGM of 16 bits"),
        pytest.param(b"P5 28 28 255\n" + bytes(783), id="short PGM"),
        pytest.param(b"P5 # made by hand\n28 28 255\n" + bytes(784), id="PGM with a comment"),
        pytest.param(b"GIF89a", id="GIF"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_it_leaves_everything_else_to_pillow(content: bytes) -> None:
    assert decode_plain(content) is None


def test_notes_in_a_png_change_nothing() -> None:
    assert decode_plain(commented()) == (9, 9, bytes([7]) * 81)


@given(st.binary(max_size=200), st.integers(0, 200), st.integers(0, 7))
def test_damage_never_raises(noise: bytes, place: int, bit: int) -> None:
    good = encoded(Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)))
    damaged = bytearray(good)
    damaged[place % len(good)] ^= 1 << bit
    for content in (noise, b"P5" + noise, good[:33] + noise, bytes(damaged)):
        got = decode_plain(content)
        assert got is None or len(got[2]) == got[0] * got[1]


def test_no_file_is_not_plain(tmp_path: Path) -> None:
    assert read_plain(tmp_path / "gone.png") is None
    assert read_plain(tmp_path) is None


def test_a_small_plain_file_is_predicted_without_pillow(tmp_path: Path) -> None:
    from edgecnn.device.preprocessing import to_mnist

    Image.fromarray(to_mnist(read_gray(ROOT / "deploy" / "seven.png"))).save(tmp_path / "digit.png")
    code = (
        "import sys; from edgecnn.device import Predictor; print(Predictor(sys.argv[1]).predict(sys.argv[2]).label); "
        "sys.exit(any(name == 'PIL' for name in sys.modules))"
    )
    command = [sys.executable, "-c", code, ROOT / "models/edge35k/int8.tflite", tmp_path / "digit.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
