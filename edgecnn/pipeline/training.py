"""The stage that trains a run's float32 baseline."""

from __future__ import annotations

from pathlib import Path

from edgecnn import artifact, extras
from edgecnn.pipeline.fitting import train_new
from edgecnn.pipeline.teaching import members, teach
from edgecnn.pipeline.workspace import Workspace


def train(work: Workspace) -> Path:
    """Train the float32 baseline, after its teacher where the recipe has one; return the path of its model."""
    extras.require("train", needed_by="train")
    path = work.run.model("baseline")
    train_new(work, path, "train", recipe="baseline", teachers=members(work), lessons=lambda: teach(work))
    return path


def check_stages(work: Workspace) -> None:
    """Raise `ConfigError`, before anything is trained, when tfmot cannot train the architecture for int8."""
    extras.require("train", needed_by="train")
    from edgecnn import zoo
    from edgecnn.compress import qat

    if artifact.record_path(work.run.model("baseline")).exists():
        return
    qat.simulated(zoo.build(work.config.arch, input_shape=work.data.input_shape, classes=len(work.data.labels)))
