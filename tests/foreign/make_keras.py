"""Keras models, of Keras 2 and Keras 3, saved as people save them, and what TensorFlow's own converters make of them.

TensorFlow is imported where it is used: reading the table of cases must not wait for it.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.foreign.make_networks import STRIDE, Floats, Network

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def keras_model(keras: ModuleType, network: Network, *first: Any, softmax: bool = True) -> Any:
    """Return a network as a model of tf_keras or Keras 3, behind the layers `first`."""
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(network.shape),
            *first,
            layers.Conv2D(
                network.kernel.shape[3],
                network.kernel.shape[0],
                strides=STRIDE,
                padding="same" if network.padded else "valid",
                activation="relu",
                name="conv",
            ),
            layers.Flatten(),
            layers.Dense(len(network.labels), activation="softmax" if softmax else None, name="dense"),
        ]
    )
    model.get_layer("conv").set_weights([network.kernel, network.bias])
    model.get_layer("dense").set_weights([network.dense, network.dense_bias])
    return model


def batch_normalization(keras: ModuleType, *, mean: float, std: float) -> Any:
    """Return a layer that normalizes one channel by a mean and a standard deviation, as training has left it."""
    layer = keras.layers.BatchNormalization(epsilon=1e-3)
    layer.build((None, None, None, 1))
    layer.set_weights([np.array([value]) for value in (1.0, 0.0, mean, std**2 - 1e-3)])
    return layer


def scores_of(model: Any, values: Floats) -> Floats:
    """Return what a model gives for real inputs [N, ...]."""
    return np.asarray(model(values.astype(np.float32), training=False)).astype(np.float64)


def saved(model: Any, path: Path) -> None:
    """Write a model as .keras or .h5."""
    with silenced():
        model.save(path)


def converted(model: Any, *, examples: Floats | None = None, ends: Sequence[str] = ("int8", "int8")) -> bytes:
    """Return a .tflite file by TensorFlow's converter: float32, or full integer over `examples` [N, ...]."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one[None].astype(np.float32)] for one in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = (getattr(tf, one) for one in ends)
    with silenced():
        return bytes(converter.convert())


def as_onnx(model: Any) -> bytes:
    """Return an .onnx file by tf2onnx, of a model of tf_keras."""
    with silenced():
        import tf2onnx

        made, _ = tf2onnx.convert.from_keras(model, opset=17)
    return bytes(made.SerializeToString())


@contextmanager
def silenced() -> Iterator[None]:
    """Keep what the libraries print and warn of to themselves."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
