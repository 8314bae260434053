"""The gates before any comparison with a parent: numbers that are none, chance, and classes never predicted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, artifact, inspect, zoo
from edgecnn.artifact import Run
from edgecnn.config import RunConfig, configure
from edgecnn.data.splits import DataSet, Split
from edgecnn.device.contract import Contract, unit
from edgecnn.errors import ArtifactError, GateError
from edgecnn.export.tflite import to_tflite
from edgecnn.pipeline import AUTO, Target, Workspace, a_look, bench, check_c, export_c, export_model, notes
from edgecnn.pipeline.sensitivity import float_layers
from tests.conftest import Edgecnn
from tests.contracts import taking
from tests.tflite_files import NONE, Net, to_bytes

QUADRANTS = [np.s_[:4, :4], np.s_[:4, 4:], np.s_[4:, :4], np.s_[4:, 4:]]


def quadrants(*counts: int) -> DataSet:
    """Return 8x8 images, so many of each class, which is the quadrant that is bright; all splits are the same."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 100, (len(labels), 8, 8, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[QUADRANTS[label]] += 100
    split = Split(images, labels)
    return DataSet("quadrants", split, split, split, tuple("abcd"[: len(counts)]), "0" * 64)


def reader(classes: int = 4, *, first: float = 1.0, last: float = 10.0) -> Any:
    """Return a network that reads quadrants without a mistake; its two layers multiply by `first` and `last`."""
    layers = _tf.keras.layers
    stack = [
        layers.Input((8, 8, 1), name="pixels"),
        layers.Flatten(name="flatten"),
        layers.Dense(classes, name="sums"),
        layers.Dense(classes, activation="softmax", name="scores"),
    ]
    model = _tf.keras.Sequential(stack, name="net")
    sums = np.zeros((8, 8, classes), np.float32)
    for label in range(classes):
        sums[(*QUADRANTS[label], label)] = first / 16
    model.set_weights([sums.reshape(64, classes), np.zeros(classes), last * np.eye(classes), np.zeros(classes)])
    return model


def exported(
    model: Any, data: DataSet, folder: Path, *, form: str = "tflite", scheme: str = "int8", **options: Any
) -> Path:
    """Return the file that the Keras `model`, saved as one without a record, is exported to."""
    source = folder / "net.keras"
    source.write_bytes(_tf.save_model(model, suffix=".keras"))
    config = configure(calibration_images=40, **options)
    return export_model(source, target=Target(form, scheme), out=folder / "out", config=config, data=data)


def with_weights(model: Any, layer: str, change: Any) -> Any:
    """Return `model` with `change` applied to the kernel of a layer."""
    kernel, bias = model.get_layer(layer).get_weights()
    model.get_layer(layer).set_weights([change(kernel), bias])
    return model


def nan_at_one(kernel: np.ndarray) -> np.ndarray:
    kernel[3, 1] = np.nan
    return kernel


@pytest.mark.parametrize(
    ("form", "scheme"), [("tflite", "float32"), ("tflite", "int8"), ("tflite", "int16x8"), ("onnx", "int8")]
)
def test_a_weight_that_is_no_number_is_refused_with_its_layer(form: str, scheme: str, tmp_path: Path) -> None:
    model = with_weights(reader(), "sums", nan_at_one)
    with pytest.raises(GateError, match=r"layer sums: 1 of its 256 weights are NaN") as caught:
        exported(model, quadrants(40, 40, 40, 40), tmp_path, form=form, scheme=scheme)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_no_numbers_are_refused_with_the_layer_they_begin_in(tmp_path: Path) -> None:
    model = reader(first=1e30, last=1e30)
    with pytest.raises(GateError, match=r"160 of 160 validation images .*, from layer scores on"):
        exported(model, quadrants(40, 40, 40, 40), tmp_path)


def test_calibration_images_without_numbers_are_refused(tmp_path: Path) -> None:
    """A training image darker than any of validation: the logarithm of zero."""
    layers = _tf.keras.layers
    logarithm = layers.Lambda(_tf.tf.math.log, name="logarithm")
    stack = [layers.Input((8, 8, 1), name="pixels"), logarithm, layers.Flatten(), layers.Dense(4, name="scores")]
    model = _tf.keras.Sequential(stack, name="net")
    data = quadrants(40, 40, 40, 40)
    bright = Split(np.maximum(data.validation.images, 1), data.validation.labels)
    work = Workspace(Run(tmp_path), configure(calibration_images=160), replace(data, validation=bright))
    with pytest.raises(GateError, match=r"of 160 calibration images .*, from layer logarithm on"):
        float_layers(model, taking_four(data), Target("onnx", "int8", keep_float=AUTO), work)


