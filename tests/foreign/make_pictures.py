"""Doors of pictures: ranges, layouts, channels, scores, metadata, first nodes, digits, sets of labelled pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.foreign import make_onnx, make_tflite
from tests.foreign.make_folder import (
    INT8_UNIT,
    add_onnx,
    add_tflite,
    as_gray,
    float_folder,
    folder,
    integer_folder,
    onnx_folder,
    sound_int8,
)
from tests.foreign.make_networks import (
    COLOR,
    GRAY,
    IMAGENET,
    MNIST,
    RAW,
    SIGNED,
    SQUARE_COLOR,
    SQUARE_GRAY,
    UNIT,
    Normalization,
    Pixels,
    Shape,
    classes,
    drawn_set,
    fitted,
    network,
    pictures,
)
from tests.foreign.make_tflite import FLOATS, PROBABILITIES, Metadata, Stored

HALF = Normalization((0.5,), (1.0,))  # -0.5 to 0.5, which is nobody's usual
CAFFE = Normalization((0.4076, 0.4580, 0.4850), (1 / 255,))  # blue first, as OpenCV reads pictures


def ranges(root: Path) -> None:
    """Write the same network with every range of pixels, in floats and integers, as .tflite files."""
    for name, range_ in (("unit", UNIT), ("signed", SIGNED), ("raw", RAW), ("mnist", MNIST), ("half", HALF)):
        float_folder(root, f"{name}-float", range_)
    float_folder(root, "imagenet-float", IMAGENET, shape=COLOR)
    integers = {
        "int8-raw": (RAW, Stored("int8", 1.0, -128)),
        "int8-signed": (SIGNED, Stored("int8", 1 / 127.5, 0)),
        "int8-unit": (UNIT, Stored("int8", 1 / 255, -128)),
        "uint8-raw": (RAW, Stored("uint8", 1.0, 0)),
        "uint8-signed": (SIGNED, Stored("uint8", 1 / 128, 128)),
        "uint8-unit": (UNIT, Stored("uint8", 1 / 255, 0)),
        # These scales say nothing usual: one is of dim pictures, the other of three channels together.
        "int8-dim": (UNIT, Stored("int8", 0.6 / 255, -128)),
        "int8-imagenet": (IMAGENET, Stored("int8", 0.01866, -14)),
    }
    for name, (range_, stored) in integers.items():
        form = make_tflite.Form(stored, PROBABILITIES[stored.dtype])
        integer_folder(root, name, range_, form, shape=COLOR if range_ is IMAGENET else GRAY)


def layouts(root: Path) -> None:
    """Write networks of 0..1 whose pictures lie otherwise, and whose batch is open in one way or another."""
    for layout in (make_tflite.NCHW, make_tflite.HW):
        float_folder(root, f"{layout.lower()}-tflite", UNIT, make_tflite.Form(layout=layout))
    flat = make_tflite.Form(layout=make_tflite.FLAT, open_batch=True)
    float_folder(root, "flat-tflite", UNIT, flat, shape=SQUARE_GRAY)
    float_folder(root, "open-tflite", UNIT, make_tflite.Form(open_batch=True))
    whole = {"layout": make_tflite.HW}, {"open_batch": True}
    for name, more in zip(("hw-int8", "open-int8"), whole, strict=True):
        integer_folder(root, name, UNIT, make_tflite.Form(INT8_UNIT.input, INT8_UNIT.output, **more))
    onnx_folder(root, "nchw-gray", UNIT)
    onnx_folder(root, "nchw-color", UNIT, shape=COLOR)
    onnx_folder(root, "nhwc-color", UNIT, make_onnx.Form(layout=make_onnx.NHWC), shape=COLOR)
    onnx_folder(root, "hw-onnx", UNIT, make_onnx.Form(layout=make_onnx.HW))
    onnx_folder(root, "flat-color", UNIT, make_onnx.Form(layout=make_onnx.FLAT), shape=SQUARE_COLOR)
    for name, batch in (("named", "N"), ("unsaid", None), ("minus-one", -1)):
        onnx_folder(root, f"batch-{name}", UNIT, make_onnx.Form(batch=batch))


def channels(root: Path) -> None:
    """Write networks that take blue first, and gray and color pictures into folders of networks of the other kind."""
    for name, range_ in (("bgr-float", UNIT), ("bgr-caffe", CAFFE)):
        with folder(root, name, classes(COLOR)) as made:
            content = make_tflite.float_file(network(COLOR).blue_first().taking(range_))
            add_tflite(made, content, range_.of(pictures(COLOR)[..., ::-1]), FLOATS, pictures(COLOR))
    _blue_first_onnx(root, "bgr-onnx", UNIT, make_onnx.NCHW_FLOATS)
    with folder(root, "gray-to-color", classes(COLOR)) as made:
        content, gray = make_tflite.float_file(network(COLOR)), as_gray(pictures(COLOR))
        add_tflite(made, content, UNIT.of(pictures(COLOR)), FLOATS, pictures(COLOR))
        names = made.write_pictures(gray, prefix="gray-")
        made.note("net.tflite", make_tflite.litert(content, UNIT.of(np.repeat(gray, 3, axis=-1))), names)
    with folder(root, "color-to-gray") as made:
        content = make_tflite.float_file(network(GRAY))
        add_tflite(made, content, UNIT.of(pictures(GRAY)), FLOATS, pictures(GRAY))
        names = made.write_pictures(pictures(COLOR), prefix="color-")
        made.note("net.tflite", make_tflite.litert(content, UNIT.of(as_gray(pictures(COLOR)))), names)


def _blue_first_onnx(root: Path, name: str, range_: Normalization, form: make_onnx.Form) -> None:
    with folder(root, name, classes(COLOR)) as made:
        content = make_onnx.onnx_file(network(COLOR).blue_first().taking(range_), form)
        add_onnx(made, content, range_.of(pictures(COLOR)[..., ::-1]), form, pictures(COLOR))


def scores(root: Path) -> None:
    """Write networks without softmax, or with its logarithm, as PyTorch's end."""
    float_folder(root, "logits-float", UNIT, make_tflite.Form(softmax=False))
    values = UNIT.of(drawn_set(GRAY, 120, seed=3)[0])
    for name, dtype, zero_point, is_open in (
        ("logits-int8", "int8", -128, False),
        ("logits-uint8", "uint8", 0, False),
        ("open-logits-uint8", "uint8", 0, True),
    ):
        ends = make_tflite.logits_range(network(GRAY), values, dtype)
        given = Stored(dtype, 1 / 255, zero_point)
        integer_folder(root, name, UNIT, make_tflite.Form(given, ends, open_batch=is_open, softmax=False))
    for picture, name in zip(pictures(GRAY), classes(GRAY), strict=True):
        Image.fromarray(picture[..., 0]).save(root / "open-logits-uint8" / f"{name.replace(' ', '-')}.pgm")
    onnx_folder(root, "logits-onnx", UNIT, make_onnx.Form(ends=()))
    onnx_folder(root, "log-softmax", UNIT, make_onnx.Form(ends=("LogSoftmax",)))


