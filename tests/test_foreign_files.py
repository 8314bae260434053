"""What a model file made elsewhere says of its input and scores, and what becomes of a damaged one."""

from __future__ import annotations

import ast
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecnn.device.contract import Quantized
from edgecnn.device.errors import DamagedError, ModelError
from edgecnn.device.files import content_sha256
from edgecnn.device.modelfiles import onnx as onnx_files
from edgecnn.device.modelfiles import tflite as tflite_files
from edgecnn.device.modelfiles.clues import Clues, clues_of
from edgecnn.device.modelfiles.external import external_files
from edgecnn.device.modelfiles.flatbuffer import root
from edgecnn.device.modelfiles.leading import order_before, range_before
from edgecnn.device.modelfiles.quantization import range_stored
from edgecnn.device.modelfiles.tflite import refusal_of
from edgecnn.device.runtimes.loader import load, load_ort
from tests import foreign_files
from tests.foreign_files import CLASSES, SIZE, OnnxNet, converted, save_with_files, with_custom_operator, with_metadata

UNIT, CENTRED, BYTES = ((0.0,), (1.0,)), ((0.5,), (0.5,)), ((0.0,), (1 / 255,))
TFLITE, ONNX = Path("net.tflite"), Path("net.onnx")
MODELS = Path(os.environ.get("EDGECNN_DATA", "data")) / "models"
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Layers = Callable[[Any], list[Any]]


def test_the_makers_of_files_import_nothing_of_edgecnn() -> None:
    tree = ast.parse(Path(foreign_files.__file__).read_text())
    modules = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    modules += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
    assert not [name for name in modules if name.partition(".")[0] == "edgecnn"]


# --- the range before a first layer ---


@pytest.mark.parametrize(
    ("scale", "offset", "expected"),
    [
        (1 / 255, 0, BYTES),
        (1 / 256, 0, BYTES),
        (1 / 127.5, -1, BYTES),
        (1 / 128, -127.5 / 128, BYTES),
        (1 / 255, -0.5, BYTES),
        (-1 / 255, 1, BYTES),  # inverted
        (2, -1, UNIT),
        (255, 0, UNIT),
        (1, -0.5, UNIT),
        (0.5, 0.5, CENTRED),
        (127.5, 127.5, CENTRED),
    ],
)
def test_a_rescaling_takes_one_usual_range_onto_another(scale: float, offset: float, expected: Any) -> None:
    assert range_before(scale, offset) == expected
    assert range_before([scale] * 3, [offset] * 3) == expected


def standardized(mean: Any, std: Any) -> tuple[Any, Any]:
    """Return scale and offset of ``(x - mean) / std``."""
    return 1 / np.array(std), -np.array(mean) / np.array(std)


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        (IMAGENET[0], IMAGENET[1], UNIT),
        (0.1307, 0.3081, UNIT),  # MNIST
        (0.286, 0.353, UNIT),  # Fashion-MNIST
        ((0.344, 0.38, 0.408), (0.2, 0.13, 0.11), UNIT),  # EuroSAT
        ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), BYTES),
        ((103.939, 116.779, 123.68), (1, 1, 1), BYTES),
        (33.3, 78.6, BYTES),
        ((-0.02, -0.04, -0.11), (0.49, 0.49, 0.52), CENTRED),  # CIFAR-10
        (-0.74, 0.62, CENTRED),  # MNIST
        (0.5, 0.45, None),  # of nearly black and white pixels, or of light ones from -1 on
        (0, 1, None),
        (0.45, 1, None),
        (0, 0.2, None),  # a factor alone
        (300, 58, None),
        (12, 200, None),  # more than numbers to 255 can deviate
    ],
)
def test_a_standardization_has_the_mean_and_deviation_of_images(mean: Any, std: Any, expected: Any) -> None:
    assert range_before(*standardized(mean, std)) == expected


def test_a_learnt_normalization_is_not_taken_for_that_of_another_range() -> None:
    gamma, beta = 1.0, 0.5  # of MNIST's pixels from 0 to 1: its mean comes out below 0
    scale, offset = standardized(0.1307, 0.3081)
    assert range_before(scale * gamma, offset * gamma + beta, is_learnt=True) is None
    assert range_before(*standardized(-0.74, 0.62), is_learnt=True) == CENTRED
    assert range_before(*standardized(0.1307, 0.3081), is_learnt=True) == UNIT


@pytest.mark.parametrize(("scale", "offset"), [(0, 1), (float("nan"), 0), (float("inf"), 0), ((1 / 255, 0), (0, 0))])
def test_a_map_that_cannot_be_turned_round_says_nothing(scale: Any, offset: Any) -> None:
    assert range_before(scale, offset) is None


