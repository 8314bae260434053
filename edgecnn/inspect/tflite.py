"""Layers of a TFLite file, read from its flatbuffer by the schema that LiteRT ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.inspect.graph import Graph, Operator, Tensor
from edgecnn.inspect.layers import Constant, Layer, Operation, UnreadError, along, counts, has_open_size, positions
from edgecnn.inspect.numbers import Numbers, of_constant

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_DTYPES = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "FLOAT64": "<f8",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "UINT16": "<u2",
    "INT32": "<i4",
    "INT64": "<i8",
}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
# Constants of these are shapes, axes and indices, or the biases of what is quantized.
_INTEGERS = ("INT32", "INT64")
_NO_NUMBERS = ("BOOL", "STRING", "RESOURCE", "VARIANT", "UINT32", "UINT64")
_MARK = b"TFL3"
_KERNEL = 1  # of an operator's inputs
_WEIGHTED = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# Their constants scale, shift, choose or are looked up.
_WITHOUT_MACS = (
    "ADD", "SUB", "MUL", "DIV", "FLOOR_DIV", "FLOOR_MOD", "POW", "SQUARED_DIFFERENCE", "ATAN2", "PRELU",
    "MAXIMUM", "MINIMUM", "EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "SELECT", "SELECT_V2",
    "ADD_N", "CONCATENATION", "PACK", "GATHER", "GATHER_ND", "EMBEDDING_LOOKUP", "RESHAPE", "TRANSPOSE", "PAD",
    "MIRROR_PAD", "SLICE", "STRIDED_SLICE", "TILE", "BROADCAST_TO", "EXPAND_DIMS", "SQUEEZE", "SPLIT", "CAST",
    "DYNAMIC_UPDATE_SLICE", "SCATTER_ND", "REVERSE_V2",
)  # fmt: skip
# They multiply though they need not hold weights, or what they hold is in another graph or unknown.
_UNKNOWN = (
    "BATCH_MATMUL", "CONV_3D_TRANSPOSE", "STABLEHLO_CONVOLUTION", "STABLEHLO_DOT_GENERAL", "STABLEHLO_COMPOSITE",
    "STABLEHLO_CUSTOM_CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE", "CUSTOM", "DELEGATE", "CALL", "IF", "WHILE",
)  # fmt: skip
# Their constants are settings (what to fill with, thresholds), or are counted where they are used.
_WITHOUT_WEIGHTS = (
    "QUANTIZE", "DEQUANTIZE", "PADV2", "FILL", "ONE_HOT", "RANGE", "SPARSE_TO_DENSE", "NON_MAX_SUPPRESSION_V4",
    "NON_MAX_SUPPRESSION_V5",
)  # fmt: skip


def layers(content: bytes) -> list[Layer]:
    """Return one row per operator of the first subgraph; raises `ValueError` and its kin for a damaged file."""
    model = _parsed(content)
    graph = model.subgraphs[0]
    counted: set[tuple[int, int]] = set()
    return [_row(model, graph, operator, counted) for operator in graph.operators]


def operations(content: bytes) -> list[Operation]:
    """Return what `layers` returns rows of, in the same order; an output is the number of its tensor."""
    model = _parsed(content)
    graph = model.subgraphs[0]
    return [
        Operation(
            kind=_kind(model, operator),
            output=int(operator.outputs[0]),
            output_shape=_shape(graph, operator.outputs[0]),
            kernel=_kernel(model, graph, operator),
        )
        for operator in graph.operators
    ]


def graph(content: bytes) -> Graph:
    """Return the first subgraph with its constants; raises what `layers` raises."""
    model = _parsed(content)
    first = model.subgraphs[0]
    return Graph(
        tensors=tuple(_tensor(model, first, index) for index in range(len(first.tensors))),
        operators=tuple(_operator(model, operator) for operator in first.operators),
        inputs=tuple(map(int, first.inputs)),
        outputs=tuple(map(int, first.outputs)),
    )


def numbers(content: bytes) -> list[Numbers]:
    """Return the constants of the first subgraph's operators and the scales of what they take and put out."""
    model = _parsed(content)
    graph = model.subgraphs[0]
    found = [_quantized(_name(graph.tensors[i]), "input", graph.tensors[i]) for i in graph.inputs]
    for operator in graph.operators:
        kind = _kind(model, operator)
        outputs = [graph.tensors[i] for i in operator.outputs]
        layer = _layer_name(outputs[0])
        constants = [_constant(model, graph, index) for index in _weights(model, graph, operator)]
        found += [of_constant(layer, one, may_be_infinite=kind in _WITHOUT_MACS) for one in constants]
        found += [_quantized(layer, "output", output) for output in outputs]
    return found


