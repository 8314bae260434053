"""Doors that need TensorFlow: Keras models as people save them, and what TensorFlow's own converters make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.foreign import make_keras, make_tflite
from tests.foreign.make_folder import Folder, add_tflite, folder
from tests.foreign.make_networks import (
    GRAY,
    RAW,
    SIGNED,
    UNIT,
    Normalization,
    Pixels,
    drawn_set,
    network,
    pictures,
    softmax,
)
from tests.foreign.make_tflite import FLOATS

STANDARD = Normalization((33 / 255,), (78 / 255,))  # by the mean and standard deviation of pixels 0..255


def first_layers(root: Path, keras: Any) -> None:
    """Write Keras 2 models that begin with a layer which says what a pixel is: as .h5, and converted."""
    layers = keras.layers
    _first_layer(root, "rescaling", keras, UNIT, layers.Rescaling(1 / 255))
    _first_layer(root, "halves", keras, SIGNED, layers.Rescaling(1 / 127.5, offset=-1.0))
    _first_layer(root, "normalization", keras, STANDARD, layers.Normalization(mean=[33.0], variance=[78.0**2]))
    _first_layer(root, "batch-norm", keras, STANDARD, make_keras.batch_normalization(keras, mean=33.0, std=78.0))


def _first_layer(root: Path, name: str, keras: Any, inner: Normalization, layer: Any) -> None:
    with folder(root, f"layer-{name}") as made:
        # Padded: into a convolution without padding TensorFlow's converter folds each of these layers without a trace.
        model = make_keras.keras_model(keras, network(GRAY, taking=inner, padded=True), layer)
        made.write_labels()
        names = made.write_pictures(pictures(GRAY))
        given, examples = RAW.of(pictures(GRAY)), RAW.of(drawn_set(GRAY, 60, seed=3)[0])
        right = make_keras.scores_of(model, given)
        made.write("float.tflite", make_keras.converted(model))
        made.note("float.tflite", right, names)
        if name in ("rescaling", "halves"):
            content = make_keras.converted(model, examples=examples)
            made.write("int8.tflite", content)
            made.note("int8.tflite", make_tflite.litert(content, given), names)
        if name == "batch-norm":
            made.write("net.onnx", make_keras.as_onnx(model))
            made.note("net.onnx", right, names)
        make_keras.saved(model, made.path / "net.h5")
        made.note("net.h5", right, names)


def full_integers(root: Path, keras: Any) -> None:
    """Write full-integer files of models of several ranges: their scales alone say which."""
    for name, range_, ends in (("unit", UNIT, "int8"), ("signed", SIGNED, "int8"), ("raw", RAW, "uint8")):
        with folder(root, f"converted-{name}") as made:
            model = make_keras.keras_model(keras, network(GRAY).taking(range_))
            content = make_keras.converted(model, examples=range_.of(_examples()), ends=(ends, ends))
            add_tflite(made, content, range_.of(pictures(GRAY)), FLOATS, pictures(GRAY))


def _examples() -> Pixels:
    """Return pictures that set the ranges of integers, with black and white among them, as any set of photos has."""
    flat = np.stack([np.full(GRAY, level, np.uint8) for level in (0, 255)])
    return np.concatenate([flat, drawn_set(GRAY, 60, seed=3)[0]])


def keras_files(root: Path, keras: Any) -> None:
    """Write Keras 2 files: of 0..255 without a layer that says so, of logits, and those that no gate should let by."""
    with folder(root, "keras-raw") as made:
        _saved(made, make_keras.keras_model(keras, network(GRAY).taking(RAW)), RAW, ("net.keras", "net.h5"))
    with folder(root, "keras-logits") as made:
        _saved(made, make_keras.keras_model(keras, network(GRAY), softmax=False), UNIT, ("net.keras",), logits=True)
    with folder(root, "keras-broken") as made:
        for name, value, place in (("nan", np.nan, 0), ("infinite", np.inf, 1)):
            model = make_keras.keras_model(keras, network(GRAY))
            weights = model.get_layer("conv").get_weights()
            weights[place].reshape(-1)[0] = value
            model.get_layer("conv").set_weights(weights)
            make_keras.saved(model, made.path / f"{name}.keras")
        keras.utils.set_random_seed(3)
        layers = [keras.Input(GRAY), keras.layers.Flatten(), keras.layers.Dense(6, activation="softmax")]
        make_keras.saved(keras.Sequential(layers), made.path / "untrained.keras")


def keras3_files(root: Path, keras: Any) -> None:
    """Write the files of Keras 3, whose .keras says so in metadata.json, and what is converted from them."""
    with folder(root, "keras3") as made:
        inside = network(GRAY, taking=UNIT, padded=True)
        model = make_keras.keras_model(keras, inside, keras.layers.Rescaling(1 / 255))
        _saved(made, model, RAW, ("net.keras", "net.h5"))
        content = make_keras.converted(model)
        made.write("net.tflite", content)
        names = list(made.right["net.keras"])
        made.note("net.tflite", make_tflite.litert(content, RAW.of(pictures(GRAY))), names)


def _saved(made: Folder, model: Any, range_: Normalization, files: tuple[str, ...], *, logits: bool = False) -> None:
    made.write_labels()
    names = made.write_pictures(pictures(GRAY))
    scores = make_keras.scores_of(model, range_.of(pictures(GRAY)))
    for file in files:
        make_keras.saved(model, made.path / file)
        made.note(file, softmax(scores) if logits else scores, names)
