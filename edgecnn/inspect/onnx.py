"""Layers of an ONNX file; QDQ pairs are seen through to the weights behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ValueInfoProto, helper, load, load_model_from_string, numpy_helper, shape_inference
from onnx.checker import ValidationError

from edgecnn.device.errors import ModelError
from edgecnn.device.modelfiles.external import external_files
from edgecnn.inspect.layers import Constant, Layer, Operation, UnreadError, along, counts, has_open_size, positions
from edgecnn.inspect.numbers import Numbers, of_constant


@dataclass(frozen=True)
class _Places:
    """Which of a node's inputs are the kernel, its scale and zero point, and the bias."""

    kernel: int
    scale: int | None = None
    zero_point: int | None = None
    bias: int | None = None


_WEIGHTED = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "MatMul"), _Places(1, bias=2)),
    **dict.fromkeys(("ConvInteger", "MatMulInteger"), _Places(1, zero_point=3)),
    "QLinearConv": _Places(3, 4, 5, 8),
    "QLinearMatMul": _Places(3, 4, 5),
    "QGemm": _Places(3, 4, 5, 6),
}
_CONVOLUTIONS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv")
_HIDDEN = ("QuantizeLinear", "DequantizeLinear", "Constant")
# What a constant may pass on its way to the node that uses it, where it is counted.
_PASSED = ("QuantizeLinear", "DequantizeLinear", "Identity", "Cast")
# Their constants scale, shift, choose or are looked up.
_WITHOUT_MACS = (
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "PRelu", "Max", "Min", "Sum", "Mean", "Equal", "Less", "LessOrEqual",
    "Greater", "GreaterOrEqual", "Where", "BatchNormalization", "InstanceNormalization", "LayerNormalization",
    "GroupNormalization", "Gather", "GatherElements", "GatherND", "Concat", "Reshape", "Transpose", "Squeeze",
    "Unsqueeze", "Flatten", "Expand", "Tile", "Slice", "Split", "ScatterElements", "ScatterND",
)  # fmt: skip
# Their constants are settings: limits, what to fill with, sizes, thresholds, scales.
_WITHOUT_WEIGHTS = (
    *_PASSED, "Clip", "Pad", "Resize", "Upsample", "Dropout", "OneHot", "Range", "NonMaxSuppression",
    "DynamicQuantizeLinear", "QLinearGlobalAveragePool", "QLinearAveragePool", "QLinearConcat", "QLinearSigmoid",
    "QLinearLeakyRelu", "QLinearSoftmax",
)  # fmt: skip
# They multiply though they need not hold weights, or what they run is not known.
_UNKNOWN = ("Einsum", "Attention", "DeformConv", "If", "Loop", "Scan")
_DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "uint16")
_INTEGERS = ("int32", "int64")  # shapes, axes and indices, or the biases of what is quantized
_NO_NUMBERS = ("bool", "object", "uint32", "uint64")


def layers(content: bytes) -> list[Layer]:
    """Return one row per node, constants and (de)quantize nodes left out; raises `ValueError` for a damaged file."""
    graph = _inferred(content)
    context = _Context(graph)
    counted: set[str] = set()
    return [_row(node, context, counted) for node in graph.node if node.op_type not in _HIDDEN]


def operations(content: bytes) -> list[Operation]:
    """Return what `layers` returns rows of, in the same order.

    An output is the name of the tensor as later nodes see it: behind its QDQ pair, where it has one.
    """
    graph = _inferred(content)
    context = _Context(graph)
    return [
        Operation(
            kind=node.op_type,
            output=context.seen(node.output[0]),
            output_shape=context.shapes.get(node.output[0], ()),
            kernel=context.kernel(node),
            names=(node.output[0], context.seen(node.output[0])),
        )
        for node in graph.node
        if node.op_type not in _HIDDEN
    ]


def with_weights(path: Path) -> bytes:
    """Return the content of an .onnx file with the weights in it that lie in files beside it."""
    return bytes(load(path).SerializeToString())


def numbers(content: bytes) -> list[Numbers]:
    """Return the constants of the graph's nodes and the scales that their outputs are quantized with."""
    graph = _inferred(content)
    context = _Context(graph)
    made_by = {output: node.name for node in graph.node for output in node.output}
    found = []
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[1] in context.stored:
            layer = made_by.get(node.input[0], node.input[0])
            found.append(Numbers(layer, "output", scale=context.stored[node.input[1]]))
        may_be_infinite = node.op_type in _WITHOUT_MACS
        constants = () if node.op_type in _HIDDEN else _weights(node, context).values()
        found += [of_constant(node.name, one, may_be_infinite=may_be_infinite) for one in constants]
    return found


