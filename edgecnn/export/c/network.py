"""An int8 .tflite graph as the few kinds of layer that there are kernels for, with the numbers they compute with.

Activations are held as uint8, the int8 value and 128 (`zero`, `low` and `high` are so too), which makes a reshape and
the usual QUANTIZE of uint8 pixels, or to uint8 scores, no work at all: they become views of the tensor they start from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import ArtifactError
from edgecnn.export.c import fixedpoint
from edgecnn.inspect.graph import Graph, Operator, Tensor

Shape = tuple[int, int, int]  # height, width, channels
_SAME = 0  # of the schema's Padding; VALID is 1
_ADDITION_BITS = 20  # as in add.c
_SUM_LIMIT = 2**31
_OPEN = -1  # a size that the file leaves open; C computes one image at a time, so that an open batch is 1
_PIXEL_TYPES = ("UINT8", "INT8")  # of the input, and of the scores
# What they make of sizes alone goes into the shape of a RESHAPE, which its output states already.
_ABOUT_SIZES = ("SHAPE", "STRIDED_SLICE", "PACK", "GATHER", "CONCATENATION", "REDUCE_PROD", "MUL", "CAST")


@dataclass(frozen=True)
class View:
    """A tensor as a layer sees it: the number of the tensor that holds the values, and the shape it is taken for."""

    tensor: int
    shape: Shape


@dataclass(frozen=True)
class Padding:
    """Positions added around a tensor."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NO_PADDING = Padding()


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What all layers have; `label` names the layer in the file."""

    label: str
    sources: tuple[View, ...]
    target: View


@dataclass(frozen=True, kw_only=True)
class Convolution(Layer):
    """A convolution or dense layer (kernel int8 [filters, height, width, inputs]), its window maybe the whole input.

    Depthwise: kernel [height, width, filters]. `bias` int64 has the zero point of the input folded in:
    sum(w * x) + bias for x as held. `pool` 2: the largest of 2x2 positions is the output.
    """

    kernel: NDArray[np.int8]
    bias: NDArray[np.int64]
    multipliers: tuple[int, ...]
    shifts: tuple[int, ...]
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    low: int
    high: int
    is_depthwise: bool = False
    rounds_once: bool = False  # sums are rescaled with one rounding, as those of FULLY_CONNECTED are
    pool: int = 1


@dataclass(frozen=True, kw_only=True)
class Pooling(Layer):
    """Max or average pooling."""

    is_max: bool
    window: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class Mean(Layer):
    """The mean over all positions, a value a channel; multiplier and shift, 1 / their number in them, of a sum."""

    multiplier: int
    shift: int


@dataclass(frozen=True, kw_only=True)
class Addition(Layer):
    """The sum of two tensors of one shape; multiplier and shift of each addend, and of the sum."""

    scales: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class Requantization(Layer):
    """The same numbers in another scale or with another zero point."""

    multiplier: int
    shift: int


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Probabilities along the channels."""

    multiplier: int
    shift: int
    least: int


@dataclass(frozen=True)
class Network:
    """The layers in the order in which they run, and what is behind the views: `tensors[view.tensor]`.

    `given` and `made` are the file's own input and output, which may be views of tensors with other zero points.
    """

    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    input: View
    output: View
    given: Tensor
    made: Tensor

    def zero(self, view: View) -> int:
        """Return the zero point of a tensor as it is held."""
        return held_zero(self.tensors[view.tensor])


def held_zero(tensor: Tensor) -> int:
    """Return a tensor's zero point as uint8 holds it."""
    return int(tensor.zero_point[0]) + (128 if tensor.dtype == "INT8" else 0)