def test_the_means_of_imagenet_tell_red_from_blue() -> None:
    assert order_before(*standardized(*IMAGENET)) == "RGB"
    assert order_before(*standardized([255 * m for m in IMAGENET[0][::-1]], [1, 1, 1])) == "BGR"
    assert order_before(*standardized((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.262))) is None
    assert order_before(1 / 255, 0) is None


# --- the quantization of the input ---


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "expected"),
    [
        ("int8", 1.0, -128, BYTES),
        ("int8", 0.9996, -128, BYTES),
        ("uint8", 0.0, 0, BYTES),
        ("uint8", 1.0, 0, BYTES),
        ("int8", 1 / 255, -128, UNIT),
        ("uint8", 1 / 256, 0, UNIT),
        ("int8", 2 / 255, -1, CENTRED),
        ("uint8", 1 / 127.5, 128, CENTRED),
        ("uint8", 1 / 128, 128, CENTRED),
        ("int16", 255 / 32767, 0, BYTES),
        ("int16", 1 / 32767, 0, None),  # always in the middle: 0..1 or -1..1
        ("int8", 1 / 127, 0, None),  # quantized symmetrically: as well 0..1
        ("int8", 0.0187, -14, None),
        ("int8", 0.5847, 83, None),
        ("float32", 0.0, 0, None),
        ("int8", 0.0, 0, None),
        ("int8", float("nan"), 0, None),
    ],
)
def test_a_range_that_an_input_stores_and_no_more(dtype: str, scale: float, zero_point: int, expected: Any) -> None:
    assert range_stored(Quantized(dtype, scale, zero_point)) == expected


# --- .tflite ---


def rescaling(scale: float, offset: float = 0) -> Layers:
    return lambda layers: [layers.Rescaling(scale, offset)]


def normalization(mean: Any, std: Any) -> Layers:
    return lambda layers: [layers.Normalization(mean=list(mean), variance=[one**2 for one in std])]


def batch_normalization(mean: Any, std: Any) -> Layers:
    def first(layers: Any) -> list[Any]:
        layer = layers.BatchNormalization(epsilon=1e-6)
        layer.build((None, SIZE, SIZE, 3))
        layer.set_weights([np.full(3, 1.1), np.full(3, 0.05), np.array(mean), np.square(std)])
        return [layer]

    return first


def as_floats(x: Any) -> Any:
    import tensorflow as tf

    return tf.cast(x, tf.float32)


def nothing(layers: Any) -> list[Any]:
    return []


@cache
def plain() -> bytes:
    return converted(nothing)


FIRST = {
    "rescaling": (rescaling(1 / 127.5, -1), {}, BYTES, "leading layer"),
    "rescaling-of-int8": (rescaling(1 / 127.5, -1), {"pixels": (0, 255)}, BYTES, "leading layer"),
    "rescaling-in-the-weights-of-int8": (rescaling(1 / 255), {"pixels": (0, 255)}, BYTES, "quantization"),
    "rescaling-in-the-weights": (rescaling(1 / 255), {}, None, None),  # of which nothing is left in the file
    "normalization": (normalization(*IMAGENET), {}, UNIT, "leading layer"),
    "normalization-of-bytes": (normalization((120, 110, 100), (64, 60, 61)), {}, BYTES, "leading layer"),
    "normalization-of-float16": (
        normalization((120, 110, 100), (64, 60, 61)), {"float16": True}, BYTES, "leading layer",
    ),
    "normalization-of-uint8": (
        normalization((120, 110, 100), (64, 60, 61)), {"pixels": (0, 255), "ends": "uint8"}, BYTES, "leading layer",
    ),
    "batch-normalization": (batch_normalization(*IMAGENET), {}, UNIT, "leading layer"),
    "batch-normalization-of-int8": (batch_normalization(*IMAGENET), {"pixels": (0, 1)}, UNIT, "leading layer"),
    "centred-int8": (nothing, {"pixels": (-1, 1)}, CENTRED, "quantization"),
    "centred-with-float-ends": (nothing, {"pixels": (-1, 1), "ends": "float32"}, CENTRED, "quantization"),
    "unit-uint8": (nothing, {"pixels": (0, 1), "ends": "uint8"}, UNIT, "quantization"),
    "standardized-outside": (nothing, {"pixels": (-2.1, 2.6)}, None, None),
    "float": (nothing, {}, None, None),
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_a_converted_network_says_its_range(name: str) -> None:
    first, options, expected, source = FIRST[name]
    clues = clues_of(TFLITE, converted(first, **options))
    assert (clues.normalization, clues.sources.get("range"), clues.doubts) == (expected, source, ())
    assert (clues.layout, clues.scores) == ("NHWC", "probabilities")


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([], "logits"),
        ([("Activation", "sigmoid")], None),
        ([("Activation", "relu")], None),
        ([("Lambda", "log_softmax")], "logits"),
    ],
)
def test_a_converted_network_says_what_its_scores_are(last: list[tuple[str, str]], expected: str | None) -> None:
    import tensorflow as tf

    def layers_of(layers: Any) -> list[Any]:
        functions = {"log_softmax": tf.nn.log_softmax}
        return [getattr(layers, kind)(functions.get(what, what)) for kind, what in last]

    assert clues_of(TFLITE, converted(nothing, last=layers_of)).scores == expected


