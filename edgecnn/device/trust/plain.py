"""What `decision` and `typicality` compute, for one image and without numpy: both say the same of it."""

from __future__ import annotations

import math
from array import array
from binascii import a2b_base64
from collections.abc import Sequence
from operator import mul
from pathlib import Path
from typing import Any, NamedTuple

from edgecnn.device.preprocessing.digit import SIDE
from edgecnn.device.trust.kept import read_kept
from edgecnn.device.trust.refusal import reason_to_refuse

_WINDOW, _STRIDE = 3, 2


class PlainLayer(NamedTuple):
    """For each output its weights, in whole steps, the size of a step, and a bias."""

    kernels: list[list[int]]
    scale: list[float]
    bias: list[float]


class PlainDecision(NamedTuple):
    """The numbers of `decision.Decision`."""

    temperature: float = 1.0
    floor: float = 0.0
    least_probability: float = 0.0
    least_typicality: float = -math.inf
    layers: tuple[PlainLayer, ...] = ()


def read_plain_decision(record: dict[str, Any], *, classes: int, where: Path) -> PlainDecision:
    """Return the decision in a record; raises `ModelError` when what stands there is none for so many classes."""
    kept = read_kept(record, classes=classes, where=where, unpack=_unpacked, fit=_fit_together)
    return PlainDecision() if kept is None else PlainDecision(**kept[0], layers=kept[1])


def judged(
    levels: bytes, probabilities: Sequence[float], labels: Sequence[str], decision: PlainDecision, *, digits: bool
) -> tuple[list[float], str]:
    """Return the calibrated probabilities of an image's gray levels, and why to refuse it, or "".

    Those of `digits` are 784, in MNIST's shape; of other images one that is black may be as good as any.
    """
    own = _calibrated(probabilities, decision)
    typical = log_probabilities(levels, decision.layers) if decision.layers else []
    limits = {"least_probability": decision.least_probability, "least_typicality": decision.least_typicality}
    return own, reason_to_refuse(any(levels) or not digits, own, typical, labels, **limits)


def log_probabilities(levels: bytes, layers: Sequence[PlainLayer]) -> list[float]:
    """Return the log of how likely an image is of each class, or of none, as `typicality.log_probabilities` does."""
    side, values = SIDE, [level / 255 for level in levels]
    for layer in layers[:-1]:
        side, values = _convolved(side, values, layer)
    last = layers[-1]
    scores = _outputs(values, last)
    highest = max(scores)
    total = math.log(sum(math.exp(score - highest) for score in scores))
    return [score - highest - total for score in scores]


def _calibrated(probabilities: Sequence[float], decision: PlainDecision) -> list[float]:
    if decision.temperature == 1 and not decision.floor:
        return list(probabilities)
    logs = [math.log(max(own, decision.floor, 1e-30)) / decision.temperature for own in probabilities]
    powers = [math.exp(log - max(logs)) for log in logs]
    total = sum(powers)
    return array("f", [power / total for power in powers]).tolist()


def _unpacked(kept: Sequence[dict[str, Any]]) -> tuple[PlainLayer, ...]:
    return tuple(map(_layer, kept))


def _layer(kept: dict[str, Any]) -> PlainLayer:
    steps = array("b", a2b_base64(kept["kernel"], strict_mode=True)).tolist()
    scale, bias = ([float(value) for value in kept[name]] for name in ("scale", "bias"))
    outputs = len(scale)
    if len(steps) != kept["inputs"] * outputs or len(bias) != outputs:
        raise ValueError(f"{len(steps)} weights and {len(bias)} biases for {kept['inputs']} inputs, {outputs} outputs")
    return PlainLayer([steps[number::outputs] for number in range(outputs)], scale, bias)


def _fit_together(layers: Sequence[PlainLayer], outputs: int) -> bool:
    """Return whether each layer takes what the one before makes, the first an image, and the last makes `outputs`."""
    side, channels = SIDE, 1
    for layer in layers[:-1]:
        if len(layer.kernels[0]) != _WINDOW * _WINDOW * channels:
            return False
        side, channels = _halved(side), len(layer.kernels)
    return len(layers[-1].kernels[0]) == side * side * channels and len(layers[-1].kernels) == outputs


def _convolved(side: int, values: list[float], layer: PlainLayer) -> tuple[int, list[float]]:
    """Return side and values of a square layer of windows at every other place, with ReLU; channels lie together."""
    channels = len(layer.kernels[0]) // (_WINDOW * _WINDOW)
    row = side * channels
    if side % _STRIDE == 0:  # a border of zeros for the last window
        rows = [values[start : start + row] for start in range(0, len(values), row)]
        side, row = side + 1, row + channels
        values = [value for line in rows for value in (*line, *[0.0] * channels)] + [0.0] * row
    blank = [max(bias, 0.0) for bias in layer.bias]
    made: list[float] = []
    for top in range(0, side - _WINDOW + 1, _STRIDE):
        for left in range(0, side - _WINDOW + 1, _STRIDE):
            window: list[float] = []
            for line in range(top, top + _WINDOW):
                start = line * row + left * channels
                window += values[start : start + _WINDOW * channels]
            made += [max(value, 0.0) for value in _outputs(window, layer)] if any(window) else blank
    return _halved(side), made


def _halved(side: int) -> int:
    """Return the side of a layer's output: of an even one, the last window hangs over by one."""
    return (side // 2 * 2 + 1 - _WINDOW) // _STRIDE + 1


def _outputs(values: list[float], layer: PlainLayer) -> list[float]:
    return [
        sum(map(mul, values, kernel)) * scale + bias
        for kernel, scale, bias in zip(layer.kernels, layer.scale, layer.bias, strict=True)
    ]