def read(graph: Graph, *, where: str) -> Network:
    """Return the layers of a full-integer graph with one input and one output, batch 1 or open.

    Raises `ArtifactError`, naming `where` and the layer, for an operator, option, shape or type that there is no
    kernel for.
    """
    given = _end(graph, graph.inputs, f"{where}: input")
    output = _end(graph, graph.outputs, f"{where}: output")
    views, layers = {given.tensor: given}, list[Layer]()
    for number, operator in enumerate(graph.operators, start=1):
        op = _Op(graph, operator, f"{where}: layer {number}", views)
        if operator.kind in _ABOUT_SIZES and op.output.dtype == "INT32":
            continue
        views[operator.outputs[0]] = op.view_of_output()
        made = _reader(op)(op)
        if isinstance(made, View):
            views[operator.outputs[0]] = made
        else:
            layers.append(made)
    if output.tensor not in views:
        raise ArtifactError(f"{where}: output: no layer makes it; restore the file or convert it again")
    made_last = replace(views[output.tensor], shape=output.shape)
    return Network(
        tensors=graph.tensors,
        layers=_pooled(layers, made_last),
        input=given,
        output=made_last,
        given=graph.tensors[given.tensor],
        made=graph.tensors[output.tensor],
    )


@dataclass(frozen=True)
class _Op:
    """An operator with what its reader asks of it."""

    graph: Graph
    operator: Operator
    place: str
    views: dict[int, View]

    @property
    def label(self) -> str:
        return self.output.name.split(";")[-1].removesuffix("/ReadVariableOp")

    @property
    def output(self) -> Tensor:
        return self.graph.tensors[self.operator.outputs[0]]

    def refuse(self, got: str, expected: str) -> NoReturn:
        raise ArtifactError(f"{self.place}, {self.label} ({self.operator.kind}): {got}; expected {expected}")

    def option(self, name: str, default: int) -> int:
        return int(self.operator.options.get(name, default))

    def tensor(self, place: int) -> Tensor:
        return self.graph.tensors[self.operator.inputs[place]]

    def view(self, place: int) -> View:
        """Return an input that is the output of a layer."""
        view = self.views.get(self.operator.inputs[place])
        if view is None:
            self.refuse("a constant as input", "what a layer before it made")
        return view

    def view_of_output(self) -> View:
        if len(self.operator.outputs) != 1:
            self.refuse(f"{len(self.operator.outputs)} outputs", "one")
        return View(self.operator.outputs[0], self.shape(self.output))

    def shape(self, tensor: Tensor) -> Shape:
        shape = _shape(tensor)
        if shape is None:
            self.refuse(
                f"shape {list(tensor.shape)}",
                "[1, height, width, channels] or [1, units], all sizes known but that of the batch",
            )
        return shape

    def constant(self, place: int, dtype: str) -> Tensor:
        tensor = self.tensor(place)
        if tensor.data is None or tensor.dtype != dtype:
            self.refuse(f"{tensor.name} is {tensor.dtype}{'' if tensor.data is not None else ', computed'}",
                        f"{dtype}, constant")  # fmt: skip
        return tensor

    def range(self) -> tuple[int, int]:
        """Return where the activation cuts the output, as held."""
        number = self.option("fusedActivationFunction", 0)
        found = fixedpoint.activation_range(number, self.output.scale[0], int(self.output.zero_point[0]))
        if found is None:
            self.refuse(f"fused activation {number}", "none, RELU, RELU6 or RELU_N1_TO_1")
        return found[0] + 128, found[1] + 128


def _end(graph: Graph, ends: tuple[int, ...], place: str) -> View:
    """Return the input or the output; raises `ArtifactError`, with what helps, for one that is none of C."""
    if len(ends) != 1:
        raise ArtifactError(f"{place}: got {len(ends)}; expected one; give a model of one input and one output")
    tensor = graph.tensors[ends[0]]
    if tensor.dtype not in _PIXEL_TYPES or len(tensor.scale) != 1:
        raise ArtifactError(
            f"{place}: got 1 of {tensor.dtype} {list(tensor.shape)}; expected {' or '.join(_PIXEL_TYPES)} with one "
            f"scale; make its Keras model int8: edgecnn export MODEL.keras --scheme int8 (with TensorFlow's converter: "
            f"inference_input_type and inference_output_type tf.int8)"
        )
    shape = _shape(tensor)
    if shape is None:
        raise ArtifactError(
            f"{place}: got 1 of {tensor.dtype} {list(tensor.shape)}; expected [1, height, width, channels] or "
            f"[1, units], all sizes known but that of the batch; give the Keras model an Input of such sizes, as "
            f"keras.Input((96, 96, 3)), and convert it again"
        )
    return View(ends[0], shape)


