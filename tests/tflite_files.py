"""Small int8 .tflite files, written without TensorFlow: random layers whose sums land in the range of the output."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.inspect.graph import Graph, Operator, Tensor

SAME, VALID = 0, 1
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "ADD": "AddOptions",
    "RESHAPE": "ReshapeOptions",
    "SOFTMAX": "SoftmaxOptions",
    "QUANTIZE": "QuantizeOptions",
    "TANH": None,
}


class Net:
    """A network that grows by a layer a call; every call returns the number of the tensor it makes."""

    def __init__(self, shape: tuple[int, ...], *, dtype: str = "UINT8", seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.input = self.tensor(shape, dtype, scale=1 / 255, zero_point=0 if dtype == "UINT8" else -128)

    def graph(self, output: int) -> Graph:
        return Graph(tuple(self.tensors), tuple(self.operators), (self.input,), (output,))

    def tensor(
        self, shape: tuple[int, ...], dtype: str = "INT8", *, scale: Any = (), zero_point: Any = 0, axis: int = 0,
        data: Any = None,
    ) -> int:  # fmt: skip
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        zero_points = np.broadcast_to(np.asarray(zero_point, np.int64), scales.shape).copy()
        name = f"tensor{len(self.tensors)}"
        self.tensors.append(Tensor(name, shape, dtype, scales, zero_points, axis, data))
        return len(self.tensors) - 1

    def activation(self, shape: tuple[int, ...], *, scale: float | None = None, zero_point: int | None = None) -> int:
        scale = float(self.rng.uniform(0.005, 0.05)) if scale is None else scale
        zero_point = int(self.rng.integers(-128, 128)) if zero_point is None else zero_point
        return self.tensor(shape, scale=scale, zero_point=zero_point)

    def add_operator(self, kind: str, inputs: tuple[int, ...], output: int, **options: Any) -> int:
        self.operators.append(Operator(kind, inputs, (output,), options))
        return output

    def quantize(self, source: int, **made: Any) -> int:
        return self.add_operator("QUANTIZE", (source,), self.activation(self.tensors[source].shape, **made))

    def to_uint8(self, source: int, *, scale: float | None = None, zero_point: int | None = None) -> int:
        """Add what the converter ends a network with for scores as uint8; the same numbers unless told otherwise."""
        tensor = self.tensors[source]
        scale = float(tensor.scale[0]) if scale is None else scale
        zero_point = int(tensor.zero_point[0]) + 128 if zero_point is None else zero_point
        made = self.tensor(tensor.shape, "UINT8", scale=scale, zero_point=zero_point)
        return self.add_operator("QUANTIZE", (source,), made)

    def start(self) -> int:
        """Return the input as int8, as the converter writes it for uint8 pixels."""
        return self.quantize(self.input, scale=float(self.tensors[self.input].scale[0]), zero_point=-128)

    def conv(
        self, source: int, filters: int, window: tuple[int, int], *, stride: tuple[int, int] = (1, 1),
        padding: int = VALID, activation: int = RELU, zeros: float = 0.0, depthwise: bool = False,
        per_channel: bool = True, bias: bool = True, **options: Any,
    ) -> int:  # fmt: skip
        """Add a convolution; depthwise: `filters` is a multiple of the channels."""
        _, height, width, channels = self.tensors[source].shape
        shape = (1, *window, filters) if depthwise else (filters, *window, channels)
        inputs = self._weighted(source, shape, filters, zeros, per_channel, bias, axis=3 if depthwise else 0)
        sizes = [_outputs(*along, padding) for along in zip((height, width), window, stride, strict=True)]
        output = self._output(inputs, (1, *sizes, filters))
        options |= {
            "padding": padding,
            "strideH": stride[0],
            "strideW": stride[1],
            "fusedActivationFunction": activation,
        }
        if depthwise:
            options["depthMultiplier"] = filters // channels
        return self.add_operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, output, **options)

    def dense(
        self, source: int, units: int, *, activation: int = RELU, zeros: float = 0.0, per_channel: bool = True,
        bias: bool = True,
    ) -> int:  # fmt: skip
        columns = prod(self.tensors[source].shape)
        inputs = self._weighted(source, (units, columns), units, zeros, per_channel, bias, axis=0)
        output = self._output(inputs, (1, units))
        return self.add_operator("FULLY_CONNECTED", inputs, output, fusedActivationFunction=activation)

    def pool(
        self, source: int, kind: str, window: tuple[int, int], *, stride: tuple[int, int], padding: int = VALID,
        activation: int = NONE,
    ) -> int:  # fmt: skip
        _, height, width, channels = self.tensors[source].shape
        sizes = [_outputs(*along, padding) for along in zip((height, width), window, stride, strict=True)]
        output = self._like(source, (1, *sizes, channels))
        options = {"padding": padding, "strideH": stride[0], "strideW": stride[1], "filterHeight": window[0],
                   "filterWidth": window[1], "fusedActivationFunction": activation}  # fmt: skip
        return self.add_operator(f"{kind}_POOL_2D", (source,), output, **options)

    def mean(
        self, source: int, *, axes: tuple[int, ...] = (1, 2), keep_dims: bool = False, **made: float
    ) -> int:  # fmt: skip
        """Add a mean; without `made`, scale and zero point are its input's."""
        shape = self.tensors[source].shape
        over = {axis % len(shape) for axis in axes}
        kept = tuple(1 if n in over else size for n, size in enumerate(shape) if keep_dims or n not in over)
        target = self.activation(kept, **made) if made else self._like(source, kept)
        axis = self.tensor((len(axes),), "INT32", data=np.array(axes, np.int32))
        return self.add_operator("MEAN", (source, axis), target, keepDims=keep_dims)

    def add(self, a: int, b: int, *, activation: int = NONE) -> int:
        scale = 1.5 * max(float(self.tensors[i].scale[0]) for i in (a, b))
        output = self.activation(self.tensors[a].shape, scale=scale)
        return self.add_operator("ADD", (a, b), output, fusedActivationFunction=activation)

    def reshape(self, source: int, shape: tuple[int, ...]) -> int:
        target = self.tensor((len(shape),), "INT32", data=np.array(shape, np.int32))
        return self.add_operator("RESHAPE", (source, target), self._like(source, shape), newShape=list(shape))

    def softmax(self, source: int, *, beta: float = 1.0) -> int:
        shape, dtype = self.tensors[source].shape, self.tensors[source].dtype
        output = self.tensor(shape, dtype, scale=1 / 256, zero_point=-128 if dtype == "INT8" else 0)
        return self.add_operator("SOFTMAX", (source,), output, beta=beta)

    def _like(self, source: int, shape: tuple[int, ...]) -> int:
        tensor = self.tensors[source]
        return self.activation(shape, scale=float(tensor.scale[0]), zero_point=int(tensor.zero_point[0]))

    def _weighted(
        self, source: int, shape: tuple[int, ...], filters: int, zeros: float, per_channel: bool, bias: bool, axis: int
    ) -> tuple[int, ...]:
        """Return the inputs of a layer with weights: what it reads, its kernel, its bias."""
        kernel = self.rng.integers(-127, 128, shape).astype(np.int8)
        kernel[self.rng.random(shape) < zeros] = 0
        scales = self.rng.uniform(0.001, 0.01, filters if per_channel else 1)
        weights = self.tensor(shape, scale=scales, axis=axis, data=kernel)
        if not bias:
            return source, weights
        scale_in = float(self.tensors[source].scale[0])
        stored = self.rng.integers(-3000, 3000, filters).astype(np.int32)
        return source, weights, self.tensor((filters,), "INT32", scale=scales * scale_in, data=stored)

    def _output(self, inputs: tuple[int, ...], shape: tuple[int, ...]) -> int:
        """Return an output whose scale gives the sums a standard deviation of some 60."""
        source, weights = self.tensors[inputs[0]], self.tensors[inputs[1]]
        assert weights.data is not None
        filters = shape[-1]
        terms = np.count_nonzero(weights.data) / filters + 1
        deviation = 75 * 73 * np.sqrt(terms) * float(source.scale[0]) * float(weights.scale.mean())
        return self.activation(shape, scale=deviation / 60)