def exposed(content: bytes, outputs: Sequence[int]) -> bytes:
    """Return the file with these tensors as its outputs, in this order, instead of its own."""
    import flatbuffers

    model = _parsed(content)
    model.subgraphs[0].outputs = np.array(outputs, np.int32)
    model.signatureDefs = []  # they name the outputs that were
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _MARK)
    return bytes(builder.Output())


def _parsed(content: bytes) -> Any:
    if content[4:8] != _MARK:
        raise ValueError("no TFL3 mark")
    return schema.ModelT.InitFromPackedBuf(content, 0)


def _row(model: Any, graph: Any, operator: Any, counted: set[tuple[int, int]]) -> Layer:
    """Return an operator's row; constants that are `counted` are no parameters of it, and its own are added.

    Of a loop or branch they are those of the graphs that it runs too.
    """
    kind = _kind(model, operator)
    output = graph.tensors[operator.outputs[0]]
    users = [(graph, operator), *((g, o) for g in _run_by(model, operator) for o in g.operators)]
    weights = {(id(g), index): _constant(model, g, index) for g, o in users for index in _weights(model, g, o)}
    own = [constant for key, constant in weights.items() if key not in counted]
    counted.update(weights)
    kernel = _kernel(model, graph, operator)
    scale, zero_point = _output_quantization(output)
    return Layer(
        name=_layer_name(output),
        kind=kind,
        output_shape=_shape(graph, operator.outputs[0]),
        uses=_uses(graph, operator, kind, has_kernel=kernel is not None, has_weights=bool(weights)),
        **counts(own, [] if kernel is None else [kernel]),
        scale=scale,
        zero_point=zero_point,
    )


def _weights(model: Any, graph: Any, operator: Any) -> list[int]:
    """Return the numbers of the tensors that hold an operator's weights and biases, not its shapes, axes and the like.

    int32 and int64 are a bias where they have a scale, or where a convolution or dense layer takes one.
    """
    kind = _kind(model, operator)
    inputs = [] if kind in _WITHOUT_WEIGHTS or operator.inputs is None else operator.inputs
    found = []
    for place, index in enumerate(inputs):
        source = _stored(model, graph, index)
        if source is None:
            continue
        dtype = _TYPES[graph.tensors[source].type]
        is_bias = _is_quantized(graph.tensors[source]) or (kind in _WEIGHTED and place > _KERNEL)
        if dtype not in _NO_NUMBERS and (dtype not in _INTEGERS or is_bias):
            found.append(source)
    return found


def _run_by(model: Any, operator: Any) -> list[Any]:
    """Return the graphs that a loop, branch or call runs, and those that they run."""
    found: dict[int, Any] = {}
    waiting = [operator]
    while waiting:
        options = [o for o in (waiting[0].builtinOptions, waiting[0].builtinOptions2) if o is not None]
        named = [n for o in options for key, n in vars(o).items() if "subgraph" in key.lower() and isinstance(n, int)]
        new = {n: model.subgraphs[n] for n in named if n >= 0 and n not in found}
        found |= new
        waiting = [*waiting[1:], *(o for graph in new.values() for o in graph.operators)]
    return list(found.values())


def _kernel(model: Any, graph: Any, operator: Any) -> Constant | None:
    """Return the kernel of a convolution or dense layer; None of other operators and where it is no constant."""
    source = _stored(model, graph, operator.inputs[_KERNEL]) if _kind(model, operator) in _WEIGHTED else None
    return None if source is None else _constant(model, graph, source)


def _uses(graph: Any, operator: Any, kind: str, *, has_kernel: bool, has_weights: bool) -> int | None:
    """Return how often each weight of the kernel is used, None where that is unknown."""
    if kind in _WEIGHTED:
        swept = _swept(graph, operator, kind)
        is_known = has_kernel and not has_open_size(swept, [_shape(graph, i) for i in graph.inputs])
        return positions(swept, -1) if is_known else None
    return None if kind in _UNKNOWN or (has_weights and kind not in _WITHOUT_MACS) else 0


def _kind(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)])


