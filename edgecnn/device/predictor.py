"""The predictor: pixels in, label and probabilities out, whatever the model's numeric format."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.classifier import Classifier, contract_of
from edgecnn.device.contract import ASSUMED, DIGIT, Contract
from edgecnn.device.errors import ImageError, ModelError
from edgecnn.device.files import one_line, read_record
from edgecnn.device.prediction import check_probabilities, timed
from edgecnn.device.preprocessing.sight import Sight, Source, flat, read_gray, sight_of
from edgecnn.device.resolution import NOTHING_SAID, Said, assumption_line
from edgecnn.device.runtimes.loader import LoadedModel, load
from edgecnn.device.trust.decision import (
    calibrated,
    much_smaller,
    read_decision,
    reason_of_scores,
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
    assumed: tuple[str, ...] = ()
    timings_us: dict[str, float] = field(default_factory=dict, compare=False)


_LOG = logging.getLogger("edgecnn")  # whose warnings go to stderr, a line each, where nobody configured logging
Watch = Callable[[NDArray[np.uint8], Prediction], None]


@dataclass(frozen=True)
class PlacedPrediction:
    """A digit of a page: its row, counted from 0 at the top, its box, and what it was read as.

    The box is left, top, width and height in pixels of the picture, turned as its file says.
    """

    row: int
    box: tuple[int, int, int, int]
    prediction: Prediction


class Predictor:
    """Classifies images with one model file.

    What it takes is its `contract`: as the record beside it says, or, for a model made elsewhere, as is `said`, as its
    file says, or assumed. When to trust it the record says. Where the contract says so, digits are found in a picture
    of any size and brought into MNIST's shape; else a picture is stretched to the input. `watch` is called with the
    pixels that the network saw, uint8 [H, W] or [H, W, 3], and the prediction made of them, each time; `warn` with a
    line, the first time that what is assumed matters. It may be used from several threads, which then call `watch`,
    too. Raises `ModelError` when the model does not take one input and score classes.
    """

    def __init__(
        self,
        model: str | Path | LoadedModel,
        *,
        runtime: str | None = None,
        threads: int = 1,
        watch: Watch | None = None,
        said: Said = NOTHING_SAID,
        contract: Contract | None = None,
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        """Load a model: a .tflite or .onnx file, or a C library (libmodel.so).

        `runtime` is `c`, `litert`, `tflite-runtime` or `ort`, by default the first of them that takes the file and
        works here; `threads` are the runtime's own. `labels` are the classes then, in the model's order, `shape` is
        height, width and channels of what it sees. Raises `RuntimeMissingError` where nothing installed can run it.
        """
        self.model = model if isinstance(model, LoadedModel) else load(Path(model), runtime=runtime, threads=threads)
        self._classifier = Classifier(self.model, contract_of(self.model, said) if contract is None else contract)
        self.contract = self._classifier.contract
        self.labels = list(self.contract.labels)
        self.reads_digits = self.contract.is_picture and self.contract.picture == DIGIT
        self._sight = sight_of(self.shape, digits=self.reads_digits) if self.contract.is_picture else None
        record = read_record(self.model.path)
        self._decision = read_decision(record, classes=len(self.labels), where=self.model.path)
        if not record and self.model.calibration is not None:
            temperature, floor = self.model.calibration
            self._decision = replace(self._decision, temperature=temperature, floor=floor)
        self._steps = step_weights(
            self.contract.output,
            scores=self.contract.scores,
            temperature=self._decision.temperature,
            floor=self._decision.floor,
        )
        self._watch, self._warn = watch, warn
        self._has_warned = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the pictures; raises `ModelError` for a model that takes none."""
        if not self.contract.is_picture:
            raise _takes_no_picture(self.model.path, self.contract)
        height, width, channels = self.contract.shape
        return height, width, channels

    def predict(self, image: Source) -> Prediction:
        """Return the prediction for an image of any size.

        That is an image file, by its path, by its content (`bytes`) or opened in binary mode; an image of Pillow; or an
        array uint8 [H, W], [H, W, 1] or, RGB, [H, W, 3]. For a model of gray pixels colors become gray. A .npy file
        may also hold an array of the network's own input, real values as floats, or what it stores. Raises `ImageError`
        for anything else.
        """
        if (own := _array_of(image)) is None:
            return self.look(image)[0]
        if own.dtype == np.uint8 and self.contract.is_picture:  # pixels, as a picture has them
            return self.look(own)[0]
        return self.predict_input(own, where=str(image))

    def predict_input(self, values: NDArray[Any], *, where: str = "input") -> Prediction:
        """Return the prediction for an array of the network's own input: a spectrogram, features, or a picture's.

        It has the input's own sizes, with or without a batch of 1; floats are real values, integers what it stores.
        """
        timings_us: dict[str, float] = {}
        with timed(timings_us, "preprocess"):
            encoded = self._classifier.of_own_input(values, where=where)
        with timed(timings_us, "infer"):
            stored = self._classifier.raw(encoded)
        with timed(timings_us, "judge"):
            probabilities = self._calibrated(stored)
            reason = reason_of_scores(probabilities[0], self.labels, self._decision)
        return self._made(probabilities[0], reason, (), timings_us)

    def look(self, image: Source, *, max_pixels: int | None = None) -> tuple[Prediction, NDArray[np.uint8]]:
        """Return the same prediction as `predict`, and what the network saw: uint8 [H, W] or [H, W, 3].

        Raises `ImageSizeError` for a file of more than `max_pixels`, before it is decoded.
        """
        if self._sight is None:
            raise ImageError(f"{_name(image)}: {_takes_no_picture(self.model.path, self.contract)}")
        timings_us: dict[str, float] = {}
        with timed(timings_us, "read"):
            picture = self._picture_sight.read(image, max_pixels)
        with timed(timings_us, "preprocess"):
            pixels, refused = self._picture_sight.see(picture)
        return self._prediction(pixels, timings_us, refused=refused, picture=picture), pixels

    def see(self, image: Source) -> NDArray[np.uint8]:
        """Return what the network would see of an image as `predict` takes it, uint8 [H, W] or [H, W, 3]."""
        return self._picture_sight.see(self._picture_sight.read(image, None))[0]

    def steps(self, image: Source) -> list[tuple[str, NDArray[np.uint8]]]:
        """Return a title and a picture, uint8 [H, W] or [H, W, 3], for every step from an image to what is seen."""
        from edgecnn.device.preprocessing import show

        picture = self._picture_sight.read(image, None)
        if self.reads_digits:
            return show.steps(picture)
        return show.stretched_steps(np.asarray(picture), self._picture_sight.see(picture)[0])

    @property
    def _picture_sight(self) -> Sight:
        if self._sight is None:
            raise _takes_no_picture(self.model.path, self.contract)
        return self._sight

    def predict_page(self, image: Source) -> list[PlacedPrediction]:
        """Return a prediction for each of several digits, rows from top to bottom and each from left to right.

        Raises `ModelError` for a model that does not read digits.
        """
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
        """Return a prediction per image, in order; each is what `predict` takes."""
        return [self.predict(image) for image in images]

    def _prediction(
        self, pixels: NDArray[np.uint8], timings_us: dict[str, float], *, refused: str = "", picture: Any = None
    ) -> Prediction:
        """Return the prediction for what the network is to see, `refused` for a reason or judged here.

        `picture` is what the pixels were made of; where nobody says how, another way may make others of it.
        """
        with timed(timings_us, "infer"):
            stored = self._classifier.raw(self._classifier.encode(pixels.reshape(1, *self.shape)))
        with timed(timings_us, "judge"):
            probabilities = self._calibrated(stored)
            reason = refused or reasons_to_refuse(pixels[None], probabilities, self.contract, self._decision)[0]
            assumed = self._assumed_of(pixels, picture) if self.contract.assumed else ()
        if assumed and not self._has_warned:
            self._has_warned = True
            self._warn(f"{self.model.path}: {assumption_line(self.contract)}")
        prediction = self._made(probabilities[0], reason, assumed, timings_us)
        if self._watch is not None:
            self._watch(pixels, prediction)
        return prediction

    def _made(
        self, probabilities: NDArray[np.float32], reason: str, assumed: tuple[str, ...], timings_us: dict[str, float]
    ) -> Prediction:
        best = int(probabilities.argmax())
        every = tuple(map(float, probabilities))
        reason = reason or (f"assumed: {', '.join(assumed)}" if assumed else "")
        return Prediction(self.labels[best], every[best], every, not reason, reason, assumed, timings_us)

    def _calibrated(self, stored: NDArray[Any]) -> NDArray[np.float32]:
        """Return the calibrated probabilities [1, classes] of the scores that the model stores.

        Raises `ModelError` where they are none.
        """
        raw = self._classifier.probabilities_of(stored)
        check_probabilities(float(raw.min()), float(raw.max()), float(raw.sum()), model=self.model.path)
        return calibrated(raw, self._decision) if self._steps is None else weighted(self._steps, stored)

    def _assumed_of(self, pixels: NDArray[np.uint8], picture: Any) -> tuple[str, ...]:
        """Return what is assumed of the model, less what makes no difference to these pixels.

        The order of channels makes none to gray pixels, nor the way to them where both ways lead to the same.
        """
        sources = self.contract.sources
        harmless = set()
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all() and len(self.contract.mean) == 1:
            harmless.add("channels")
        if sources.get("picture") == ASSUMED and picture is not None and self._is_stretched_alike(pixels, picture):
            harmless.add("picture")
        return self.contract.assumed_but(harmless)

    def _is_stretched_alike(self, pixels: NDArray[np.uint8], gray: NDArray[np.uint8]) -> bool:
        from PIL import Image

        from edgecnn.device.preprocessing.stretch import fitted

        return bool((flat(fitted(Image.fromarray(gray), self.shape)) == pixels).all())

    def probabilities(self, given: NDArray[Any]) -> NDArray[np.float32]:
        """Return the network's own class probabilities [N, classes] of uint8 [N, H, W, C] in its own size.

        Of a model that takes no pictures, of arrays of its own input [N, ...]. One inference each, and not calibrated.
        """
        return self._classifier.probabilities(given)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return uint8 [N, H, W, C] as the model's input; raises `ImageError` for another size or type."""
        return self._classifier.encode(pixels)


def _name(image: Source) -> str:
    return str(image) if isinstance(image, str | Path) else "image"


def _array_of(image: Source) -> NDArray[Any] | None:
    """Return the array in a .npy file; None for any other image."""
    is_file = isinstance(image, str | Path) and Path(image).suffix.lower() == ".npy"
    return read_array(Path(image)) if is_file else None  # type: ignore[arg-type]


def read_array(path: Path) -> NDArray[Any]:
    """Return the array in a .npy file; raises `ImageError` for anything else."""
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ImageError(f"{path}: no array can be read from it ({one_line(error)}); save it with numpy.save") from None
    if not isinstance(values, np.ndarray):
        raise ImageError(f"{path}: holds several arrays; expected one; save it with numpy.save")
    return values


def _takes_no_picture(path: Path, contract: Contract) -> ModelError:
    low, high = contract.input_range
    return ModelError(
        f"{path}: nothing says what its input {list(contract.shape)}, from {low:.4g} to {high:.4g}, is of a picture; "
        f"give arrays of it as .npy files, or say --layout and --input-range, or --mean and --std"
    )
