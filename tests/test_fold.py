"""Batch normalization folded into the convolutions before it: fewer layers, the same answers."""

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn._tf import keras
from edgecnn.compress.fold import without_batch_norm
from tests.contracts import taking

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 28, 28, 1), np.uint8)


def with_random_statistics(model: object) -> object:
    rng = np.random.default_rng(1)
    for layer in model.layers:  # type: ignore[attr-defined]
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("arch", ["edge1k", "edge4k", "edge12k"])
def test_a_folded_network_says_the_same_without_batch_norm(arch: str) -> None:
    _tf.seed_everything(0)
    model = with_random_statistics(zoo.build(arch, input_shape=(28, 28, 1), classes=10))
    folded = without_batch_norm(model)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert not kinds & {"BatchNormalization", "ReLU"}
    assert np.allclose(
        _tf.predict(folded, PIXELS, taking(PIXELS)), _tf.predict(model, PIXELS, taking(PIXELS)), atol=1e-5
    )
    assert _tf.save_model(folded, suffix=".keras") == _tf.save_model(without_batch_norm(model), suffix=".keras")


@pytest.mark.parametrize("arch", ["edge35k", "ds-cnn"])
def test_batch_norm_serves_the_training_and_leaves_the_network_as_it_was(arch: str) -> None:
    shape = {"input_shape": zoo.architecture(arch).shape, "classes": 10}
    plain, normalized = (zoo.build(arch, **shape, batch_norm=on) for on in (False, True))
    assert any(isinstance(layer, keras.layers.BatchNormalization) for layer in normalized.layers)
    folded, expected = (without_batch_norm(model) for model in (normalized, plain))
    assert [layer.get_config() for layer in folded.layers] == [layer.get_config() for layer in expected.layers]


@pytest.mark.parametrize("arch", ["edge35k", "vgg4"])
def test_what_cannot_be_folded_is_left_as_it_is(arch: str) -> None:
    """vgg4 normalizes behind the activation."""
    model = zoo.build(arch, input_shape=(28, 28, 1), classes=10)
    assert without_batch_norm(model) is model


def test_a_convolution_without_activation_behind_it_stays_linear() -> None:
    _tf.seed_everything(0)
    layers = [keras.layers.Input((28, 28, 1)), keras.layers.Conv2D(3, 5, name="c"), keras.layers.BatchNormalization()]
    layers += [keras.layers.ReLU(max_value=6.0), keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
    model = with_random_statistics(keras.Sequential(layers))
    folded = without_batch_norm(model)
    assert folded.get_layer("c").activation is keras.activations.linear
    assert [type(layer).__name__ for layer in folded.layers] == ["Conv2D", "ReLU", "Flatten", "Dense"]
    assert np.allclose(
        _tf.predict(folded, PIXELS, taking(PIXELS)), _tf.predict(model, PIXELS, taking(PIXELS)), atol=1e-5
    )