def test_int8_scores_are_seen_through_their_quantization() -> None:
    assert clues_of(TFLITE, converted(nothing, pixels=(0, 1), ends="uint8")).scores == "probabilities"


def test_raw_uint8_pixels_are_what_they_are() -> None:
    content = converted(lambda layers: [layers.Lambda(lambda x: as_floats(x) - 3)], dtype="uint8")
    for one in (content, with_metadata(content, mean=[127.5], std=[127.5])):
        clues = clues_of(TFLITE, one)
        assert (clues.normalization, clues.sources["range"]) == (BYTES, "quantization")


def test_the_reader_agrees_with_litert() -> None:
    from ai_edge_litert.interpreter import Interpreter

    content = converted(nothing, pixels=(0, 1), ends="uint8")
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    file = tflite_files.TFLiteFile(content)
    assert list(file.inputs) == [one["index"] for one in interpreter.get_input_details()]
    assert list(file.outputs) == [one["index"] for one in interpreter.get_output_details()]
    for details in interpreter.get_tensor_details():
        if details["name"]:
            tensor = file.tensor(details["index"])
            assert tensor.name == details["name"]
            assert tensor.shape == tuple(details["shape"])
            assert tensor.signature == tuple(details["shape_signature"])
            assert np.dtype(tensor.dtype) == details["dtype"]
            assert tensor.scales == pytest.approx(details["quantization_parameters"]["scales"])
            assert list(tensor.zero_points) == list(details["quantization_parameters"]["zero_points"])


# --- TFLite metadata ---


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ([127.5], [127.5], CENTRED),
        ([0], [255], UNIT),
        ([0], [1], BYTES),
        ([51, 102, 153], [51, 51, 102], ((0.2, 0.4, 0.6), (0.2, 0.2, 0.4))),
    ],
)
def test_metadata_say_mean_and_std_of_bytes(mean: list[float], std: list[float], expected: Any) -> None:
    clues = clues_of(TFLITE, with_metadata(plain(), mean=mean, std=std))
    assert clues.normalization is not None
    assert clues.normalization[0] == pytest.approx(expected[0])
    assert clues.normalization[1] == pytest.approx(expected[1])
    assert clues.sources["range"] == "metadata"


def test_metadata_say_labels_and_channels() -> None:
    clues = clues_of(TFLITE, with_metadata(plain(), color_space=1, labels="ant\nbee\r\ncat \nöx\nelk\n\n"))
    assert clues.labels == ("ant", "bee", "cat", "öx", "elk")
    assert (clues.channels, clues.normalization) == ("RGB", None)
    assert clues.sources == {
        "labels": "metadata", "channels": "metadata", "scores": "last layer", "layout": "leading layer",
    }  # fmt: skip
    assert clues_of(TFLITE, with_metadata(plain(), color_space=2)).channels == "gray"


def test_metadata_come_before_what_else_the_file_says() -> None:
    content = with_metadata(converted(nothing, pixels=(-1, 1)), mean=[114.75], std=[127.5])
    clues = clues_of(TFLITE, content)
    assert clues.normalization is not None
    assert (clues.normalization[0][0], clues.sources["range"]) == (pytest.approx(0.45), "metadata")
    ignoring = clues_of(TFLITE, content, ignore_metadata=True)
    assert (ignoring.normalization, ignoring.sources["range"]) == (CENTRED, "quantization")


def test_metadata_that_an_input_cannot_store_leave_the_range_open() -> None:
    clues = clues_of(TFLITE, with_metadata(converted(nothing, pixels=(0, 1)), mean=[0], std=[1]))
    assert (clues.normalization, "range" in clues.sources) == (None, False)
    assert "0..255" in clues.doubts[0]
    assert "0 to 1" in clues.doubts[0]


