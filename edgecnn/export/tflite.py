"""Keras -> TFLite, with post-training quantization by the converter.

Full-integer models take uint8 pixels (scale 1/255, zero point 0: the bytes of the image as they are) and return
int8 scores. Float models take float32 in [0, 1].
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import quiet, tf
from edgecnn.config import SCHEMES
from edgecnn.errors import ConfigError, unknown


def to_tflite(
    model: Any,
    *,
    scheme: str,
    representative_dataset: NDArray[np.uint8] | None = None,
    quantization_aware: bool = False,
) -> bytes:
    """Return the TFLite file for a Keras model that takes float32 [N, H, W, C] in [0, 1].

    `scheme` is float32, float16 (weights stored as float16), dynamic (int8 weights, float activations) or int8
    (full integer). int8 needs `representative_dataset`, uint8 [N, H, W, C] from the training data, unless the
    model is `quantization_aware` and carries its ranges. The same model gives the same bytes.
    """
    if scheme not in SCHEMES["tflite"]:
        raise unknown("scheme for tflite", scheme, SCHEMES["tflite"])
    converter = _converter(model)
    if scheme != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme == "int8":
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.int8
    if scheme == "int8" and not quantization_aware:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = _calibration(representative_dataset)
    with quiet(), warnings.catch_warnings():
        # QAT models carry their ranges; the converter warns that it was given none.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())


def _converter(model: Any) -> Any:
    """Return a converter for batch 1 whose tensor names do not depend on what the process did before."""
    shape = (1, *model.input_shape[1:])
    function = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="pixels")
    )
    return tf.lite.TFLiteConverter.from_concrete_functions([function], model)


def _calibration(images: NDArray[np.uint8] | None) -> Any:
    if images is None or not len(images):
        raise ConfigError("export int8: 0 calibration images; needs at least 1; pass --calibration-images")

    def representative() -> Iterator[list[NDArray[np.float32]]]:
        for image in images:
            yield [image[None].astype(np.float32) / np.float32(255)]

    return representative
