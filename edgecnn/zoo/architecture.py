"""What the zoo knows of an architecture: its layers, its cost, how its page trained it and what that page printed."""

from __future__ import annotations

from dataclasses import dataclass

from edgecnn.config.settings import Training


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a page printed for its architecture; its best epoch was chosen on the test set, ours is not."""

    top1: float
    epochs: int  # at most so many were trained
    log_loss: float | None = None
    first_100_wrong: int | None = None  # of the first hundred test images


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Layers in the notation of `zoo.notation`, and their cost for images of `shape` in so many `classes`.

    `parameters` counts what batch normalization adds; `macs` are the multiply-accumulates of one inference.
    `training` is the page's, None for an architecture that has no page; `printed` is in order of the epochs.
    """

    layers: str
    parameters: int
    macs: int
    shape: tuple[int, int, int] = (28, 28, 1)
    classes: int = 10
    training: Training | None = None
    printed: tuple[Printed, ...] = ()
