"""What learning curves say, in one plain sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

# A network that learned nothing is right as often as a guess; this share of the way from there to 1 is still nothing.
_LEARNED = 0.05
# What fewer epochs do is no curve.
_ENOUGH_EPOCHS = 3
# The validation loss at the end stands this much above its best while the training loss went on falling.
_CLIMB = 1.2
# The best epoch is the last one, and over the last fifth of the epochs the validation loss still fell by this share.
_STILL_FALLING = 0.05
# Training itself reads fewer than this share: the network or the training is too small for the set.
_LOW_TOP1 = 0.9


@dataclass(frozen=True)
class Verdict:
    """A word and the sentence that says why.

    The word is one of diverged, short, dead, overfitting, unfinished, underfitting and settled.
    """

    word: str
    sentence: str


def verdict(history: Sequence[dict[str, float]], *, classes: int) -> Verdict:
    """Judge the epochs of a training, each with `loss`, `accuracy`, `val_loss` and `val_accuracy`.

    Training figures are taken with dropout on, so a validation loss below the training loss is usual.
    """
    return _failed(history, classes=classes) or _went(history)


def _failed(history: Sequence[dict[str, float]], *, classes: int) -> Verdict | None:
    """Return why the curves need no closer look: no numbers, too few epochs, nothing learned; else None."""
    for number, epoch in enumerate(history, 1):
        if not (isfinite(epoch["loss"]) and isfinite(epoch["val_loss"])):
            return Verdict(
                "diverged",
                f"At epoch {number} the loss was no number any more (NaN or infinite): lower the learning rate.",
            )
    if len(history) < _ENOUGH_EPOCHS:
        return Verdict("short", f"Epochs: {len(history)}; too few epochs to judge.")
    top1, chance = max(epoch["val_accuracy"] for epoch in history), 1 / classes
    if top1 < chance + _LEARNED * (1 - chance):
        return Verdict(
            "dead",
            f"Validation top-1 never left chance ({top1:.1%} at best, {chance:.1%} by guessing): look at the "
            f"learning rate, the initializers and the labels.",
        )
    return None


def _went(history: Sequence[dict[str, float]]) -> Verdict:
    """Judge the losses of a training that learned something."""
    losses = [epoch["val_loss"] for epoch in history]
    best = losses.index(min(losses))
    before_end = losses[-1 - max(1, len(losses) // 5)]
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
