"""The predictor: pixels in, label and probabilities out, whatever the model's numeric format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.canonical import checked_gray
from edgecnn.device.decision import calibrated, much_smaller, read_decision, reasons_to_refuse
from edgecnn.device.digit import SIDE
from edgecnn.device.errors import ImageError, ModelError, NoInkError
from edgecnn.device.files import check_contract, labels_of, read_record
from edgecnn.device.plain import read_plain
from edgecnn.device.prediction import check_probabilities, timed
from edgecnn.device.preprocessing import look
from edgecnn.device.refusal import SEVERAL, SMALL
from edgecnn.device.runtimes import LoadedModel, TensorSpec, load

if TYPE_CHECKING:
    from edgecnn.device.segment import Page

INPUT_SHAPE = (SIDE, SIDE, 1)


@dataclass(frozen=True)
class Prediction:
    """A class, how sure the network is of it, and the probabilities of all classes in the model's order.

    The probabilities are calibrated where the model's record says how. `accepted` says whether to trust it, `reason`
    why not (empty if accepted): no ink, several digits, and, where the record says what is typical, no digit or not
    sure; `timings_us` what each step took in microseconds: "read" the file, "preprocess" the picture, "infer", "judge".
    """

    label: str
    probability: float
    probabilities: tuple[float, ...]
    accepted: bool = True
    reason: str = ""
    timings_us: dict[str, float] = field(default_factory=dict, compare=False)


Watch = Callable[[NDArray[np.uint8], Prediction], None]


@dataclass(frozen=True)
class PlacedPrediction:
    """A digit of a page: its row, counted from the top from 0, its box, and what it was read as.

    The box is left, top, width and height in pixels of the picture, turned as its EXIF says.
    """

    row: int
    box: tuple[int, int, int, int]
    prediction: Prediction


class Predictor:
    """Classifies images with one model file.

    Input and output types, scale and zero point are read from the model; class names from the record beside it or the
    model itself, else they are "0", "1", ...; and when to trust it from the record. `watch` is called with the
    canonical image and the prediction made of it, each time. Raises `ModelError` when the model does not take a
    28x28x1 image.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel,
        *,
        runtime: str | None = None,
        threads: int = 1,
        watch: Watch | None = None,
    ) -> None:
        self.model = model if isinstance(model, LoadedModel) else load(Path(model), runtime=runtime, threads=threads)
        path = self.model.path
        self.input, self.output = image_classifier(self.model)
        record = read_record(path)
        self.labels = labels_of(path, self.output.shape[1], record, self.model.labels)
        check_contract(path, self.input.shape, self.input.dtype, record)
        self._encoding = input_encoding(self.input)
        self._decision = read_decision(record, classes=len(self.labels), where=path)
        self._watch = watch

    def predict(self, image: str | Path | NDArray[np.uint8]) -> Prediction:
        """Return the prediction for an image file, or for a uint8 array [H, W] of any size."""
        return self.look(image)[0]

    def look(self, image: str | Path | NDArray[np.uint8]) -> tuple[Prediction, NDArray[np.uint8]]:
        """Return the same prediction as `predict`, and the uint8 [28, 28] that the network saw."""
        timings_us: dict[str, float] = {}
        with timed(timings_us, "read"):
            gray = _gray(image)
        with timed(timings_us, "preprocess"):
            try:
                pixels, is_one_of_several = look(gray)
            except NoInkError:
                pixels, is_one_of_several = np.zeros((SIDE, SIDE), np.uint8), False
        return self._prediction(pixels, timings_us, refused=SEVERAL if is_one_of_several else ""), pixels

    def predict_page(self, image: str | Path | NDArray[np.uint8]) -> list[PlacedPrediction]:
        """Return a prediction for each of several digits, rows from top to bottom and each from left to right."""
        from edgecnn.device.segment import find_digits  # a start that reads single digits need not pay for it

        return self.read(find_digits(_gray(image)))

    def read(self, page: Page) -> list[PlacedPrediction]:
        """Return a prediction for each digit found on a page, in its order."""
        read = [self._prediction(found.pixels, {}) for found in page.digits]
        if self._decision.layers:
            accepted = np.array([prediction.accepted for prediction in read], np.bool_)
            is_small = much_smaller(np.array([found.box[3] for found in page.digits]), accepted) & accepted
            read = [replace(p, accepted=False, reason=SMALL) if s else p for p, s in zip(read, is_small, strict=True)]
        return [PlacedPrediction(found.row, found.box, p) for found, p in zip(page.digits, read, strict=True)]

    def predict_batch(self, images: Sequence[str | Path | NDArray[np.uint8]]) -> list[Prediction]:
        """Return a prediction per image, in order."""
        return [self.predict(image) for image in images]

    def _prediction(self, pixels: NDArray[np.uint8], timings_us: dict[str, float], *, refused: str = "") -> Prediction:
        """Return the prediction for one canonical image uint8 [28, 28], `refused` for a reason or judged here."""
        with timed(timings_us, "infer"):
            raw = self.probabilities(pixels[None, :, :, None])
        check_probabilities(float(raw.min()), float(raw.max()), float(raw.sum()), model=self.model.path)
        with timed(timings_us, "judge"):
            probabilities = calibrated(raw, self._decision)
            reason = refused or reasons_to_refuse(pixels[None], probabilities, self.labels, self._decision)[0]
        best = int(probabilities[0].argmax())
        all_of_them = tuple(map(float, probabilities[0]))
        prediction = Prediction(self.labels[best], all_of_them[best], all_of_them, not reason, reason, timings_us)
        if self._watch is not None:
            self._watch(pixels, prediction)
        return prediction

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's own class probabilities [N, classes] of canonical images uint8 [N, 28, 28, 1].

        One inference each, and not calibrated.
        """
        encoded = self.encode(pixels)
        raw = np.concatenate([self.model.invoke([encoded[i : i + 1]])[0] for i in range(len(encoded))])
        return decode_output(raw, self.output)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return canonical images uint8 [N, 28, 28, 1] as the model's input type; raises `ImageError` for others."""
        if pixels.shape[1:] != INPUT_SHAPE or pixels.dtype != np.uint8:
            raise ImageError(f"pixels: {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, 28, 28, 1]")
        encoded: NDArray[Any] = self._encoding[pixels]
        return encoded


