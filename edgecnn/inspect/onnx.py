"""Layers of an ONNX file; QDQ pairs are seen through to the weights behind them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from onnx import ValueInfoProto, load_model_from_string, numpy_helper, shape_inference
from onnx.checker import ValidationError

from edgecnn.inspect.layers import Constant, Layer, Operation, along, counts, positions

_CONVOLUTIONS = ("Conv", "ConvTranspose")
_WEIGHTED = (*_CONVOLUTIONS, "Gemm", "MatMul")
_QDQ = ("QuantizeLinear", "DequantizeLinear")


def layers(content: bytes) -> list[Layer]:
    """Return one row per node, quantize and dequantize nodes left out; raises `ValueError` for a damaged file."""
    graph = _inferred(content)
    context = _Context(graph)
    return [_row(node, context) for node in graph.node if node.op_type not in _QDQ]


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
            kernel=context.constant(node.input[1]) if node.op_type in _WEIGHTED else None,
            names=(node.output[0], context.seen(node.output[0])),
        )
        for node in graph.node
        if node.op_type not in _QDQ
    ]


def exposed(content: bytes, outputs: Sequence[str]) -> bytes:
    """Return the file with these tensors as its outputs, in this order, instead of its own."""
    model = _parsed(content)
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return bytes(model.SerializeToString())


class _Context:
    """Lookups by tensor name that the rows need."""

    def __init__(self, graph: Any) -> None:
        self.stored = {i.name: _array(i) for i in graph.initializer}
        self.dequantized = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
        self.quantized = {n.input[0]: n for n in graph.node if n.op_type == "QuantizeLinear"}
        self._behind = {n.input[0]: n.output[0] for n in self.dequantized.values()}
        values = [*graph.input, *graph.value_info, *graph.output]
        self.shapes = {v.name: tuple(d.dim_value or -1 for d in v.type.tensor_type.shape.dim) for v in values}

    def constant(self, name: str) -> Constant | None:
        """Return the constant `name`, or the stored one that it is dequantized from, else None."""
        source = self.dequantized.get(name)
        stored = self.stored.get(name if source is None else source.input[0])
        if stored is None or source is None:
            return None if stored is None else Constant(stored)
        axis = next((a.i for a in source.attribute if a.name == "axis"), 1)
        scale = self.stored[source.input[1]]
        zero_point = self.stored[source.input[2]] if len(source.input) > 2 else np.zeros((), np.int8)
        return Constant(stored, *(along(axis, stored.ndim, values) for values in (scale, zero_point)))

    def seen(self, name: str) -> str:
        """Return the tensor that stands for `name` behind its quantization, or `name` itself."""
        node = self.quantized.get(name)
        return name if node is None else self._behind.get(node.output[0], name)


def _array(initializer: Any) -> Any:
    try:
        return numpy_helper.to_array(initializer)
    except (ValidationError, OSError) as error:
        raise ValueError(f"weights outside the file: {error}") from None


def _parsed(content: bytes) -> Any:
    from google.protobuf.message import DecodeError

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


def _row(node: Any, context: _Context) -> Layer:
    given = [context.constant(name) for name in node.input[1:]] if node.op_type in _WEIGHTED else []
    kernels = [c for c in given[:1] if c is not None]
    scale, zero_point = _output_quantization(node.output[0], context)
    return Layer(
        name=node.name,
        kind=node.op_type,
        output_shape=context.shapes.get(node.output[0], ()),
        uses=_uses(node, context, kernels[0]) if kernels else 0,
        **counts([c for c in given if c is not None], kernels),
        scale=scale,
        zero_point=zero_point,
    )


def _output_quantization(output: str, context: _Context) -> tuple[float | None, int | None]:
    node = context.quantized.get(output)
    if node is None or context.stored[node.input[1]].size != 1:
        return None, None
    zero_point = context.stored[node.input[2]] if len(node.input) > 2 else np.int8(0)
    return float(context.stored[node.input[1]]), int(zero_point)


def _uses(node: Any, context: _Context, kernel: Constant) -> int:
    """Return how often each weight is used; a transposed convolution's meets every position of the input."""
    swept = context.shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0], ())
    if node.op_type in _CONVOLUTIONS:
        return positions(swept, 1)  # NCHW
    return positions(swept, -1) // prod(kernel.stored.shape[:-2])  # a stack of matrices: each has its own rows