def _outputs(size: int, window: int, stride: int, padding: int) -> int:
    return -(-size // stride) if padding == SAME else (size - window) // stride + 1


def to_bytes(graph: Graph) -> bytes:
    """Return the .tflite file of a graph."""
    import flatbuffers

    model = schema.ModelT()
    model.version, model.description, model.buffers = 3, b"", [schema.BufferT()]
    model.buffers[0].data = None
    kinds = sorted({operator.kind for operator in graph.operators})
    model.operatorCodes = [_code(kind) for kind in kinds]
    sub = schema.SubGraphT()
    sub.tensors = [_tensor(tensor, model.buffers) for tensor in graph.tensors]
    sub.inputs, sub.outputs = (np.array(ends, np.int32) for ends in (graph.inputs, graph.outputs))
    sub.operators = [_operator(operator, kinds) for operator in graph.operators]
    model.subgraphs = [sub]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(kind: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(127, code.builtinCode), 1
    return code


def _tensor(tensor: Tensor, buffers: list[Any]) -> Any:
    made = schema.TensorT()
    made.name, made.shape = tensor.name.encode(), np.abs(np.array(tensor.shape, np.int32))
    if min(tensor.shape, default=1) < 0:
        made.shapeSignature = np.array(tensor.shape, np.int32)
    made.type, made.buffer = getattr(schema.TensorType, tensor.dtype), 0
    if tensor.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(tensor.data.tobytes(), np.uint8)
        buffers.append(buffer)
        made.buffer = len(buffers) - 1
    if len(tensor.scale):
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = tensor.scale, tensor.zero_point
        made.quantization.quantizedDimension = tensor.axis
    return made


def _operator(operator: Operator, kinds: list[str]) -> Any:
    made = schema.OperatorT()
    made.opcodeIndex = kinds.index(operator.kind)
    made.inputs, made.outputs = (np.array(ends, np.int32) for ends in (operator.inputs, operator.outputs))
    name = _OPTIONS[operator.kind]
    if name is not None:
        made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        made.builtinOptions = getattr(schema, f"{name}T")()
        for key, value in operator.options.items():
            setattr(made.builtinOptions, key, value)
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            made.builtinOptions.dilationHFactor = operator.options.get("dilationHFactor", 1)
            made.builtinOptions.dilationWFactor = operator.options.get("dilationWFactor", 1)
    return made
