"""What learning curves say: one verdict, with the knob that likely helps. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

# A network that learned nothing is right as often as a guess; this share of the way from there to 1 is still nothing.
_LEARNED = 0.05
# What fewer epochs do is no curve.
_ENOUGH_EPOCHS = 3
# One epoch whose loss is no number may be a spike.
_NAN_EPOCHS = 2
# A training loss that falls by less than this share from one epoch to the next has stopped falling.
_FALLING = 0.01
# The validation loss, the mean of three epochs where there are so many behind the best, stands so far above the best.
_CLIMB, _CLIMB_EPOCHS = 1.2, 3
# So many epochs without a better validation loss, which climbs: no later one will be better.
_HOPELESS_EPOCHS = 6
# So much more of the images it trains on than of the others.
_GAP = 0.1
# The best epoch is the last one, and over the last fifth of the epochs the validation loss still fell by this share.
_STILL_FALLING = 0.05
# Training itself reads fewer than this share: the network or the training is too small for the set.
_LOW_TOP1 = 0.9
# Adam's usual rate is 0.001.
_HIGH_RATE, _LOW_RATE = 0.003, 0.00001

_LESS_BY_HEART = "train for fewer --epochs, or give it more dropout, augmentation or images, or fewer units"

Epochs = Sequence[dict[str, float]]


@dataclass(frozen=True)
class Verdict:
    """A word, what the curves show, and what likely helps (empty where nothing needs to be helped).

    The word is one of fits, overfits, underfits, unfinished, dead, diverged and short. `hopeless` says that no later
    epoch will be better.
    """

    word: str
    shows: str
    knob: str = ""
    hopeless: bool = False

    def __str__(self) -> str:
        """Say it in one line: ``overfits: the validation loss climbed ...; train for fewer --epochs ...``."""
        return f"{self.word}: {self.shows}{f'; {self.knob}' if self.knob else ''}"

    def sentence(self) -> str:
        """Return what it shows and what helps as a sentence, without the word."""
        said = f"{self.shows}; {self.knob}" if self.knob else self.shows
        return f"{said[0].upper()}{said[1:]}."


def verdict(
    history: Epochs,
    *,
    classes: int,
    best_epoch: int | None = None,
    learning_rate: float | None = None,
    initializer: str | None = None,
    at_chance: bool | None = None,
) -> Verdict:
    """Judge the epochs of a training, each with `loss`, `accuracy`, `val_loss` and `val_accuracy`.

    `best_epoch` is the one that was kept, counted from 0, -1 while none is; without it, that of the lowest validation
    loss. Training figures are taken with dropout on, so a validation loss below the training loss is usual. `at_chance`
    says whether what was kept reads the validation images no better than chance, by its balanced accuracy; None where
    that was not measured: then top-1 is compared with that of a guess, whatever the share of the classes.
    """
    failed = (
        _diverged(history, learning_rate)
        or _short(history)
        or _dead(history, classes, learning_rate, initializer, at_chance)
    )
    if failed:
        return failed
    losses = [epoch["val_loss"] for epoch in history]
    best = losses.index(min(losses)) if best_epoch is None else best_epoch
    if best < 0:
        return Verdict("short", "no epoch counts yet")
    return (
        _climbs(history, best)
        or _unfinished(history, best)  # while it still learns, the moving averages of batch normalization lag behind
        or _lags(history, classes, at_chance)
        or _by_heart(history)
        or _underfits(history, best, at_chance)
        or _fits(history, best)
    )


def _diverged(history: Epochs, learning_rate: float | None) -> Verdict | None:
    for number, epoch in enumerate(history, 1):
        if not (isfinite(epoch["loss"]) and isfinite(epoch["val_loss"])):
            last = history[-_NAN_EPOCHS:]
            return Verdict(
                "diverged",
                f"at epoch {number} the loss was no number any more (NaN or infinite)",
                f"lower the learning rate{_it_is(learning_rate)}",
                hopeless=len(last) == _NAN_EPOCHS and not any(isfinite(e["val_loss"]) for e in last),
            )
    return None


def _short(history: Epochs) -> Verdict | None:
    if len(history) >= _ENOUGH_EPOCHS:
        return None
    return Verdict("short", f"epochs: {len(history)}, too few to judge")


def _dead(
    history: Epochs, classes: int, learning_rate: float | None, initializer: str | None, at_chance: bool | None
) -> Verdict | None:
    # Of both, for validation may be of averaged weights, which lag behind in the first epochs.
    top1 = max(max(epoch["accuracy"], epoch["val_accuracy"]) for epoch in history)
    chance = 1 / classes
    still_falling = history[-1]["loss"] < (1 - _FALLING) * history[-2]["loss"]
    # What reads the images it trains on, and no others, learned something.
    learned = top1 >= _least_learned(classes) if at_chance is None else not at_chance or bool(_read(history))
    if still_falling or learned:
        return None
    rate = "look at"
    if learning_rate is not None and not _LOW_RATE <= learning_rate <= _HIGH_RATE:
        rate = "lower" if learning_rate > _HIGH_RATE else "raise"
    return Verdict(
        "dead",
        f"{_never_left(top1, classes)} {len(history)} epochs ({top1:.1%} at best, {chance:.1%} by guessing)",
        f"{rate} the learning rate{_it_is(learning_rate)}, then the initializers{_it_is(initializer)} and the labels",
        hopeless=True,
    )


def _never_left(top1: float, classes: int) -> str:
    """Return what was at chance level: where classes have unequal shares of the images, top-1 does not show it."""
    if top1 < _least_learned(classes):
        return "top-1 never left chance level in"
    return "whatever top-1 says, the validation images are read at chance level after"


def _it_is(value: float | str | None) -> str:
    return "" if value is None else f" (it is {value})" if isinstance(value, float) else f" (now {value})"


def _climbs(history: Epochs, best: int) -> Verdict | None:
    later = history[best + 1 :]
    last = later[-_CLIMB_EPOCHS:]
    if not last:
        return None
    loss, validation_loss = (sum(epoch[key] for epoch in last) / len(last) for key in ("loss", "val_loss"))
    if validation_loss <= _CLIMB * history[best]["val_loss"] or loss >= history[best]["loss"]:
        return None
    return Verdict(
        "overfits",
        f"after epoch {best + 1} the validation loss climbed from {history[best]['val_loss']:.4f} to "
        f"{history[-1]['val_loss']:.4f} while the training loss fell on{_read(history)}",
        _LESS_BY_HEART,
        hopeless=len(later) >= _HOPELESS_EPOCHS,
    )


def _lags(history: Epochs, classes: int, at_chance: bool | None) -> Verdict | None:
    """Return what it means that nothing of what is learned shows on the validation images at all."""
    read = _read(history)
    shows = history[-1]["val_accuracy"] >= _least_learned(classes) if at_chance is None else not at_chance
    if not read or shows:
        return None
    return Verdict(
        "unfinished",
        f"the validation images are read at chance level yet{read}",
        "train for more --epochs, until the moving averages of batch normalization have caught up; without that layer "
        "compare the labels of both splits",
    )


def _least_learned(classes: int) -> float:
    return 1 / classes + _LEARNED * (1 - 1 / classes)


def _by_heart(history: Epochs) -> Verdict | None:
    read = _read(history)
    return Verdict("overfits", f"the validation loss does not fall any more{read}", _LESS_BY_HEART) if read else None


def _read(history: Epochs) -> str:
    """Return how many images it reads at the end, where it reads many more of those it trains on; else nothing."""
    seen, unseen = history[-1]["accuracy"], history[-1]["val_accuracy"]
    return (
        f"; it reads {seen:.1%} of the images it trains on and {unseen:.1%} of the others"
        if seen - unseen >= _GAP
        else ""
    )


def _unfinished(history: Epochs, best: int) -> Verdict | None:
    before_end = history[-1 - max(1, len(history) // 5)]["val_loss"]
    # While the training images are not read either, a slow fall counts too.
    enough = _STILL_FALLING if history[best]["accuracy"] >= _LOW_TOP1 else 0
    if best < len(history) - 1 or history[best]["val_loss"] >= (1 - enough) * before_end:
        return None
    return Verdict(
        "unfinished",
        f"the validation loss was still falling at the last epoch ({history[best]['val_loss']:.4f})",
        "train for more --epochs",
    )


def _underfits(history: Epochs, best: int, at_chance: bool | None) -> Verdict | None:
    seen = history[best]["accuracy"]
    if not at_chance and (seen >= _LOW_TOP1 or history[best]["val_accuracy"] >= _LOW_TOP1):
        return None
    chance = ", and the validation images at chance level: it gives few of the classes" if at_chance else ""
    return Verdict(
        "underfits",
        f"even of the images it trains on it reads {seen:.1%}{chance}",
        "take a larger network, less dropout, or more epochs at another learning rate",
    )


def _fits(history: Epochs, best: int) -> Verdict:
    return Verdict("fits", f"the validation loss settled; epoch {best + 1} of {len(history)} is the best")
