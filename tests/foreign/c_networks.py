"""Int8 .tflite files as the converter of TensorFlow makes them for others: written with TensorFlow alone.

Each is one convolution, ReLU, one dense layer and, where it gives probabilities, softmax; the weights are random. What
is said of a file is how its pictures lie in the input, what a pixel becomes, and the types of its two ends.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLASSES = 5


@dataclass(frozen=True)
class Convention:
    """How a network is made: `shape` of a picture [H, W, C], layout, range of a value, what comes out, and types."""

    shape: tuple[int, int, int] = (12, 10, 1)
    layout: str = "NHWC"  # NCHW, HW or flat
    low: float = 0.0
    high: float = 1.0
    gives: str = "probabilities"  # or logits
    sharpness: float = 1.0  # of the logits
    given: str = "uint8"
    made: str = "uint8"
    open_sizes: tuple[int, ...] = (0,)  # axes of the input that are left open
    computes_sizes: bool = False  # asks an open batch for its size, as Keras 3 has Flatten and Reshape do

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """The input's sizes behind its batch."""
        height, width, channels = self.shape
        shapes: dict[str, tuple[int, ...]] = {
            "NHWC": self.shape,
            "NCHW": (channels, height, width),
            "HW": (height, width),
            "flat": (height * width * channels,),
        }
        return shapes[self.layout]


def converted(how: Convention, *, seed: int = 0) -> bytes:
    """Return the .tflite file."""
    import tensorflow as tf

    network = _network(how, seed)
    sizes = [None if n in how.open_sizes else size for n, size in enumerate((1, *how.tensor_shape))]
    function = tf.function(network, input_signature=[tf.TensorSpec(sizes, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: _examples(how, seed)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = getattr(tf, how.given)
    converter.inference_output_type = getattr(tf, how.made)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())


def _network(how: Convention, seed: int) -> Any:
    import tensorflow as tf

    rng = np.random.default_rng(seed)
    height, width, channels = how.shape
    kernel = tf.constant(rng.normal(0, 1 / how.high, (3, 3, channels, 6)), tf.float32)
    rows, columns = -(-height // 2), -(-width // 2)
    dense = tf.constant(rng.normal(0, how.sharpness * 0.1, (rows * columns * 6, CLASSES)), tf.float32)

    def network(given: Any) -> Any:
        if how.layout == "NCHW":
            pictures = tf.transpose(given, [0, 2, 3, 1])
        elif how.layout == "HW":
            pictures = tf.expand_dims(given, -1)
        elif how.layout == "flat":
            pictures = tf.reshape(given, [-1, height, width, channels])
        else:
            pictures = given
        hidden = tf.nn.relu(tf.nn.conv2d(pictures, kernel, 2, "SAME"))
        batch = tf.shape(hidden)[0] if how.computes_sizes else -1
        logits = tf.matmul(tf.reshape(hidden, [batch, rows * columns * 6]), dense)
        return tf.nn.softmax(logits) if how.gives == "probabilities" else logits

    return network


def _examples(how: Convention, seed: int) -> Iterator[list[NDArray[np.float32]]]:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        unit = rng.random((1, *how.tensor_shape))
        yield [(how.low + (how.high - how.low) * unit).astype(np.float32)]
