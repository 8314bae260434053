"""What learning curves say, in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

# A network that learned nothing is right as often as a guess; half as often again is still nothing.
_CHANCE_TIMES = 1.5
# The validation loss at the end stands this much above its best while the training loss went on falling.
_CLIMB = 1.2
# The best epoch is the last one, and over the last fifth of the epochs the validation loss still fell by this share.
_STILL_FALLING = 0.05
# Training itself reads fewer than this share: the network or the training is too small for the set.
_LOW_TOP1 = 0.9


@dataclass(frozen=True)
class Verdict:
    """A word (dead, overfitting, underfitting, unfinished or settled) and the sentence that says why."""

    word: str
    sentence: str


def verdict(history: Sequence[dict[str, float]], *, classes: int) -> Verdict:
    """Judge the epochs of a training, each with `loss`, `accuracy`, `val_loss` and `val_accuracy`.

    Training figures are taken with dropout on, so a validation loss below the training loss is usual.
    """
    losses = [epoch["val_loss"] for epoch in history]
    numbers = [loss for loss in losses if isfinite(loss)]
    top1 = max(epoch["val_accuracy"] for epoch in history)
    if not numbers or top1 < _CHANCE_TIMES / classes:
        return Verdict(
            "dead",
            f"Validation top-1 never left chance ({top1:.1%} at best, {1 / classes:.1%} by guessing): look at the "
            f"learning rate, the initializers and the labels.",
        )
    best = losses.index(min(numbers))
    before_end = losses[-1 - max(1, len(losses) // 5)] if len(losses) > 1 else losses[0]
    if losses[-1] > _CLIMB * losses[best] and history[-1]["loss"] < history[best]["loss"]:
        return Verdict(
            "overfitting",
            f"After epoch {best + 1} the validation loss climbed from {losses[best]:.4f} to {losses[-1]:.4f} while the "
            f"training loss fell on; the weights of epoch {best + 1} were kept.",
        )
    if best == len(losses) - 1 and losses[best] < (1 - _STILL_FALLING) * before_end:
        return Verdict(
            "unfinished",
            f"The validation loss was still falling at the last epoch ({losses[best]:.4f}): more epochs would help.",
        )
    if history[best]["accuracy"] < _LOW_TOP1 and history[best]["val_accuracy"] < _LOW_TOP1:
        return Verdict(
            "underfitting",
            f"Even on the images it trains on it reads {history[best]['accuracy']:.1%}: the network, or the learning "
            f"rate, is too small for this set.",
        )
    return Verdict(
        "settled", f"The validation loss settled; the weights of epoch {best + 1} of {len(losses)} were kept."
    )