def _shape(tensor: Tensor) -> Shape | None:
    """Return a tensor's height, width and channels; None where it is none of one image, or a size is open."""
    if len(tensor.shape) not in (2, 3, 4) or tensor.shape[0] not in (1, _OPEN) or min(tensor.shape[1:]) < 1:
        return None
    height, width, channels = (1, 1, *tensor.shape[1:])[-3:]
    return height, width, channels


def _reader(op: _Op) -> Callable[[_Op], Layer | View]:
    kind = op.operator.kind
    if kind not in _READERS:
        op.refuse("no kernel", f"one of {', '.join(_READERS)}")
    if kind == "QUANTIZE":
        return _READERS[kind]
    known = _PIXEL_TYPES if kind in _OF_ANY_TYPE else ("INT8",)
    for tensor in (*_activations(op), op.output):
        if tensor.dtype not in known or len(tensor.scale) != 1:
            op.refuse(
                f"{tensor.name} is {tensor.dtype} with {len(tensor.scale)} scales", f"{' or '.join(known)} with one"
            )
    return _READERS[kind]


def _activations(op: _Op) -> list[Tensor]:
    """Return the inputs of an operator that layers before it made."""
    inputs = [op.graph.tensors[i] for i in op.operator.inputs if i >= 0]
    is_reshape = _READERS[op.operator.kind] is _reshape  # its other inputs are sizes, which may be computed
    return inputs[:1] if is_reshape else [tensor for tensor in inputs if tensor.data is None]


def _convolution(op: _Op) -> Layer:
    weights, view = op.constant(1, "INT8"), op.view(0)
    kernel = weights.data
    assert kernel is not None
    is_depthwise = op.operator.kind == "DEPTHWISE_CONV_2D"
    if is_depthwise:
        kernel = kernel[0]
    window = (kernel.shape[0], kernel.shape[1]) if is_depthwise else (kernel.shape[1], kernel.shape[2])
    if not is_depthwise and kernel.shape[-1] != view.shape[2]:
        op.refuse(f"{view.shape[2]} channels in groups of {kernel.shape[-1]}", "a convolution over all channels")
    stride, padding = _geometry(op, window)
    return _summing(op, view, kernel, weights, window, stride, padding)


def _fully_connected(op: _Op) -> Layer:
    weights, view = op.constant(1, "INT8"), op.view(0)
    assert weights.data is not None
    units, inputs = weights.data.shape
    if op.option("weightsFormat", 0):
        op.refuse("shuffled weights", "the default format")
    if prod(view.shape) != inputs and view.shape[2] != inputs:
        op.refuse(f"{inputs} weights a unit over {list(view.shape)}", "one for each input, or for each channel")
    is_whole = prod(view.shape) == inputs
    height, width, channels = view.shape if is_whole else (1, 1, inputs)
    kernel = weights.data.reshape(units, height, width, channels)
    return _summing(op, view, kernel, weights, (height, width), (1, 1), NO_PADDING)


def _summing(
    op: _Op, view: View, kernel: NDArray[np.int8], weights: Tensor, window: tuple[int, int], stride: tuple[int, int],
    padding: Padding,
) -> Layer:  # fmt: skip
    """Return the convolution that a kernel makes, with its sums checked to fit 32 bits."""
    is_depthwise = op.operator.kind == "DEPTHWISE_CONV_2D"
    filters = kernel.shape[-1 if is_depthwise else 0]
    if weights.zero_point.any() or len(weights.scale) not in (1, filters):
        op.refuse("weights with zero points, or scales of another axis", "zero point 0, and one scale or one a filter")
    if (kernel == -128).any():
        op.refuse("weights of -128", "-127 to 127, the range of the format's weights")
    per_filter = kernel.reshape(-1, filters).T if is_depthwise else kernel.reshape(filters, -1)
    sums = per_filter.astype(np.int64)
    bias = _bias(op, filters) - held_zero(op.tensor(0)) * sums.sum(1)
    if (np.abs(bias) + 255 * np.abs(sums).sum(1)).max() >= _SUM_LIMIT:
        op.refuse("sums that may be longer than 32 bits", "a bias and weights whose sums fit")
    low, high = op.range()
    scales = [fixedpoint.multiplier(real) for real in _real_multipliers(op, weights, filters)]
    return Convolution(
        label=op.label,
        sources=(view,),
        target=op.views[op.operator.outputs[0]],
        kernel=kernel,
        bias=bias,
        multipliers=tuple(m for m, _ in scales),
        shifts=tuple(shift for _, shift in scales),
        window=window,
        stride=stride,
        padding=padding,
        low=low,
        high=high,
        is_depthwise=is_depthwise,
        rounds_once=op.operator.kind == "FULLY_CONNECTED",
    )


