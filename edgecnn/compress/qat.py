"""Quantization-aware training that keeps the zeros of a pruned network (PQAT) or the clusters of another (CQAT).

int8 rounding is simulated in the forward pass and the weights learn to live with it. tfmot's scheme for zeros holds
every weight at zero that was zero before.

tfmot's scheme for clusters is not used: it gives each filter of a convolution its own scale, so that 16 values a kernel
become 16 a filter, and different ones in each. Here every kernel has one scale, and after each step the weights of
a cluster become their mean, zeros staying zero (PCQAT): the int8 file holds as many values per kernel as there are
clusters, and compresses accordingly. Only in a network with BatchNormalization, which the converter folds into the
filters one by one, each filter has its own scale, and as many values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import clone, keras, tf, tfmot
from edgecnn.compress.kernels import kernels
from edgecnn.errors import ConfigError, unknown

# What of a model's structure QAT can keep; clusters include a cluster of zeros.
STRUCTURES = ("zeros", "clusters")


def quantize_aware(
    model: Any, *, calibration_inputs: NDArray[np.float32], fit: Callable[..., Any], preserve: str = "zeros"
) -> tuple[Any, Any]:
    """Return (a QAT model trained from `model`, what `fit` returned); `preserve` is one of `STRUCTURES`.

    `calibration_inputs` ([N, ...], made of training images) set the activation ranges to start from. Raises
    `ConfigError`, before anything is trained, for a layer that tfmot cannot train for int8.
    """
    wrapped = simulated(model, preserve=preserve)
    _start_from_calibration(wrapped, model, calibration_inputs)
    if preserve == "clusters":
        return wrapped, fit(wrapped, callbacks=[_KeepClusters(wrapped, model)])
    return wrapped, fit(wrapped)


def simulated(model: Any, *, preserve: str = "zeros") -> Any:
    """Return a copy of `model` that simulates int8 and is not trained for it yet.

    Raises `ConfigError` for a layer that tfmot cannot train for int8, and for what is none of `STRUCTURES`.
    """
    if preserve not in STRUCTURES:
        raise unknown("preserve", preserve, STRUCTURES)
    quantization = tfmot.quantization.keras
    keras.backend.reset_uids()  # tfmot numbers its layers by how many the process made; names reach the file
    try:
        annotated = quantization.quantize_annotate_model(clone(model))
        return quantization.quantize_apply(annotated, _scheme(model, preserve))
    except (RuntimeError, ValueError, AttributeError) as error:
        # As tfmot says it, but with the class by its short name: Layer norm1:BatchNormalization is not supported
        reason = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", str(error).strip().splitlines()[0].split(". ")[0])
        raise ConfigError(
            f"quantize qat: tfmot cannot train this model for int8 ({reason}); "
            f"choose another architecture, or --method ptq"
        ) from None


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


class _KeepClusters(keras.callbacks.Callback):  # type: ignore[misc]
    """After every step, sets the weights of each cluster of `plain` to their mean in `wrapped`, zeros to zero."""

    def __init__(self, wrapped: Any, plain: Any) -> None:
        super().__init__()
        self._clusters = []
        for name, kernel in kernels(plain).items():
            values, members = np.unique(kernel, return_inverse=True)
            trained = next(w for w in wrapped.get_layer(f"quant_{name}").weights if _short(w.name) == "kernel")
            self._clusters.append((trained, members.reshape(kernel.shape), values != 0))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for kernel, members, nonzero in self._clusters:
            means = tf.math.unsorted_segment_mean(kernel, members, len(nonzero)) * nonzero.astype(np.float32)
            kernel.assign(tf.gather(means, members))


def _scheme(model: Any, preserve: str) -> Any:
    if preserve == "zeros":
        return tfmot.experimental.combine.Default8BitPrunePreserveQuantizeScheme()
    normalized = any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)
    return tfmot.quantization.keras.default_8bit.Default8BitQuantizeScheme(disable_per_axis=not normalized)


def _start_from_calibration(wrapped: Any, plain: Any, inputs: NDArray[np.float32]) -> None:
    """Set each activation range to what calibration sees.

    tfmot starts every range at [-6, 6] and lets a moving average (decay 0.999) find the real one: thousands of
    steps in which half of the int8 range is wasted, more than a short fine-tuning has.
    """
    for layer in plain.layers:
        quantized = next((q for q in wrapped.layers if q.name == f"quant_{layer.name}"), None)
        ranges = {_short(w.name): w for w in quantized.weights} if quantized is not None else {}
        values = _activation(plain, layer, inputs) if "post_activation_min" in ranges else None
        if values is not None:
            # The range must hold zero, so that padding and pruned weights are exact.
            ranges["post_activation_min"].assign(min(0.0, float(values.min())))
            ranges["post_activation_max"].assign(max(0.0, float(values.max())))


def _activation(model: Any, layer: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    probe = keras.Model(model.inputs, layer.output)
    return np.asarray(probe(inputs, training=False))


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