def test_the_search_for_layers_to_keep_in_float_refuses_them_too(tmp_path: Path) -> None:
    data = quadrants(40, 40, 40, 40)
    work = Workspace(Run(tmp_path), configure(calibration_images=40), data)
    broken = with_weights(reader(), "scores", nan_at_one)
    with pytest.raises(GateError, match="layer scores: 1 of its 16 weights are NaN"):
        float_layers(broken, taking_four(data), Target("onnx", "int8", keep_float=AUTO), work)


def test_a_range_without_end_is_refused_with_its_layer(tmp_path: Path) -> None:
    """Infinite inside, but not behind the sigmoid: the outputs are numbers, the ranges of integers are none."""
    layers, huge = _tf.keras.layers, reader(first=1e30)
    wide = layers.Dense(4, activation="sigmoid", name="wide")
    stack = [layers.Input((8, 8, 1), name="pixels"), *huge.layers[:2], wide, layers.Softmax(name="softmax")]
    sums, zeros, *_ = huge.get_weights()
    endless = _tf.keras.Sequential(stack, name="net")
    endless.set_weights([sums, zeros - 0.4e30, 1e30 * np.eye(4), zeros])
    with pytest.raises(GateError, match=r"layer \S*wide\S*: a scale of its \w+ is inf.*--scheme float32"):
        exported(endless, quadrants(40, 40, 40, 40), tmp_path, form="onnx", scheme="int8")
    exported(endless, quadrants(40, 40, 40, 40), tmp_path, form="onnx", scheme="float32")


def test_a_parent_at_chance_is_refused_and_allowed_when_asked(tmp_path: Path) -> None:
    data, model = quadrants(40, 40, 40, 40), with_weights(reader(), "scores", np.zeros_like)
    with pytest.raises(GateError, match=r"reads 25.0% of 160 validation images in 4 classes .*chance") as caught:
        exported(model, data, tmp_path, scheme="float32")
    assert caught.value.exit_code == 1
    for remedy in ("--input-range 0..255", "--allow-chance"):
        assert remedy in str(caught.value)
    assert not (tmp_path / "out").exists()

    path = exported(model, data, tmp_path, scheme="float32", allow_chance=True)
    figures = artifact.checked(path).metrics
    assert figures["allowed_chance"] is True
    assert figures["at_chance"] is True
    assert figures["balanced_top1"] == figures["balanced_low"] == figures["balanced_high"] == 0.25
    assert figures["never_predicted"] == ["b", "c", "d"]
    said = notes(path)
    assert len(said) == 2
    assert "chance" in said[0]
    assert said[1].endswith("b, c, d")


def test_a_constant_answer_is_refused_though_it_is_mostly_right(tmp_path: Path) -> None:
    model = reader(2)
    model.get_layer("scores").set_weights([np.zeros((2, 2)), np.array([1.0, 0.0])])
    with pytest.raises(GateError, match=r"reads 94.0% of 100 .* chance"):
        exported(model, quadrants(94, 6), tmp_path)


def test_labels_in_another_order_are_refused(tmp_path: Path) -> None:
    data = quadrants(40, 40, 40, 40)
    turned = replace(data, validation=Split(data.validation.images, (data.validation.labels + 1) % 4))
    with pytest.raises(GateError, match=r"reads 0.0% .* chance"):
        exported(reader(), turned, tmp_path)


def test_shuffled_labels_are_refused(tmp_path: Path) -> None:
    data = quadrants(40, 40, 40, 40)
    shuffled = np.random.default_rng(3).permutation(data.validation.labels)
    with pytest.raises(GateError, match="chance"):
        exported(reader(), replace(data, validation=Split(data.validation.images, shuffled)), tmp_path)