DAMAGED_METADATA = {
    "mark": {"mean": [0], "std": [1], "mark": b"M999"},
    "std": {"mean": [0], "std": [0]},
    "not a number": {"mean": [float("nan")], "std": [1]},
    "two means": {"mean": [1, 2], "std": [1]},
    "no label file": {"labels": "a\nb", "packed": False},
    "long labels": {"labels": "a\n" * (1 << 20)},
}


@pytest.mark.parametrize("name", DAMAGED_METADATA)
def test_damaged_metadata_are_one_line_and_can_be_ignored(name: str) -> None:
    content = with_metadata(plain(), **DAMAGED_METADATA[name])  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"^net\.tflite: its metadata cannot be read .*--labels") as caught:
        clues_of(TFLITE, content)
    assert "\n" not in str(caught.value)
    assert clues_of(TFLITE, content, ignore_metadata=True) == clues_of(TFLITE, plain())


# --- ONNX ---


def nhwc() -> OnnxNet:
    return OnnxNet(shape=("N", SIZE, SIZE, 3))


ONNX_FIRST: dict[str, tuple[Callable[[], OnnxNet], Any]] = {
    "div": (lambda: OnnxNet().by("Div", 255.0), BYTES),
    "mul": (lambda: OnnxNet().by("Mul", [[[[1 / 255]]]]), BYTES),
    "mul-first": (lambda: OnnxNet().by("Mul", 1 / 255, is_second=True), BYTES),
    "mul-add": (lambda: OnnxNet().by("Mul", 2.0).by("Add", -1.0), UNIT),
    "inverted": (lambda: OnnxNet().by("Sub", 255.0, is_second=True).by("Div", 255.0), BYTES),
    "sub-div": (
        lambda: (
            OnnxNet().by("Sub", np.reshape(IMAGENET[0], (1, 3, 1, 1))).by("Div", np.reshape(IMAGENET[1], (1, 3, 1, 1)))
        ),
        UNIT,
    ),
    "div-sub-div": (
        lambda: (
            OnnxNet()
            .by("Div", 255.0)
            .by("Sub", np.reshape(IMAGENET[0], (3, 1, 1)))
            .by("Div", np.reshape(IMAGENET[1], (3, 1, 1)))
        ),
        BYTES,
    ),
    "transposed": (lambda: nhwc().add("Transpose", perm=[0, 3, 1, 2]).by("Div", 255.0), BYTES),
    "before-transposing": (lambda: nhwc().by("Sub", [120.0, 110, 100]).add("Transpose", perm=[0, 3, 1, 2]), BYTES),
    "cast": (lambda: OnnxNet(dtype=TensorProto.UINT8).add("Cast", to=TensorProto.FLOAT).by("Div", 255.0), BYTES),
    "cast-alone": (lambda: OnnxNet(dtype=TensorProto.UINT8).add("Cast", to=TensorProto.FLOAT), BYTES),
    "constant-divisor": (lambda: with_constant_node("value"), BYTES),
    "constant-float": (lambda: with_constant_node("value_float"), BYTES),
    "reciprocal": (lambda: OnnxNet().by("Div", 255.0, is_second=True), None),
    "mean-image": (lambda: OnnxNet().by("Sub", np.full((3, SIZE, SIZE), 120.0)), None),
    "not-a-constant": (lambda: OnnxNet().add("Mul", "x"), None),
    "nothing": (OnnxNet, None),
}


def with_constant_node(attribute: str) -> OnnxNet:
    net = OnnxNet()
    value: Any = 255.0 if attribute == "value_float" else numpy_helper.from_array(np.float32(255))
    net.nodes.append(helper.make_node("Constant", [], ["divisor"], **{attribute: value}))
    return net.add("Div", "divisor")


@pytest.mark.parametrize("name", ONNX_FIRST)
def test_an_onnx_network_says_its_range(name: str) -> None:
    make, expected = ONNX_FIRST[name]
    content = make().classified().add("Softmax").content()
    onnxruntime.InferenceSession(content)  # it is one
    clues = clues_of(ONNX, content)
    assert clues.normalization == expected
    assert clues.layout == ("NHWC" if "transpos" in name else "NCHW")
    assert clues.scores == "probabilities"


@pytest.mark.parametrize(("beta", "gamma"), [(0.0, 1.0), (0.5, 0.5)])
def test_of_a_batch_normalization_its_mean_and_variance_count(beta: float, gamma: float) -> None:
    net = OnnxNet()
    parts = [np.full(3, gamma), np.full(3, beta), IMAGENET[0], np.square(IMAGENET[1])]
    net.add("BatchNormalization", *(net.constant(part) for part in parts))
    clues = clues_of(ONNX, net.classified().content())
    assert (clues.normalization, clues.channels, clues.scores) == (UNIT, "RGB", "logits")


