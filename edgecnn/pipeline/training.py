"""The stage that trains a run's float32 baseline."""

from __future__ import annotations

from pathlib import Path

from edgecnn import extras
from edgecnn.pipeline.fitting import train_new
from edgecnn.pipeline.teaching import members, teach
from edgecnn.pipeline.workspace import Workspace


def train(work: Workspace) -> Path:
    """Train the float32 baseline, after its teacher where the recipe has one; return the path of its model."""
    extras.require("train", needed_by="train")
    path = work.run.model("baseline")
    train_new(work, path, "train", recipe="baseline", teachers=members(work), lessons=lambda: teach(work))
    return path
