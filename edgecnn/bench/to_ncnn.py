"""ONNX -> ncnn, for plain chains of layers: what ncnn's own converter (pnnx) does, without its 2 GB of PyTorch.

ncnn has a text file that lists layers with numbered parameters, and a binary one with their weights in order
(https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure, .../operation-param-weight-table). Its arrays
have no batch: a value of shape [1, ...] becomes [...]. A ReLU is merged into the layer before it, as ncnn's optimizer
does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import ModelError

_MAGIC = 7767517
_RELU = 1
_BIAS = {"Convolution": 5, "ConvolutionDepthWise": 5, "InnerProduct": 1}  # the number that says there is one
# ncnn's Permute knows the orders of three axes by number; these are its outputs' axes as ONNX writes them.
_ORDERS = {(0, 1, 2): 0, (0, 2, 1): 1, (1, 0, 2): 2, (1, 2, 0): 3, (2, 0, 1): 4, (2, 1, 0): 5}


@dataclass(frozen=True)
class Converted:
    """A network for ncnn: its two files, and its one input and output by ncnn's names and by ONNX's."""

    param: str
    weights: bytes
    source: str
    sink: str
    input_name: str
    input_shape: tuple[int, ...]
    output_name: str
    output_shape: tuple[int, ...]


@dataclass
class _Layer:
    """A line of the text file; `params` by ncnn's numbers, `weights` as they follow in the binary file."""

    kind: str
    output: str
    params: dict[int, int | float] = field(default_factory=dict)
    weights: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class _Node:
    """An ONNX operator with its attributes, the shapes before and after it, and the constants among its inputs."""

    op: str
    output: str
    attributes: dict[str, Any]
    given: tuple[int, ...]
    returned: tuple[int, ...]
    constants: list[NDArray[Any]]


def to_ncnn(content: bytes, *, shape: Sequence[int] | None = None) -> Converted:
    """Return the network in an ONNX file of batch 1, float32; `shape` closes open sizes of its input.

    Raises `ModelError` naming the first operator that is not supported, or what else is no plain chain.
    """
    import onnx

    model = onnx.load_from_string(content)
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    for node in nodes:
        if node.op_type not in _KNOWN:
            raise ModelError(f"operator {node.op_type} is not supported; expected convolutions, pooling, dense layers")
    graph, constants = _with_shapes(model, shape).graph, _constants(model.graph)
    shapes = {value.name: _sizes(value) for value in [*graph.input, *graph.value_info, *graph.output]}
    sources, sinks = [value.name for value in graph.input if value.name not in constants], list(graph.output)
    if len(sources) != 1 or len(sinks) != 1:
        raise ModelError(f"{len(sources)} inputs and {len(sinks)} outputs; expected one of each")
    source, sink = sources[0], sinks[0].name
    layers = [_Layer("Input", source)]
    for node in nodes:
        _append(layers, _described(node, layers[-1].output, shapes, constants))
    if layers[-1].output != sink:
        raise ModelError(f"output {sink} is not that of the last operator; expected a plain chain")
    blobs = [f"b{number}" for number in range(len(layers))]  # ONNX's names may hold what ncnn's may not
    weights = b"".join(part for layer in layers for part in layer.weights)
    return Converted(_param(layers, blobs), weights, blobs[0], blobs[-1], source, shapes[source], sink, shapes[sink])