def metadata(root: Path) -> None:
    """Write .tflite files that say themselves what they take; labels.txt lies beside none of them."""
    signed = Metadata((127.5,), (127.5,), color=2, labels=classes(GRAY))
    _with_metadata(root, "meta-signed", GRAY, SIGNED, signed)
    _with_metadata(root, "meta-raw", GRAY, RAW, Metadata((0.0,), (1.0,), color=2, labels=classes(GRAY)))
    mean, std = ([255 * one for one in part] for part in (IMAGENET.mean, IMAGENET.std))
    _with_metadata(root, "meta-imagenet", COLOR, IMAGENET, Metadata(mean, std, color=1, labels=classes(COLOR)))
    # Whoever wrote this metadata was wrong: the network takes -1..1.
    _with_metadata(root, "meta-wrong", GRAY, SIGNED, Metadata((0.0,), (255.0,), color=2, labels=classes(GRAY)))
    with folder(root, "meta-int8") as made:
        form = make_tflite.Form(Stored("uint8", 1 / 128, 128), PROBABILITIES["uint8"])
        content = make_tflite.integer_file(network(GRAY).taking(SIGNED), SIGNED, form)
        content = make_tflite.with_metadata(content, signed)
        add_tflite(made, content, SIGNED.of(pictures(GRAY)), form, pictures(GRAY))
        (made.path / "labels.txt").unlink()
    with folder(root, "meta-damaged") as made:
        content = make_tflite.with_damaged_metadata(make_tflite.float_file(network(GRAY).taking(SIGNED)))
        add_tflite(made, content, SIGNED.of(pictures(GRAY)), FLOATS, pictures(GRAY))


def _with_metadata(root: Path, name: str, shape: Shape, range_: Normalization, said: Metadata) -> None:
    with folder(root, name, classes(shape)) as made:
        content = make_tflite.with_metadata(make_tflite.float_file(network(shape).taking(range_)), said)
        add_tflite(made, content, range_.of(pictures(shape)), FLOATS, pictures(shape))
        (made.path / "labels.txt").unlink()


def properties(root: Path) -> None:
    """Write ONNX files with the keys of its own page (onnx, docs/MetadataProps.md), and with those that people add."""
    gray = {"Image.BitmapPixelFormat": "Gray8", "Image.NominalPixelRange": "Normalized_1_1"}
    onnx_folder(root, "props-signed", SIGNED, make_onnx.Form(says=gray))
    blue = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
    _blue_first_onnx(root, "props-bgr", RAW, make_onnx.Form(says=blue))
    own = {"labels": json.dumps(classes(COLOR)), "Image.BitmapPixelFormat": "Rgb8"}
    own |= {key: ",".join(map(str, getattr(IMAGENET, key))) for key in ("mean", "std")}
    onnx_folder(root, "props-mean", IMAGENET, make_onnx.Form(says=own), shape=COLOR, labelled=False)


