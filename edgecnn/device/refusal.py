"""The words in which a prediction is refused, and when: the rule alone, on numbers. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

NO_INK = "no ink on the paper"
SEVERAL = "several digits; use --segment"
NO_DIGIT = "looks like no digit"
SMALL = "much smaller than the others"


def reason_to_refuse(
    has_ink: bool,
    probabilities: Sequence[float],
    typical: Sequence[float],
    labels: Sequence[str],
    *,
    least_probability: float,
    least_typicality: float,
) -> str:
    """Return why to refuse an image, or "".

    Given are its calibrated probabilities, and the log of how typical it is of each class and of none; that is empty
    where nothing is known of it.
    """
    if not has_ink:
        return NO_INK
    best = _largest(probabilities)
    second = _largest([-1.0 if place == best else own for place, own in enumerate(probabilities)])
    if len(typical) and typical[best] < least_typicality:
        likely = _largest(typical)
        if likely == len(labels):
            return NO_DIGIT
        return _not_sure(labels, best, second if likely == best else likely)
    return _not_sure(labels, best, second) if probabilities[best] < least_probability else ""


def _largest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def _not_sure(labels: Sequence[str], best: int, other: int) -> str:
    return f"not sure: {labels[best]} or {labels[other]}"
