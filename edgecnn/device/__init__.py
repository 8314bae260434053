"""What runs on the board: an image file in, a label and its probability out.

Stands alone: the standard library, numpy, Pillow and one runtime (ai-edge-litert, tflite-runtime or onnxruntime), or a
model's own C library.
It imports nothing else of edgecnn, and packs into one file, `predict.pyz`. The names below are loaded when first
used, so that a board without numpy gets a message instead of a traceback.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecnn.device.contract import Contract, ContractError, Quantized
    from edgecnn.device.errors import (
        DeviceError,
        DifferenceError,
        ImageError,
        ImageSizeError,
        ModelError,
        RuntimeMissingError,
    )
    from edgecnn.device.predictor import PlacedPrediction, Prediction, Predictor

__all__ = [
    "Contract",
    "ContractError",
    "DeviceError",
    "DifferenceError",
    "ImageError",
    "ImageSizeError",
    "ModelError",
    "PlacedPrediction",
    "Prediction",
    "Predictor",
    "Quantized",
    "RuntimeMissingError",
]

_ROOMS = {
    **dict.fromkeys(("Contract", "ContractError", "Quantized"), "contract"),
    **dict.fromkeys(("PlacedPrediction", "Prediction", "Predictor"), "predictor"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgecnn.device' has no attribute {name!r}")
    return getattr(import_module(f"edgecnn.device.{_ROOMS.get(name, 'errors')}"), name)
