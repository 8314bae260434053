"""Layers of a TFLite file, read from its flatbuffer by the schema that LiteRT ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecnn.inspect.layers import Constant, Layer, Operation, along, counts, positions

_OPERATORS = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
_DTYPES = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT8": "i1",
    "UINT8": "u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
}
_TYPES = {value: _DTYPES[name] for name, value in vars(schema.TensorType).items() if name in _DTYPES}
_MARK = b"TFL3"
_KERNEL = 1  # of an operator's inputs
_WEIGHTED = ("CONV_2D", "CONV_3D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def layers(content: bytes) -> list[Layer]:
    """Return one row per operator of the first subgraph; raises `ValueError` and its kin for a damaged file."""
    model = _parsed(content)
    graph = model.subgraphs[0]
    return [_row(model, graph, operator) for operator in graph.operators]


def operations(content: bytes) -> list[Operation]:
    """Return what `layers` returns rows of, in the same order; an output is the number of its tensor."""
    model = _parsed(content)
    graph = model.subgraphs[0]
    return [
        Operation(
            kind=(kind := _kind(model, operator)),
            output=int(operator.outputs[0]),
            output_shape=_shape(graph, operator.outputs[0]),
            kernel=_constant(model, graph, operator.inputs[_KERNEL]) if kind in _WEIGHTED else None,
        )
        for operator in graph.operators
    ]


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


def _row(model: Any, graph: Any, operator: Any) -> Layer:
    kind = _kind(model, operator)
    output = graph.tensors[operator.outputs[0]]
    # Input 0 is the activation (of TRANSPOSE_CONV, a shape); shapes and the like (of RESHAPE, PAD) are no weights.
    given = [_constant(model, graph, i) for i in operator.inputs[1:]] if kind in _WEIGHTED else []
    scale, zero_point = _output_quantization(output)
    return Layer(
        name=output.name.decode().split(";")[-1].removesuffix("/ReadVariableOp"),
        kind=kind,
        output_shape=_shape(graph, operator.outputs[0]),
        uses=positions(_swept(graph, operator, kind), -1) if kind in _WEIGHTED else 0,
        **counts([c for c in given if c is not None], [c for c in given[:1] if c is not None]),
        scale=scale,
        zero_point=zero_point,
    )


def _kind(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    return str(_OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)])


def _shape(graph: Any, index: int) -> tuple[int, ...]:
    shape = graph.tensors[index].shape
    return () if shape is None else tuple(int(n) for n in shape)


def _swept(graph: Any, operator: Any, kind: str) -> tuple[int, ...]:
    """Return the shape over whose positions the kernel goes: the output's, of a transposed convolution the input's."""
    return _shape(graph, operator.inputs[2] if kind == "TRANSPOSE_CONV" else operator.outputs[0])


def _constant(model: Any, graph: Any, index: int) -> Constant | None:
    """Return the constant tensor `index`, through the DEQUANTIZE that float16 files put before it, else None."""
    if index < 0:
        return None
    tensor = graph.tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        source = next((o for o in graph.operators if index in o.outputs), None)
        is_stored = source is not None and len(source.inputs) == 1 and source.inputs[0] != index
        return (
            _constant(model, graph, source.inputs[0])
            if source is not None and is_stored and _kind(model, source) == "DEQUANTIZE"
            else None
        )
    stored = np.frombuffer(data.tobytes(), _TYPES[tensor.type]).reshape(tensor.shape)
    q = tensor.quantization
    if q is None or q.scale is None or not len(q.scale):
        return Constant(stored)
    return Constant(stored, *(along(q.quantizedDimension, stored.ndim, v) for v in (q.scale, q.zeroPoint)))


def _output_quantization(tensor: Any) -> tuple[float | None, int | None]:
    q = tensor.quantization
    if q is None or q.scale is None or len(q.scale) != 1:
        return None, None
    return float(q.scale[0]), int(q.zeroPoint[0])
