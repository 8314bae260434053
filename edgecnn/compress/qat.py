"""Quantization-aware training that keeps the zeros of a pruned network (PQAT).

int8 rounding is simulated in the forward pass and the weights learn to live with it. tfmot's scheme holds every
weight at zero that was zero before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras, tfmot


def quantize_aware(model: Any, *, calibration_images: NDArray[np.uint8], fit: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return (a QAT model trained from `model`, what `fit` returned).

    `calibration_images` (uint8 [N, H, W, C], from the training data) set the activation ranges to start from.
    """
    quantization = tfmot.quantization.keras
    keras.backend.reset_uids()  # tfmot numbers its layers by how many the process made; names reach the file
    annotated = quantization.quantize_annotate_model(clone(model))
    scheme = tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    wrapped = quantization.quantize_apply(annotated, scheme)
    _start_from_calibration(wrapped, model, calibration_images)
    return wrapped, fit(wrapped)


def without_wrappers(wrapped: Any) -> Any:
    """Return the float32 model inside a QAT model, with the weights that QAT found."""
    plain = keras.models.clone_model(wrapped, clone_function=_inner)
    for layer in plain.layers:
        if layer.weights:
            trained = {_short(w.name): w for w in wrapped.get_layer(f"quant_{layer.name}").weights}
            layer.set_weights([trained[_short(w.name)].numpy() for w in layer.weights])
    return plain


def is_quantization_aware(model: Any) -> bool:
    """Return whether `model` holds tfmot's quantization wrappers."""
    return any(type(layer).__name__ in ("QuantizeLayer", "QuantizeWrapperV2") for layer in model.layers)


def _start_from_calibration(wrapped: Any, plain: Any, images: NDArray[np.uint8]) -> None:
    """Set each activation range to what calibration sees.

    tfmot starts every range at [-6, 6] and lets a moving average (decay 0.999) find the real one: thousands of
    steps in which half of the int8 range is wasted, more than a short fine-tuning has.
    """
    for layer in plain.layers:
        quantized = next((q for q in wrapped.layers if q.name == f"quant_{layer.name}"), None)
        ranges = {_short(w.name): w for w in quantized.weights} if quantized is not None else {}
        values = _activation(plain, layer, images) if "post_activation_min" in ranges else None
        if values is not None:
            # The range must hold zero, so that padding and pruned weights are exact.
            ranges["post_activation_min"].assign(min(0.0, float(values.min())))
            ranges["post_activation_max"].assign(max(0.0, float(values.max())))


def _activation(model: Any, layer: Any, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    probe = keras.Model(model.inputs, layer.output)
    return np.asarray(probe(images.astype(np.float32) / np.float32(255), training=False))


def _inner(layer: Any) -> Any:
    """Return a fresh copy of what a wrapper wraps; the layer that quantizes the input becomes the identity."""
    if not hasattr(layer, "layer"):
        return keras.layers.Activation("linear", name=layer.name)
    config = layer.layer.get_config()
    activation: Any = getattr(layer.layer, "activation", None)
    if hasattr(activation, "activation"):  # tfmot put its own around it
        config["activation"] = keras.activations.serialize(activation.activation)
    return type(layer.layer).from_config(config)


def _short(name: str) -> str:
    return name.split("/")[-1].split(":")[0]