def exposed(content: bytes, outputs: Sequence[str]) -> bytes:
    """Return the file with these tensors as its outputs, in this order, instead of its own."""
    model = _parsed(content)
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return bytes(model.SerializeToString())


class _Context:
    """Lookups by tensor name that the rows need."""

    def __init__(self, graph: Any) -> None:
        nodes = list(_all_nodes(graph))
        self.stored = {i.name: _array(i) for i in graph.initializer}
        self.stored |= {i.name: _array(i) for n in nodes for g in _run_by(n) for i in g.initializer}
        self.stored |= {n.output[0]: _value(n) for n in nodes if n.op_type == "Constant"}
        self.quantized = {n.input[0]: n for n in nodes if n.op_type == "QuantizeLinear"}
        self._passed = {n.output[0]: n for n in nodes if n.op_type in _PASSED}
        self._behind = {n.input[0]: n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
        stored = {i.name for i in graph.initializer}
        self.inputs = [_sizes(v) for v in graph.input if v.name not in stored]
        values = [*graph.input, *graph.value_info, *graph.output]
        self.shapes = {v.name: _sizes(v) for v in values}

    def source(self, name: str) -> str | None:
        """Return the name of the constant that `name` is, or is made from by quantizing, casting and the like."""
        passed: set[str] = set()
        while name not in self.stored:
            node = self._passed.get(name)
            if node is None or name in passed:
                return None
            passed.add(name)
            name = node.input[0]
        return name

    def constant(self, name: str) -> Constant | None:
        """Return the constant that `name` is, with the scale that it is dequantized with, else None."""
        source = self.source(name)
        if source is None:
            return None
        stored, node = self.stored[source], self._passed.get(name)
        if stored.dtype.name not in (*_DTYPES, *_INTEGERS):
            expected = ", ".join((*_DTYPES, *_INTEGERS))
            raise UnreadError(f"tensor {source} is {stored.dtype.name}; expected one of {expected}")
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] != source:
            return Constant(stored)
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        return self._quantized(stored, axis, *node.input[1:])

    def kernel(self, node: Any) -> Constant | None:
        """Return the kernel of a convolution or dense layer; None of other nodes and where it is no constant."""
        places = _WEIGHTED.get(node.op_type)
        constant = None if places is None else self.constant(node.input[places.kernel])
        if constant is None or places is None or constant.scale is not None:
            return constant
        scale, zero_point = (self._given(node, place) for place in (places.scale, places.zero_point))
        # Per output channel: the first axis of a convolution's kernel, the last of a matrix.
        axis = 0 if node.op_type in _CONVOLUTIONS or _is_transposed(node) else -1
        return self._quantized(constant.stored, axis, scale, zero_point)

    def _quantized(self, stored: Any, axis: int, scale: str = "", zero_point: str = "") -> Constant:
        """Return `stored` with what the constants of these names say, "" for one that is not given."""
        zeros = self.stored[zero_point] if zero_point else np.zeros((), np.int8)
        scales = along(axis, stored.ndim, self.stored[scale]) if scale else None
        return Constant(stored, scales, along(axis, stored.ndim, zeros))

    def _given(self, node: Any, place: int | None) -> str:
        """Return the name of the constant that is input `place` of `node`, "" where there is none."""
        name = node.input[place] if place is not None and place < len(node.input) else ""
        return name if name in self.stored else ""

    def seen(self, name: str) -> str:
        """Return the tensor that stands for `name` behind its quantization, or `name` itself."""
        node = self.quantized.get(name)
        return name if node is None else self._behind.get(node.output[0], name)


def _run_by(node: Any) -> list[Any]:
    """Return the graphs that a loop or branch runs, and those that they run."""
    own = [g for a in node.attribute for g in ([a.g] if a.HasField("g") else a.graphs)]
    return [*own, *(inner for graph in own for n in graph.node for inner in _run_by(n))]


def _all_nodes(graph: Any) -> Iterator[Any]:
    """Give the nodes of the graph and of those that they run."""
    for node in graph.node:
        yield node
        for inner in _run_by(node):
            yield from inner.node


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(d.dim_value or -1 for d in value.type.tensor_type.shape.dim)