def _shape(graph: Any, index: int) -> tuple[int, ...]:
    """Return a tensor's shape, -1 for an open size: the signature says so, where the shape itself has 1."""
    tensor = graph.tensors[index]
    shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
    return () if shape is None else tuple(int(n) for n in shape)


def _swept(graph: Any, operator: Any, kind: str) -> tuple[int, ...]:
    """Return the shape over whose positions the kernel goes: the output's, of a transposed convolution the input's."""
    return _shape(graph, operator.inputs[2] if kind == "TRANSPOSE_CONV" else operator.outputs[0])


def _stored(model: Any, graph: Any, index: int) -> int | None:
    """Return `index` if it is a constant, or that which it is dequantized from (in float16 files), else None."""
    if index < 0:
        return None
    buffer = model.buffers[graph.tensors[index].buffer]
    if buffer.offset > 1:
        raise UnreadError(f"tensor {_name(graph.tensors[index])} is stored behind the flatbuffer; expected it inside")
    if buffer.data is not None and len(buffer.data):
        return int(index)
    source = next((o for o in graph.operators if index in o.outputs), None)
    is_stored = source is not None and len(source.inputs) == 1 and source.inputs[0] != index
    if source is None or not is_stored or _kind(model, source) != "DEQUANTIZE":
        return None
    return _stored(model, graph, source.inputs[0])


def _constant(model: Any, graph: Any, index: int) -> Constant:
    """Return the constant tensor `index`; raises `UnreadError` for one of another type or form than is read here."""
    tensor = graph.tensors[index]
    kind = _TYPES[tensor.type]
    if kind not in _DTYPES:
        raise UnreadError(f"tensor {_name(tensor)} is {kind}; expected one of {', '.join(_DTYPES)}")
    if tensor.sparsity is not None:
        raise UnreadError(f"tensor {_name(tensor)} is stored sparse; expected it dense")
    data = model.buffers[tensor.buffer].data
    stored = np.frombuffer(data.tobytes(), _DTYPES[kind]).reshape(() if tensor.shape is None else tensor.shape)
    if not _is_quantized(tensor):
        return Constant(stored)
    q = tensor.quantization
    zero_point = np.zeros(1, np.int64) if q.zeroPoint is None else q.zeroPoint
    return Constant(stored, *(along(q.quantizedDimension, stored.ndim, v) for v in (q.scale, zero_point)))


def _tensor(model: Any, graph: Any, index: int) -> Tensor:
    tensor, q = graph.tensors[index], graph.tensors[index].quantization
    stored = model.buffers[tensor.buffer].data
    is_readable = _TYPES[tensor.type] in _DTYPES and stored is not None and len(stored) > 0
    scale, zero_point = (q.scale, q.zeroPoint) if _is_quantized(tensor) else ((), ())
    return Tensor(
        name=_name(tensor),
        shape=_shape(graph, index),
        dtype=_TYPES[tensor.type],
        scale=np.asarray(scale, np.float32),
        zero_point=np.zeros(len(scale), np.int64) if zero_point is None else np.asarray(zero_point, np.int64),
        axis=q.quantizedDimension if q is not None else 0,
        data=_constant(model, graph, index).stored if is_readable else None,
    )


def _operator(model: Any, operator: Any) -> Operator:
    options = {} if operator.builtinOptions is None else vars(operator.builtinOptions)
    inputs, outputs = (() if ends is None else tuple(map(int, ends)) for ends in (operator.inputs, operator.outputs))
    return Operator(_kind(model, operator), inputs, outputs, dict(options))


def _is_quantized(tensor: Any) -> bool:
    q = tensor.quantization
    return q is not None and q.scale is not None and len(q.scale) > 0


def _name(tensor: Any) -> str:
    return str(tensor.name.decode())


def _layer_name(output: Any) -> str:
    """Return what the layer that puts out this tensor is called: the last of the names that were fused into it."""
    return _name(output).split(";")[-1].removesuffix("/ReadVariableOp")


def _quantized(layer: str, what: str, tensor: Any) -> Numbers:
    # Files of older converters give an index or a shape a scale too, of 0, which nothing reads.
    is_read = _is_quantized(tensor) and _TYPES[tensor.type] in ("INT8", "UINT8", "INT16")
    return Numbers(layer, what, scale=tensor.quantization.scale if is_read else None)


def _output_quantization(tensor: Any) -> tuple[float | None, int | None]:
    q = tensor.quantization
    if q is None or q.scale is None or len(q.scale) != 1:
        return None, None
    return float(q.scale[0]), int(q.zeroPoint[0])
