"""edgecnn: from labelled images to device-ready models.

``import edgecnn`` costs nothing: the names below are loaded when they are first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_FACADE = {
    "Predictor": "edgecnn.device",
    "Prediction": "edgecnn.device",
    "RunConfig": "edgecnn.config",
    "RECIPES": "edgecnn.config.recipes",
    "run": "edgecnn.pipeline",
}

__all__ = ["RECIPES", "Prediction", "Predictor", "RunConfig", "__version__", "run"]


def __getattr__(name: str) -> Any:
    if name not in _FACADE:
        raise AttributeError(f"module 'edgecnn' has no attribute {name!r}")
    return getattr(import_module(_FACADE[name]), name)