def quantize(net: OnnxNet, scale: float, zero_point: int, dtype: Any, kinds: str = "QD") -> OnnxNet:
    named = {"Q": "QuantizeLinear", "D": "DequantizeLinear"}
    for kind in kinds:
        net.add(named[kind], net.constant(scale), net.constant(zero_point, dtype))
    return net


def test_a_quantized_onnx_network_says_its_range() -> None:
    content = quantize(OnnxNet(), 1 / 255, -128, np.int8).classified().content()
    assert clues_of(ONNX, content).sources["range"] == "quantization"
    assert clues_of(ONNX, content).normalization == UNIT
    content = quantize(OnnxNet(), 1.0, 0, np.uint8).by("Mul", 1 / 127.5).by("Sub", 1.0).classified().content()
    assert (clues_of(ONNX, content).normalization, clues_of(ONNX, content).doubts) == (BYTES, ())


def test_a_first_layer_that_its_input_contradicts_leaves_the_range_open() -> None:
    content = quantize(OnnxNet(), 1 / 255, 0, np.uint8).by("Div", 255.0).classified().content()
    clues = clues_of(ONNX, content)
    assert (clues.normalization, len(clues.doubts)) == (None, 1)
    assert "first layer says range 0..255" in clues.doubts[0]


def test_a_quantized_constant_has_its_real_value() -> None:
    net = OnnxNet()
    net.nodes.append(
        helper.make_node("DequantizeLinear", [net.constant(200, np.uint8), net.constant(1.275)], ["divisor"])
    )
    assert clues_of(ONNX, net.add("Div", "divisor").classified().content()).normalization == BYTES


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_scale_and_zero_point_of_whole_inputs_and_outputs_are_known(dtype: Any, tmp_path: Path) -> None:
    zero, kind = (-128, TensorProto.INT8) if dtype == np.int8 else (0, TensorProto.UINT8)
    net = quantize(OnnxNet(shape=(1, 3, SIZE, SIZE), dtype=kind), 1 / 255, zero, dtype, "D")
    quantize(net.classified().add("Softmax"), 1 / 256, zero, dtype, "Q")
    path = tmp_path / "net.onnx"
    path.write_bytes(net.content(output=kind))
    model = load(path)
    for spec, scale in ((model.inputs[0], 1 / 255), (model.outputs[0], 1 / 256)):
        assert (spec.dtype, spec.zero_point, spec.scale) == (np.dtype(dtype).name, zero, pytest.approx(scale))
    clues = clues_of(path, path.read_bytes())
    assert (clues.normalization, clues.scores) == (UNIT, "probabilities")


ONNX_LAST: dict[str, tuple[Callable[[OnnxNet], OnnxNet], str | None]] = {
    "softmax": (lambda net: net.add("Softmax"), "probabilities"),
    "softmax-identity": (lambda net: net.add("Softmax").add("Identity"), "probabilities"),
    "log-softmax": (lambda net: net.add("LogSoftmax"), "logits"),
    "gemm": (lambda net: net, "logits"),
    "reshaped": (lambda net: net.by("Mul", 1.0).add("Reshape", net.constant([-1, CLASSES], np.int64)), None),
    "sigmoid": (lambda net: net.add("Sigmoid"), None),
    "matmul-add": (lambda net: net.by("MatMul", np.ones((CLASSES, CLASSES))).by("Add", np.ones(CLASSES)), "logits"),
    "sum-of-two": (lambda net: net.add("Add", net.last), None),
    "relu": (lambda net: net.add("Relu"), None),
    "argmax": (lambda net: net.add("ArgMax", axis=1), None),
}


