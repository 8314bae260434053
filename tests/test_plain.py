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

from edgecnn.device.preprocessing.pictures import _levels, read_gray
from edgecnn.device.preprocessing.plain import decode_plain, read_plain
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


@given(shapes.flatmap(lambda shape: arrays(np.uint8, (*shape, 4))), st.sampled_from(["RGBA", "LA", "P"]))
def test_it_reads_palettes_and_transparency_as_the_other_reader_does(pixels: np.ndarray, mode: str) -> None:
    alpha = pixels[:, :, 3]
    alpha[alpha % 3 == 0] = 0
    picture = Image.fromarray(pixels, "RGBA")
    picture = picture.convert("RGB").quantize(17) if mode == "P" else picture.convert(mode)
    content = encoded(picture)
    assert Image.open(io.BytesIO(content)).mode == mode
    levels = _levels(Image.open(io.BytesIO(content)))
    assert decode_plain(content) in ((*picture.size, levels.tobytes()), None if mode == "P" else ())


def test_a_picture_with_a_palette_is_read() -> None:
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB").quantize(256)
    content = encoded(picture)
    assert decode_plain(content) == (16, 16, picture.convert("L").tobytes())


@given(arrays(np.uint8, shapes), st.sampled_from([b" ", b"\n", b" \t\n"]))
def test_a_p2_is_read_as_pillow_does(pixels: np.ndarray, space: bytes) -> None:
    height, width = pixels.shape
    words = [b"P2", *(str(value).encode() for value in (width, height, 255, *pixels.ravel()))]
    content = space.join(words) + b"\n"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), pixels)
    assert decode_plain(content) == (width, height, pixels.tobytes())


def test_pixels_alone_are_read_from_raw_files(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(range(196)) * 4)
    assert read_plain(tmp_path / "a.raw") == (28, 28, bytes(range(196)) * 4)
    (tmp_path / "a.raw").write_bytes(bytes(783))
    assert read_plain(tmp_path / "a.raw") is None


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
        pytest.param(encoded(Image.new("P", (9, 9)), transparency=3), id="a transparent color"),
        pytest.param(encoded(Image.new("1", (9, 9))), id="1 bit"),
        pytest.param(encoded(Image.new("I;16", (9, 9))), id="16 bits"),
        pytest.param(encoded(Image.new("L", (9, 9)), transparency=3), id="a transparent level"),
        pytest.param(encoded(Image.new("L", (100, 100))), id="large"),
        pytest.param(encoded(Image.new("L", (9, 9)))[:-20], id="cut off"),
        pytest.param(b"P5 28 28 65535\n" + bytes(2 * 784), id="PGM of 16 bits"),
        pytest.param(b"P5 28 28 255\n" + bytes(783), id="short PGM"),
        pytest.param(b"P2 2 1 255\n1 256\n", id="P2 above its maximum"),
        pytest.param(b"P2 2 1 255\n1 +2\n", id="P2 of what is no number"),
        pytest.param(b"P2 2 1 255\n1\n", id="short P2"),
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
    from edgecnn.device.preprocessing.mnist import to_mnist

    Image.fromarray(to_mnist(read_gray(ROOT / "deploy" / "seven.png"))).save(tmp_path / "digit.png")
    code = (
        "import sys; from edgecnn.device import Predictor; print(Predictor(sys.argv[1]).predict(sys.argv[2]).label); "
        "sys.exit(any(name == 'PIL' for name in sys.modules))"
    )
    command = [sys.executable, "-c", code, ROOT / "models/edge35k/int8.tflite", tmp_path / "digit.png"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
