"""TFLite files written by hand, with the conventions of others: types, layouts, batches, metadata, chips' operators."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from tests.foreign.make_networks import STRIDE, Floats, Network, Normalization, drawn_set, hidden

NHWC, NCHW, HW, FLAT = "NHWC", "NCHW", "HW", "flat"
_RELU = 1


@dataclass(frozen=True)
class Stored:
    """How an input or output stores real numbers: ``scale * (stored - zero_point)``."""

    dtype: str
    scale: float
    zero_point: int

    def of(self, values: Floats) -> NDArray[Any]:
        """Return real numbers as they are stored, clipped to the type."""
        limits = np.iinfo(self.dtype)
        return (np.rint(values / self.scale) + self.zero_point).clip(limits.min, limits.max).astype(self.dtype)


@dataclass(frozen=True)
class Form:
    """What a file looks like from outside; `input` and `output` are None in a file of floats."""

    input: Stored | None = None
    output: Stored | None = None
    layout: str = NHWC
    open_batch: bool = False
    softmax: bool = True
    bias_axis: int = 0  # the quantized dimension that the file says of its biases


FLOATS = Form()
PROBABILITIES = {"int8": Stored("int8", 1 / 256, -128), "uint8": Stored("uint8", 1 / 256, 0)}


def float_file(network: Network, form: Form = FLOATS) -> bytes:
    """Return a network in float32."""
    writer = _Writer()
    start = writer.tensor(_outer_shape(network, form), "FLOAT32", is_open=form.open_batch)
    picture = _as_nhwc(writer, start, network, form, None)
    kernel = network.kernel.transpose(3, 0, 1, 2).astype(np.float32)
    found = writer.tensor(_inner_shape(network), "FLOAT32", is_open=form.open_batch)
    weights = [writer.constant(kernel), writer.constant(network.bias.astype(np.float32))]
    writer.convolution([picture, *weights], found, padded=network.padded)
    flat = writer.flat(found, network.dense.shape[0], None)
    units = [
        writer.constant(network.dense.T.astype(np.float32)),
        writer.constant(network.dense_bias.astype(np.float32)),
    ]
    scores = writer.tensor((1, len(network.labels)), "FLOAT32", is_open=form.open_batch)
    writer.dense([flat, *units], scores)
    return writer.file(start, writer.softmax(scores, None) if form.softmax else scores)


def integer_file(network: Network, range_: Normalization, form: Form) -> bytes:
    """Return a network in int8 that takes pixels normalized so, its ranges set by a hundred drawn pictures."""
    assert form.input is not None and form.output is not None
    values = range_.of(drawn_set(network.shape, 120, seed=3)[0])
    return quantized_file(network, values, form)


def quantized_file(network: Network, values: Floats, form: Form) -> bytes:
    """Return a network in int8, its ranges set by what it takes, [N, H, W, C]."""
    assert form.input is not None and form.output is not None
    inside = Stored("int8", form.input.scale, form.input.zero_point - 128 * (form.input.dtype == "uint8"))
    found = hidden(values, network.kernel, network.bias, padded=network.padded)
    between = Stored("int8", float(found.max()) / 255, -128)
    logits = network.logits(values)
    ends = Stored("int8", float(logits.max() - logits.min()) / 255, 0)
    ends = Stored("int8", ends.scale, int(np.rint(-128 - logits.min() / ends.scale)))
    writer = _Writer()
    start = writer.tensor(_outer_shape(network, form), form.input.dtype.upper(), form.input, is_open=form.open_batch)
    picture = _as_nhwc(writer, writer.requantized(start, form.input, inside), network, form, inside)
    result = writer.tensor(_inner_shape(network), "INT8", between, is_open=form.open_batch)
    kernel = writer.weights(network.kernel.transpose(3, 0, 1, 2), network.bias, inside, form.bias_axis)
    writer.convolution([picture, *kernel], result, padded=network.padded)
    flat = writer.flat(result, network.dense.shape[0], between)
    scores = writer.tensor((1, len(network.labels)), "INT8", ends, is_open=form.open_batch)
    writer.dense([flat, *writer.weights(network.dense.T, network.dense_bias, between, form.bias_axis)], scores)
    last = PROBABILITIES["int8"] if form.softmax else ends
    ended = writer.softmax(scores, last) if form.softmax else scores
    return writer.file(start, writer.requantized(ended, last, form.output))


def logits_range(network: Network, values: Floats, dtype: str = "int8") -> Stored:
    """Return how scores before softmax are stored, over what they are for `values`."""
    logits = network.logits(values)
    scale = float(logits.max() - logits.min()) / 255
    return Stored(dtype, scale, int(np.rint(np.iinfo(dtype).min - logits.min() / scale)))


def litert(content: bytes, values: Floats) -> Floats:
    """Return the real scores [N, classes] that LiteRT computes of real inputs in the file's own layout, one by one."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scores = []
    for value in values:
        interpreter.set_tensor(given["index"], _as_stored(given, value)[None])
        interpreter.invoke()
        scores.append(_as_real(made, interpreter.get_tensor(made["index"])[0]))
    return np.stack(scores)


