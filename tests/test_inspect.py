"""Layers, parameters, MACs and quantization errors, the same whatever the format."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn.device.contract import unit
from edgecnn.errors import ArtifactError
from edgecnn.inspect import Layer, inspect_bytes, inspect_file, onnx, sqnr, tflite
from edgecnn.inspect.layers import Constant, along
from edgecnn.pipeline import float32_beside, inspected
from edgecnn.pipeline.cost import cost_of
from edgecnn.report.table import layer_figures, layer_table
from tests.conftest import RELEASED, ROOT, Edgecnn

SEVEN = ROOT / "deploy" / "seven.png"
MACS = 20 * 20 * 9 * 9 * 32 + 8 * 8 * 3 * 3 * 32 * 32 + 2 * 2 * 3 * 3 * 32 * 32 + 128 * 100 + 100 * 10
FILES = [
    "train/model.keras",
    "compress/pruned80/model.keras",
    "compress/pruned80-qat/model.h5",
    *(f"export/baseline/{scheme}.tflite" for scheme in ("float32", "float16", "dynamic", "int8")),
    *(f"export/baseline/{scheme}.onnx" for scheme in ("float32", "int8")),
    "export/pruned80-qat/int8.tflite",
]


@pytest.mark.parametrize("file", FILES)
def test_every_format_counts_the_same(quick_run: Path, file: str) -> None:
    layers = inspect_file(quick_run / file)
    assert sum(layer.parameters for layer in layers) == 35_030
    assert sum(layer.macs for layer in layers) == MACS
    convolution = next(layer for layer in layers if layer.macs == 20 * 20 * 9 * 9 * 32)
    assert convolution.parameters == 32 * 81 + 32
    assert sorted(convolution.output_shape[1:]) == [20, 20, 32]


def test_int8_layers_have_scales_and_a_quarter_of_the_bytes(quick_run: Path) -> None:
    int8 = inspect_file(quick_run / "export/baseline/int8.tflite")
    assert all(layer.scale and layer.zero_point is not None for layer in int8)
    float32 = inspect_file(quick_run / "export/baseline/float32.tflite")
    assert all(layer.scale is None for layer in float32)
    assert sum(layer.weight_bytes for layer in float32) == 4 * 35_030
    # int8 kernels, int32 biases
    assert sum(layer.weight_bytes for layer in int8) == 34_824 + 4 * 206


def test_sparsity_is_seen_in_every_format(quick_run: Path) -> None:
    for file in (
        "compress/pruned80/model.keras",
        "export/pruned80/int8.tflite",
        "export/pruned80/float32.onnx",
    ):
        layers = inspect_file(quick_run / file)
        assert sum(layer.nonzero_parameters for layer in layers) < 0.25 * 35_030, file


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("cut", [0, 1, 7, 100, 5000, 40000])
def test_a_truncated_model_is_one_line(quick_run: Path, suffix: str, cut: int) -> None:
    content = (quick_run / f"export/baseline/int8{suffix}").read_bytes()[:cut]
    with pytest.raises(ArtifactError, match="here: damaged, no layers can be read") as caught:
        inspect_bytes(content, suffix, where="here")
    assert "\n" not in str(caught.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ArtifactError, match=r"expected .keras, .h5, .tflite or .onnx"):
        inspect_file(tmp_path / "a.txt")


# Kinds of layer whose MACs are easily got wrong, one after the other on an input of 8x8x4, every fourth weight zero.
ODD_MACS = {
    "grouped": 6 * 6 * (3 * 3 * 2 * 8),  # 4 input channels in 2 groups
    "depthwise": 4 * 4 * (3 * 3 * 8 * 2),  # multiplier 2
    "transposed": 4 * 4 * (2 * 2 * 16 * 4),  # 4x4 positions of the input
    "rows": 64 * (4 * 5),  # a dense layer over 64 rows
}


def odd_model(*, groups: int = 2) -> object:
    from edgecnn._tf import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((8, 8, 4), name="pixels"),
            layers.Conv2D(8, 3, groups=groups, name="grouped"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
            layers.Conv2DTranspose(4, 2, strides=2, name="transposed"),
            layers.Reshape((64, 4), name="flat"),
            layers.Dense(5, name="rows"),
        ]
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        weights = [rng.choice([-1.0, 1.0], w.shape) * rng.uniform(0.5, 1, w.shape) for w in layer.get_weights()]
        for kernel in weights[:1]:
            kernel.flat[::4] = 0
        layer.set_weights(weights)
    return model


def exported(model: object, form: str, scheme: str) -> bytes:
    from edgecnn.export.onnx import to_onnx
    from edgecnn.export.tflite import to_tflite

    images = np.random.default_rng(1).integers(0, 256, (20, 8, 8, 4), dtype=np.uint8)
    convert = to_tflite if form == "tflite" else to_onnx
    return convert(model, scheme=scheme, representative_dataset=unit(images))


@pytest.mark.parametrize("file", ["model.keras", "float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"])
def test_macs_of_odd_layers_are_those_computed_by_hand(tmp_path: Path, file: str) -> None:
    from edgecnn._tf import save_model

    path = tmp_path / file
    groups = 1 if path.suffix == ".onnx" else 2  # tf2onnx knows no groups but depthwise ones
    model = odd_model(groups=groups)
    kind = path.suffix[1:]
    path.write_bytes(save_model(model, suffix=".keras") if kind == "keras" else exported(model, kind, path.stem))
    weighted = [layer for layer in inspect_file(path) if layer.kernel_weights]
    expected = ODD_MACS | {"grouped": ODD_MACS["grouped"] * 2 // groups}
    assert [layer.macs for layer in weighted] == list(expected.values())
    assert [layer.effective_macs for layer in weighted] == [n * 3 // 4 for n in expected.values()]
    assert [layer.sparsity for layer in weighted] == [0.25] * 4


def small_onnx(*, height: int | None = 4) -> bytes:
    """Return a Conv on [1, 1, height, 4] whose 2x2 kernel is stored as uint8 with zero point 128: two zeros in it."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "q": np.array([128, 130, 128, 0], np.uint8).reshape(1, 1, 2, 2),
        "scale": np.array([0.5], np.float32),
        "zero": np.array([128], np.uint8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
            helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[2, 2]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, height, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_weight_that_equals_its_zero_point_is_a_zero() -> None:
    (layer,) = inspect_bytes(small_onnx(), ".onnx")
    assert (layer.parameters, layer.nonzero_parameters, layer.macs, layer.effective_macs) == (4, 2, 36, 18)
    (operation,) = onnx.operations(small_onnx())
    assert operation.kernel is not None
    assert operation.kernel.real().ravel().tolist() == [0, 1, 0, -64]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_real_values_have_a_scale_per_channel(dtype: type) -> None:
    stored = np.array([[1, 2, 3], [4, 5, 6]], dtype)
    per_channel = Constant(stored, along(1, 2, np.array([1, 10, 100], np.float32)), along(1, 2, np.array([0, 1, 3])))
    assert per_channel.real().tolist() == [[1, 10, 0], [4, 40, 300]]
    assert per_channel.nonzero == 5


def test_cost_is_none_where_it_cannot_be_known(quick_run: Path) -> None:
    path = quick_run / "export/baseline/int8.tflite"
    assert cost_of(path.read_bytes(), ".tflite")["macs"] == MACS
    assert set(cost_of(b"no model", ".tflite").values()) == {None}
    assert set(cost_of(b"no model", ".pt").values()) == {None}
    opened = {"parameters": 4, "nonzero_parameters": 2, "macs": None, "effective_macs": None}
    assert cost_of(small_onnx(height=None), ".onnx") == opened


def test_bench_rows_have_macs(quick_run: Path) -> None:
    rows = json.loads((quick_run / "bench/bench.json").read_text())["results"]
    assert {row["macs"] for row in rows} == {MACS}
    pruned = [row for row in rows if row["recipe"] == "pruned80"]
    assert pruned
    assert all(row["effective_macs"] < 0.25 * MACS for row in pruned)


def test_pruned_kernels_have_the_sparsity_that_was_asked_for(quick_run: Path) -> None:
    figures = layer_figures(inspect_file(quick_run / "export/pruned80/float32.tflite"))
    weighted = [row["sparsity"] for row in figures if row["sparsity"] is not None]
    assert weighted == pytest.approx([0.8] * 6, abs=0.01)  # five layers and the total


def test_shares_add_up_and_empty_columns_are_left_out(quick_run: Path) -> None:
    figures = layer_figures(inspect_file(quick_run / "export/baseline/float32.onnx"))
    for key in ("macs_share", "weight_bytes_share"):
        assert sum(row[key] for row in figures[:-1]) == pytest.approx(1)
        assert figures[-1][key] == 1
    headings, rows = layer_table(figures)
    assert "SQNR dB" not in headings
    assert "zero point" not in headings
    assert {len(row) for row in rows} == {len(headings)}
    assert layer_table(layer_figures([Layer("a", "Relu", (1, 2))]))[0][:3] == ["layer", "kind", "output"]


def test_sqnr_is_the_formula() -> None:
    power = sqnr.Power()
    power.add(np.array([3.0, 4.0]), np.array([3.0, 4.5]))
    assert power.sqnr_db == pytest.approx(20)  # 25 to 0.25
    power.add(np.array([0.0]), np.array([0.0]))
    assert power.sqnr_db == pytest.approx(20)
    assert sqnr.Power().sqnr_db == math.inf
    assert sqnr.Power(signal=0, noise=1).sqnr_db == -math.inf
    assert sqnr.Power(signal=math.nan, noise=1).sqnr_db is None


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Return what no model was trained on: for errors, which are of the arithmetic, any pixels in strokes will do."""
    from edgecnn.device.preprocessing.mnist import to_mnist
    from edgecnn.device.preprocessing.pictures import read_gray

    return np.stack([np.roll(to_mnist(read_gray(SEVEN)), shift, axis=0)[..., None] for shift in range(-4, 5)])


needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
both_formats = pytest.mark.parametrize("suffix", [".tflite", ".onnx"])


@needs_released
@both_formats
def test_a_model_compared_with_itself_is_exact(images: np.ndarray, suffix: str) -> None:
    model = RELEASED / f"float32{suffix}"
    layers = inspected(model, against=model, images=images).layers
    assert {layer.sqnr_db for layer in layers} == {math.inf}
    assert {layer.weight_sqnr_db for layer in layers if layer.kernel_weights} == {math.inf}
    assert {layer.weight_sqnr_db for layer in layers if not layer.kernel_weights} == {None}
    _, rows = layer_table(layer_figures(layers))
    assert all("exact" in row for row in rows[:-1])


@needs_released
@both_formats
def test_int8_is_some_forty_decibels_from_float32(images: np.ndarray, suffix: str) -> None:
    model = RELEASED / f"int8{suffix}"
    layers = inspected(model, against=float32_beside(model), images=images).layers
    weighted = [layer for layer in layers if layer.kernel_weights]
    assert len(weighted) == 5
    assert all(30 < layer.weight_sqnr_db < 50 for layer in weighted)
    assert all(25 < layer.sqnr_db < 55 for layer in weighted)
    assert all(layer.sqnr_db is not None for layer in layers if layer.kind not in ("QUANTIZE", "DEQUANTIZE"))


@needs_released
def test_errors_are_those_of_the_numbers_whatever_runs_them(images: np.ndarray) -> None:
    """ONNX Runtime's fused kernels saturate on some CPUs and would be 20 dB below LiteRT's."""
    tflite_db, onnx_db = (
        [
            layer.sqnr_db
            for layer in inspected(model, against=float32_beside(model), images=images).layers
            if layer.kernel_weights
        ]
        for model in (RELEASED / "int8.tflite", RELEASED / "int8.onnx")
    )
    # One rounds its activations to signed, the other to unsigned integers.
    assert tflite_db == pytest.approx(onnx_db, abs=2.0)


@pytest.mark.parametrize("file", ["float16.tflite", "dynamic.tflite", "int8.tflite", "int8.onnx"])
def test_every_scheme_has_its_errors_in_order(quick_run: Path, images: np.ndarray, file: str) -> None:
    model = quick_run / "export/baseline" / file
    weighted = [
        layer for layer in inspected(model, against=float32_beside(model), images=images).layers if layer.kernel_weights
    ]
    low, high = {"float16": (65, 90), "dynamic": (35, 65), "int8": (25, 55)}[model.stem]
    assert all(layer.sqnr_db is not None and low < layer.sqnr_db < high for layer in weighted)
    # The converter leaves small layers of a dynamic-range file in float32.
    assert all(low < layer.weight_sqnr_db < high for layer in weighted if layer.weight_sqnr_db != math.inf)


@needs_released
@both_formats
def test_a_tampered_layer_has_the_lowest_sqnr(images: np.ndarray, tmp_path: Path, suffix: str) -> None:
    source = RELEASED / f"int8{suffix}"
    reader: Callable[[bytes], list] = {".tflite": tflite.operations, ".onnx": onnx.operations}[suffix]
    second = [o.kernel for o in reader(source.read_bytes()) if o.kernel is not None][1]
    kernel, zero = second.stored.tobytes(), np.unique(second.zero_point).astype(second.stored.dtype).tobytes()
    assert source.read_bytes().count(kernel) == 1
    model = tmp_path / f"tampered{suffix}"
    model.write_bytes(source.read_bytes().replace(kernel, zero * len(kernel)))
    whole, tampered = (
        [
            layer
            for layer in inspected(path, against=RELEASED / f"float32{suffix}", images=images).layers
            if layer.kernel_weights
        ]
        for path in (source, model)
    )
    assert min(tampered, key=lambda layer: layer.weight_sqnr_db).name == whole[1].name
    assert tampered[1].weight_sqnr_db == 0  # all of the signal is lost
    assert tampered[1].sparsity == 1
    assert tampered[1].effective_macs == 0
    assert tampered[0].sqnr_db == whole[0].sqnr_db
    assert tampered[1].sqnr_db < whole[1].sqnr_db - 20


@both_formats
def test_another_network_is_no_reference(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path, suffix: str) -> None:
    other = tmp_path / f"other{suffix}"
    other.write_bytes(exported(odd_model(groups=1), suffix[1:], "float32"))
    model = quick_run / f"export/baseline/int8{suffix}"
    done = edgecnn("inspect", model, "--against", other)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{model}: its weighted layer 1 is" in line
    assert "expected one network; give --against the float32 export of this model" in line
    done = edgecnn("inspect", model, "--against", quick_run / "train/model.keras")
    assert done.returncode == 2
    assert "expected two .tflite or two .onnx files" in done.stderr


def test_images_that_do_not_fit_are_refused(images: np.ndarray, tmp_path: Path) -> None:
    model = tmp_path / "odd.tflite"
    model.write_bytes(exported(odd_model(), "tflite", "float32"))
    with pytest.raises(ArtifactError, match=r"odd\.tflite: output is \[1, 64, 5\]"):
        inspected(model, against=model, images=images)


def test_only_a_float32_file_of_the_same_parents_is_taken_by_itself(quick_run: Path, tmp_path: Path) -> None:
    for recipe, names in {"baseline": ["int8.tflite"], "pruned80": ["float32.tflite"]}.items():
        for name in names:
            shutil.copy(quick_run / "export" / recipe / name, tmp_path)
            shutil.copy(quick_run / "export" / recipe / f"{name}.json", tmp_path)
    assert float32_beside(tmp_path / "int8.tflite") is None
    assert float32_beside(quick_run / "export/baseline/float32.tflite") is None
    assert float32_beside(quick_run / "train/model.keras") is None
    beside = quick_run / "export/baseline/float32.tflite"
    assert float32_beside(quick_run / "export/baseline/int8.tflite") == beside


def test_inspect_writes_json_and_needs_no_tensorflow(quick_run: Path, tmp_path: Path) -> None:
    model = quick_run / "export/baseline/int8.tflite"
    code = (
        "import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules)))\n"
        f"sys.argv[1:] = ['inspect', {str(model)!r}, '--json', 'i.json']\n"
        "from edgecnn.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "tensorflow" not in done.stdout.rsplit("LOADED", 1)[1].split()
    found = json.loads((tmp_path / "i.json").read_text())
    assert found["total"]["macs"] == MACS
    assert found["against"] == "float32.tflite"
    assert found["images"] == 100
    assert all(25 < layer["sqnr_db"] < 55 for layer in found["layers"] if layer["parameters"])


def test_without_images_the_weights_are_compared_and_it_says_so(
    edgecnn: Edgecnn, quick_run: Path, tmp_path: Path
) -> None:
    for name in ("int8.onnx", "float32.onnx"):
        shutil.copy(quick_run / "export/baseline" / name, tmp_path)
    command = ("inspect", tmp_path / "int8.onnx", "--against", tmp_path / "float32.onnx")
    done = edgecnn(*command)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "only weights are compared: no record names the data set; pass --data\n"
    assert "float32.onnx, weights alone" in done.stdout
    assert "weights dB" in done.stdout
    assert "SQNR dB" not in done.stdout
    assert "SQNR dB" in edgecnn(*command, "--data", "digits").stdout
    refused = edgecnn("inspect", tmp_path / "int8.onnx", "--data", "digits")
    assert refused.returncode == 2
    assert "--data: does not apply here" in refused.stderr


def converted(model: object) -> bytes:
    from edgecnn._tf import tf

    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


def sums(content: bytes, suffix: str) -> tuple[int | None, ...]:
    return tuple(cost_of(content, suffix).values())


def seeded(model: object) -> object:
    """Give the Keras model weights of which none is zero and no two tensors are the same."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    return model


def test_macs_of_a_tflite_with_open_sizes_are_unknown() -> None:
    from edgecnn._tf import keras

    layers = keras.layers
    pixels = layers.Input((None, None, 3), name="x")
    pooled = layers.GlobalAveragePooling2D(name="g")(layers.Conv2D(2, 3, name="c")(pixels))
    content = converted(seeded(keras.Model(pixels, layers.Dense(4, name="d")(pooled))))
    convolution = inspect_bytes(content, ".tflite")[0]
    assert convolution.output_shape == (-1, -1, -1, 2)
    assert (convolution.parameters, convolution.macs) == (3 * 3 * 3 * 2 + 2, None)
    assert sums(content, ".tflite") == (56 + 12, 56 + 12, None, None)


def test_an_open_size_that_moved_to_the_batch_makes_macs_unknown() -> None:
    from edgecnn._tf import keras, tf

    rows = keras.layers.Input((None, 6), name="x")
    flat = keras.layers.Lambda(lambda t: tf.reshape(t, (-1, 6)), name="f")(rows)
    content = converted(keras.Model(rows, keras.layers.Dense(4, name="d")(flat)))
    dense = next(layer for layer in inspect_bytes(content, ".tflite") if layer.kind == "FULLY_CONNECTED")
    assert dense.output_shape == (-1, 4)
    assert dense.macs is None


def test_an_lstm_has_parameters_and_unknown_macs(tmp_path: Path) -> None:
    from edgecnn._tf import keras, save_model

    steps = keras.layers.Input((4, 3), batch_size=1, name="x")
    model = keras.Model(steps, keras.layers.Dense(2, name="d")(keras.layers.LSTM(5, name="l")(steps)))
    content = converted(seeded(model))
    parameters = 4 * (3 * 5 + 5 * 5 + 5) + (5 * 2 + 2)
    assert sums(content, ".tflite") == (parameters, parameters, None, None)
    layers = inspect_bytes(content, ".tflite")
    (lstm,) = (layer for layer in layers if layer.parameters == 180)
    assert (lstm.macs, lstm.effective_macs) == (None, None)
    headings, rows = layer_table(layer_figures(layers))
    places = [headings.index("MACs"), headings.index("effective MACs")]
    by_kind = {row[1]: [row[place] for place in places] for row in rows[:-1]}
    assert by_kind[lstm.kind] == ["-", "-"]
    assert by_kind["FULLY_CONNECTED"] == ["10", "10"]
    assert [rows[-1][place] for place in places] == ["-", "-"]
    assert "MACs %" not in headings
    (tmp_path / "model.keras").write_bytes(save_model(model, suffix=".keras"))
    keras_layers = inspect_file(tmp_path / "model.keras")
    assert [(layer.parameters, layer.macs) for layer in keras_layers] == [(0, 0), (180, None), (12, 10)]


def test_alphas_scales_and_tables_are_parameters_without_macs() -> None:
    from edgecnn._tf import keras

    layers = keras.layers
    tokens = layers.Input((6,), batch_size=1, name="x", dtype="int32")
    found = layers.Embedding(7, 4, name="e")(tokens)  # 28
    bent = layers.PReLU(shared_axes=[1], name="p")(found)  # 4
    content = converted(seeded(keras.Model(tokens, layers.Dense(3, name="d")(bent))))  # 15, over 6 rows
    assert sums(content, ".tflite") == (28 + 4 + 15, 28 + 4 + 15, 6 * 4 * 3, 6 * 4 * 3)


def test_a_product_of_activations_has_unknown_macs() -> None:
    from edgecnn._tf import keras

    given = [keras.layers.Input((4, 4), batch_size=1, name=name) for name in "ab"]
    assert sums(converted(keras.Model(given, keras.layers.Dot(2, name="d")(given))), ".tflite") == (0, 0, None, None)
    content = onnx_of([("MatMul", "x other", "y", {})], {}, inputs={"x": [1, 4, 4], "other": [1, 4, 4]})
    assert sums(content, ".onnx") == (0, 0, None, None)


def retyped(content: bytes, kind: str) -> bytes:
    """Return a .tflite with the type of its first kernel changed."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.tensors[graph.operators[0].inputs[1]].type = getattr(schema.TensorType, kind)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_weights_of_another_type_are_named_and_not_called_damaged() -> None:
    import onnx as format

    from edgecnn._tf import keras

    given = keras.layers.Input((6,), batch_size=1, name="x")
    content = converted(keras.Model(given, keras.layers.Dense(4, use_bias=False, name="d")(given)))
    with pytest.raises(ArtifactError, match=r"^here: tensor \S+ is INT4; expected one of FLOAT32, ") as caught:
        inspect_bytes(retyped(content, "INT4"), ".tflite", where="here")
    assert "damaged" not in str(caught.value)
    int4 = format.helper.make_tensor("w", format.TensorProto.INT4, [2, 2], [1, 2, 3, 4])
    content = onnx_of([("DequantizeLinear", "w s", "v", {}), ("MatMul", "x v", "y", {})], {"s": np.float32(1)}, [int4])
    with pytest.raises(ArtifactError, match=r"^here: tensor w is int4; expected one of float32, ") as caught:
        inspect_bytes(content, ".onnx", where="here")
    assert "damaged" not in str(caught.value)


def onnx_of(
    nodes: list[tuple[str, str, str, dict]],
    constants: dict[str, np.ndarray],
    more: tuple | list = (),
    *,
    inputs: dict[str, list[int]] | None = None,
    dtypes: tuple[str, str] = ("FLOAT", "FLOAT"),
    output: list[int] | None = None,
) -> bytes:
    """Return an ONNX file of nodes (kind, inputs, outputs, attributes); what is named "c..." is a Constant node."""
    from onnx import TensorProto, helper, numpy_helper

    stored = {name: numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()}
    made = [helper.make_node("Constant", [], [name], value=t) for name, t in stored.items() if name[0] == "c"]
    for kind, given, returned, attributes in nodes:
        domain = "com.microsoft" if kind == "QGemm" else ""
        made.append(helper.make_node(kind, given.split(), returned.split(), domain=domain, **attributes))
    shapes = inputs or {"x": [1, 2]}
    graph = helper.make_graph(
        made,
        "g",
        [helper.make_tensor_value_info(name, getattr(TensorProto, dtypes[0]), shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(nodes[-1][2], getattr(TensorProto, dtypes[1]), output)],
        [*(t for name, t in stored.items() if name[0] != "c"), *more],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())


KERNEL = np.array([3, 5, 3, 7, 9, 11, 1, 2], np.uint8)  # of which two are the zero point 3
SCALE, ZERO = np.float32(0.5), np.uint8(3)
ON_IMAGE = {"x": [1, 1, 4, 4]}
INTEGER_NODES = {
    # 2 kernels of 2x2 on 4x4: 3x3 positions
    "ConvInteger": ("x w z zw", (2, 1, 2, 2), ON_IMAGE, 0, 9),
    "QLinearConv": ("x s z w sw zw s z b", (2, 1, 2, 2), ON_IMAGE, 2, 9),
    # 3 rows
    "MatMulInteger": ("x w z zw", (4, 2), {"x": [3, 4]}, 0, 3),
    "QLinearMatMul": ("x s z w sw zw s z", (4, 2), {"x": [3, 4]}, 0, 3),
    "QGemm": ("x s z w sw zw b s z", (4, 2), {"x": [3, 4]}, 2, 3),
}


@pytest.mark.parametrize("kind", INTEGER_NODES)
def test_integer_nodes_count_kernel_and_bias_and_no_scales(kind: str) -> None:
    given, shape, inputs, biases, uses = INTEGER_NODES[kind]
    constants = {"w": KERNEL.reshape(shape), "s": SCALE, "sw": SCALE, "z": ZERO, "zw": ZERO, "b": np.int32([1, 2])}
    used = {name: value for name, value in constants.items() if name in given.split()}
    dtypes = ("UINT8", "INT32" if kind.endswith("Integer") else "UINT8")
    output = [3, 2] if kind == "QGemm" else None  # ONNX infers no shapes for nodes that are not its own
    content = onnx_of([(kind, given, "y", {})], used, inputs=inputs, dtypes=dtypes, output=output)
    assert sums(content, ".onnx") == (8 + biases, 6 + biases, 8 * uses, 6 * uses)


def test_constant_nodes_are_weights() -> None:
    content = onnx_of(
        [("MatMul", "x c1", "h", {}), ("Add", "h c2", "y", {})],
        {"c1": np.float32([[1, 0, 2]] * 2), "c2": np.ones(3, np.float32)},
    )
    assert [layer.kind for layer in inspect_bytes(content, ".onnx")] == ["MatMul", "Add"]
    assert [o.kind for o in onnx.operations(content)] == ["MatMul", "Add"]
    assert sums(content, ".onnx") == (6 + 3, 4 + 3, 6, 4)


def test_a_shared_kernel_is_counted_once_and_multiplies_twice() -> None:
    nodes = [("MatMul", "x w", "h", {}), ("Identity", "w", "v", {}), ("MatMul", "h v", "y", {})]
    content = onnx_of(nodes, {"w": np.ones((2, 2), np.float32)})
    layers = [layer for layer in inspect_bytes(content, ".onnx") if layer.kind == "MatMul"]
    assert [(layer.parameters, layer.macs, layer.weight_bytes) for layer in layers] == [(4, 4, 16), (0, 4, 0)]


def test_onnx_normalization_has_parameters_and_recurrence_unknown_macs() -> None:
    four = dict.fromkeys(("s", "b", "m", "v"), np.ones(3, np.float32))
    content = onnx_of([("BatchNormalization", "x s b m v", "y", {})], four, inputs={"x": [1, 3, 4, 4]})
    assert sums(content, ".onnx") == (12, 12, 0, 0)
    weights = {"w": np.ones((1, 15, 3), np.float32), "r": np.ones((1, 15, 5), np.float32)}  # a GRU of 3 to 5
    content = onnx_of([("GRU", "x w r", "y", {"hidden_size": 5})], weights, inputs={"x": [4, 1, 3]})
    assert sums(content, ".onnx") == (45 + 75, 45 + 75, None, None)


def test_settings_and_shapes_are_no_parameters() -> None:
    constants = {"low": np.float32(0), "high": np.float32(6), "shape": np.array([2, 1]), "pads": np.array([0, 1, 0, 1])}
    nodes = [("Clip", "x low high", "a", {}), ("Reshape", "a shape", "b", {}), ("Pad", "b pads low", "y", {})]
    assert sums(onnx_of(nodes, constants), ".onnx") == (0, 0, 0, 0)


@needs_released
@pytest.mark.parametrize("file", ["float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"])
def test_the_released_model_costs_what_it_did(file: str) -> None:
    cost = cost_of((RELEASED / file).read_bytes(), Path(file).suffix)
    assert (cost["parameters"], cost["macs"]) == (35_030, 1_677_288)
