"""ONNX files written node by node, with the conventions of others: layouts, batches, first nodes, external weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.foreign.make_networks import STRIDE, Floats, Network

NHWC, NCHW, HW, FLAT = "NHWC", "NCHW", "HW", "flat"
_SUFFIX = ".data"  # of the file that holds the weights of a file that does not


@dataclass(frozen=True)
class Form:
    """What a file looks like from outside.

    `batch` is a size, a name, or None for an axis of which nothing is said. `first` are nodes before all others, each
    with its constant: ``(("Sub", 127.5), ("Div", 127.5))``. `ends` are the last nodes: Softmax, LogSoftmax or none.
    """

    layout: str = NCHW
    batch: int | str | None = 1
    first: tuple[tuple[str, Any], ...] = ()
    ends: tuple[str, ...] = ("Softmax",)
    takes_pixels: bool = False  # as uint8, cast by the first node
    says: Mapping[str, str] = field(default_factory=dict)  # metadata properties


NCHW_FLOATS = Form()


def onnx_file(network: Network, form: Form = NCHW_FLOATS) -> bytes:
    """Return a network as an ONNX file, float32 inside."""
    maker = _Maker()
    dtype = TensorProto.UINT8 if form.takes_pixels else TensorProto.FLOAT
    given = helper.make_tensor_value_info("input", dtype, [form.batch, *_outer_sizes(network, form.layout)])
    made = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [form.batch, len(network.labels)])
    last = maker.node("Cast", "input", to=TensorProto.FLOAT) if form.takes_pixels else "input"
    for kind, constant in form.first:
        last = maker.node(kind, last, maker.constant(np.array(constant, np.float32)))
    last = _body(maker, network, _as_nchw(maker, last, network, form.layout))
    for kind in form.ends:
        last = maker.node(kind, last, axis=-1)
    maker.nodes[-1].output[0] = "scores"
    graph = helper.make_graph(maker.nodes, "made elsewhere", [given], [made], maker.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(form.says))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_with_external_data(path: Path, content: bytes) -> None:
    """Write a model whose weights lie in a file beside it, called like it with ``.data`` at the end."""
    model = onnx.load_from_string(content)
    onnx.save_model(
        model, str(path), save_as_external_data=True, location=path.name + _SUFFIX, size_threshold=0
    )  # fmt: skip


def ort(path: Path | bytes, values: Floats | NDArray[np.uint8]) -> Floats:
    """Return the scores [N, classes] that ONNX Runtime computes of inputs in the file's own layout, one by one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    content = path if isinstance(path, bytes) else str(path)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    stored = values if values.dtype == np.uint8 else values.astype(np.float32)
    rows = [session.run(None, {"input": stored[n : n + 1]})[0][0] for n in range(len(stored))]
    return np.stack(rows).astype(np.float64)


def _outer_sizes(network: Network, layout: str) -> list[int]:
    height, width, channels = network.shape
    sizes = {NHWC: [height, width, channels], NCHW: [channels, height, width], HW: [height, width]}
    return sizes.get(layout, [height * width * channels])


def _as_nchw(maker: _Maker, source: str, network: Network, layout: str) -> str:
    """Return the input brought into what ONNX convolves."""
    height, width, channels = network.shape
    if layout == NCHW:
        return source
    if layout in (HW, FLAT):
        sizes = maker.constant(np.array([-1, height, width, channels], np.int64))
        source = maker.node("Reshape", source, sizes)
    return maker.node("Transpose", source, perm=[0, 3, 1, 2])


def _body(maker: _Maker, network: Network, source: str) -> str:
    """Add what is the same in all files; return the name of its scores."""
    kernel = maker.constant(network.kernel.transpose(3, 2, 0, 1).astype(np.float32))
    bias = maker.constant(network.bias.astype(np.float32))
    pads = [0, 0, 1, 1] if network.padded else [0, 0, 0, 0]
    found = maker.node("Relu", maker.node("Conv", source, kernel, bias, strides=[STRIDE, STRIDE], pads=pads))
    # The dense layer was fitted on [H, W, F]; here it is flattened as [F, H, W], as PyTorch does.
    height, width = (_outputs(side, padded=network.padded) for side in network.shape[:2])
    filters = network.kernel.shape[3]
    dense = network.dense.reshape(height, width, filters, -1).transpose(2, 0, 1, 3).reshape(network.dense.shape)
    flat = maker.node("Flatten", found, axis=1)
    weights = [maker.constant(dense.astype(np.float32)), maker.constant(network.dense_bias.astype(np.float32))]
    return maker.node("Gemm", flat, *weights)


def _outputs(side: int, *, padded: bool) -> int:
    return (side + padded - 3) // STRIDE + 1


class _Maker:
    """Nodes and constants that get their names by themselves."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{kind}_{name}", **attributes))
        return name

    def constant(self, value: NDArray[Any]) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
