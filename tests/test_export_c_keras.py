"""Networks built in Keras, quantized by the converter, in C: bit for bit what LiteRT's reference kernels compute."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf
from edgecnn.device.contract import unit
from edgecnn.export.tflite import to_tflite
from tests.conftest import Edgecnn
from tests.test_export_c import assert_exact

layers = _tf.keras.layers
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc")


def normalized(x: Any) -> Any:
    return layers.ReLU()(layers.BatchNormalization()(x))


def resnet8() -> Any:
    """Return MLPerf Tiny's image classification network: 32x32x3, three stacks with a shortcut each, 10 classes."""
    given = layers.Input((32, 32, 3))
    x = normalized(layers.Conv2D(16, 3, padding="same")(given))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = normalized(layers.Conv2D(filters, 3, stride, padding="same")(x))
        y = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(y))
        x = x if stride == 1 else layers.Conv2D(filters, 1, stride, padding="same")(x)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))
    return _tf.keras.Model(given, layers.Dense(10, "softmax")(x))


def ds_cnn() -> Any:
    """Return MLPerf Tiny's keyword spotting network: 49x10x1, four depthwise separable convolutions, 12 classes."""
    given = layers.Input((49, 10, 1))
    x = layers.Dropout(0.2)(normalized(layers.Conv2D(64, (10, 4), (2, 2), padding="same")(given)))
    for _ in range(4):
        x = normalized(layers.DepthwiseConv2D(3, padding="same")(x))
        x = normalized(layers.Conv2D(64, 1, padding="same")(x))
    x = layers.Flatten()(layers.AveragePooling2D((25, 5))(layers.Dropout(0.4)(x)))
    return _tf.keras.Model(given, layers.Dense(12, "softmax")(x))


def pooled_to_a_mean() -> Any:
    """Return a network that ends in global average pooling, which the converter makes a MEAN of."""
    given = layers.Input((13, 11, 2))
    x = layers.Conv2D(12, 3, 2, activation="relu6")(given)
    return _tf.keras.Model(given, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def trained(model: Any) -> Any:
    """Give the batch normalizations statistics that are not 0 and 1."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = (w.shape for w in layer.get_weights())
            values = rng.uniform(0.5, 1.5, gamma), rng.normal(0, 0.2, beta), rng.normal(0, 0.2, mean)
            layer.set_weights([*values, rng.uniform(0.3, 1.2, variance)])
    return model


@pytest.mark.parametrize(
    ("build", "per_tensor"), [(resnet8, False), (ds_cnn, False), (ds_cnn, True), (pooled_to_a_mean, False)]
)
def test_a_network_of_keras_is_exact(build: Callable[[], Any], per_tensor: bool, tmp_path: Path) -> None:
    _tf.seed_everything(1)
    model = trained(build())
    images = np.random.default_rng(2).integers(0, 256, (16, *model.input_shape[1:]), np.uint8)
    content = to_tflite(model, scheme="int8", representative_dataset=unit(images), per_tensor=per_tensor)
    assert_exact(content, tmp_path, kernels=("dense", "sparse"), count=4)


def test_a_model_that_there_is_no_kernel_for_is_refused_before_its_tflite_file_is_written(
    edgecnn: Edgecnn, tmp_path: Path
) -> None:
    given = layers.Input((28, 28, 1))
    x = layers.Dense(10, "softmax")(layers.Flatten()(layers.Conv2D(2, 9, 4, activation="tanh", name="bent")(given)))
    _tf.keras.Model(given, x).save(tmp_path / "net.keras")
    options = ("--format", "c", "--data", "digits", "--allow-chance", "--out", tmp_path / "out")
    done = edgecnn("export", tmp_path / "net.keras", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "export c: layer 3, " in done.stderr and "bent" in done.stderr
    assert "(TANH): no kernel; expected one of CONV_2D" in done.stderr
    assert not (tmp_path / "out").exists()