def test_what_so_few_images_cannot_tell_from_chance_says_so(tmp_path: Path) -> None:
    data = quadrants(3, 3)
    labels = np.array([0, 0, 1, 1, 1, 0])
    with pytest.raises(GateError, match=r"reads 66.7% of 6 .*so few images cannot tell from chance"):
        exported(reader(2), replace(data, validation=Split(data.validation.images, labels)), tmp_path)


@pytest.mark.parametrize("counts", [(3, 3, 2, 2), (1, 1, 1, 7), (9, 1)])
def test_a_perfect_network_passes_on_ten_images(counts: tuple[int, ...], tmp_path: Path) -> None:
    figures = artifact.checked(exported(reader(len(counts)), quadrants(*counts), tmp_path)).metrics
    assert figures["balanced_low"] == 1.0
    assert figures["never_predicted"] == []
    assert {"at_chance": figures["at_chance"], "allowed": figures.get("allowed_chance")} == {
        "at_chance": False, "allowed": None
    }  # fmt: skip


def test_a_float_file_that_falls_to_chance_is_refused(tmp_path: Path) -> None:
    """Weights too small for float16 become zero there; float32 has them."""
    model, data = reader(first=1e-7, last=1e4), quadrants(40, 40, 40, 40)
    with pytest.raises(GateError, match=r"float16.tflite: top-1 .* is 25.0% .*chance, its parent's 100.0%"):
        exported(model, data, tmp_path, scheme="float16")
    assert not (tmp_path / "out" / "float16.tflite").exists()
    assert artifact.checked(exported(model, data, tmp_path, scheme="float32")).metrics["drop_pp"] == 0
    allowed = artifact.checked(exported(model, data, tmp_path, scheme="float16", allow_chance=True)).metrics
    assert allowed["allowed_chance"] is True


def test_a_class_that_is_never_predicted_is_said(tmp_path: Path) -> None:
    model = reader()
    model.get_layer("scores").set_weights([10 * np.eye(4), np.array([0.0, 0.0, 0.0, -100.0])])
    path = exported(model, quadrants(40, 40, 40, 40), tmp_path, scheme="float32")
    assert artifact.checked(path).metrics["never_predicted"] == ["d"]
    assert [line.rsplit(": ", 1)[1] for line in notes(path)] == ["d"]


def test_what_was_allowed_does_not_make_it_another_export(tmp_path: Path) -> None:
    """It is in the metrics: the settings, by which an export is known again, stay as they are."""
    model, data = with_weights(reader(), "scores", np.zeros_like), quadrants(40, 40, 40, 40)
    record = artifact.checked(exported(model, data, tmp_path, scheme="float32", allow_chance=True))
    plain = configure(calibration_images=40)
    assert record.settings == Target("tflite", "float32").settings(plain)


def taking_four(data: DataSet) -> Contract:
    """Return the contract of a network of the data's images and classes."""
    return taking(data.train.images, labels=tuple(data.labels))


