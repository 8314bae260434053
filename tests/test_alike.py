"""Training and device read alike: the digit finder is for images that it leaves as they are, and all kinds of files."""

import json
import math
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.config import configure
from edgecnn.data import alike, load
from edgecnn.data.alike import IMAGES, Reading, compared
from edgecnn.data.splits import DataSet
from edgecnn.device import ImageError, Predictor
from edgecnn.device.preprocessing import photo
from edgecnn.device.preprocessing.pictures import read_gray, read_picture
from edgecnn.device.preprocessing.sight import sight_of
from edgecnn.errors import DataError
from edgecnn.pipeline import Target, begin, export, reading_line, train
from tests.conftest import Edgecnn
from tests.picture_files import chunk, encoded, jpeg_with_xmp, png_of_16_bits, png_with, scene, xmp

LABELS = tuple("0123456789")


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the embedded digits' training images uint8 [N, 28, 28] and labels; they are in MNIST's shape."""
    data = load("digits", validation_fraction=0.1)
    return data.train.images[..., 0], data.train.labels


def to_the_border(digit: np.ndarray) -> np.ndarray:
    """Return a digit that fills its frame."""
    rows, columns = (np.flatnonzero((digit > 40).any(axis=axis)) for axis in (1, 0))
    cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(cut).resize((28, 28), Image.Resampling.BILINEAR))


def clothes(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return gray stripes on black that fill most of the frame, of a direction for each class: uint8 [N, 28, 28]."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:28, 0:28]
    woven = []
    for label in labels:
        along = rows * math.sin(label * math.pi / 10) + columns * math.cos(label * math.pi / 10)
        stripes = 128 + 80 * np.sin(along * 0.9 + rng.uniform(0, 6)) + rng.normal(0, 12, (28, 28))
        top, left = rng.integers(0, 3, 2)
        stripes[:top] = stripes[:, :left] = 0
        woven.append(stripes.clip(0, 255).astype(np.uint8))
    return np.stack(woven)


def as_npz(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), images=images, labels=labels)
    return path.with_suffix(".npz")


def as_csv(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    lines = ["label," + ",".join(f"pixel{i}" for i in range(images[0].size))]
    lines += [f"{label}," + ",".join(map(str, image.ravel())) for image, label in zip(images, labels, strict=True)]
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path.with_suffix(".csv")


def as_folder(path: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        (path / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path / str(label) / f"{number}.png")
    return path


WRITERS = {"npz": as_npz, "csv": as_csv, "folder": as_folder}
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as MNIST": lambda images: images,
    "black on white": lambda images: 255 - images,
    "full frame": lambda images: np.stack([to_the_border(image) for image in images]),
    "clothes": lambda images: clothes(np.arange(len(images)) % 10),
}


def opened(path: Path, **options: object) -> DataSet:
    return load(str(path), **{"validation_fraction": 0.2, **options})  # type: ignore[arg-type]


# What decides


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("writer", WRITERS)
def test_only_digits_that_stay_as_they_are_are_looked_for(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], writer: str, change: str
) -> None:
    images, labels = digits[0][:400], digits[1][:400]
    data = opened(WRITERS[writer](tmp_path / "set", CHANGES[change](images), labels))
    assert (data.input_shape, data.labels) == ((28, 28, 1), LABELS)
    assert data.reading.tried == IMAGES
    if change == "as MNIST":
        assert data.picture == "digit"
        assert data.reading.changed <= 0.01 * IMAGES
        assert reading_line(data) is None
    else:
        assert data.picture == "stretch"
        assert data.reading.changed > 0.9 * IMAGES
        assert str(data.reading) in (reading_line(data) or "")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_published_sets(mnist_dir: Path, name: str) -> None:
    if not (mnist_dir.parent / name).is_dir():
        pytest.skip(f"{name} is not here")
    data = load(name, validation_fraction=0.1)
    assert data.reading == (Reading("digit", IMAGES, 0) if name == "mnist" else Reading("stretch", 0, 0))
    labelled = compared(data.train.images, data.train.images, LABELS)
    assert labelled.picture == ("digit" if name == "mnist" else "stretch"), "whatever file they come from"


@pytest.mark.parametrize(("odd", "picture"), [(0, "digit"), (2, "digit"), (3, "stretch"), (200, "stretch")])
def test_one_in_a_hundred_may_differ(digits: tuple[np.ndarray, np.ndarray], odd: int, picture: str) -> None:
    images = digits[0][:IMAGES, ..., None].copy()
    images[:odd] = 255 - images[:odd]
    assert compared(images, images, LABELS) == Reading(picture, IMAGES, odd)


def test_of_few_images_none_may_differ(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images = digits[0][:50, ..., None].copy()
    assert compared(images, images, LABELS) == Reading("digit", 50, 0)
    images[7] = 255 - images[7]
    assert compared(images, images, LABELS) == Reading("stretch", 50, 1)


def test_other_shapes_and_classes_are_not_tried(tmp_path: Path) -> None:
    labels = np.arange(60) % 10
    for images, names in ((clothes(labels), labels + 1), (clothes(labels)[:, :27, :27], labels)):
        data = opened(as_npz(tmp_path / "set", images, names))
        assert data.reading == Reading("stretch", 0, 0)
        assert reading_line(data) is None


def test_the_choice_is_that_of_the_data_alone(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits[0][:600].copy(), digits[1][:600]
    images[::3] = 255 - images[::3]
    path = as_npz(tmp_path / "set", images, labels)
    found = {opened(path, validation_fraction=fraction).reading for fraction in (0.1, 0.1, 0.4)}
    assert len(found) == 1
    assert 0.2 * IMAGES < found.pop().changed < 0.5 * IMAGES


def test_what_it_costs_is_bounded(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of 28x28 are looked at once each and no digit is found in them; larger pictures only until it is clear."""
    looked: list[int] = []
    found: list[int] = []
    canonical, find_digit = alike.canonical, photo.find_digit
    monkeypatch.setattr(alike, "canonical", lambda gray: (looked.append(1), canonical(gray))[1])
    monkeypatch.setattr(photo, "find_digit", lambda gray: (found.append(1), find_digit(gray))[1])
    images, labels = digits[0][:400], digits[1][:400]
    opened(as_folder(tmp_path / "small", 255 - images, labels))
    assert (len(looked), len(found)) == (IMAGES, 0)
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    for path in (as_folder(tmp_path / "large", large, labels), as_npz(tmp_path / "large", large, labels)):
        found.clear()
        data = opened(path, resize="28x28")
        assert data.reading == Reading("stretch", 3, 3)
        assert len(found) == 3


