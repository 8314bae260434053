"""Which way up a picture is: training, the device and numpy by hand give the same pixels, however a file says it."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from edgecnn.data import load
from edgecnn.device.preprocessing.orientation import upright, upright_size
from edgecnn.device.preprocessing.pictures import read_gray
from edgecnn.device.preprocessing.sight import sight_of
from tests.picture_files import (
    ORIENTATION,
    UPRIGHT,
    chunk,
    encoded,
    exif,
    jpeg_with_xmp,
    png_with,
    scene,
    xmp,
    xmp_chunk,
)

STORED = Image.fromarray(scene())
PNG, JPEG = encoded(STORED, "PNG"), encoded(STORED, "JPEG", quality=95)


def exif_text(orientation: int) -> bytes:
    """Return EXIF as ImageMagick keeps it in a PNG."""
    data = exif(orientation)
    return chunk(b"tEXt", b"Raw profile type exif\0\nexif\n" + f"{len(data):8}\n{data.hex()}\n".encode())


# Kind -> its suffix, and the file for an orientation.
KINDS: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "JPEG, EXIF": (".jpg", lambda o: encoded(STORED, "JPEG", quality=95, exif=exif(o))),
    "JPEG, XMP": (".jpg", lambda o: jpeg_with_xmp(JPEG, xmp(o))),
    "JPEG, XMP in single quotes": (".jpg", lambda o: jpeg_with_xmp(JPEG, xmp(o, form="single quotes"))),
    "JPEG, XMP as an element": (".jpg", lambda o: jpeg_with_xmp(JPEG, xmp(o, form="element"))),
    "JPEG of several pictures": (
        ".jpg",
        lambda o: encoded(STORED, "MPO", quality=95, save_all=True, append_images=[STORED], exif=exif(o)),
    ),
    "PNG, eXIf before the pixels": (".png", lambda o: png_with(PNG, chunk(b"eXIf", exif(o)[6:]), behind=False)),
    "PNG, eXIf behind the pixels": (".png", lambda o: png_with(PNG, chunk(b"eXIf", exif(o)[6:]), behind=True)),
    "PNG, EXIF as text": (".png", lambda o: png_with(PNG, exif_text(o), behind=False)),
    "PNG, EXIF as text behind the pixels": (".png", lambda o: png_with(PNG, exif_text(o), behind=True)),
    "PNG, XMP": (".png", lambda o: png_with(PNG, xmp_chunk(xmp(o)), behind=False)),
    "PNG, XMP behind the pixels": (".png", lambda o: png_with(PNG, xmp_chunk(xmp(o)), behind=True)),
    "PNG, EXIF and another XMP": (
        ".png",
        lambda o: png_with(PNG, chunk(b"eXIf", exif(o)[6:]), xmp_chunk(xmp(9 - o)), behind=True),
    ),
    "WebP, EXIF": (".webp", lambda o: encoded(STORED, "WEBP", lossless=True, exif=exif(o))),
    "WebP, XMP": (".webp", lambda o: encoded(STORED, "WEBP", lossless=True, xmp=xmp(o))),
    "TIFF": (".tif", lambda o: encoded(STORED, "TIFF", tiffinfo={ORIENTATION: o})),
    "TIFF, packed": (".tif", lambda o: encoded(STORED, "TIFF", tiffinfo={ORIENTATION: o}, compression="tiff_lzw")),
}
TRAINABLE = [kind for kind, (suffix, _) in KINDS.items() if suffix != ".tif"]  # a folder's reader takes no TIFF


def by_hand(kind: str, orientation: int) -> np.ndarray:
    """Return the pixels upright, turned by numpy from those of the same file without metadata."""
    suffix = KINDS[kind][0]
    if suffix != ".jpg":
        return UPRIGHT[orientation](scene())
    with Image.open(io.BytesIO(JPEG)) as image:
        return UPRIGHT[orientation](np.asarray(image))


def written(folder: Path, kind: str, orientation: int) -> Path:
    suffix, write = KINDS[kind]
    file = folder / f"{orientation}{suffix}"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(write(orientation))
    return file


def on_device(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    sight = sight_of(shape, digits=False)
    return sight.see(sight.read(file, None))[0]


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", KINDS)
def test_the_device_turns_a_picture_as_its_file_says(tmp_path: Path, kind: str, orientation: int) -> None:
    file, expected = written(tmp_path, kind, orientation), by_hand(kind, orientation)
    assert np.array_equal(on_device(file, expected.shape), expected)
    assert np.array_equal(read_gray(file), np.asarray(Image.fromarray(expected).convert("L"))), "as for digits"


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", TRAINABLE)
def test_training_turns_it_in_the_same_way(tmp_path: Path, kind: str, orientation: int) -> None:
    for label in "ab":
        for copy in range(3):
            written(tmp_path / label / str(copy), kind, orientation)
    data, expected = load(str(tmp_path), validation_fraction=0.3), by_hand(kind, orientation)
    assert data.input_shape == expected.shape
    for split in (data.train, data.validation, data.test):
        assert all(np.array_equal(image, expected) for image in split.images)


@pytest.mark.parametrize("said", [0, 9, 255])
def test_what_is_no_orientation_turns_nothing(tmp_path: Path, said: int) -> None:
    for kind in ("JPEG, EXIF", "JPEG, XMP", "PNG, eXIf behind the pixels"):
        assert np.array_equal(on_device(written(tmp_path, kind, said), scene().shape), by_hand(kind, 1))


@pytest.mark.filterwarnings("ignore:.*EXIF")  # Pillow's, which both readers silence
@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0nonsense" * 3, exif(6)[:-8]])
def test_damaged_exif_leaves_a_picture_as_it_is_stored(tmp_path: Path, data: bytes) -> None:
    for name, content in {"a.png": png_with(PNG, chunk(b"eXIf", data), behind=True), "a.jpg": JPEG}.items():
        if name == "a.jpg":
            content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + content[2:]
        (tmp_path / name).write_bytes(content)
        with Image.open(tmp_path / name) as image:
            assert upright_size(image) == STORED.size
            assert upright(image).size == STORED.size


def test_the_size_is_known_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a PNG is decoded for it that has metadata behind its pixels, or EXIF as text."""
    decoded = []
    load_file = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(1) or load_file(image))
    for kind in TRAINABLE:
        decoded.clear()
        with Image.open(written(tmp_path, kind, 6)) as image:
            decoded.clear()  # Pillow's own opening of a JPEG of several pictures
            assert upright_size(image) == STORED.size[::-1]
        assert bool(decoded) == any(words in kind for words in ("behind", "another", "as text")), kind


def test_a_cut_off_png_still_has_a_size(tmp_path: Path) -> None:
    for length in range(60, len(PNG), 7):
        (tmp_path / "cut.png").write_bytes(PNG[:length])
        with Image.open(tmp_path / "cut.png") as image:
            assert upright_size(image) == STORED.size
