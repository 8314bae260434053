"""Lessons: distorted training images with a teacher's answers, made once and learned from by any number of students.

A student learns most when it hears what its teacher says of the very image that it sees itself (L. Beyer et al.,
"Knowledge distillation: A good teacher is patient and consistent", 2022). Asking the teacher anew in every epoch
would cost more than the student's training; its answers are kept instead, for a number of distorted views of every
image, through which the epochs go in turn (Z. Shen and E. Xing, "A Fast Knowledge Distillation Framework for Visual
Recognition", 2022).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import network_input, tf
from edgecnn.config.settings import Augmentation
from edgecnn.device.contract import Contract, unit
from edgecnn.errors import ArtifactError
from edgecnn.train.augmentation import augmented

_BATCH = 512


@dataclass(frozen=True)
class Lesson:
    """One view of every training image, in their order, and the probabilities that the teacher gives it.

    `images` are uint8 [N, H, W, C], `answers` float32 [N, classes].
    """

    images: NDArray[np.uint8]
    answers: NDArray[np.float32]


@dataclass(frozen=True)
class Lessons(Sequence[Lesson]):
    """Lessons in files, one a view, read when they are asked for; `identity` says what they were made of."""

    paths: tuple[Path, ...]
    identity: str

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, view: Any) -> Any:
        return read_lesson(self.paths[view], identity=self.identity)


def make_lesson(
    teachers: Sequence[Any],
    images: NDArray[np.uint8],
    *,
    augmentation: Augmentation,
    view: int,
    contracts: Sequence[Contract],
) -> Lesson:
    """Return view number `view` of `images` (uint8 [N, H, W, C]) with the mean of the teachers' probabilities.

    The teachers are Keras models, each with its contract. The distortion depends on `view` alone.
    """
    base = int(np.random.SeedSequence((view, 0x1E55)).generate_state(1, np.uint32)[0])
    # Compiled: the same graph runs for every batch, and a distortion is some thirty small operations.
    both = list(zip(teachers, contracts, strict=True))
    answer = tf.function(
        lambda x: tf.add_n([teacher(network_input(x, taken), training=False) for teacher, taken in both]) / len(both)
    )
    distorted = tf.function(lambda x, seed: augmented(x, augmentation=augmentation, seed=seed))
    views, answers = np.empty_like(images), []
    for number, start in enumerate(range(0, len(images), _BATCH)):
        pixels = tf.constant(unit(images[start : start + _BATCH]))
        seen = distorted(pixels, tf.constant([base, number], tf.int64)).numpy()
        # Rounded to bytes, which is what the student reads and the device sees.
        rounded = np.rint(seen * 255).astype(np.uint8)
        views[start : start + len(rounded)] = rounded
        answers.append(answer(tf.constant(unit(rounded))).numpy())
    return Lesson(views, np.concatenate(answers).astype(np.float32))


def lesson_bytes(lesson: Lesson, *, identity: str) -> bytes:
    """Return the content of a lesson's file."""
    buffer = io.BytesIO()
    np.savez(buffer, identity=np.array(identity), images=lesson.images, answers=lesson.answers)
    return buffer.getvalue()


def read_lesson(path: Path, *, identity: str) -> Lesson:
    """Return the lesson in `path`; raises `ArtifactError` for a damaged file and for one made of something else."""
    try:
        with np.load(path) as saved:
            found, lesson = str(saved["identity"]), Lesson(saved["images"], saved["answers"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path}: damaged ({error}); remove it to make it again") from None
    if found != identity:
        raise ArtifactError(f"{path}: made by another teacher or of other images; remove its folder to make it again")
    return lesson
