"""Doors of files: networks that take no picture, weights in a file of their own, operators of chips, broken numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.foreign import make_onnx, make_tflite
from tests.foreign.make_folder import INT8_UNIT, Folder, add_tflite, folder, sound_int8
from tests.foreign.make_networks import GRAY, RAW, UNIT, Floats, Network, Shape, fitted, network, pictures
from tests.foreign.make_tflite import FLOATS, PROBABILITIES, Stored, arranged

SOUNDS = ("high", "low", "rising", "silence")


def features(root: Path) -> None:
    """Write networks of spectrograms, as MLPerf Tiny's keyword spotting takes them, and of one flat row."""
    _of_sounds(root, "features-int8", (49, 10, 1), Stored("int8", 0.58, 83), make_tflite.NHWC)
    _of_sounds(root, "features-flat", (49, 40, 1), Stored("int8", 0.45, 30), make_tflite.FLAT)
    _of_sounds(root, "features-float", (49, 10, 1), None, make_tflite.NHWC)


def _of_sounds(root: Path, name: str, shape: Shape, stored: Stored | None, layout: str) -> None:
    with folder(root, name, SOUNDS) as made:
        values, labels = _sounds(shape, 200, seed=1)
        found = fitted(values / 50, labels, SOUNDS)
        reads = Network(shape, SOUNDS, found.kernel / 50, found.bias, found.dense, found.dense_bias)
        form = make_tflite.Form(stored, None if stored is None else PROBABILITIES["int8"], layout=layout)
        is_whole = stored is not None
        content = make_tflite.quantized_file(reads, values, form) if is_whole else make_tflite.float_file(reads, form)
        made.write_labels()
        made.write("net.tflite", content)
        asked = arranged(_sounds(shape, len(SOUNDS), seed=5)[0], layout)
        right = make_tflite.litert(content, asked)
        made.note("net.tflite", right, _arrays(made, "real", asked.astype(np.float32)))
        if stored is not None:
            made.note("net.tflite", right, _arrays(made, "stored", stored.of(asked)))
        tested, numbers = _sounds(shape, 80, seed=9)
        np.savez(made.path / "test.npz", x=arranged(tested, layout).astype(np.float32), y=numbers)
        np.save(made.path / "other-size.npy", np.zeros((10, 49, 1), np.float32))
        Image.fromarray(np.zeros((49, 10), np.uint8)).save(made.path / "picture.png")


def _arrays(made: Folder, kind: str, values: NDArray[np.generic]) -> list[str]:
    """Write an array a class; return the files' names."""
    names = [f"{kind}-{label}.npy" for label in SOUNDS]
    for name, value in zip(names, values, strict=True):
        np.save(made.path / name, value)
    return names


def _sounds(shape: Shape, count: int, *, seed: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return spectrograms [N, time, band, 1] between about -100 and 25, and the numbers of their `SOUNDS`."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(SOUNDS)
    time, band = np.mgrid[: shape[0], : shape[1]] / np.array(shape[:2]).reshape(2, 1, 1)
    loud = {"low": band < 0.35, "high": band > 0.65, "rising": abs(band - time) < 0.25, "silence": band < 0}
    values = [-60 + 70 * loud[SOUNDS[label]] + rng.normal(0, 8, shape[:2]) for label in labels]
    return np.stack(values)[..., None], labels


def external_data(root: Path) -> None:
    """Write an ONNX file whose weights lie in net.onnx.data; of the two folders one lacks it."""
    for name in ("external-data", "external-missing"):
        with folder(root, name) as made:
            made.write_labels()
            names = made.write_pictures(pictures(GRAY))
            make_onnx.write_with_external_data(made.path / "net.onnx", make_onnx.onnx_file(network(GRAY)))
            found = make_onnx.ort(made.path / "net.onnx", arranged(UNIT.of(pictures(GRAY)), make_onnx.NCHW))
            made.note("net.onnx", found, names)
            made.write("spare/net.onnx.data", (made.path / "net.onnx.data").read_bytes())
            # Another folder has a file of that name, as long, with other weights.
            other = made.path / "elsewhere"
            other.mkdir()
            make_onnx.write_with_external_data(other / "net.onnx", make_onnx.onnx_file(network(GRAY).taking(RAW)))
            (other / "net.onnx").unlink()
    (root / "external-missing" / "net.onnx.data").unlink()


def odd_files(root: Path) -> None:
    """Write files with an axis that a bias does not have, and with operators that only a chip or TensorFlow knows."""
    with folder(root, "bias-axis") as made:
        odd = make_tflite.Form(INT8_UNIT.input, INT8_UNIT.output, bias_axis=3)
        add_tflite(made, sound_int8(), UNIT.of(pictures(GRAY)), INT8_UNIT, pictures(GRAY))
        made.write_pictures(pictures(GRAY), suffix=".pgm")
        made.write("net.tflite", make_tflite.integer_file(network(GRAY), UNIT, odd))
    for name, operator in (("edgetpu", "edgetpu-custom-op"), ("ethos-u", "ethos-u"), ("flex", "FlexErf")):
        with folder(root, name) as made:
            add_tflite(made, sound_int8(), UNIT.of(pictures(GRAY)), INT8_UNIT, pictures(GRAY))
            made.write(f"net_{name}.tflite", make_tflite.with_custom_operator(sound_int8(), operator))


def broken_weights(root: Path) -> None:
    """Write files whose weights are no numbers, or have a scale of 0."""
    with folder(root, "broken-weights") as made:
        floats = make_tflite.float_file(network(GRAY))
        add_tflite(made, floats, UNIT.of(pictures(GRAY)), FLOATS, pictures(GRAY))
        made.write("nan.tflite", make_tflite.with_weights(floats, fill=np.nan, tensor=0))
        made.write("infinite.tflite", make_tflite.with_weights(floats, fill=np.inf, tensor=1))
        made.write("zero-scale.tflite", make_tflite.with_zero_scale(sound_int8()))
