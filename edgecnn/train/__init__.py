"""Fit a network: augmentation, schedule, averaging and distillation as the recipe says; resumable, deterministic."""

from edgecnn.train.fit import EarlyStopping, Fit, fit
from edgecnn.train.lessons import Lesson, Lessons, lesson_bytes, make_lesson

__all__ = ["EarlyStopping", "Fit", "Lesson", "Lessons", "fit", "lesson_bytes", "make_lesson"]
