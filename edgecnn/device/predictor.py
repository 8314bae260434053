"""The predictor: pixels in, label and probabilities out, whatever the model's numeric format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import PROBABILITIES, Quantized
from edgecnn.device.errors import ImageError, ModelError
from edgecnn.device.files import check_contract, labels_of, read_record
from edgecnn.device.prediction import check_probabilities, timed
from edgecnn.device.preprocessing.digit import are_digits
from edgecnn.device.preprocessing.sight import Source, read_gray, sight_of
from edgecnn.device.runtimes.loader import LoadedModel, TensorSpec, load
from edgecnn.device.trust.decision import (
    calibrated,
    much_smaller,
    read_decision,
    reasons_to_refuse,
    step_weights,
    weighted,
)
from edgecnn.device.trust.refusal import SMALL

if TYPE_CHECKING:
    from edgecnn.device.preprocessing.segment import Page


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
    model itself, else they are "0", "1", ...; and when to trust it from the record. A model of 28x28 gray pixels and
    the classes "0" to "9" reads digits, which are found in a picture of any size and brought into MNIST's shape; for
    any other a picture is stretched to its input. `watch` is called with the pixels that the network saw, uint8 [H, W]
    or [H, W, 3], and the prediction made of them, each time. Raises `ModelError` when the model does not take one gray
    or RGB image.
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
        height, width, channels = self.input.shape[1:]
        self.shape = (height, width, channels)
        self.reads_digits = are_digits(self.shape, self.labels)
        self._sight = sight_of(self.shape, digits=self.reads_digits)
        self._encoding = input_encoding(self.input)
        self._decision = read_decision(record, classes=len(self.labels), where=path)
        self._steps = step_weights(
            Quantized(self.output.dtype, self.output.scale, self.output.zero_point),
            scores=PROBABILITIES,
            temperature=self._decision.temperature,
            floor=self._decision.floor,
        )
        self._watch = watch

    def predict(self, image: Source) -> Prediction:
        """Return the prediction for an image file, or for a uint8 array [H, W] or [H, W, 3] of any size.

        What reads digits takes no colors in an array.
        """
        return self.look(image)[0]

    def look(self, image: Source, *, max_pixels: int | None = None) -> tuple[Prediction, NDArray[np.uint8]]:
        """Return the same prediction as `predict`, and what the network saw: uint8 [H, W] or [H, W, 3].

        Raises `ImageSizeError` for a file of more than `max_pixels`, before it is decoded.
        """
        timings_us: dict[str, float] = {}
        with timed(timings_us, "read"):
            picture = self._sight.read(image, max_pixels)
        with timed(timings_us, "preprocess"):
            pixels, refused = self._sight.see(picture)
        return self._prediction(pixels, timings_us, refused=refused), pixels

    def see(self, image: Source) -> NDArray[np.uint8]:
        """Return what the network would see of an image, uint8 [H, W] or [H, W, 3]; nothing is predicted."""
        return self._sight.see(self._sight.read(image, None))[0]

    def steps(self, image: Source) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return a title and a picture for every step from an image to what the network sees."""
        from edgecnn.device.preprocessing import show

        picture = self._sight.read(image, None)
        if self.reads_digits:
            return show.steps(picture)
        return show.stretched_steps(np.asarray(picture), self._sight.see(picture)[0])

    def predict_page(self, image: Source) -> list[PlacedPrediction]:
        """Return a prediction for each of several digits, rows from top to bottom and each from left to right."""
        from edgecnn.device.preprocessing.segment import (
            find_digits,  # a start that reads single digits need not pay for it
        )

        self.check_reads_digits("predict_page")
        return self.read(find_digits(read_gray(image)))

    def check_reads_digits(self, asked: str) -> None:
        """Raise `ModelError` for a model of other images than digits, which cannot do what was `asked`."""
        if not self.reads_digits:
            size = "x".join(map(str, self.shape))
            some = ", ".join(self.labels[:3]) + (", ..." if len(self.labels) > 3 else "")
            raise ModelError(
                f"{asked}: {self.model.path} reads images of {size} in {len(self.labels)} classes ({some}); "
                f"digits on a page are for models of 28x28x1 in the classes 0 to 9; leave it out"
            )

    def read(self, page: Page) -> list[PlacedPrediction]:
        """Return a prediction for each digit found on a page, in its order."""
        read = [self._prediction(found.pixels, {}) for found in page.digits]
        if self._decision.layers:
            accepted = np.array([prediction.accepted for prediction in read], np.bool_)
            is_small = much_smaller(np.array([found.box[3] for found in page.digits]), accepted) & accepted
            read = [replace(p, accepted=False, reason=SMALL) if s else p for p, s in zip(read, is_small, strict=True)]
        return [PlacedPrediction(found.row, found.box, p) for found, p in zip(page.digits, read, strict=True)]

    def predict_batch(self, images: Sequence[Source]) -> list[Prediction]:
        """Return a prediction per image, in order."""
        return [self.predict(image) for image in images]

    def _prediction(self, pixels: NDArray[np.uint8], timings_us: dict[str, float], *, refused: str = "") -> Prediction:
        """Return the prediction for what the network is to see, `refused` for a reason or judged here."""
        with timed(timings_us, "infer"):
            stored = self._stored_scores(pixels.reshape(1, *self.shape))
        raw = decode_output(stored, self.output)
        check_probabilities(float(raw.min()), float(raw.max()), float(raw.sum()), model=self.model.path)
        with timed(timings_us, "judge"):
            probabilities = calibrated(raw, self._decision) if self._steps is None else weighted(self._steps, stored)
            reason = refused or reasons_to_refuse(pixels[None], probabilities, self.labels, self._decision)[0]
        best = int(probabilities[0].argmax())
        all_of_them = tuple(map(float, probabilities[0]))
        prediction = Prediction(self.labels[best], all_of_them[best], all_of_them, not reason, reason, timings_us)
        if self._watch is not None:
            self._watch(pixels, prediction)
        return prediction

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the network's own class probabilities [N, classes] of uint8 [N, H, W, C] in its own size.

        One inference each, and not calibrated.
        """
        return decode_output(self._stored_scores(pixels), self.output)

    def _stored_scores(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return what the output stores of the images, [N, classes] in its own type; one inference each."""
        return np.concatenate([self.model.invoke([self.encode(pixels[i : i + 1])])[0] for i in range(len(pixels))])

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return uint8 [N, H, W, C] as the model's input type; raises `ImageError` for another size or type."""
        if pixels.shape[1:] != self.shape or pixels.dtype != np.uint8:
            expected = ", ".join(map(str, self.shape))
            raise ImageError(f"pixels: {pixels.dtype} {list(pixels.shape)}; expected uint8 [N, {expected}]")
        encoded: NDArray[Any] = self._encoding[pixels]
        return encoded


def image_classifier(model: LoadedModel) -> tuple[TensorSpec, TensorSpec]:
    """Return input and output of a model that maps one gray or RGB image to a row of scores; else `ModelError`."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        found = f"{len(model.inputs)} inputs and {len(model.outputs)} outputs"
        raise ModelError(f"{model.path}: {found}; expected one of each; give an image classifier")
    shape, scores = model.inputs[0].shape, model.outputs[0].shape
    is_image = len(shape) == 4 and shape[0] in (1, -1) and min(shape[1:]) > 0 and shape[3] in (1, 3)
    if not is_image:
        raise ModelError(
            f"{model.path}: input is {list(shape)}; expected [1, height, width, 1 or 3]; give a model of such images"
        )
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