@pytest.mark.parametrize("name", ONNX_LAST)
def test_an_onnx_network_says_what_its_scores_are(name: str) -> None:
    make, expected = ONNX_LAST[name]
    assert clues_of(ONNX, make(OnnxNet().classified()).content()).scores == expected


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"Image.NominalPixelRange": "NominalRange_0_255"}, {"normalization": BYTES}),
        ({"image.nominalpixelrange": "normalized_0_1"}, {"normalization": UNIT}),
        ({"Image.NominalPixelRange": "Normalized_1_1"}, {"normalization": CENTRED}),
        ({"Image.BitmapPixelFormat": "Bgr8"}, {"channels": "BGR"}),
        ({"Image.BitmapPixelFormat": "Gray8"}, {"channels": "gray"}),
        ({"mean": "0.5", "std": "0.25"}, {"normalization": ((0.5,), (0.25,))}),
        ({"mean": "[0.5, 0.25, 0.125]", "std": "1 1 1"}, {"normalization": ((0.5, 0.25, 0.125), (1.0, 1.0, 1.0))}),
        ({"mean": "127.5", "std": "127.5"}, {"normalization": CENTRED}),
        ({"mean": "0", "std": "255"}, {"normalization": UNIT}),
        ({"std": "255"}, {"normalization": UNIT}),
        ({"mean": "51,102,153"}, {"normalization": ((0.2, 0.4, 0.6), (1 / 255,))}),
        ({"labels": '["ant", "bee"]'}, {"labels": ("ant", "bee")}),
        ({"classes": "ant, bee,cat"}, {"labels": ("ant", "bee", "cat")}),
        ({"class_names": "ant\nbee, red\n"}, {"labels": ("ant", "bee, red")}),
        ({"names": "{0: 'ant', 1: \"bee's\", 2: 'cat'}"}, {"labels": ("ant", "bee's", "cat")}),
        ({"names": '{"1": "bee", "0": "ant"}'}, {"labels": ("ant", "bee")}),
        ({"classes": "10", "names": "me", "author": "{"}, {}),
    ],
)
def test_properties_say_what_they_say(properties: dict[str, str], expected: dict[str, Any]) -> None:
    net = OnnxNet(shape=("N", "C", "H", "W")).classified(channels=3)
    clues = clues_of(ONNX, net.content(properties=properties))
    bare = Clues(scores="logits", layout="NCHW")
    assert replace(clues, sources={}) == replace(bare, **expected)
    parts = {"range" if part == "normalization" else part for part in expected}
    assert {part for part, source in clues.sources.items() if source == "metadata"} == parts


@pytest.mark.parametrize(
    "properties",
    [
        {"Image.NominalPixelRange": "NominalRange_16_235"},
        {"Image.BitmapPixelFormat": "Rgba8"},
        {"mean": "half"},
        {"mean": "1,2"},
        {"std": "0"},
        {"std": "-1"},
        {"mean": "nan"},
        {"labels": "[ant"},
        {"labels": "[[[" * 9000},
        {"names": "{1: 'ant', 2: 'bee'}"},
        {"names": "{0: ['ant'], 1: ['bee']}"},
        {"names": "[" + "1," * 600_000 + "1]"},
    ],
)
def test_properties_that_cannot_be_read_are_one_line(properties: dict[str, str]) -> None:
    content = OnnxNet().classified().content(properties=properties)
    with pytest.raises(ModelError, match=r"^net\.onnx: its metadata cannot be read") as caught:
        clues_of(ONNX, content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert clues_of(ONNX, content, ignore_metadata=True) == clues_of(ONNX, OnnxNet().classified().content())


def test_axes_that_say_what_they_mean_give_the_layout() -> None:
    model = OnnxNet(shape=(1, SIZE, SIZE, 3)).add("Flatten").by("MatMul", np.ones((SIZE * SIZE * 3, CLASSES))).model()
    assert clues_of(ONNX, model.SerializeToString()).layout is None
    model.graph.input[0].type.tensor_type.shape.dim[3].denotation = "DATA_CHANNEL"
    clues = clues_of(ONNX, model.SerializeToString())
    assert (clues.layout, clues.sources["layout"]) == ("NHWC", "metadata")


def test_the_reader_agrees_with_onnx() -> None:
    net = OnnxNet().by("Sub", np.reshape(IMAGENET[0], (1, 3, 1, 1))).by("Mul", np.float32(3)).classified()
    for dtype in (np.int8, np.uint8, np.int32, np.int64, np.float16, np.float64):
        net.constant([[1, -2, 3]] if dtype != np.uint8 else [[1, 2, 255]], dtype)
    net.constants.append(helper.make_tensor("typed", TensorProto.INT8, (3,), [-1, 2, -128]))
    net.constants.append(helper.make_tensor("halves", TensorProto.FLOAT16, (2,), [0.5, -2]))
    net.constants.append(helper.make_tensor("floats", TensorProto.FLOAT, (2, 2), [0.5, -2, 3, 4]))
    model = net.model(properties={"author": "me"})
    file = onnx_files.OnnxFile(model.SerializeToString())
    assert (file.opset, file.properties) == (17, {"author": "me"})
    assert [o.kind for o in file.operators] == [n.op_type for n in model.graph.node]
    assert [(o.inputs, o.outputs) for o in file.operators] == [
        (tuple(n.input), tuple(n.output)) for n in model.graph.node
    ]
    (given,) = file.inputs
    assert (given.name, given.dtype, given.shape, given.symbols[0]) == ("x", "float32", (-1, 3, SIZE, SIZE), "N")
    for constant in model.graph.initializer:
        np.testing.assert_array_equal(file.constant(constant.name), numpy_helper.to_array(constant), strict=False)


# --- weights in other files ---


def test_weights_are_those_beside_the_model_and_not_those_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    model = OnnxNet(shape=(1, 3, SIZE, SIZE)).by("Div", 255.0).classified().model()
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, SIZE, SIZE)).astype(np.float32)
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": image})[0]
    save_with_files(model, own / "net.onnx")
    (other / "net.onnx.data").write_bytes(bytes((own / "net.onnx.data").stat().st_size))
    monkeypatch.chdir(other)
    np.testing.assert_allclose(load(own / "net.onnx").invoke([image])[0], expected, rtol=1e-5)
    content = (own / "net.onnx").read_bytes()
    assert external_files(content) == ("net.onnx.data",)
    assert clues_of(own / "net.onnx", content).normalization == BYTES  # the divisor is in the other file
    with pytest.raises(ModelError, match="in other files"):
        load_ort(content, 1, None)