def _with_shapes(model: Any, shape: Sequence[int] | None) -> Any:
    import onnx

    if shape is not None:
        for size, number in zip(model.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
            size.dim_value = number
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _constants(graph: Any) -> dict[str, NDArray[Any]]:
    from onnx import helper, numpy_helper

    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = numpy_helper.to_array(helper.get_node_attr_value(node, "value"))
    return values


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(size.dim_value if size.HasField("dim_value") else -1 for size in value.type.tensor_type.shape.dim)


def _described(node: Any, before: str, shapes: dict[str, tuple[int, ...]], constants: dict[str, NDArray[Any]]) -> _Node:
    """Return what a layer is made of; raises `ModelError` unless `node` takes the value `before` and constants."""
    from onnx import helper

    first, *others = [name for name in node.input if name]
    if first != before or not all(name in constants for name in others):
        raise ModelError(f"operator {node.op_type} takes more than the output of the one before it; expected a chain")
    given, returned = shapes[before], shapes[node.output[0]]
    for sizes in (given, returned):  # ncnn's arrays have no batch, and three axes at most
        if not 2 <= len(sizes) <= 4 or sizes[0] != 1 or min(sizes) < 1:
            raise ModelError(
                f"operator {node.op_type} has a value of {list(sizes)}; expected [1, ...], all sizes known"
            )
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return _Node(node.op_type, node.output[0], attributes, given, returned, [constants[name] for name in others])


def _append(layers: list[_Layer], node: _Node) -> None:
    """Add the layer of `node`, or merge into the last one a bias, a ReLU, or what changes nothing."""
    last = layers[-1]
    weighted = last.kind in _BIAS and 9 not in last.params
    if node.op in ("Identity", "Dropout") or (node.op in ("Reshape", "Flatten") and node.given == node.returned):
        last.output = node.output
    elif node.op == "Relu" and weighted:
        last.params[9], last.output = _RELU, node.output
    elif node.op == "Add":
        if not weighted or last.params[_BIAS[last.kind]] or not _is_bias(node):
            raise ModelError("operator Add is not a bias after Conv or MatMul; expected a plain chain")
        last.params[_BIAS[last.kind]], last.output = 1, node.output
        last.weights.append(_raw(node.constants[0]))
    else:
        layers.append(_LAYERS[node.op](node))


def _is_bias(node: _Node) -> bool:
    """Return whether an Add adds one number per channel, the first axis after the batch."""
    (added,) = node.constants
    per_channel = (node.given[1], *[1] * (len(node.given) - 2))
    return added.shape in (per_channel, (1, *per_channel))


def _param(layers: list[_Layer], blobs: list[str]) -> str:
    lines = [str(_MAGIC), f"{len(layers)} {len(blobs)}", f"Input l0 0 1 {blobs[0]}"]
    for number, layer in enumerate(layers[1:], start=1):
        params = " ".join(f"{key}={value}" for key, value in sorted(layer.params.items()))
        lines.append(f"{layer.kind} l{number} 1 1 {blobs[number - 1]} {blobs[number]} {params}".rstrip())
    return "\n".join(lines) + "\n"


def _convolution(node: _Node) -> _Layer:
    kernels, *bias = node.constants
    group = node.attributes.get("group", 1)
    (height, width), (down, right) = kernels.shape[2:], node.attributes.get("dilations", (1, 1))
    top, left, bottom, end = _padding(node, (height, width), (down, right))
    stride_h, stride_w = node.attributes.get("strides", (1, 1))
    params: dict[int, int | float] = {
        0: len(kernels), 1: width, 11: height, 2: right, 12: down, 3: stride_w, 13: stride_h,
        4: left, 15: end, 14: top, 16: bottom, 5: len(bias), 6: kernels.size,
    }  # fmt: skip
    if group == 1:
        return _Layer("Convolution", node.output, params, [_tagged(kernels), *map(_raw, bias)])
    return _Layer("ConvolutionDepthWise", node.output, params | {7: group}, [_tagged(kernels), *map(_raw, bias)])


def _pooling(node: _Node) -> _Layer:
    if node.op == "GlobalAveragePool":
        return _Layer("Pooling", node.output, {0: 1, 4: 1})
    height, width = node.attributes["kernel_shape"]
    if node.attributes.get("ceil_mode") or set(node.attributes.get("dilations", ())) - {1}:
        raise ModelError(f"operator {node.op} has ceil_mode or dilations; expected neither")
    top, left, bottom, end = _padding(node, (height, width), (1, 1))
    stride_h, stride_w = node.attributes.get("strides", (1, 1))
    params: dict[int, int | float] = {
        0: int(node.op == "AveragePool"), 1: width, 11: height, 2: stride_w, 12: stride_h,
        3: left, 14: end, 13: top, 15: bottom, 5: 1, 6: node.attributes.get("count_include_pad", 0),
    }  # fmt: skip
    return _Layer("Pooling", node.output, params)


def _padding(node: _Node, kernel: tuple[int, int], dilations: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the padding on top, left, bottom and right; where ONNX leaves it open, what the output's size takes."""
    mode = node.attributes.get("auto_pad", b"NOTSET")
    if mode in (b"NOTSET", b"VALID"):
        return tuple(node.attributes.get("pads", (0, 0, 0, 0)))
    strides = node.attributes.get("strides", (1, 1))
    needed = [
        max(0, (out - 1) * stride + (size - 1) * dilation + 1 - given)
        for out, given, stride, size, dilation in zip(
            node.returned[2:], node.given[2:], strides, kernel, dilations, strict=True
        )
    ]
    less, more = [n // 2 for n in needed], [n - n // 2 for n in needed]
    before, after = (less, more) if mode == b"SAME_UPPER" else (more, less)
    return before[0], before[1], after[0], after[1]


def _dense(node: _Node) -> _Layer:
    """Return the layer of a Gemm or a MatMul; ncnn wants weights [out, in]."""
    matrix, *bias = node.constants
    if node.attributes.get("transA") or len(node.given) != 2 or matrix.ndim != 2:
        raise ModelError(f"operator {node.op} multiplies {list(node.given)} by {list(matrix.shape)}; expected [1, n]")
    rows = (matrix if node.attributes.get("transB") else matrix.T) * np.float32(node.attributes.get("alpha", 1))
    beta = np.float32(node.attributes.get("beta", 1))
    added = [_raw(np.broadcast_to(b, (1, len(rows))) * beta) for b in bias]
    return _Layer("InnerProduct", node.output, {0: len(rows), 1: len(added), 2: rows.size}, [_tagged(rows), *added])


def _norm(node: _Node) -> _Layer:
    scale, bias, mean, variance = node.constants
    params: dict[int, int | float] = {0: scale.size, 1: node.attributes.get("epsilon", 1e-5)}
    return _Layer("BatchNorm", node.output, params, [_raw(part) for part in (scale, mean, variance, bias)])


def _relu(node: _Node) -> _Layer:
    return _Layer("ReLU", node.output)


def _softmax(node: _Node) -> _Layer:
    axis = node.attributes.get("axis", -1) % len(node.given)
    if axis == 0:
        raise ModelError("operator Softmax is over the batch; expected another axis")
    return _Layer("Softmax", node.output, {0: axis - 1, 1: 1})


def _reshape(node: _Node) -> _Layer:
    width_first = node.returned[:0:-1]
    return _Layer("Reshape", node.output, dict(enumerate(width_first)))


def _transpose(node: _Node) -> _Layer:
    batch, *axes = node.attributes["perm"]
    if batch != 0 or len(axes) != 3:
        raise ModelError(f"operator Transpose has perm {[batch, *axes]}; expected [0, ...] of 4 axes")
    return _Layer("Permute", node.output, {0: _ORDERS[axes[0] - 1, axes[1] - 1, axes[2] - 1]})


def _raw(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, np.float32).tobytes()


def _tagged(values: NDArray[Any]) -> bytes:
    """Return weights with ncnn's mark for "float32, as they are" before them."""
    return bytes(4) + _raw(values)


_LAYERS: dict[str, Callable[[_Node], _Layer]] = {
    "Conv": _convolution,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "GlobalAveragePool": _pooling,
    "Gemm": _dense,
    "MatMul": _dense,
    "BatchNormalization": _norm,
    "Relu": _relu,
    "Softmax": _softmax,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Transpose": _transpose,
}
_KNOWN = {*_LAYERS, "Add", "Dropout", "Identity"}