def _as_stored(details: dict[str, Any], value: Floats) -> NDArray[Any]:
    scale, zero_point = details["quantization"]
    dtype = np.dtype(details["dtype"])
    return Stored(dtype.name, scale, zero_point).of(value) if scale else value.astype(dtype)


def _as_real(details: dict[str, Any], raw: NDArray[Any]) -> Floats:
    scale, zero_point = details["quantization"]
    return (raw.astype(np.float64) - zero_point) * scale if scale else raw.astype(np.float64)


def arranged(values: NDArray[Any], layout: str) -> NDArray[Any]:
    """Return values [N, H, W, C] as they lie in an input of another layout."""
    if layout == NCHW:
        return values.transpose(0, 3, 1, 2)
    return {NHWC: values, HW: values[..., 0], FLAT: values.reshape(len(values), -1)}[layout]


# ---------------------------------------------------------------------------------------------- metadata and operators


@dataclass(frozen=True)
class Metadata:
    """What TensorFlow Lite's metadata says of an image: in 0..255, per channel; the file of labels lies in the zip."""

    mean: Sequence[float]
    std: Sequence[float]
    color: int = 0  # 0 unknown, 1 RGB, 2 grayscale
    labels: Sequence[str] = ()


def with_metadata(content: bytes, said: Metadata) -> bytes:
    """Return a file with metadata: the schema's tables, written field by field, and a zip of labels at its end.

    The tables are those of tensorflow/lite/schema/metadata_schema.fbs; the numbers are the fields' places there.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    _add_buffer(model, b"TFLITE_METADATA", _metadata(said))
    packed = _packed(model)
    if not said.labels:
        return packed
    archive = io.BytesIO(packed)
    with zipfile.ZipFile(archive, "a") as names:
        names.writestr("labels.txt", "".join(f"{label}\n" for label in said.labels))
    return archive.getvalue()


def with_damaged_metadata(content: bytes) -> bytes:
    """Return a file whose metadata points far outside of itself."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    damaged = bytearray(_metadata(Metadata((127.5,), (127.5,))))
    damaged[:4] = (1 << 20).to_bytes(4, "little")
    _add_buffer(model, b"TFLITE_METADATA", bytes(damaged))
    return _packed(model)


def _add_buffer(model: Any, name: bytes, content: bytes) -> None:
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    model.buffers.append(buffer)
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]


def _metadata(said: Metadata) -> bytes:
    builder = flatbuffers.Builder(512)
    options = _table(builder, 2, {0: _floats(builder, said.mean), 1: _floats(builder, said.std)})
    unit = builder.StartObject(4)
    builder.PrependUint8Slot(0, 1, 0)  # ProcessUnitOptions: NormalizationOptions
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = builder.EndObject()
    image = builder.StartObject(2)
    builder.PrependInt8Slot(0, said.color, 0)
    image = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUint8Slot(0, 2, 0)  # ContentProperties: ImageProperties
    builder.PrependUOffsetTRelativeSlot(1, image, 0)
    picture = builder.EndObject()
    given = _table(builder, 7, {0: builder.CreateString("image"), 3: picture, 4: _vector(builder, [unit])})
    files = []
    if said.labels:
        name, described = builder.CreateString("labels.txt"), builder.CreateString("the classes")
        builder.StartObject(5)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependUOffsetTRelativeSlot(1, described, 0)
        builder.PrependInt8Slot(2, 2, 0)  # AssociatedFileType: TENSOR_AXIS_LABELS
        files = [builder.EndObject()]
    made = _table(builder, 7, {0: builder.CreateString("probability"), 6: _vector(builder, files)})
    graph = _table(builder, 9, {2: _vector(builder, [given]), 3: _vector(builder, [made])})
    whole = _table(builder, 8, {0: builder.CreateString("made elsewhere"), 3: _vector(builder, [graph])})
    builder.Finish(whole, b"M001")
    return bytes(builder.Output())


