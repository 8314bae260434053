"""Keras -> ONNX: float32 through tf2onnx, int8 as QDQ with per-channel weights through ONNX Runtime's quantizer.

Both take float32 [N, H, W, C] in [0, 1] named ``pixels``. int8 is stored unsigned, with 128 for a weight of zero: with
signed weights ONNX Runtime adds up pairs of products in 16 bits on x86 without VNNI, where they saturate, and the same
file reads a tenth of a point fewer of MNIST's images there. Unsigned, it says the same on every CPU.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import quiet, tf
from edgecnn.config import SCHEMES
from edgecnn.errors import ConfigError, unknown

OPSET = 17  # tf2onnx 1.17 stops at 18


def to_onnx(
    model: Any,
    *,
    scheme: str,
    representative_dataset: NDArray[np.uint8] | None = None,
    dynamic_batch: bool = False,
) -> bytes:
    """Return the ONNX file for a Keras model that takes float32 [N, H, W, C] in [0, 1].

    `scheme` is float32 or int8; int8 needs `representative_dataset`, uint8 [N, H, W, C] from the training data.
    Batch 1, or any batch size with `dynamic_batch`. The same model gives the same bytes.
    """
    if scheme not in SCHEMES["onnx"]:
        raise unknown("scheme for onnx", scheme, SCHEMES["onnx"])
    if scheme == "int8" and (representative_dataset is None or not len(representative_dataset)):
        raise ConfigError("export int8: 0 calibration images; needs at least 1; pass --calibration-images")
    exported = _float32(model, batch=None if dynamic_batch else 1)
    if scheme == "int8":
        exported = _quantized(exported, representative_dataset)
    return bytes(exported.SerializeToString(deterministic=True))


def _float32(model: Any, *, batch: int | None) -> Any:
    import tf2onnx

    signature = (tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="pixels"),)
    with quiet():
        converted, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    return _with_stable_names(converted)


def _quantized(exported: Any, images: Any) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._images: Iterator[NDArray[np.uint8]] = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image = next(self._images, None)
            return None if image is None else {"pixels": image[None].astype(np.float32) / np.float32(255)}

    with tempfile.TemporaryDirectory() as folder, quiet():
        target = Path(folder) / "int8.onnx"
        quantize_static(
            exported,
            target,
            Calibration(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            extra_options={"WeightSymmetric": True},  # zero is 128 in every channel, so that pruning still compresses
        )
        return onnx.load(target)


def _with_stable_names(model: Any) -> Any:
    """Number the names that tf2onnx makes up (``conv1/BiasAdd__8``) by their order in the file.

    Its counter runs on through the life of the process, so the same model converted twice would differ.
    """
    numbers: dict[str, str] = {}

    def stable(name: str) -> str:
        return re.sub(r"__(\d+)", lambda m: numbers.setdefault(m[0], f"__{len(numbers)}"), name)

    graph = model.graph
    for node in graph.node:
        node.name = stable(node.name)
        node.input[:] = [stable(name) for name in node.input]
        node.output[:] = [stable(name) for name in node.output]
    for value in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        value.name = stable(value.name)
    return model
