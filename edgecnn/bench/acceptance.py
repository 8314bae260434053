"""How sure a model may say it is, and what it should refuse: fitted on validation, and accuracy against coverage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.bench.accuracy import calibration_curve, expected_calibration_error
from edgecnn.device.contract import LOGITS, PROBABILITIES, Contract
from edgecnn.device.trust.decision import Decision, calibrated, reasons_to_refuse, typicality
from edgecnn.device.trust.stats import counts_of
from edgecnn.device.trust.typicality import Layer, packed

Floats = NDArray[np.float32]
COVERAGE = 0.993  # of validation images are accepted
COVERAGES = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
_AT_ONCE = 1000  # images; for memory
_FEWEST_MISTAKES = 10  # among the validation images, for a model to be surer than it says
_UNSURE = 0.15  # of what is refused, at most, for a low probability; the rest for not being typical
_FLOORS = tuple(2.0**-n for n in range(8, 26, 2))  # from an integer model's step to the last bit below 1 of float32


def fitted(probabilities: Floats, labels: NDArray[np.int64], *, scores: str = PROBABILITIES) -> Decision:
    """Return temperature and floor with the least negative log likelihood of `labels` [N], and no rule.

    An integer model's 0 is anything below half a step of 1/256: what it stands for is fitted too. Golden section on the
    log of the temperature, for each floor tried: the likelihood has one maximum in it. The softmax of logits has no
    steps, and so no floor.
    """
    floors = (0.0,) if scores == LOGITS else _FLOORS
    tried = [_with_best_temperature(probabilities, labels, floor) for floor in floors]
    return min(tried, key=lambda both: both[0])[1]


def negative_log_likelihood(probabilities: Floats, labels: NDArray[np.int64], decision: Decision) -> float:
    """Return the mean of -log of the calibrated probability of the true class, in nats."""
    own = calibrated(probabilities, decision)[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(own, 1e-30)).mean())


def with_rule(
    decision: Decision, probabilities: Floats, pixels: NDArray[np.uint8], layers: Sequence[Layer]
) -> Decision:
    """Return `decision` with thresholds such that `COVERAGE` of these images, uint8 [N, H, W, C], are accepted.

    Without `layers`, what is typical is not known, and only a low probability is refused.
    """
    if not layers:
        sure = calibrated(probabilities, decision).max(axis=1)
        return replace(decision, least_probability=_threshold(sure, 1 - COVERAGE), least_typicality=0.0)
    of_class = Decision(decision.temperature, decision.floor, layers=tuple(layers))
    sure = calibrated(probabilities, decision)
    least_probability = _threshold(sure.max(axis=1), (1 - COVERAGE) * _UNSURE)
    typical = typicality(pixels, of_class)[np.arange(len(pixels)), sure.argmax(axis=1)]
    is_sure = sure.max(axis=1) >= least_probability
    # What is refused for its probability may be untypical too, so the rest to refuse is counted among the others.
    left = int((1 - COVERAGE) * len(pixels)) - int((~is_sure).sum())
    least_typicality = _threshold(typical[is_sure], left / is_sure.sum())
    return Decision(decision.temperature, decision.floor, least_probability, least_typicality, tuple(layers))


@dataclass(frozen=True)
class Applied:
    """Calibrated probabilities [N, classes], and which images were accepted [N]."""

    probabilities: Floats
    accepted: NDArray[np.bool_]


def applied(decision: Decision, probabilities: Floats, pixels: NDArray[np.uint8], contract: Contract) -> Applied:
    """Return what a decision makes of a network's probabilities [N, classes] of images uint8 [N, H, W, C]."""
    sure = calibrated(probabilities, decision)
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(pixels), _AT_ONCE)]
    reasons = [reason for part in parts for reason in reasons_to_refuse(pixels[part], sure[part], contract, decision)]
    return Applied(sure, np.array([not reason for reason in reasons]))


def described(
    decision: Decision,
    probabilities: Floats,
    labels: NDArray[np.int64],
    pixels: NDArray[np.uint8],
    contract: Contract,
) -> dict[str, Any]:
    """Return what a record keeps of a decision, with how it does on the validation images that it was fitted to."""
    plain, both = Decision(floor=decision.floor), applied(decision, probabilities, pixels, contract)
    sure, accepted = both.probabilities, both.accepted
    means = pixels.reshape(len(pixels), -1).mean(axis=1)
    seen = counts_of(means, sure.max(axis=1).astype(np.float64), ~accepted)
    right = sure.argmax(axis=1) == labels
    return {
        "temperature": decision.temperature,
        "floor": decision.floor,
        "least_probability": decision.least_probability,
        "least_typicality": decision.least_typicality,
        "layers": packed(decision.layers),
        "seen": asdict(seen),
        "validation": {
            "images": len(labels),
            "coverage": float(accepted.mean()),
            "top1": float(right.mean()),
            "top1_accepted": float(right[accepted].mean()),
            "calibration_error_before": _calibration_error(probabilities, labels),
            "calibration_error": _calibration_error(sure, labels),
            "nll_before": negative_log_likelihood(probabilities, labels, plain),
            "nll": negative_log_likelihood(probabilities, labels, decision),
        },
    }


@dataclass(frozen=True)
class Covered:
    """Of the images a model is surest of, this share: top-1 there, and the least probability among them."""

    coverage: float
    top1: float
    least_probability: float


def coverage_curve(probabilities: Floats, labels: NDArray[np.int64]) -> list[Covered]:
    """Return top-1 of the surest images [N, classes], at each of `COVERAGES`; ties in the order of the images.

    Y. Geifman and R. El-Yaniv, "Selective Classification for Deep Neural Networks" (2017): the risk-coverage curve.
    """
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    counts = [max(1, round(coverage * len(labels))) for coverage in COVERAGES]
    return [
        Covered(coverage, float(right[:count].mean()), float(confidence[order[count - 1]]))
        for coverage, count in zip(COVERAGES, counts, strict=True)
    ]


def _with_best_temperature(probabilities: Floats, labels: NDArray[np.int64], floor: float) -> tuple[float, Decision]:
    """Return the least negative log likelihood for a floor, and its decision."""
    logs = np.log(np.maximum(probabilities, max(floor, 1e-30)).astype(np.float64))
    of_truth = logs[np.arange(len(labels)), labels].mean()

    def loss(temperature: float) -> float:
        return float(np.log(np.exp(logs / temperature).sum(axis=1)).mean() - of_truth / temperature)

    # With next to no mistake the likelihood grows for as long as probabilities are sharpened; that proves nothing.
    mistakes = int((probabilities.argmax(axis=1) != labels).sum())
    ratio, low, high = (5**0.5 - 1) / 2, 0.0 if mistakes < _FEWEST_MISTAKES else np.log(0.2), np.log(5.0)
    for _ in range(25):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(np.exp(left)) <= loss(np.exp(right)) else (left, high)
    temperature = float(f"{np.exp((low + high) / 2):.5g}")
    return loss(temperature), Decision(temperature, floor)


def _threshold(scores: NDArray[Any], share: float) -> float:
    """Return a value that at most `share` of `scores` lie below, halfway to the next lower one."""
    ordered = np.sort(scores.astype(np.float64))
    place = int(share * len(ordered))
    lower = ordered[ordered < ordered[place]]
    return float(ordered[place] if not len(lower) else (ordered[place] + lower[-1]) / 2)


def _calibration_error(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    return expected_calibration_error(calibration_curve(probabilities, labels))