def _table(builder: Any, size: int, fields: dict[int, int]) -> int:
    builder.StartObject(size)
    for place, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(place, offset, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.float32)))


def with_custom_operator(content: bytes, name: str, *, first: bool = True) -> bytes:
    """Return a file whose first operator (else its last) is a chip's own, or TensorFlow's (``Flex...``)."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = name.encode(), 1
    model.operatorCodes.append(code)
    changed = model.subgraphs[0].operators[0 if first else -1]
    changed.opcodeIndex = len(model.operatorCodes) - 1
    changed.builtinOptionsType, changed.builtinOptions = 0, None
    changed.customOptions = [1, 2, 3, 4]
    return _packed(model)


def with_weights(content: bytes, *, fill: float, tensor: int) -> bytes:
    """Return a file of floats in which the first number of a constant, the `tensor`-th, is `fill`."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    constants = [one for one in model.subgraphs[0].tensors if one.type == schema.TensorType.FLOAT32 and one.buffer]
    buffer = model.buffers[constants[tensor].buffer]
    values = np.frombuffer(bytes(buffer.data), np.float32).copy()
    values[0] = fill
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    return _packed(model)


def with_zero_scale(content: bytes) -> bytes:
    """Return a file of integers in which the scale of the first filter of the first kernel is 0."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    kernel = next(one for one in graph.tensors if len(one.shape) == 4 and one.buffer)
    scales = np.array(kernel.quantization.scale, np.float32)
    scales[0] = 0
    kernel.quantization.scale = scales
    return _packed(model)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


# --------------------------------------------------------------------------------------------------------- the writer


def _outer_shape(network: Network, form: Form) -> tuple[int, ...]:
    """Return the sizes of the input."""
    return arranged(np.zeros((1, *network.shape)), form.layout).shape


def _inner_shape(network: Network) -> tuple[int, ...]:
    """Return the sizes of what the convolution gives."""
    return hidden(np.zeros((1, *network.shape)), network.kernel, network.bias, padded=network.padded).shape


def _as_nhwc(writer: _Writer, start: int, network: Network, form: Form, stored: Stored | None) -> int:
    """Return the input, where it lies otherwise, brought into [N, H, W, C] by the file's first operator."""
    if form.layout == NHWC:
        return start
    dtype = "FLOAT32" if stored is None else "INT8"
    picture = writer.tensor((1, *network.shape), dtype, stored, is_open=form.open_batch)
    if form.layout == NCHW:
        order = writer.constant(np.array([0, 2, 3, 1], np.int32))
        return writer.operator("TRANSPOSE", [start, order], picture, "TransposeOptions")
    sizes = np.array([-1, *network.shape], np.int32)
    return writer.operator("RESHAPE", [start, writer.constant(sizes)], picture, "ReshapeOptions", newShape=sizes)


