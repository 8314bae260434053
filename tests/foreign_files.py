"""Makes model files as others make them: Keras and its converter, TFLite metadata by hand, onnx. Nothing of edgecnn."""

from __future__ import annotations

import io
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

SIZE, CLASSES = 8, 5
Shape = Sequence[int | str]


def converted(
    first: Callable[[Any], list[Any]], *, last: Callable[[Any], list[Any]] | None = None, dtype: str = "float32",
    pixels: tuple[float, float] | None = None, ends: str = "int8", float16: bool = False,
) -> bytes:  # fmt: skip
    """Return the .tflite of a Keras network whose first layers are `first(layers)`, its last ones `last(layers)`.

    With `pixels`, the least and the greatest value of its input, it is full integer, with `ends` as the type of its
    input and output.
    """
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import tf_keras

    layers, shape = tf_keras.layers, (SIZE, SIZE, 3)
    tf_keras.utils.set_random_seed(0)
    body = [layers.Conv2D(4, 3, padding="same", activation="relu"), layers.Flatten(), layers.Dense(CLASSES)]
    end = [layers.Softmax()] if last is None else last(layers)
    model = tf_keras.Sequential([tf_keras.Input(shape, dtype=dtype), *first(layers), *body, *end])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if pixels is not None or float16:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if float16:
        converter.target_spec.supported_types = [tf.float16]
    if pixels is not None:
        converter.representative_dataset = lambda: _images(shape, *pixels)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(ends)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every network whose input is not named
        return bytes(converter.convert())


def _images(shape: Sequence[int], low: float, high: float) -> Iterator[list[np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(20):
        yield [rng.uniform(low, high, (1, *shape)).astype(np.float32)]


def flex() -> bytes:
    """Return a .tflite with an operator of TensorFlow's own, as SELECT_TF_OPS makes it."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, SIZE, SIZE, 3])])
    def network(x: Any) -> Any:
        return tf.nn.softmax(tf.reduce_mean(tf.image.resize(x, (16, 16), method="bicubic"), (1, 2)))

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())


def _repacked(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def with_custom_operator(content: bytes, name: str) -> bytes:
    """Return a .tflite whose operators are all replaced by a custom one, as compilers for accelerators do."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = name.encode(), 1
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(graph.inputs), list(graph.outputs)
    operator.customOptions = [0] * 16
    model.operatorCodes, graph.operators = [code], [operator]
    return _repacked(model)


def with_metadata(
    content: bytes, *, mean: Sequence[float] = (), std: Sequence[float] = (), color_space: int = 0,
    labels: str | None = None, file: str = "labels.txt", packed: bool = True, mark: bytes = b"M001",
) -> bytes:  # fmt: skip
    """Return a .tflite with TFLite metadata: `color_space` 1 is RGB, 2 gray; `labels` is the text of a label file."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = list(_metadata(mean, std, color_space, file if labels is not None else None, mark))
    model.buffers.append(buffer)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    made = io.BytesIO(_repacked(model))
    made.seek(0, io.SEEK_END)
    if labels is not None and packed:
        with zipfile.ZipFile(made, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(file, labels)
    return made.getvalue()


def _metadata(mean: Sequence[float], std: Sequence[float], color_space: int, file: str | None, mark: bytes) -> bytes:
    """Return a ModelMetadata of metadata_schema.fbs; the numbers of the fields are those of its tables."""
    b = flatbuffers.Builder(256)
    fields: dict[int, int] = {}
    if color_space:
        properties = _table(b, 2, bytes_={0: color_space})
        fields[3] = _table(b, 3, bytes_={0: 2}, offsets={1: properties})  # Content of ImageProperties
    if mean or std:
        options = _table(b, 2, offsets={0: _floats(b, mean), 1: _floats(b, std)})
        fields[4] = _vector(b, [_table(b, 2, bytes_={0: 1}, offsets={1: options})])  # ProcessUnit
    given = _table(b, 7, offsets=fields)
    files = [_table(b, 4, bytes_={2: 2}, offsets={0: b.CreateString(file)})] if file else []
    made = _table(b, 7, offsets={6: _vector(b, files)})
    graph = _table(b, 7, offsets={2: _vector(b, [given]), 3: _vector(b, [made])})
    b.Finish(_table(b, 8, offsets={3: _vector(b, [graph])}), mark)
    return bytes(b.Output())


def _table(b: Any, size: int, *, bytes_: dict[int, int] | None = None, offsets: dict[int, int] | None = None) -> int:
    b.StartObject(size)
    for field, value in (bytes_ or {}).items():
        b.PrependInt8Slot(field, value, 0)
    for field, offset in (offsets or {}).items():
        b.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(b.EndObject())


def _vector(b: Any, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: Any, values: Sequence[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())


class OnnxNet:
    """An ONNX network that grows by a node a call, from input "x" to a linear layer and what `model` adds to it."""

    def __init__(self, shape: Shape = ("N", 3, SIZE, SIZE), dtype: int = TensorProto.FLOAT) -> None:
        self.shape, self.dtype = list(shape), dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.last = "x"

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *others: str, is_second: bool = False, **attributes: Any) -> OnnxNet:
        """Add a node of the last tensor and `others`."""
        inputs = [*others, self.last] if is_second else [self.last, *others]
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self

    def by(self, kind: str, values: Any, **options: Any) -> OnnxNet:
        """Add a node of the last tensor and one constant."""
        return self.add(kind, self.constant(values), **options)

    def classified(self, *, channels: int = 3, filters: int = 4) -> OnnxNet:
        """Add a convolution, a mean over places and a linear layer."""
        rng = np.random.default_rng(0)
        self.by("Conv", rng.normal(size=(filters, channels, 3, 3)), pads=[1, 1, 1, 1]).add("Relu")
        self.add("GlobalAveragePool").add("Flatten")
        return self.add("Gemm", self.constant(rng.normal(size=(filters, CLASSES))), self.constant(np.zeros(CLASSES)))

    def model(self, *, properties: dict[str, str] | None = None, output: int = TensorProto.FLOAT) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", self.dtype, self.shape)],
            [helper.make_tensor_value_info(self.last, output, None)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, properties or {})
        return model

    def content(self, **options: Any) -> bytes:
        return bytes(self.model(**options).SerializeToString())


def save_with_files(model: Any, path: Path, *, location: str = "net.onnx.data") -> None:
    """Write an .onnx file whose weights all lie in another one."""
    onnx.save_model(
        model, path, save_as_external_data=True, all_tensors_to_one_file=True, location=location, size_threshold=0
    )