def _bias(op: _Op, filters: int) -> NDArray[np.int64]:
    if len(op.operator.inputs) < 3 or op.operator.inputs[2] < 0:
        return np.zeros(filters, np.int64)
    stored = op.constant(2, "INT32").data
    assert stored is not None
    return stored.astype(np.int64)


def _real_multipliers(op: _Op, weights: Tensor, filters: int) -> list[float]:
    """Return input scale * weight scale / output scale per filter.

    In double, but for a dense layer with one scale, whose product TensorFlow Lite forms in single.
    """
    scale_in, scale_out = op.tensor(0).scale[0], float(op.output.scale[0])
    if op.operator.kind == "FULLY_CONNECTED" and len(weights.scale) == 1:
        return [float(scale_in * weights.scale[0]) / scale_out] * filters
    scales = np.broadcast_to(weights.scale, filters)
    return [float(scale_in) * float(scale) / scale_out for scale in scales]


def _geometry(op: _Op, window: tuple[int, int]) -> tuple[tuple[int, int], Padding]:
    """Return (strides, padding); raises for a dilation."""
    stride = op.option("strideH", 1), op.option("strideW", 1)
    dilation = op.option("dilationHFactor", 1), op.option("dilationWFactor", 1)
    if dilation != (1, 1):
        op.refuse(f"dilation {dilation[0]}x{dilation[1]}", "1x1")
    if op.option("padding", _SAME) != _SAME:
        return stride, NO_PADDING
    (top, bottom), (left, right) = (
        _same(size, *along) for size, along in zip(op.view(0).shape, zip(window, stride, strict=True), strict=False)
    )
    return stride, Padding(top, bottom, left, right)


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    """Return the padding before and behind `size` positions so that every stride has an output."""
    total = max(0, (-(-size // stride) - 1) * stride + window - size)
    return total // 2, total - total // 2


def _pooling(op: _Op) -> Layer:
    window = op.option("filterHeight", 1), op.option("filterWidth", 1)
    stride, padding = _geometry(op, window)
    if _scale_of(op.tensor(0)) != _scale_of(op.output):
        op.refuse("another scale than its input's", "the same")
    low, high = op.range()
    return Pooling(
        label=op.label,
        sources=(op.view(0),),
        target=op.views[op.operator.outputs[0]],
        is_max=op.operator.kind == "MAX_POOL_2D",
        window=window,
        stride=stride,
        padding=padding,
        low=low,
        high=high,
    )


def _mean(op: _Op) -> Layer:
    """Return the mean over height and width, whichever of them the axes name; the other one must be of size 1."""
    view, rank = op.view(0), len(op.tensor(0).shape)
    stored = op.constant(1, "INT32").data
    assert stored is not None
    axes = {int(axis) % rank for axis in stored.ravel()}
    left = [size for axis, size in enumerate(op.tensor(0).shape[1:-1], start=1) if axis not in axes]
    if axes & {0, rank - 1} or any(size != 1 for size in left):
        op.refuse(f"a mean over axes {sorted(axes)} of {list(op.tensor(0).shape)}", "one over height and width")
    count = prod(view.shape[:2])
    if 255 * count >= _SUM_LIMIT:
        op.refuse(f"a sum of {count:,} values", "one that fits 32 bits")
    real = float(op.tensor(0).scale[0]) / float(op.output.scale[0])
    m, shift = fixedpoint.mean(real, count)
    target = op.views[op.operator.outputs[0]]
    return Mean(label=op.label, sources=(view,), target=target, multiplier=m, shift=shift)


def _addition(op: _Op) -> Layer:
    sources = op.view(0), op.view(1)
    if sources[0].shape != sources[1].shape:
        op.refuse(f"shapes {list(sources[0].shape)} and {list(sources[1].shape)}", "the same twice")
    scale_a, scale_b, scale_out = (float(t.scale[0]) for t in (op.tensor(0), op.tensor(1), op.output))
    common = 2 * max(scale_a, scale_b)
    low, high = op.range()
    return Addition(
        label=op.label,
        sources=sources,
        target=op.views[op.operator.outputs[0]],
        scales=(
            fixedpoint.multiplier(scale_a / common),
            fixedpoint.multiplier(scale_b / common),
            fixedpoint.multiplier(common / (2**_ADDITION_BITS * scale_out)),
        ),
        low=low,
        high=high,
    )


def _quantize(op: _Op) -> Layer | View:
    given, made = op.tensor(0), op.output
    for tensor in (given, made):
        if tensor.dtype not in ("INT8", "UINT8") or len(tensor.scale) != 1:
            op.refuse(f"{tensor.name} is {tensor.dtype}", "INT8 or UINT8 with one scale")
    if _scale_of(given) == _scale_of(made):
        return replace(op.view(0), shape=op.views[op.operator.outputs[0]].shape)
    m, shift = fixedpoint.multiplier(float(given.scale[0]) / float(made.scale[0]))
    return Requantization(
        label=op.label,
        sources=(op.view(0),),
        target=op.views[op.operator.outputs[0]],
        multiplier=m,
        shift=shift,
    )


def _reshape(op: _Op) -> View:
    view, shape = op.view(0), op.views[op.operator.outputs[0]].shape
    if prod(view.shape) != prod(shape):  # an open size is then none of the batch
        op.refuse(f"{list(op.tensor(0).shape)} becomes {list(op.output.shape)}", "as many values of each image")
    return replace(view, shape=shape)


def _softmax(op: _Op) -> Layer:
    if _scale_of(op.output) != (np.float32(1 / 256), 0):
        op.refuse("another scale than 1/256, or another zero point than the least value", "these")
    beta = float(op.operator.options.get("beta", 1.0))
    m, shift, least = fixedpoint.softmax(beta, float(op.tensor(0).scale[0]))
    if shift < 0:  # nor does LiteRT compute it
        op.refuse(f"a scale of {op.tensor(0).scale[0]:g}", "one of which powers can be told apart")
    return Softmax(
        label=op.label,
        sources=(op.view(0),),
        target=op.views[op.operator.outputs[0]],
        multiplier=m,
        shift=shift,
        least=least,
    )


def _scale_of(tensor: Tensor) -> tuple[np.float32, int]:
    return tensor.scale[0], held_zero(tensor)


def _pooled(layers: list[Layer], output: View) -> tuple[Layer, ...]:
    """Return the layers with 2x2 max pooling fused into the convolution before it, where that has no other reader."""
    read = [view.tensor for layer in layers for view in layer.sources] + [output.tensor]
    fused: list[Layer] = []
    for layer in layers:
        before = fused[-1] if fused else None
        if isinstance(before, Convolution) and isinstance(layer, Pooling) and _is_fusible(before, layer, read):
            low, high = max(before.low, layer.low), min(before.high, layer.high)
            fused[-1] = replace(before, target=layer.target, pool=2, low=low, high=high)
        else:
            fused.append(layer)
    return tuple(fused)


def _is_fusible(convolution: Convolution, pooling: Pooling, read: list[int]) -> bool:
    return (
        pooling.is_max
        and pooling.window == pooling.stride == (2, 2)
        and pooling.padding == NO_PADDING
        and pooling.sources == (convolution.target,)
        and read.count(convolution.target.tensor) == 1
        and not convolution.is_depthwise
    )


_READERS: dict[str, Callable[[_Op], Layer | View]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pooling,
    "AVERAGE_POOL_2D": _pooling,
    "MEAN": _mean,
    "ADD": _addition,
    "RESHAPE": _reshape,
    "EXPAND_DIMS": _reshape,
    "SQUEEZE": _reshape,
    "QUANTIZE": _quantize,
    "SOFTMAX": _softmax,
}
_OF_ANY_TYPE = ("RESHAPE", "EXPAND_DIMS", "SQUEEZE", "SOFTMAX")  # they compute the same of uint8 as of int8