def _gray(image: str | Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if not isinstance(image, str | Path):
        return checked_gray(np.asarray(image))
    plain = read_plain(Path(image))
    if plain is not None:
        width, height, levels = plain
        return np.frombuffer(levels, np.uint8).reshape(height, width)
    from edgecnn.device.pictures import read_gray  # Pillow, which takes longer to import than a digit to be read

    return read_gray(Path(image))


def image_classifier(model: LoadedModel) -> tuple[TensorSpec, TensorSpec]:
    """Return input and output of a model that maps one 28x28x1 image to a row of scores; else `ModelError`."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        found = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ModelError(f"{model.path}: {found}; expected one of each; give an image classifier")
    shape, scores = model.inputs[0].shape, model.outputs[0].shape
    if len(shape) != 4 or shape[1:] != INPUT_SHAPE or shape[0] not in (1, -1):
        raise ModelError(f"{model.path}: input is {list(shape)}; expected [1, 28, 28, 1]; give a model for such images")
    if len(scores) != 2 or scores[1] < 2:
        raise ModelError(f"{model.path}: output is {list(scores)}; expected [1, classes]; give a classifier")
    return model.inputs[0], model.outputs[0]


def input_encoding(spec: TensorSpec) -> NDArray[Any]:
    """Return what each pixel value 0..255 becomes: a table of 256 entries in the input's dtype.

    Float inputs get [0, 1]; quantized ones round((pixel / 255) / scale) + zero_point, clipped to the type
    (B. Jacob et al., "Quantization and Training of Neural Networks", 2018); uint8 without a scale gets the pixel.
    """
    unit = np.arange(256, dtype=np.float64) / 255
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return unit.astype(dtype)
    if not spec.scale and dtype == np.uint8:
        return np.arange(256, dtype=np.uint8)
    if not spec.scale or dtype.kind not in "iu":
        raise ModelError(f"input {spec.name}: {spec.dtype} without a scale; expected float, uint8 or a quantized type")
    limits = np.iinfo(dtype)
    quantized: NDArray[np.float64] = np.rint(unit / spec.scale) + spec.zero_point
    return quantized.clip(limits.min, limits.max).astype(dtype)


def decode_output(raw: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Return real values float32 of a model's output: (q - zero_point) * scale where it is quantized."""
    if not spec.scale:
        return raw.astype(np.float32)
    return ((raw.astype(np.float64) - spec.zero_point) * spec.scale).astype(np.float32)