def test_colours_are_made_gray_as_those_of_a_file(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    coloured = np.stack([digits[0][:100]] * 3, axis=-1)
    for writer in (as_npz, as_folder):
        data = opened(writer(tmp_path / "set", coloured, digits[1][:100]), resize="28x28x1")
        assert data.picture == "digit"


@pytest.mark.parametrize("size", [(40, 1), (1, 40), (1, 1)])
def test_a_picture_may_be_a_line(tmp_path: Path, size: tuple[int, int]) -> None:
    lines = np.random.default_rng(0).integers(0, 256, (60, *size), dtype=np.uint8)
    for writer in (as_npz, as_folder):
        data = opened(writer(tmp_path / "set", lines, np.arange(60) % 10), resize="28x28")
        assert data.picture == "stretch"


# Where they differ


def test_a_file_that_is_read_otherwise_is_an_error(tmp_path: Path) -> None:
    labels = np.arange(40) % 4
    root = as_folder(tmp_path / "set", clothes(labels), labels)
    files = sorted(root.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(file)) for file in files])[..., None]
    assert compared(files, images, tuple("0123")).picture == "stretch"
    images[5, 3, 3] ^= 1
    with pytest.raises(DataError, match=rf"{files[5]}: the device reads it otherwise .*\(1 of 784 levels differ\)"):
        compared(files, images, tuple("0123"))
    files[5].write_text("no image any more")
    with pytest.raises(DataError, match=rf"{files[5]}: the device reads it otherwise .*not a readable image"):
        compared(files, images, tuple("0123"))


# What is said


