"""Layers of a TFLite file, read from its flatbuffer by the schema that LiteRT ships."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgecnn.inspect.layers import Layer, convolution_macs

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
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def layers(content: bytes) -> list[Layer]:
    """Return one row per operator of the first subgraph; raises `ValueError` and its kin for a damaged file."""
    if content[4:8] != b"TFL3":
        raise ValueError("no TFL3 mark")
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    return [_row(model, graph, operator) for operator in graph.operators]


def _row(model: Any, graph: Any, operator: Any) -> Layer:
    code = model.operatorCodes[operator.opcodeIndex]
    kind = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    output = graph.tensors[operator.outputs[0]]
    shape = tuple(int(n) for n in output.shape)
    # Input 0 is the activation; shapes and the like (of RESHAPE, PAD) are no weights.
    constants = [_constant(model, graph, i) for i in operator.inputs[1:]] if kind in _WEIGHTED else []
    weights = [c for c in constants if c is not None]
    scale, zero_point = _quantization(output)
    return Layer(
        name=output.name.decode().split(";")[-1].removesuffix("/ReadVariableOp"),
        kind=kind,
        output_shape=shape,
        parameters=sum(w.size for w in weights),
        nonzero_parameters=sum(int(np.count_nonzero(w)) for w in weights),
        macs=_macs(kind, shape, weights),
        weight_bytes=sum(w.nbytes for w in weights),
        scale=scale,
        zero_point=zero_point,
    )


def _constant(model: Any, graph: Any, index: int) -> NDArray[Any] | None:
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
            if source is not None and is_stored and _is_dequantize(model, source)
            else None
        )
    return np.frombuffer(data.tobytes(), _TYPES[tensor.type]).reshape(tensor.shape)


def _is_dequantize(model: Any, operator: Any) -> bool:
    code = model.operatorCodes[operator.opcodeIndex]
    return bool(max(code.builtinCode, code.deprecatedBuiltinCode) == schema.BuiltinOperator.DEQUANTIZE)


def _quantization(tensor: Any) -> tuple[float | None, int | None]:
    q = tensor.quantization
    if q is None or q.scale is None or len(q.scale) != 1:
        return None, None
    return float(q.scale[0]), int(q.zeroPoint[0])


def _macs(kind: str, shape: tuple[int, ...], weights: list[NDArray[Any]]) -> int:
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and weights:
        return convolution_macs(prod(shape[1:3]), weights[0].shape)
    return int(weights[0].size) if kind == "FULLY_CONNECTED" and weights else 0
