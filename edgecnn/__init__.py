"""edgecnn: from labelled images to device-ready models.

``import edgecnn`` costs nothing: the names below are loaded when they are first used. They, and those of
`edgecnn.device` and `edgecnn.errors`, are the public API, as API.md beside this file says; all else is private.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn.config import RunConfig, configure
    from edgecnn.config.recipes import RECIPES
    from edgecnn.device import Prediction, Predictor
    from edgecnn.pipeline import run

__version__ = "0.1.0"

_ROOMS = {
    "Predictor": "edgecnn.device",
    "Prediction": "edgecnn.device",
    "RunConfig": "edgecnn.config",
    "configure": "edgecnn.config",
    "RECIPES": "edgecnn.config.recipes",
    "run": "edgecnn.pipeline",
}

__all__ = ["RECIPES", "Prediction", "Predictor", "RunConfig", "__version__", "configure", "run"]


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'edgecnn' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)
