"""Fit a network: augmentation, schedule, averaging and distillation as the recipe says; resumable, deterministic."""

from edgecnn.train.fit import EarlyStopping, Fit, fit

__all__ = ["EarlyStopping", "Fit", "fit"]