def scaled(kind: str) -> bytes:
    """Return an int8 file of a convolution, a dense layer and a softmax, with one kind of scale in it that is none."""
    net = Net((1, 8, 8, 1))
    conv = net.conv(net.start(), 4, (3, 3))
    dense = net.dense(net.reshape(conv, (1, 144)), 4, activation=NONE)
    scores = net.softmax(dense)
    _, kernel, bias = next(o for o in net.operators if o.kind == "CONV_2D").inputs
    changed: dict[str, tuple[int, ...]] = {"output": (conv,), "input": (net.input,), "scores": (dense,)}
    factors = {"filter": [0, 1, 1, 1], "kernel": 0, "nan": [1, np.nan, 1, 1], "negative": -1, "scores": 1e-9}
    for number in changed.get(kind, (kernel, bias)):
        tensor = net.tensors[number]
        net.tensors[number] = replace(tensor, scale=(tensor.scale * factors.get(kind, 0)).astype(np.float32))
    if kind == "filter":  # it computes nothing
        stored = net.tensors[kernel].data.copy()
        stored[0] = 0
        net.tensors[kernel] = replace(net.tensors[kernel], data=stored)
    return to_bytes(net.graph(scores))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("output", "the scale of its output is 0"),
        ("input", "the scale of its input is 0"),
        ("kernel", "every weight of layer tensor4 is 0"),
        ("nan", "layer tensor4: a scale of its weights is nan"),
        ("negative", "layer tensor4: a scale of its weights is -"),
        ("scores", "too small for a softmax"),
    ],
)
def test_a_file_with_scales_that_are_none_becomes_no_c(kind: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(scaled(kind))
    with pytest.raises(ArtifactError, match=said):
        export_c(path, out=tmp_path / "c", name="model", kernel="auto")
    with pytest.raises(ArtifactError, match=said):
        check_c(path.read_bytes(), name="model", kernel="auto")
    assert not (tmp_path / "c").exists()


def test_a_filter_that_is_all_zero_may_have_a_scale_of_zero() -> None:
    assert inspect.faults_of(scaled("filter"), ".tflite") == []
    check_c(scaled("filter"), name="model", kernel="auto")


def test_building_a_network_of_zeros_is_one_line(edgecnn: Edgecnn, tmp_path: Path) -> None:
    """Its scores have a scale for which LiteRT's reference kernels end the process."""
    model = reader()
    model.set_weights([weights * 0 for weights in model.get_weights()])
    images = quadrants(40, 40, 40, 40).train.images
    (tmp_path / "zeros.tflite").write_bytes(to_tflite(model, scheme="int8", representative_dataset=unit(images)))
    done = edgecnn("build", tmp_path / "zeros.tflite", "--out", tmp_path / "built")
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error:") == 1
    assert "too small for a softmax" in done.stderr
    assert not (tmp_path / "built").exists()


def test_a_layer_of_zeros_is_named_where_its_scale_is_zero(tmp_path: Path) -> None:
    """int16x8 gives it that scale; other schemes a small one."""
    model = reader()
    model.set_weights([weights * 0 for weights in model.get_weights()])
    data = quadrants(40, 40, 40, 40)
    with pytest.raises(GateError, match=r"every weight of layer sums is 0: .*--scheme float32"):
        exported(model, data, tmp_path, scheme="int16x8", allow_chance=True)
    exported(model, data, tmp_path, scheme="float32", allow_chance=True)


def test_bench_says_that_a_model_reads_at_chance(tmp_path: Path) -> None:
    data, images = quadrants(40, 40, 40, 40), quadrants(40, 40, 40, 40).train.images
    for name, model in (("reads", reader()), ("chance", with_weights(reader(), "scores", np.zeros_like))):
        content = to_tflite(model, scheme="int8", representative_dataset=unit(images))
        (tmp_path / f"{name}.tflite").write_bytes(content)
    rows = bench(
        sorted(tmp_path.glob("*.tflite")), data=data, out=tmp_path / "bench.json", setting=a_look(),
        runtimes=["litert"], keras=False,
    )["results"]  # fmt: skip
    chance, reads = rows
    assert [row["at_chance"] for row in rows] == [True, False]
    assert (chance["balanced_top1"], reads["balanced_top1"], reads["balanced_low"]) == (0.25, 1.0, 1.0)
    assert "at chance level: is its input what the model takes?" in chance["note"]
    assert "chance" not in (reads["note"] or "")


def test_the_command_refuses_first_weights_and_takes_them_when_told(edgecnn: Edgecnn, tmp_path: Path) -> None:
    _tf.seed_everything(0)
    model = zoo.build("edge1k", input_shape=(28, 28, 1), classes=10)
    (tmp_path / "net.keras").write_bytes(_tf.save_model(model, suffix=".keras"))
    command = ("export", tmp_path / "net.keras", "--data", "digits", "--scheme", "float32", "--out", tmp_path / "out")
    refused = edgecnn(*command)
    assert (refused.returncode, refused.stderr.count("error:")) == (1, 1), refused.stderr
    assert "validation images in 10 classes" in refused.stderr
    assert not (tmp_path / "out").exists()
    allowed = edgecnn(*command, "--allow-chance")
    assert allowed.returncode == 0, allowed.stderr
    assert "chance level" in allowed.stderr
    again = edgecnn("export", tmp_path / "out" / "net" / "float32.tflite", "--format", "bundle", "--allow-chance")
    assert again.returncode == 2
    assert "--allow-chance" in again.stderr


def test_a_run_may_be_asked_for_what_reads_at_chance() -> None:
    config: RunConfig = configure(allow_chance=True)
    assert config.exporting.allow_chance
    assert not configure().exporting.allow_chance