class _Writer:
    """A file that grows by a tensor or an operator a call."""

    def __init__(self) -> None:
        self._kinds: list[str] = []
        self._buffers: list[Any] = [schema.BufferT()]
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str,
        stored: Stored | None = None,
        *,
        data: NDArray[Any] | None = None,
        is_open: bool = False,
    ) -> int:
        made = schema.TensorT()
        made.name, made.shape = f"t{len(self._graph.tensors)}".encode(), np.array(shape, np.int32)
        made.type, made.buffer = getattr(schema.TensorType, dtype), 0
        if is_open:  # as TensorFlow's converter writes an open batch
            made.shapeSignature = np.array([-1, *shape[1:]], np.int32)
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self._buffers.append(buffer)
            made.buffer = len(self._buffers) - 1
        if stored is not None:
            made.quantization = _quantization([stored.scale], [stored.zero_point], 0)
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def constant(self, data: NDArray[Any]) -> int:
        return self.tensor(data.shape, data.dtype.name.upper(), data=np.ascontiguousarray(data))

    def weights(self, kernel: Floats, bias: Floats, given: Stored, bias_axis: int) -> list[int]:
        """Add a kernel in int8, a scale a filter, and its bias in int32; return their numbers."""
        scales = np.abs(kernel).reshape(len(kernel), -1).max(1) / 127
        whole = np.rint(kernel / scales.reshape(-1, *[1] * (kernel.ndim - 1))).astype(np.int8)
        made = self.tensor(whole.shape, "INT8", data=whole)
        self._graph.tensors[made].quantization = _quantization(scales, [0] * len(scales), 0)
        sums = np.rint(bias / (scales * given.scale)).astype(np.int32)
        added = self.tensor(sums.shape, "INT32", data=sums)
        self._graph.tensors[added].quantization = _quantization(scales * given.scale, [0] * len(scales), bias_axis)
        return [made, added]

    def operator(self, kind: str, inputs: Sequence[int], output: int, options: str | None = None, **fields: Any) -> int:
        made = schema.OperatorT()
        if kind not in self._kinds:
            self._kinds.append(kind)
        made.opcodeIndex = self._kinds.index(kind)
        made.inputs, made.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(made.builtinOptions, name, value)
        self._graph.operators.append(made)
        return output

    def convolution(self, inputs: Sequence[int], output: int, *, padded: bool) -> int:
        dilations = {"dilationHFactor": 1, "dilationWFactor": 1}
        fields = {"padding": 0 if padded else 1, "strideH": STRIDE, "strideW": STRIDE, **dilations}
        return self.operator("CONV_2D", inputs, output, "Conv2DOptions", fusedActivationFunction=_RELU, **fields)

    def dense(self, inputs: Sequence[int], output: int) -> int:
        return self.operator("FULLY_CONNECTED", inputs, output, "FullyConnectedOptions")

    def flat(self, source: int, columns: int, stored: Stored | None) -> int:
        sizes = np.array([-1, columns], np.int32)
        is_open = self._graph.tensors[source].shapeSignature is not None
        made = self.tensor((1, columns), "FLOAT32" if stored is None else "INT8", stored, is_open=is_open)
        return self.operator("RESHAPE", [source, self.constant(sizes)], made, "ReshapeOptions", newShape=sizes)

    def softmax(self, source: int, stored: Stored | None) -> int:
        before = self._graph.tensors[source]
        is_open = before.shapeSignature is not None
        made = self.tensor(before.shape, "FLOAT32" if stored is None else "INT8", stored, is_open=is_open)
        return self.operator("SOFTMAX", [source], made, "SoftmaxOptions", beta=1.0)

    def requantized(self, source: int, before: Stored, after: Stored) -> int:
        """Return `source` stored otherwise; itself where that is as it is stored."""
        if before == after:
            return source
        shape = self._graph.tensors[source].shape
        is_open = self._graph.tensors[source].shapeSignature is not None
        made = self.tensor(shape, after.dtype.upper(), after, is_open=is_open)
        return self.operator("QUANTIZE", [source], made, "QuantizeOptions")

    def file(self, start: int, end: int) -> bytes:
        model = schema.ModelT()
        model.version, model.buffers, model.subgraphs = 3, self._buffers, [self._graph]
        model.operatorCodes = [_code(kind) for kind in self._kinds]
        self._graph.inputs, self._graph.outputs = np.array([start], np.int32), np.array([end], np.int32)
        return _packed(model)


def _quantization(scales: Sequence[float] | Floats, zero_points: Sequence[int], axis: int) -> Any:
    made = schema.QuantizationParametersT()
    made.scale, made.zeroPoint = np.array(scales, np.float32), np.array(zero_points, np.int64)
    made.quantizedDimension = axis
    return made


def _code(kind: str) -> Any:
    made = schema.OperatorCodeT()
    made.builtinCode = getattr(schema.BuiltinOperator, kind)
    made.deprecatedBuiltinCode, made.version = made.builtinCode, 1
    return made
