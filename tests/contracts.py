"""Contracts for tests that call a stage by itself: pixels as 0..1 in the classes 0 to 9."""

from __future__ import annotations

import numpy as np

from edgecnn.device.contract import Contract


def taking(images: np.ndarray, **parts: object) -> Contract:
    """Return the contract of a network that takes `images`, uint8 [N, H, W, C], as 0..1."""
    height, width, channels = images.shape[1:]
    values = {"shape": (height, width, channels), "labels": tuple("0123456789")}
    return Contract(**{**values, "channels": "gray" if channels == 1 else "RGB", **parts})  # type: ignore[arg-type]
