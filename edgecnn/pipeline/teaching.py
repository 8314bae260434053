"""The teacher of a run: its members, and the lessons that all trainings of the run learn from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgecnn import artifact, extras
from edgecnn.config.dicts import stated
from edgecnn.config.settings import Teacher
from edgecnn.pipeline.fitting import train_new
from edgecnn.pipeline.workspace import Workspace, described_data, recorded_model

if TYPE_CHECKING:
    from edgecnn.train import Lessons


def members(work: Workspace) -> tuple[Path, ...]:
    """Return where the models of the recipe's teacher lie; none when the recipe has no teacher."""
    count = work.config.teacher.members if work.config.teacher else 0
    return tuple(work.run.teacher / str(number) / "model.keras" for number in range(count))


def teach(work: Workspace) -> Lessons | None:
    """Train the members of the recipe's teacher and prepare its lessons, or what is left of both; return the lessons.

    Returns None when the recipe has no teacher.
    """
    extras.require("train", needed_by="teach")
    teacher = work.config.teacher
    if teacher is None:
        return None
    for number, path in enumerate(members(work)):
        own = replace(
            work.config, arch=teacher.arch, training=teacher.training, seed=number, teacher=None, arch_sha256=None
        )
        train_new(replace(work, config=own), path, f"teach {number}", recipe="teacher")
    lessons = _lessons(work, teacher)
    _make_missing(work, teacher, lessons)
    return lessons


def _lessons(work: Workspace, teacher: Teacher) -> Lessons:
    from edgecnn.train import Lessons

    made_of = {
        "teacher": [artifact.sha256(artifact.read_bytes(path)) for path in members(work)],
        "augmentation": stated(teacher.augmentation),
        "data": described_data(work),
    }
    paths = tuple(work.run.teacher / "lessons" / f"{view:02}.npz" for view in range(teacher.views))
    return Lessons(paths, artifact.sha256(json.dumps(made_of).encode()))


def _make_missing(work: Workspace, teacher: Teacher, lessons: Lessons) -> None:
    """Make the lessons that are not there yet, one file a view."""
    from edgecnn.train import lesson_bytes, make_lesson

    missing = [view for view, path in enumerate(lessons.paths) if not path.exists()]
    models = [recorded_model(path) for path in members(work)] if missing else []
    contracts = [artifact.read_record(path).contract for path in members(work)] if missing else []
    for view in missing:
        work.observe("lessons", view, teacher.views, {})
        lesson = make_lesson(
            models, work.data.train.images, augmentation=teacher.augmentation, view=view, contracts=contracts
        )
        artifact.write_atomic(lessons.paths[view], lesson_bytes(lesson, identity=lessons.identity))
        work.observe("lessons", view + 1, teacher.views, {})
