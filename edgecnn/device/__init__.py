"""What runs on the board: an image file in, a label and its probability out.

Stands alone: the standard library, numpy, Pillow and one runtime (ai-edge-litert, tflite-runtime or onnxruntime), or a
model's own C library.
It imports nothing else of edgecnn, and packs into one file, `predict.pyz`. The names below are loaded when first
used, so that a board without numpy gets a message instead of a traceback.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn.device.errors import DeviceError, ImageError, ModelError, RuntimeMissingError
    from edgecnn.device.predictor import PlacedPrediction, Prediction, Predictor

__all__ = [
    "DeviceError",
    "ImageError",
    "ModelError",
    "PlacedPrediction",
    "Prediction",
    "Predictor",
    "RuntimeMissingError",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgecnn.device' has no attribute {name!r}")
    room = "predictor" if "Predict" in name else "errors"
    return getattr(import_module(f"edgecnn.device.{room}"), name)
