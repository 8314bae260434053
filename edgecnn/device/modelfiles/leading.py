"""What the first operators do to the input, and which values it must have for that to make sense."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecnn.device.contract import BGR, NCHW, NHWC, RANGES, RGB, Numbers, Quantized
from edgecnn.device.modelfiles.graph import Graph, Key, Operator, Values

Normalization = tuple[Numbers, Numbers]
USUAL = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
# Onto what a network may bring its input itself; a pixel / 255 - 0.5 is as usual within as it is rare outside.
_TARGETS = (*USUAL.values(), (-0.5, 0.5))
_TOLERANCE = 0.02  # of a range's width: 1/256 is taken for 1/255, and int8 keeps a constant to 1/255 of the largest
_ABOVE_ONE = 2.5  # means and deviations above it are of pixels 0..255
# Of sets of images, of pixels from 0 to 1: from EuroSAT's 0.1 (blue) to Fashion-MNIST's 0.35, and some room.
_DEVIATIONS = (0.05, 0.4)
_LARGEST_BETA = 0.5  # of a learnt batch normalization of pixels, in deviations
_IMAGENET_MEANS = (0.485, 0.456, 0.406)  # of red, green and blue, from 0 to 1
_NEAR_A_MEAN = 0.01
_MOST_OPERATORS = 16
_MAPS = ("Add", "Sub", "Mul", "Div", "BatchNormalization")
_PASSED = ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity", "Dropout")
_MOVED = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")
_CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")
# The layout from which a new order of axes leads to the other.
_TRANSPOSED: Mapping[tuple[int, ...], str] = {(0, 3, 1, 2): NHWC, (0, 2, 3, 1): NCHW}
_EPSILON = 1e-5  # where an ONNX file leaves it out


def range_before(scale: Any, offset: Any, *, is_learnt: bool = False) -> Normalization | None:
    """Return which of the usual ranges the input of ``scale * x + offset`` has, as mean and std of a `Contract`.

    `scale` and `offset` are one number or one a channel: of a Rescaling layer its own, of a Normalization layer
    1 / deviation and -mean / deviation, of a BatchNormalization layer the same of its moving mean and variance.
    `is_learnt` says that gamma and beta may be in them, which blur what the mean and the deviation were.

    A layer that takes one usual range onto another has the first as its input. Any other is taken for a
    standardization, whose mean and deviation must be those of a set of images in that range. None where neither, or
    more than one range, fits.
    """
    a, b = np.broadcast_arrays(*(np.atleast_1d(np.asarray(one, np.float64)).ravel() for one in (scale, offset)))
    with np.errstate(all="ignore"):
        mean, deviation = -b / a, np.abs(1 / a)
    if not np.isfinite([a, b, mean, deviation]).all():
        return None
    name = _of_rescaling(a, b) or _of_standardization(mean, deviation, is_learnt=is_learnt)
    return None if name is None else usual(name)


def order_before(scale: Any, offset: Any) -> str | None:
    """Return the order of three channels, where ``scale * x + offset`` subtracts the usual means of ImageNet.

    They tell red from blue; None for any other means.
    """
    found = range_before(scale, offset)
    a, b = (np.asarray(one, np.float64).ravel() for one in (scale, offset))
    if found is None or b.size != len(_IMAGENET_MEANS):
        return None
    mean, std = (np.array(one) for one in found)
    means = -b / a * std + mean  # of pixels from 0 to 1
    for order, expected in ((RGB, _IMAGENET_MEANS), (BGR, _IMAGENET_MEANS[::-1])):
        if np.allclose(means, expected, rtol=0, atol=_NEAR_A_MEAN):
            return order
    return None


def usual(name: str) -> Normalization:
    """Return mean and std of one of the usual ranges."""
    mean, std = RANGES[name]
    return (mean,), (std,)


def _of_rescaling(a: Values, b: Values) -> str | None:
    """Return the one usual range that is taken onto a usual one, other than by leaving it as it is."""
    found = []
    for name, source in USUAL.items():
        ends = np.sort([a * end + b for end in source], axis=0)
        for target in _TARGETS:
            leaves = target == source and (a > 0).all()
            halves = name == "-1..1" and target == _TARGETS[-1]  # as would any factor of 0.5
            near = np.abs(ends - np.reshape(target, (2, 1))) <= _TOLERANCE * (target[1] - target[0])
            if near.all() and not leaves and not halves:
                found.append(name)
    return found[0] if len(found) == 1 else None


def _of_standardization(mean: Values, deviation: Values, *, is_learnt: bool) -> str | None:
    """Return the range in which pixels can have these means and deviations, channel by channel."""
    if (np.abs(mean) > _ABOVE_ONE).any() or (deviation > _ABOVE_ONE).any():
        return "0..255" if _can_be(mean / 255, deviation / 255) else None
    if _can_be(mean, deviation):
        return "0..1" if _is_ordinary(deviation) else None
    # A mean of exactly 0 is that of a factor without an offset; a learnt beta can move one of 0..1 a little below 0.
    is_told = (mean < -_LARGEST_BETA * deviation).any() if is_learnt else mean.any()
    centred = (mean + 1) / 2, deviation / 2
    return "-1..1" if is_told and _can_be(*centred) and _is_ordinary(centred[1]) else None


def _can_be(mean: Values, deviation: Values) -> bool:
    """Return whether numbers from 0 to 1 can have this mean and deviation.

    R. Bhatia, C. Davis, "A Better Bound on the Variance" (2000): the variance is at most mean * (1 - mean).
    """
    return bool(((mean >= 0) & (mean <= 1) & (deviation**2 <= mean * (1 - mean))).all())


def _is_ordinary(deviation: Values) -> bool:
    low, high = _DEVIATIONS
    return bool(((deviation >= low) & (deviation <= high)).all())


@dataclass(frozen=True)
class Map:
    """What the first operators do to the input: ``scale * x + offset``; `is_learnt` as `range_before` takes it."""

    scale: Values
    offset: Values
    is_learnt: bool


def leading_map(graph: Graph) -> Map | None:
    """Return what the operators before the first other one do to the input, None where they leave it as it is.

    Of a batch normalization it is what its mean and variance do, without gamma and beta, and nothing behind it.
    """
    scale, offset, is_found, is_learnt = np.ones(1), np.zeros(1), False, False
    for tensor, operator in _path(graph):
        made = _map_of(graph, operator, tensor)
        if made is not None and _go_together(scale, made[0]):
            # Converters fold a batch normalization, with gamma and beta, into a product and a sum in this order.
            is_learnt |= operator.kind == "Mul" and not offset.any()
            scale, offset, is_found = scale * made[0], offset * made[0] + made[1], True
        elif operator.kind not in (*_PASSED, *_MOVED, "Transpose"):
            break
        if operator.is_followed or operator.kind == "BatchNormalization":
            break
    return Map(scale, offset, is_learnt) if is_found else None


def layout_of(graph: Graph) -> str | None:
    """Return the layout of an input [N, ...] of rank 4 that goes to a convolution, else None."""
    if len(graph.shape) != len(NHWC):
        return None
    turns: list[tuple[int, ...]] = []
    for _, operator in _path(graph):
        if operator.kind in _CONVOLUTIONS:
            layout = _TRANSPOSED.get(turns[0]) if len(turns) == 1 else None
            return graph.convolves if not turns else layout if layout != graph.convolves else None
        if operator.kind == "Transpose":
            turns.append(tuple(map(int, operator.options.get("perm", ()))))
        elif operator.kind not in (*_PASSED, *_MAPS, "Pad"):
            return None
    return None


def quantized_first(graph: Graph) -> Quantized:
    """Return how the input stores real values, or, where it is of floats, how they are stored before all else."""
    if not graph.stored.dtype.startswith("float"):
        return graph.stored
    for _, operator in _path(graph):
        if operator.kind == "QuantizeLinear":
            return graph.quantizes(operator) or graph.stored
        if operator.kind not in (*_MOVED, "Transpose"):
            break
    return graph.stored


def _path(graph: Graph) -> Iterator[tuple[Key, Operator]]:
    """Yield the operators behind the input, each with what it takes, as long as each is the only one to take it."""
    tensor = graph.input
    for _ in range(_MOST_OPERATORS):
        consumers = graph.consumers(tensor)
        if len(consumers) != 1 or len(consumers[0].outputs) == 0:
            return
        yield tensor, consumers[0]
        tensor = consumers[0].outputs[0]


def _map_of(graph: Graph, operator: Operator, tensor: Key) -> tuple[Values, Values] | None:
    """Return scale and offset of an operator on a tensor and constants, one or one a channel; None for any other."""
    if operator.kind not in _MAPS or operator.inputs.count(tensor) != 1:
        return None
    constants = [_by_channel(graph.constant(one)) for one in operator.inputs if one != tensor]
    known = [one for one in constants if one is not None]
    if not known or len(known) != len(constants):
        return None
    if operator.kind == "BatchNormalization":
        return _of_batch_normalization(operator, known)
    return _of_arithmetic(operator.kind, known[0], is_first=operator.inputs[0] == tensor)


def _of_arithmetic(kind: str, constant: Values, *, is_first: bool) -> tuple[Values, Values] | None:
    """Return scale and offset of a sum, difference, product or quotient, of which the tensor `is_first` or second."""
    ones, zeros = np.ones_like(constant), np.zeros_like(constant)
    if kind == "Add":
        return ones, constant
    if kind == "Sub":
        return (ones, -constant) if is_first else (-ones, constant)
    if kind == "Mul":
        return constant, zeros
    return (1 / constant, zeros) if is_first else None


def _of_batch_normalization(operator: Operator, constants: Sequence[Values]) -> tuple[Values, Values] | None:
    """Return scale and offset of ``(x - mean) / sqrt(variance + epsilon)``; constants: gamma, beta, mean, variance."""
    if len(constants) != 4 or constants[2].shape != constants[3].shape:
        return None
    epsilon = (*operator.options.get("epsilon", ()), _EPSILON)[0]
    scale = 1 / np.sqrt(constants[3] + epsilon)
    return scale, -constants[2] * scale


def _by_channel(values: Values | None) -> Values | None:
    """Return a constant that is one number, or numbers along one axis, as a row; None for any other."""
    if values is None or values.size == 0 or sum(size > 1 for size in values.shape) > 1:
        return None
    return values.ravel()


def _go_together(one: Values, other: Values) -> bool:
    return one.size == other.size or 1 in (one.size, other.size)
