"""The predictor on the command line, the same for `edgecnn predict` and `predict.pyz`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.device.errors import DeviceError, ImageError
from edgecnn.device.files import C_LIBRARY, LIBRARY
from edgecnn.device.quick import quick_reader

if TYPE_CHECKING:
    from edgecnn.device.predictor import PlacedPrediction, Predictor


def predict_files(
    images: Sequence[Path],
    *,
    model: Path,
    runtime: str | None,
    threads: int,
    as_json: bool,
    segment: bool = False,
    show: Path | None = None,
) -> Iterator[str]:
    """Yield a line an image: ``digit.png  7  0.998``, or JSON with all probabilities; `segment`: a line a digit.

    Images are predicted one by one, so that a bad one stops the rest but loses none before it. `show` is a folder, or
    a .png for a single image, for a picture of what was seen.
    """
    if show is not None and show.suffix.lower() == ".png" and len(images) > 1:
        raise DeviceError(f"--show: {show} for {len(images)} images; expected a folder; leave .png out")
    quick = None if segment or show or threads != 1 else quick_reader(model, runtime)

    @cache
    def predictor() -> Predictor:
        from edgecnn.device.predictor import Predictor  # numpy, which a C library does without

        return Predictor(model, runtime=runtime, threads=threads)

    if quick is None:
        predictor()  # a model that cannot be loaded is told before an image that cannot
    for image in images:
        if segment:
            yield from _page(predictor(), image, as_json, show)
        elif quick is not None and (values := quick(image)) is not None:
            yield _line(image, values, C_LIBRARY, as_json)
        else:
            if quick is not None:
                _check_can_be_read(image)
            yield _digit(predictor(), image, as_json, show)


def _check_can_be_read(image: Path) -> None:
    """Raise `ImageError` for a picture that a C library does not read alone, where what it needs is not installed."""
    if image.exists() and not (find_spec("numpy") and find_spec("PIL")):
        raise ImageError(
            f"{image}: not a PGM, PNG or .raw file of 28x28 pixels in MNIST's shape; {LIBRARY} alone reads no other; "
            f"run: pip install numpy pillow"
        )


def _digit(predictor: Predictor, image: Path, as_json: bool, show: Path | None) -> str:
    from dataclasses import asdict

    prediction = predictor.predict(image)
    if show is not None:
        from edgecnn.device import show as drawing
        from edgecnn.device.pictures import read_gray

        caption = f"{image.name}: {prediction.label}, probability {prediction.probability:.3f}"
        drawing.save(drawing.contact_sheet(drawing.steps(read_gray(image)), caption), drawing.place(show, image))
    return _line(image, asdict(prediction), predictor.model.runtime, as_json)


def _line(image: Path, values: dict[str, Any], runtime: str, as_json: bool) -> str:
    """Return what is printed of a prediction, given by the names of `Prediction`."""
    if as_json:
        return json.dumps({"image": str(image), "runtime": runtime, **values})
    return f"{_one_field(image)}\t{values['label']}\t{values['probability']:.3f}"


def _page(predictor: Predictor, image: Path, as_json: bool, show: Path | None) -> Iterator[str]:
    from dataclasses import asdict

    from edgecnn.device.pictures import read_gray
    from edgecnn.device.segment import find_digits

    gray = read_gray(image)
    page = find_digits(gray)
    digits = predictor.read(page)
    if show is not None:
        from edgecnn.device import show as drawing

        labels = [digit.prediction.label for digit in digits]
        drawing.save(drawing.boxed_page(gray, page, labels), drawing.place(show, image))
    if as_json:
        found = [{"row": digit.row, "box": digit.box, **asdict(digit.prediction)} for digit in digits]
        yield json.dumps(
            {"image": str(image), "runtime": predictor.model.runtime, "rows": _rows(digits), "digits": found}
        )
    else:
        for digit in digits:
            box = "\t".join(map(str, digit.box))
            prediction = digit.prediction
            yield f"{_one_field(image)}\t{digit.row}\t{box}\t{prediction.label}\t{prediction.probability:.3f}"


def _rows(digits: Sequence[PlacedPrediction]) -> list[list[str]]:
    """Return the labels row by row."""
    count = 1 + max((digit.row for digit in digits), default=-1)
    return [[digit.prediction.label for digit in digits if digit.row == row] for row in range(count)]


def _one_field(image: Path) -> str:
    """Return a name that may hold a tab or a newline so that a row stays a row."""
    return str(image).translate({9: "\\t", 10: "\\n", 13: "\\r"})