def _value(node: Any) -> Any:
    """Return what a Constant node holds."""
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    match attribute.name:
        case "value":
            return _array(value)
        case "value_float" | "value_floats":
            return np.array(value, np.float32)
        case "value_int" | "value_ints":
            return np.array(value, np.int64)
        case "sparse_value":
            raise UnreadError(f"tensor {node.output[0]} is stored sparse; expected it dense")
    return np.array(value, object)


def _array(initializer: Any) -> Any:
    try:
        return numpy_helper.to_array(initializer)
    except (ValidationError, OSError) as error:
        raise ValueError(f"weights outside the file: {error}") from None


def _parsed(content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        elsewhere = external_files(content)  # which would be looked up in the current folder
    except ModelError as error:
        raise ValueError(str(error)) from None
    if elsewhere:
        raise ValueError("some of its weights are in other files; save it with all of them in it")

    try:
        model = load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if not model.graph.node:
        raise ValueError("no graph in it")
    return model


def _inferred(content: bytes) -> Any:
    """Return the graph with the shapes that follow from its inputs'."""
    try:
        return shape_inference.infer_shapes(_parsed(content)).graph
    except shape_inference.InferenceError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _row(node: Any, context: _Context, counted: set[str]) -> Layer:
    """Return a node's row; constants that are `counted` are no parameters of it, and its own are added.

    Of a loop or branch they are those of the graphs that it runs too.
    """
    inner = [n for graph in _run_by(node) for n in graph.node]
    weights = {source: constant for n in (node, *inner) for source, constant in _weights(n, context).items()}
    own = [constant for source, constant in weights.items() if source not in counted]
    counted.update(weights)
    kernel = context.kernel(node)
    scale, zero_point = _output_quantization(node.output[0], context)
    return Layer(
        name=node.name,
        kind=node.op_type,
        output_shape=context.shapes.get(node.output[0], ()),
        uses=_uses(node, context, kernel, has_weights=bool(weights)),
        **counts(own, [] if kernel is None else [kernel]),
        scale=scale,
        zero_point=zero_point,
    )


def _weights(node: Any, context: _Context) -> dict[str, Constant]:
    """Return a node's weights and biases by the name they are stored by, not its shapes, axes and the like.

    int32 and int64 are a bias where they are dequantized, or where a convolution or dense layer takes one.
    """
    places = _WEIGHTED.get(node.op_type)
    names = dict(enumerate(node.input)) if node.op_type not in _WITHOUT_WEIGHTS else {}
    if places is not None and (places.scale, places.zero_point) != (None, None):
        names = {place: names[place] for place in (0, places.kernel, places.bias) if place in names}
    found: dict[str, Constant] = {}
    for place, name in names.items():
        source = context.source(name)
        dtype = "" if source is None else context.stored[source].dtype.name
        if source is None or dtype in _NO_NUMBERS:
            continue
        constant = context.constant(name)
        is_bias = constant is not None and (constant.scale is not None or (places and place == places.bias))
        if places is not None and place == places.kernel:
            constant = context.kernel(node)  # with its zero point, which may be an input of the node
        if constant is not None and (dtype not in _INTEGERS or is_bias):
            found[source] = constant
    return found


def _output_quantization(output: str, context: _Context) -> tuple[float | None, int | None]:
    node = context.quantized.get(output)
    if node is None or context.stored[node.input[1]].size != 1:
        return None, None
    zero_point = context.stored[node.input[2]] if len(node.input) > 2 else np.int8(0)
    return float(context.stored[node.input[1]]), int(zero_point)


def _uses(node: Any, context: _Context, kernel: Constant | None, *, has_weights: bool) -> int | None:
    """Return how often each weight of the kernel is used, None where that is unknown.

    A transposed convolution's meets every position of the input.
    """
    if node.op_type not in _WEIGHTED:
        is_foreign = node.domain not in ("", "ai.onnx") and node.op_type not in _WITHOUT_WEIGHTS
        is_unknown = is_foreign or node.op_type in _UNKNOWN or (has_weights and node.op_type not in _WITHOUT_MACS)
        return None if is_unknown else 0
    swept = context.shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
    if kernel is None or kernel.stored.ndim < 2 or has_open_size(swept, context.inputs):
        return None
    if node.op_type in _CONVOLUTIONS:
        return positions(swept, 1)  # NCHW
    return positions(swept, -1) // prod(kernel.stored.shape[:-2])  # a stack of matrices: each has its own rows


def _is_transposed(node: Any) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)
