"""Layers of an ONNX file; QDQ pairs are seen through to the weights behind them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import load_model_from_string, numpy_helper, shape_inference

from edgecnn.inspect.layers import Layer, convolution_macs

_WEIGHTED = ("Conv", "Gemm", "MatMul")


def layers(content: bytes) -> list[Layer]:
    """Return one row per node, quantize and dequantize nodes left out; raises `ValueError` for a damaged file."""
    graph = _parsed(content).graph
    context = _Context(graph)
    return [_row(node, context) for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]


class _Context:
    """Lookups by tensor name that the rows need."""

    def __init__(self, graph: Any) -> None:
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.dequantized = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
        self.quantized = {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
        values = [*graph.value_info, *graph.output]
        self.shapes = {v.name: tuple(d.dim_value or -1 for d in v.type.tensor_type.shape.dim) for v in values}

    def weight(self, name: str) -> NDArray[Any] | None:
        """Return the constant `name`, or the stored one that it is dequantized from."""
        source = self.dequantized.get(name)
        return self.constants.get(source.input[0] if source is not None else name)


def _parsed(content: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        model = load_model_from_string(content)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if not model.graph.node:
        raise ValueError("no graph in it")
    return shape_inference.infer_shapes(model)


def _row(node: Any, context: _Context) -> Layer:
    found = [context.weight(name) for name in node.input[1:]] if node.op_type in _WEIGHTED else []
    weights = [w for w in found if w is not None]
    shape = context.shapes.get(node.output[0], ())
    scale, zero_point = _quantization(node.output[0], context)
    return Layer(
        name=node.name,
        kind=node.op_type,
        output_shape=shape,
        parameters=sum(w.size for w in weights),
        nonzero_parameters=sum(int(np.count_nonzero(w)) for w in weights),
        macs=_macs(node.op_type, shape, weights),
        weight_bytes=sum(w.nbytes for w in weights),
        scale=scale,
        zero_point=zero_point,
    )


def _quantization(output: str, context: _Context) -> tuple[float | None, int | None]:
    node = context.quantized.get(output)
    if node is None or context.constants[node.input[1]].size != 1:
        return None, None
    zero_point = context.constants[node.input[2]] if len(node.input) > 2 else np.int8(0)
    return float(context.constants[node.input[1]]), int(zero_point)


def _macs(kind: str, shape: tuple[int, ...], weights: list[NDArray[Any]]) -> int:
    if kind == "Conv" and weights:
        return convolution_macs(prod(shape[2:4]), weights[0].shape)  # NCHW
    return int(weights[0].size) if kind in ("Gemm", "MatMul") and weights else 0