def names_of_classes(root: Path) -> None:
    """Write folders without names, with names as Windows writes them, with too few, and in another order."""
    for name in ("unnamed", "names-of-windows", "names-too-few"):
        with folder(root, name) as made:
            add_tflite(made, sound_int8(), UNIT.of(pictures(GRAY)), INT8_UNIT, pictures(GRAY))
            made.write_labels("names.txt")
    (root / "unnamed" / "labels.txt").unlink()
    with folder(root, "names-reversed", classes(GRAY)[::-1]) as made:
        forward = network(GRAY)
        turned = replace(forward, dense=forward.dense[:, ::-1], dense_bias=forward.dense_bias[::-1])
        content = make_tflite.integer_file(turned, UNIT, INT8_UNIT)
        add_tflite(made, content, UNIT.of(pictures(GRAY)[::-1]), INT8_UNIT, pictures(GRAY)[::-1])
    windows = "\ufeff" + "\r\n".join(classes(GRAY)) + "\r\n\r\n"
    (root / "names-of-windows" / "labels.txt").write_bytes(windows.encode())
    (root / "names-too-few" / "labels.txt").write_text("\n".join(classes(GRAY)[:4]))
    (root / "unit-float" / "two.txt").write_text("dark\nlight\n")


def first_nodes(root: Path) -> None:
    """Write ONNX files whose first nodes say what a pixel is."""
    for name, first, inner in (
        ("div", (("Div", 255.0),), UNIT),
        ("sub-div", (("Sub", 127.5), ("Div", 127.5)), SIGNED),
        ("mul-add", (("Mul", 1 / 127.5), ("Add", -1.0)), SIGNED),
    ):
        form = make_onnx.Form(first=first)
        onnx_folder(root, f"first-{name}", RAW, form, inside=network(GRAY).taking(inner))
    up = make_onnx.Form(first=(("Mul", 255.0),))
    onnx_folder(root, "first-up", UNIT, up, inside=network(GRAY).taking(RAW))
    mean, std = (np.array(part).reshape(3, 1, 1) for part in (IMAGENET.mean, IMAGENET.std))
    form = make_onnx.Form(first=(("Div", 255.0), ("Sub", mean), ("Div", std)))
    onnx_folder(root, "first-imagenet", RAW, form, shape=COLOR, inside=network(COLOR).taking(IMAGENET))
    form = make_onnx.Form(make_onnx.NHWC, first=(("Div", 255.0),), takes_pixels=True)
    onnx_folder(root, "first-cast", RAW, form, inside=network(GRAY))


def digits(root: Path) -> None:
    """Write a network of digits that fill their 28x28 pixels, black on white: of MNIST's shape, and not MNIST's way."""
    with folder(root, "full-digits", tuple("0123456789")) as made:
        images, labels = _digits(400, seed=1)
        content = make_tflite.float_file(fitted(UNIT.of(images), labels, tuple("0123456789")))
        asked = _digits(10, seed=2)[0]
        add_tflite(made, content, UNIT.of(asked), FLOATS, asked)
        (made.path / "labels.txt").unlink()


def _digits(count: int, *, seed: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Return digits of seven segments, black on white, up to the border."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    return np.stack([_segments(label, rng) for label in labels])[..., None], labels


_SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")  # of 0 to 9


def _segments(digit: int, rng: np.random.Generator) -> Pixels:
    values = np.full((28, 28), 235.0)
    thick = int(rng.integers(4, 7))
    top, bottom, left, right = slice(0, 14), slice(14, 28), slice(0, thick), slice(28 - thick, 28)
    everywhere, middle = slice(None), slice(14 - thick // 2, 14 + thick // 2)
    places = {"a": (left, everywhere), "d": (right, everywhere), "g": (middle, everywhere)}
    places |= {"f": (top, left), "e": (bottom, left), "b": (top, right), "c": (bottom, right)}
    for segment in _SEGMENTS[digit]:
        values[places[segment]] = rng.uniform(10, 60)
    return np.rint((values + rng.normal(0, 6, values.shape)).clip(0, 255)).astype(np.uint8)


def sets_of_pictures(root: Path) -> None:
    """Write labelled pictures: 240 in all, and a set whose 216 for validation can decide a trial of ranges."""
    _labelled(root / "pictures-few", *drawn_set(GRAY, 240, seed=21))
    for split, count, seed in (("train", 60, 22), ("val", 216, 23), ("test", 60, 24)):
        _labelled(root / "pictures-many" / split, *drawn_set(GRAY, count, seed=seed))


def _labelled(path: Path, pixels: Pixels, labels: NDArray[np.int64]) -> None:
    for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        place = path / classes(GRAY)[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture[..., 0]).save(place / f"{number:03}.png", compress_level=1)