def test_a_file_of_weights_that_is_absent_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    save_with_files(OnnxNet().classified().model(), path, location="net.weights")
    (tmp_path / "net.weights").unlink()
    with pytest.raises(ModelError, match=rf"^{path}: .*'net\.weights', which is not in {tmp_path}; copy"):
        load(path)
    with pytest.raises(ModelError, match=r"net\.weights"):
        content_sha256(path)
    assert clues_of(path, path.read_bytes()).scores == "logits"


@pytest.mark.parametrize("location", ["../net.data", "/etc/passwd", "a/../../net.data", "..", ".", "*/../../x", "a\0b"])
def test_a_file_of_weights_outside_of_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    model = OnnxNet().classified().model()
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location=location)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=rf"^{path}: .* said to be in ") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_files_of_weights_are_found_wherever_a_tensor_may_be() -> None:
    def tensor(location: str) -> Any:
        made = numpy_helper.from_array(np.ones(3, np.float32), location)
        onnx.external_data_helper.set_external_data(made, location=location)
        made.ClearField("raw_data")
        return made

    branch = helper.make_graph([], "branch", [], [], [tensor("branch.bin")])
    nodes = [
        helper.make_node("Constant", [], ["a"], value=tensor("constant.bin")),
        helper.make_node("If", ["c"], ["b"], then_branch=branch, else_branch=branch),
    ]
    graph = helper.make_graph(nodes, "net", [], [], [tensor("sub/first.bin"), tensor("sub/./first.bin")])
    constant = helper.make_node("Constant", [], ["a"], value=tensor("function.bin"))
    function = helper.make_function("d", "f", [], ["a"], [constant], [helper.make_opsetid("", 17)])
    content = helper.make_model(graph, functions=[function]).SerializeToString()
    assert external_files(content) == ("constant.bin", "branch.bin", "sub/first.bin", "function.bin")


def test_the_hash_covers_the_files_of_weights(tmp_path: Path) -> None:
    path, data = tmp_path / "net.onnx", tmp_path / "net.onnx.data"
    model = OnnxNet().classified().model()
    path.write_bytes(model.SerializeToString())
    assert content_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    save_with_files(model, path)
    expected = hashlib.sha256(path.read_bytes() + hashlib.sha256(data.read_bytes()).digest()).hexdigest()
    assert content_sha256(path) == expected
    (tmp_path / "net.onnx.json").write_text(f'{{"sha256": "{expected}"}}')
    load(path)
    data.write_bytes(bytes([data.read_bytes()[0] ^ 1]) + data.read_bytes()[1:])
    with pytest.raises(ModelError, match=r"sha256 is .*; the file was changed or damaged"):
        load(path)


# --- files for other machines ---


