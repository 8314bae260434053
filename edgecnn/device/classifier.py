"""A loaded model under its contract: pixels of its own size in, class probabilities out, one inference each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import LOGITS, Contract, Quantized, real_values, softmax, stored
from edgecnn.device.errors import ImageError, ModelError
from edgecnn.device.files import check_contract, read_model, read_record, recorded_contract
from edgecnn.device.modelfiles.clues import QUANTIZATION, clues_of
from edgecnn.device.modelfiles.quantization import range_stored
from edgecnn.device.resolution import (
    METADATA,
    NOTHING_SAID,
    OPTIONS,
    Known,
    Model,
    Said,
    classes_of,
    resolved,
    without_batch,
)
from edgecnn.device.runtimes.loader import LoadedModel, TensorSpec

_TRIED, _SEED = 4, 17  # random inputs on which scores are looked at


class Classifier:
    """A model with one input, whose contract says what that is, and one row of scores.

    Attributes: `model`, `contract`. Raises `ModelError` for a model of other inputs and outputs, or of another contract
    than is given.
    """

    def __init__(self, model: LoadedModel, contract: Contract) -> None:
        self.model = model
        spec = _only("input", model.path, model.inputs)
        ends = quantized(spec), quantized(_only("output", model.path, model.outputs))
        check_contract(model.path, contract, without_batch(model.path, spec.shape), ends)
        classes = classes_of(model.path, model.outputs[0].shape)
        if len(contract.labels) != classes:
            raise ModelError(
                f"{model.path}: {classes} classes, its record names {len(contract.labels)}; copy both together"
            )
        self.contract = replace(contract, input=ends[0], output=ends[1])
        self._encode = self.contract.encoder() if contract.is_picture else None
        self._values = _values_of(ends[1])

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return uint8 [N, H, W, C], gray or RGB, as the model's input; else raises `ImageError`."""
        if self._encode is None or pixels.shape[1:] != self.contract.shape or pixels.dtype != np.uint8:
            expected = ", ".join(map(str, self.contract.shape))
            raise ImageError(f"pixels: {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, {expected}]")
        return self._encode(pixels)

    def of_own_input(self, values: NDArray[Any], *, where: str) -> NDArray[Any]:
        """Return an array of the input's own sizes, with or without a batch of 1, as the model's input.

        Floats are the real values, integers of the input's type what it stores; `ImageError` for anything else.
        """
        spec, sizes = self.contract.input, self.contract.tensor_shape
        is_float, is_stored = values.dtype.kind == "f", values.dtype == np.dtype(spec.dtype)
        if values.shape not in (sizes, (1, *sizes)) or not (is_float or is_stored):
            raise ImageError(
                f"{where}: {values.dtype} {list(values.shape)}; expected {list(sizes)}, real values as float32 or "
                f"what the input stores as {spec.dtype}; save such an array"
            )
        if is_float and not np.isfinite(values).all():
            raise ImageError(f"{where}: values that are no numbers; expected finite ones; save such an array")
        return (values if is_stored else stored(values, spec)).reshape(1, *sizes)

    def encoded(self, given: NDArray[Any]) -> NDArray[Any]:
        """Return images uint8 [N, H, W, C], or one array of the input's own sizes [1, ...], as the model's input."""
        return self.encode(given) if self.contract.is_picture else self.of_own_input(given, where="input")

    def probabilities(self, given: NDArray[Any]) -> NDArray[np.float32]:
        """Return the network's own class probabilities [N, classes] of images, or of its own inputs; not calibrated."""
        rows = [self.raw(self.encoded(given[i : i + 1])) for i in range(len(given))]
        return self.probabilities_of(rows[0] if len(rows) == 1 else np.concatenate(rows))

    def raw(self, encoded: NDArray[Any]) -> NDArray[Any]:
        """Return the scores [1, classes] of one input as the model stores them."""
        return self.model.invoke([encoded])[0].reshape(1, -1)

    def probabilities_of(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the probabilities [N, classes] of stored scores [N, classes]; softmax is applied to logits."""
        if self._values is None:
            scores = real_values(stored, self.contract.output)
        else:
            scores = self._values[stored.view(np.uint8)]
        return softmax(scores) if self.contract.scores == LOGITS else scores


def contract_of(model: LoadedModel, said: Said = NOTHING_SAID, *, wins: bool = False) -> Contract:
    """Return the contract of a model: as it is said, as its record, its file and what lies beside it say, or assumed.

    What is said must not contradict the record or the metadata, unless it `wins`. Raises `DeviceError`.
    """
    path = model.path
    spec, scores = _only("input", path, model.inputs), _only("output", path, model.outputs)
    record = read_record(path)
    recorded = recorded_contract(path, record) or model.contract
    if recorded is not None:
        check_contract(path, recorded, without_batch(path, spec.shape), (quantized(spec), quantized(scores)))
    asked = Model(
        path=path,
        input_shape=without_batch(path, spec.shape),
        classes=classes_of(path, scores.shape),
        input=quantized(spec),
        output=quantized(scores),
        names=model.labels,
    )
    return resolved(
        asked,
        said=said,
        recorded=recorded,
        clues={} if recorded is not None else clues_in(path, said, quantized(spec)),
        are_probabilities=lambda: are_probabilities(model),
        wins=wins,
    )


def clues_in(path: Path, said: Said, stored: Quantized) -> dict[str, Known]:
    """Return what a model's file says of its contract; `stored` is how its input stores real values.

    Raises `ModelError` where it says two things of the range that cannot both be, and neither is `said`. Metadata that
    cannot be read is no obstacle where what it should say is said.
    """
    options = said.clues()
    clues = clues_of(path, read_model(path), ignore_metadata="range" in options and "labels" in options)
    if clues.doubts and "range" not in options:
        raise ModelError(f"{path}: {clues.doubts[0]}; say what pixels become: {OPTIONS['range']}")
    pixels = clues.normalization or range_stored(stored)
    source = clues.sources.get("range", QUANTIZATION)
    values = {"channels": clues.channels, "labels": clues.labels, "scores": clues.scores, "layout": clues.layout}
    found = {part: Known(value, clues.sources[part]) for part, value in values.items() if value is not None}
    return found if pixels is None or clues.doubts else {**found, "range": Known(pixels, source)}


def metadata_in(path: Path) -> dict[str, Known]:
    """Return what a model's metadata says of its contract."""
    found = clues_of(path, read_model(path))
    values = {"range": found.normalization, "channels": found.channels, "labels": found.labels}
    return {part: Known(value, METADATA) for part, value in values.items() if found.sources.get(part) == METADATA}


def are_probabilities(model: LoadedModel) -> bool:
    """Return whether the scores of random inputs add up to 1, none below 0; else they are logits.

    Raises `ModelError` for scores that lie between 0 and 1 and do not: one sigmoid a class, and what they are is not
    known.
    """
    spec, made = model.inputs[0], quantized(model.outputs[0])
    rng = np.random.default_rng(_SEED)
    rows = [real_values(model.invoke([one])[0].reshape(1, -1), made) for one in _inputs(spec, rng)]
    scores = np.concatenate(rows)
    if not np.isfinite(scores).all():
        raise ModelError(f"{model.path}: its scores are no finite numbers; export it again")
    step = made.scale * scores.shape[1] / 2  # which rounding may add up to
    is_share = bool(scores.min() >= -made.scale and scores.max() <= 1 + made.scale + 1e-3)
    if is_share and np.abs(scores.sum(axis=1) - 1).max() <= 0.01 + step:
        return True
    if is_share and scores.max() > 0 and (scores > 0).all():
        raise ModelError(
            f"{model.path}: its scores lie between 0 and 1 and do not add up to 1, as those of one sigmoid a class; "
            f"expected probabilities or logits; say --logits to have a softmax of them"
        )
    return False


def _inputs(spec: TensorSpec, rng: np.random.Generator) -> Iterator[NDArray[Any]]:
    """Yield random inputs of a model: floats of several sizes, or any integers that it stores."""
    sizes = [max(1, size) for size in spec.shape]
    dtype = np.dtype(spec.dtype)
    for largest in (1.0, 255.0, 1.0, 255.0)[:_TRIED]:
        if dtype.kind == "f":
            yield (rng.random(sizes) * largest).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            yield rng.integers(limits.min, limits.max + 1, sizes).astype(dtype)


def _values_of(spec: Quantized) -> NDArray[np.float32] | None:
    """Return the real value of each score of eight bits, by its bits as uint8; None for scores of other types."""
    dtype = np.dtype(spec.dtype)
    return real_values(np.arange(256, dtype=np.uint8).view(dtype), spec) if dtype.itemsize == 1 else None


def quantized(spec: TensorSpec) -> Quantized:
    """Return how a model's input or output stores real values."""
    return Quantized(spec.dtype, spec.scale, spec.zero_point)


def _only(end: str, path: Path, specs: list[TensorSpec]) -> TensorSpec:
    if len(specs) != 1:
        raise ModelError(f"{path}: {len(specs)} {end}s; expected one; give an image classifier")
    return specs[0]
