"""Whether to trust a prediction: calibrated probabilities, and a rule that refuses, both as the model's record says.

Where a record says nothing, probabilities are the network's own and only what shows in the picture is refused: no ink,
or several digits where one is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import DIGIT, PROBABILITIES, Contract, Quantized, real_values
from edgecnn.device.errors import ModelError
from edgecnn.device.preprocessing.digit import SIDE
from edgecnn.device.preprocessing.quantiles import median
from edgecnn.device.trust.refusal import reason_to_refuse
from edgecnn.device.trust.typicality import Layer, log_probabilities, unpacked

Floats = NDArray[np.float32]
_SMALL = 0.7  # of the usual height; of the digits of one hand few are as low
_FEW = 8  # marks
_NUMBERS = ("temperature", "floor", "least_probability", "least_typicality")
_STEPS = 256  # that an integer of 8 bits can be
_NEVER_SEEN = 1e-30  # what a probability of 0 is taken for, where there is no floor
_LEAST_LOG = -700.0  # of a weight, so that none is 0 and a sum of them never is


@dataclass(frozen=True)
class Decision:
    """What was fitted on validation images.

    Probabilities are raised to 1 / `temperature` after those below `floor` were raised to it. Refused is what has a
    calibrated probability below `least_probability`, or is less typical of its class than `least_typicality`, which is
    the log of a probability that `layers` give; there are none where nothing is known of what is typical.
    """

    temperature: float = 1.0
    floor: float = 0.0
    least_probability: float = 0.0
    least_typicality: float = -math.inf
    layers: tuple[Layer, ...] = ()


def read_decision(record: dict[str, Any], *, classes: int, where: Path) -> Decision:
    """Return the decision in a record; raises `ModelError` when what stands there is none for so many classes."""
    kept = record.get("decision") or {}
    if not kept:
        return Decision()
    try:
        numbers = {name: float(kept[name]) for name in _NUMBERS}
        decision = Decision(**numbers, layers=unpacked(kept["layers"]))
        is_sound = decision.temperature > 0 and 0 <= decision.floor < 0.5 and _fit(decision.layers, classes + 1)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"{where}: decision in its record cannot be read ({error}); copy the record again") from None
    if not is_sound:
        raise ModelError(f"{where}: decision in its record is not one for {classes} classes; copy the record again")
    return decision


def _fit(layers: tuple[Layer, ...], outputs: int) -> bool:
    """Return whether layers, if there are any, follow on one another from an image to so many outputs."""
    return not layers or log_probabilities(np.zeros((1, SIDE, SIDE), np.uint8), layers).shape == (1, outputs)


def calibrated(probabilities: Floats, decision: Decision) -> Floats:
    """Return class probabilities [N, classes] at the decision's temperature; each row adds up to 1.

    C. Guo et al., "On Calibration of Modern Neural Networks" (2017). The log of a probability is the score but for a
    constant; an integer model's are steps of 1/256, so that 0 means below half a step: the floor stands for that.
    """
    if decision.temperature == 1 and not decision.floor:
        return probabilities
    logs = np.log(np.maximum(probabilities, max(decision.floor, 1e-30))).astype(np.float64) / decision.temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    own: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return own


@dataclass(frozen=True)
class StepWeights:
    """What each stored score of 8 bits weighs: a class has the probability of its weight's share in all weights.

    `weights` is float64 [256], by the stored score minus the least of its type; where it `is_relative`, the score is
    counted from the row's largest, which is taken for the largest of the type. The C has the same table and forms the
    same sum, so that both show the same float32.
    """

    weights: NDArray[np.float64]
    is_relative: bool


def step_weights(spec: Quantized, *, scores: str, temperature: float, floor: float) -> StepWeights | None:
    """Return what the stored scores of an output weigh at a temperature: what `calibrated` computes, as a table.

    Of logits it is their softmax. None where there is no table: for probabilities that are shown as they are
    (temperature 1, floor 0), and for a type of more than 8 bits.
    """
    dtype = np.dtype(spec.dtype)
    if dtype.itemsize != 1 or (scores == PROBABILITIES and temperature == 1 and not floor):
        return None
    if scores == PROBABILITIES:
        stored = (np.arange(_STEPS) + np.iinfo(dtype).min).astype(dtype)
        own = real_values(stored, spec).astype(np.float64)
        logs = np.log(np.maximum(own, max(floor, _NEVER_SEEN))) / temperature
        return StepWeights(np.exp(np.maximum(logs, _LEAST_LOG)), is_relative=False)
    below = np.arange(1 - _STEPS, 1) * (spec.scale or 1.0)
    return StepWeights(np.exp(below / temperature), is_relative=True)


def weighted(steps: StepWeights, raw: NDArray[Any]) -> Floats:
    """Return the class probabilities, float32 [N, classes], of stored scores int8 or uint8 [N, classes]."""
    places = raw.astype(np.intp) - np.iinfo(raw.dtype).min
    if steps.is_relative:
        places += _STEPS - 1 - places.max(axis=1, keepdims=True)
    weights = steps.weights[places]
    total = np.cumsum(weights, axis=1)[:, -1:]  # one after the other, as the C adds; `sum` would add in pairs
    own: Floats = (weights / total).astype(np.float32)
    return own


def reasons_to_refuse(
    pixels: NDArray[np.uint8], probabilities: Floats, contract: Contract, decision: Decision
) -> list[str]:
    """Return for each image with its calibrated probabilities why to refuse it, or "".

    Images are uint8 [N, H, W] or [N, H, W, C], as the network saw them; digits are MNIST's already.
    """
    labels, needs_ink = (
        contract.labels,
        contract.picture == DIGIT,
    )  # of other images one that is black may be as good as any
    typical = typicality(pixels, decision)
    limits = {"least_probability": decision.least_probability, "least_typicality": decision.least_typicality}
    return [
        reason_to_refuse(bool(image.any()) or not needs_ink, own.tolist(), logs.tolist(), labels, **limits)
        for image, own, logs in zip(pixels, probabilities, typical, strict=True)
    ]


def reason_of_scores(probabilities: NDArray[np.float32], labels: Sequence[str], decision: Decision) -> str:
    """Return why to refuse what is no picture, by its calibrated probabilities [classes] alone, or ""."""
    limits = {"least_probability": decision.least_probability, "least_typicality": -math.inf}
    return reason_to_refuse(True, probabilities.tolist(), (), labels, **limits)


def much_smaller(heights: NDArray[np.int64], accepted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which marks of a page are much lower than the accepted ones usually are: print, and scraps of rules.

    Of a few marks none is: there is no usual height.
    """
    if accepted.sum() < _FEW:
        return np.zeros(len(heights), np.bool_)
    lower: NDArray[np.bool_] = heights < _SMALL * median(heights[accepted])
    return lower


def typicality(pixels: NDArray[np.uint8], decision: Decision) -> Floats:
    """Return the log of how typical each image is of each class, and of none: [N, classes + 1]; [N, 0] if not known."""
    if not decision.layers:
        return np.zeros((len(pixels), 0), np.float32)
    return log_probabilities(pixels.reshape(len(pixels), SIDE, SIDE), decision.layers)