@pytest.mark.parametrize(("code", "facts"), [
    ("edgetpu-custom-op", ("Edge TPU", "edgetpu_compiler")), ("ethos-u", ("Ethos-U", "vela")),
])  # fmt: skip
def test_a_file_for_an_accelerator_is_named_and_not_called_damaged(
    code: str, facts: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(with_custom_operator(plain(), code))
    with pytest.raises(ModelError) as caught:
        load(path)
    assert all(fact in str(caught.value) for fact in facts)
    assert "damaged" not in str(caught.value)


def test_a_file_with_operators_of_tensorflow_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(foreign_files.flex())
    with pytest.raises(ModelError, match=r"'ResizeBicubic' \(Flex\).*TFLITE_BUILTINS"):
        load(path)


def test_a_file_with_another_custom_operator_is_left_to_the_runtime() -> None:
    assert refusal_of(with_custom_operator(plain(), "TFLite_Detection_PostProcess")) is None
    assert refusal_of(plain()) is None
    assert refusal_of(plain()[:100]) is None
    assert refusal_of(b"") is None


# --- as found ---


@pytest.mark.skipif(not MODELS.is_dir(), reason="EDGECNN_DATA has no models made by others")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mlperf_tiny_resnet8_int8", BYTES),
        ("mlperf_tiny_resnet8_float32", None),
        ("mlperf_tiny_dscnn_int8", None),
        ("tflite_micro_person_detect_int8", CENTRED),
        ("tflite_micro_micro_speech_int8", None),
    ],
)
def test_models_of_others_say_their_range(name: str, expected: Any) -> None:
    path = MODELS / f"{name}.tflite"
    clues = clues_of(path, path.read_bytes())
    assert (clues.normalization, clues.scores) == (expected, "probabilities")


# --- damaged files ---


def rich(suffix: str, folder: Path) -> bytes:
    """Return a file with all that is read of one."""
    if suffix == ".tflite":
        content = converted(rescaling(1 / 127.5, -1), pixels=(0, 255), ends="uint8")
        return with_metadata(content, mean=[0], std=[1], color_space=1, labels="a\nb\nc\nd\ne")
    net = quantize(nhwc(), 1.0, 0, np.uint8).add("Transpose", perm=[0, 3, 1, 2]).by("Div", 255.0).classified()
    save_with_files(net.model(properties={"mean": "0", "std": "1", "names": "a,b,c,d,e"}), folder / "net.onnx")
    return (folder / "net.onnx").read_bytes()


@pytest.fixture(scope="module", params=[".tflite", ".onnx"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    path = folder / f"net{request.param}"
    path.write_bytes(rich(request.param, folder))
    return path


def read_all(path: Path, content: bytes) -> None:
    """Read all that is read of a file; only `ModelError` may come out of it."""
    for ignore in (False, True):
        try:
            clues_of(path, content, ignore_metadata=ignore)
        except ModelError as error:
            assert "\n" not in str(error)
    refusal_of(content)
    try:
        external_files(content)
    except ModelError as error:
        assert "\n" not in str(error)


def test_a_file_cut_anywhere_costs_one_line_at_most(file: Path) -> None:
    content = file.read_bytes()
    for end in range(0, len(content), max(1, len(content) // 300)):
        read_all(file, content[:end])


def test_a_file_with_flipped_bits_costs_one_line_at_most(file: Path) -> None:
    content, rng = file.read_bytes(), random.Random(0)
    for _ in range(600):
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 4, 32))):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        read_all(file, bytes(damaged))


def test_a_file_with_overwritten_numbers_costs_one_line_at_most(file: Path) -> None:
    content, rng = file.read_bytes(), random.Random(1)
    for _ in range(600):
        damaged = bytearray(content)
        place = rng.randrange(0, len(damaged) - 4)
        damaged[place : place + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"\x80" * 4))
        read_all(file, bytes(damaged))


def test_a_flatbuffer_that_names_its_parts_many_times_over_is_refused() -> None:
    builder = flatbuffers.Builder(1024)
    builder.StartObject(1)
    leaf = builder.EndObject()
    for _ in range(3):  # each level names the one below ten thousand times
        builder.StartVector(4, 10_000, 4)
        for _ in range(10_000):
            builder.PrependUOffsetTRelative(leaf)
        vector = builder.EndVector()
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, vector, 0)
        leaf = builder.EndObject()
    builder.Finish(leaf, b"TFL3")
    table = root(bytes(builder.Output()), b"TFL3")
    with pytest.raises(DamagedError, match="more parts"):
        for first in table.tables(0):
            for second in first.tables(0):
                list(second.tables(0))


def test_an_onnx_file_of_a_million_empty_parts_is_refused() -> None:
    graph = b"\x0a\x00" * 600_000  # nodes
    size = len(graph)
    content = bytes([0x3A, size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + graph
    with pytest.raises(DamagedError, match="more parts"):
        external_files(content)
    assert clues_of(ONNX, content) == Clues()


def test_other_files_say_nothing(tmp_path: Path) -> None:
    assert clues_of(tmp_path / "libmodel.so", b"\x7fELF") == Clues()
    shutil.rmtree(tmp_path)