def test_data_info_says_which_and_why(edgecnn: Edgecnn, tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    path = as_npz(tmp_path / "inverted", 255 - digits[0], digits[1])
    done = edgecnn("data", "info", path, "--json", tmp_path / "info.json")
    assert done.returncode == 0, done.stderr
    assert f"stretch: {IMAGES} of {IMAGES} images would be changed by the digit finder" in done.stdout
    assert json.loads((tmp_path / "info.json").read_text())["reading"] == {
        "picture": "stretch",
        "tried": IMAGES,
        "changed": IMAGES,
    }


# All kinds of files

SCENE = Image.fromarray(scene(60, 84))
GRAY = SCENE.convert("L")
SMALL = (30, 42)


def see_through(picture: Image.Image) -> Image.Image:
    """Return a picture with an alpha that rises from left to right."""
    alpha = np.tile(np.linspace(0, 255, picture.width).astype(np.uint8), (picture.height, 1))
    picture = picture.copy()
    picture.putalpha(Image.fromarray(alpha))
    return picture


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Return what `see_through` shows of uint8 [H, W, C] on white."""
    alpha = np.linspace(0, 255, pixels.shape[1]).astype(np.uint8)[None, :, None] / 255
    return np.rint(pixels * alpha + 255 * (1 - alpha))


def in_gray_palette() -> Image.Image:
    picture = Image.fromarray(np.asarray(GRAY) // 16).convert("P")
    picture.putpalette([level for i in range(256) for level in [(i * 16) % 256] * 3])
    return picture


def large_photo() -> Image.Image:
    return SCENE.resize((1680, 1200), Image.Resampling.BICUBIC)


DEEP = np.asarray(GRAY).astype(np.uint16) * 257 + 100
KINDS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gray": ("png", lambda: encoded(GRAY, "PNG")),
    "one bit": ("png", lambda: encoded(GRAY.convert("1"), "PNG")),
    "RGB": ("png", lambda: encoded(SCENE, "PNG")),
    "palette": ("png", lambda: encoded(SCENE.convert("P"), "PNG")),
    "gray palette": ("png", lambda: encoded(in_gray_palette(), "PNG")),
    "palette, one colour transparent": ("png", lambda: encoded(SCENE.convert("P"), "PNG", transparency=12)),
    "palette, levels of transparency": (
        "png",
        lambda: encoded(SCENE.convert("P"), "PNG", transparency=bytes(range(256))),
    ),
    "RGB, one colour transparent": ("png", lambda: encoded(SCENE, "PNG", transparency=SCENE.getpixel((5, 5)))),
    "gray, one level transparent": ("png", lambda: encoded(GRAY, "PNG", transparency=GRAY.getpixel((5, 5)))),
    "RGBA": ("png", lambda: encoded(see_through(SCENE), "PNG")),
    "LA": ("png", lambda: encoded(see_through(GRAY), "PNG")),
    "16 bits": ("png", lambda: encoded(Image.fromarray(DEEP), "PNG")),
    "16 bits RGB": ("png", lambda: png_of_16_bits(np.asarray(SCENE).astype(np.uint16) * 257)),
    "animated PNG": ("png", lambda: encoded(SCENE, "PNG", save_all=True, append_images=[GRAY.convert("RGB")])),
    "with gamma": ("png", lambda: png_with(encoded(SCENE, "PNG"), chunk(b"gAMA", b"\0\1\x86\xa0"), behind=False)),
    "JPEG": ("jpg", lambda: encoded(SCENE, "JPEG")),
    "gray JPEG": ("jpeg", lambda: encoded(GRAY, "JPEG")),
    "progressive JPEG": ("jpg", lambda: encoded(SCENE, "JPEG", progressive=True)),
    "CMYK JPEG": ("jpg", lambda: encoded(SCENE.convert("CMYK"), "JPEG")),
    "large JPEG": ("jpg", lambda: encoded(large_photo(), "JPEG")),
    "large JPEG on its side": ("jpg", lambda: jpeg_with_xmp(encoded(large_photo(), "JPEG"), xmp(6))),
    "large CMYK JPEG": ("jpg", lambda: encoded(large_photo().convert("CMYK"), "JPEG")),
    "JPEG of several pictures": ("jpg", lambda: encoded(large_photo(), "MPO", save_all=True, append_images=[GRAY])),
    "WebP": ("webp", lambda: encoded(SCENE, "WEBP")),
    "WebP with alpha": ("webp", lambda: encoded(see_through(SCENE), "WEBP", lossless=True)),
    "animated WebP": ("webp", lambda: encoded(SCENE, "WEBP", save_all=True, append_images=[GRAY])),
    "BMP": ("bmp", lambda: encoded(SCENE, "BMP")),
    "BMP with a palette": ("bmp", lambda: encoded(SCENE.convert("P"), "BMP")),
    "PPM": ("ppm", lambda: encoded(SCENE, "PPM")),
    "PGM": ("pgm", lambda: encoded(GRAY, "PPM")),
    "PGM of 16 bits": ("pgm", lambda: b"P5 84 60 65535\n" + DEEP.astype(">u2").tobytes()),
    "PGM in digits": ("pgm", lambda: b"P2 84 60 255\n" + b" ".join(b"%d" % level for level in GRAY.tobytes())),
}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_every_kind_has_the_pixels_that_the_device_sees(tmp_path: Path, channels: int) -> None:
    for number, (suffix, write) in enumerate(KINDS.values()):
        for label in "ab":
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{number}.{suffix}").write_bytes(write())
    shape = (*SMALL, channels)
    data = opened(tmp_path, resize="x".join(map(str, shape)))
    assert not data.left_out
    sight = sight_of(shape, digits=False)
    seen = {file: sight.see(sight.read(file, None))[0].tobytes() for file in tmp_path.rglob("*.*")}
    trained = [image.tobytes() for split in (data.train, data.validation, data.test) for image in split.images]
    assert sorted(trained) == sorted(seen.values())


# Kind -> its pixels, by numpy alone.
BY_HAND = {
    "gray": np.asarray(GRAY),
    "gray palette": np.asarray(GRAY) // 16 * 16,
    "RGB": np.asarray(SCENE),
    "RGBA": on_white(np.asarray(SCENE)),
    "LA": on_white(np.asarray(GRAY)[..., None])[..., 0],
    "16 bits": DEEP >> 8,
    "16 bits RGB": np.asarray(SCENE),
    "animated PNG": np.asarray(SCENE),
    "WebP with alpha": on_white(np.asarray(SCENE)),
    "BMP": np.asarray(SCENE),
    "PPM": np.asarray(SCENE),
    "PGM of 16 bits": DEEP >> 8,
    "PGM in digits": np.asarray(GRAY),
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_pixels_are_those_by_hand(tmp_path: Path, kind: str) -> None:
    suffix, write = KINDS[kind]
    (tmp_path / f"picture.{suffix}").write_bytes(write())
    seen = np.asarray(read_picture(tmp_path / f"picture.{suffix}", (*SMALL, 3)))
    assert seen.shape == BY_HAND[kind].shape
    assert np.abs(seen.astype(int) - BY_HAND[kind]).max() <= 1, "alpha is rounded"


def test_floating_point_is_refused_by_both(tmp_path: Path) -> None:
    content = b"Pf\n8 6\n-1.0\n" + np.zeros((6, 8), "<f4").tobytes()
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.pgm").write_bytes(content)
    with pytest.raises(DataError, match=r"6 of 6 files cannot be read.*floating-point pixels"):
        opened(tmp_path)
    for read in (read_gray, lambda file: read_picture(file, (6, 8, 1))):
        with pytest.raises(ImageError, match="floating-point pixels"):
            read(tmp_path / "a" / "0.pgm")


def test_threads_that_read_leave_warnings_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(large_photo(), "PNG"))
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: read_gray(tmp_path / "a.png"), range(40)))
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


# From images to predictions


@pytest.mark.parametrize("change", ["black on white", "clothes"])
def test_files_are_predicted_as_well_as_pixels(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], change: str
) -> None:
    labels = digits[1]
    images = clothes(labels) if change == "clothes" else 255 - digits[0]
    config = configure(data=str(as_npz(tmp_path / "set", images, labels)), recipe="quick")
    with begin(config, tmp_path / "run") as work:
        train(work)
        model = export(work, recipe="baseline", target=Target("tflite", "float32"))
    predictor, validation = Predictor(model), work.data.validation
    on_pixels = predictor.probabilities(validation.images).argmax(axis=1)
    files = []
    for number, image in enumerate(validation.images[..., 0]):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(files[-1])
    on_files = [LABELS.index(predictor.predict(file).label) for file in files]
    assert (on_pixels == validation.labels).mean() > 0.8
    assert on_files == on_pixels.tolist()
