"""Architectures build with exactly their stated cost, and know how their pages trained them and what they printed."""

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.config import configure
from edgecnn.config.toml import from_toml, to_toml
from edgecnn.errors import ConfigError
from edgecnn.inspect.keras import layers
from tests.contracts import taking

# Name: parameters, as the pages printed them or as their layers add up to.
PAGES = {
    "kernel3": 2_380_938, "kernel4": 445_578, "kernel2": 601_226,
    "depth2": 1_199_882, "depth3a": 3_718_026, "depth3b": 1_858_122, "depth5a": 3_685_450, "depth5b": 4_078_666,
    "depth7a": 3_093_258, "depth7b": 2_540_106,
    "report411k": 411_626,
    "classes100": 995_556,
    "linear": 7_852, "pool": 1_972, "kernel": 1_710, "wide": 54_410, "hidden": 542_230, "kernel9": 323_734,
    "kernel11": 264_214, "slim": 162_422, "conv2": 217_782, "conv2pool": 64_182, "edge35k": 35_030, "nohidden": 22_410,
    "padded": 51_030,
}  # fmt: skip
# MLPerf Tiny's as its reference implementation builds them; edgecnn's own.
OTHERS = {
    "resnet8": 78_666, "ds-cnn": 24_908,
    "edge25k": 25_578, "edge12k": 12_842, "edge4k": 4_458, "edge4k-8kb": 4_402, "edge1k": 1_322, "residual31k": 31_698,
    "vgg4": 198_762,
}  # fmt: skip


def test_every_architecture_has_its_name() -> None:
    assert set(zoo.PAGES) == set(PAGES)
    assert len(zoo.PAGES) == 25
    assert set(zoo.ARCHITECTURES) == {*PAGES, *OTHERS}


@pytest.mark.parametrize(("arch", "parameters"), {**PAGES, **OTHERS}.items())
def test_parameters_and_macs_are_exact(arch: str, parameters: int) -> None:
    stated = zoo.ARCHITECTURES[arch]
    model = zoo.build(arch, input_shape=stated.shape, classes=stated.classes)
    assert model.count_params() == stated.parameters == parameters
    assert sum(layer.macs or 0 for layer in layers(model)) == stated.macs
    assert model.output_shape == (None, stated.classes)


def test_a_page_says_how_it_trained() -> None:
    trained = {name: zoo.PAGES[name].training for name in ("kernel2", "depth2", "depth3b", "report411k", "edge35k")}
    assert [(t.optimizer, t.batch_size, t.epochs, t.initializer, t.patience) for t in trained.values() if t] == [
        ("adadelta", 128, 70, "glorot_uniform", 0),
        ("adam", 128, 30, "glorot_uniform", 0),
        ("adam", 128, 30, "he_uniform", 0),
        ("adam", 64, 20, "glorot_uniform", 5),
        ("adam", 128, 10, "glorot_uniform", 0),
    ]
    assert all(one.training is not None and one.training.learning_rate == 1e-3 for one in zoo.PAGES.values())


def test_what_a_page_printed_took_no_more_epochs_than_its_recipe_has() -> None:
    for name, one in zoo.PAGES.items():
        assert one.training is not None
        assert bool(one.printed) == (name != "classes100")
        assert all(0.7 < printed.top1 < 1 and printed.epochs <= one.training.epochs for printed in one.printed)


def test_the_recipe_of_a_page_is_its_training() -> None:
    pages = zoo.pages_of("kernel2")
    config = configure(arch="kernel2", recipe="page", pages=pages, epochs=20)
    assert (config.training.optimizer, config.training.epochs) == ("adadelta", 20)
    assert from_toml(to_toml(config), where="config.toml") == config
    better = configure(arch="kernel2", recipe="improved", pages=pages).training
    assert (better.optimizer, better.schedule, better.epochs, better.batch_size) == ("adam", "cosine", 70, 128)
    with pytest.raises(ConfigError, match=r"recipe page: arch edge4k has no page .* give --recipe seed"):
        configure(arch="edge4k", recipe="page", pages=zoo.pages_of("edge4k"))


def test_only_networks_with_hidden_layers_are_improved_by_distorted_images() -> None:
    shown = {name: zoo.pages_of(name)["improved"].augmentation is not None for name in zoo.PAGES}
    assert [name for name, distorted in shown.items() if not distorted] == ["linear", "pool", "kernel", "wide"]


def test_initializers_draw_the_hidden_kernels_alone() -> None:
    model = zoo.build("classes100", input_shape=(28, 28, 1), classes=100, initializer="he_uniform")
    drawn = {
        layer.name: layer.get_config()["kernel_initializer"]["class_name"] for layer in model.layers if layer.weights
    }
    assert drawn.pop("scores") == "GlorotUniform"
    assert set(drawn.values()) == {"HeUniform"}


def test_layer_names_do_not_depend_on_earlier_models() -> None:
    for arch, shape in (("edge35k", (28, 28, 1)), ("residual31k", (24, 40, 3))):
        first, second = (zoo.build(arch, input_shape=shape, classes=10) for _ in range(2))
        assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize("arch", ["edge35k", "report411k", "ds-cnn", "residual31k"])
def test_other_images_and_classes_fit_too(arch: str) -> None:
    model = zoo.build(arch, input_shape=(40, 36, 3), classes=7)
    images = np.zeros((2, 40, 36, 3), np.uint8)
    scores = _tf.predict(model, images, taking(images))
    assert scores.shape == (2, 7)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_images_that_are_too_small_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"arch edge35k: does not fit images of 8x8x1 \(.*take larger images"):
        zoo.build("edge35k", input_shape=(8, 8, 1), classes=10)


def test_a_residual_block_adds_its_input() -> None:
    """With kernels of zeros only the shortcut is left: the input itself, behind a ReLU that leaves it as it is."""
    model = zoo.notation.network("R3@3 F4", name="block", input_shape=(6, 6, 3), classes=2)
    for layer in model.layers:
        if layer.name.startswith("conv"):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    pixels = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)
    block = _tf.keras.Model(model.inputs, model.get_layer("flatten").input)
    assert np.array_equal(block(pixels), pixels)


def test_an_unknown_architecture_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"arch: 'resnet' is unknown; expected one of: .*edge35k"):
        zoo.build("resnet", input_shape=(28, 28, 1), classes=10)


@pytest.mark.parametrize("token", ["C32", "C32@3z", "P", "D5", "X4", "R16@3n"])
def test_a_layer_that_is_not_in_the_notation_is_refused(token: str) -> None:
    with pytest.raises(ConfigError, match=f"architecture: got '{token}'; expected C<filters>"):
        zoo.notation.network(token, name="odd", input_shape=(28, 28, 1), classes=10)
