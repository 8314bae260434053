"""What the server answers: predictions as JSON, its health, and the files of its page. No sockets here."""

from __future__ import annotations

import io
from pkgutil import get_data
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.device.errors import ImageError, ImageSizeError, ModelError
from edgecnn.device.prediction import timed
from edgecnn.device.predictor import Prediction, Predictor
from edgecnn.device.preprocessing.segment import find_digits
from edgecnn.device.preprocessing.sight import Source, pixels_of, read_gray
from edgecnn.device.server.http import Head, HttpError, Response

_RAW = "application/octet-stream"
_ANY_IMAGE = ("", _RAW, "application/x-www-form-urlencoded")  # the last is what curl says of any --data-binary
_MOST_SCANS = 100  # of a JPEG; ten are usual, and each is worked through over the whole picture
_PAGE = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def page_files() -> dict[str, Response]:
    """Return the page's files by path, read from the package or from predict.pyz, so that no request opens any."""
    found = {}
    for path, (name, content_type) in _PAGE.items():
        content = get_data("edgecnn.device.server.server", f"page/{name}")
        if content is None:
            raise FileNotFoundError(name)
        found[path] = Response(200, content, content_type)
    return found


def warm_up(predictor: Predictor, max_pixels: int) -> None:
    """Do once, in the thread that will predict, what a first request would wait for, and take the memory it needs."""
    Image.init()
    Image.MAX_IMAGE_PIXELS = max_pixels  # for pictures inside others, such as an icon's, whose size shows only later
    drawing = np.full((280, 280), 255, np.uint8)
    drawing[56:224, 112:140] = 0
    file = io.BytesIO()
    Image.fromarray(drawing).save(file, "PNG")
    if predictor.reads_digits:
        find_digits(read_gray(io.BytesIO(file.getvalue())))
    seen = predictor.see(io.BytesIO(file.getvalue()))
    predictor.probabilities(seen.reshape(1, *predictor.shape))  # unlike predict, it is not counted


def check(head: Head) -> None:
    """Raise `HttpError` for a request to /predict whose body need not be read: its type or query is wrong."""
    content_type = _type_of(head)
    if content_type not in _ANY_IMAGE and not content_type.startswith("image/"):
        raise HttpError(
            415, f"Content-Type: {content_type[:60]!r}; expected an image's, or {_RAW} for the model's own pixels"
        )
    for name, value in head.query.items():
        if name not in ("segment", "pixels") or value not in ("0", "1"):
            raise HttpError(400, f"query: {name[:30]}={value[:30]!r}; expected segment or pixels, each 0 or 1")
    if "content-length" not in head.headers:
        raise HttpError(411, "Content-Length: missing; send an image as the body")
    if head.length == 0:
        raise HttpError(400, "body: 0 bytes; expected an image file")


def answer(
    predictor: Predictor, body: bytes, content_type: str, query: dict[str, str], max_pixels: int
) -> dict[str, Any]:
    """Return what /predict says of an image; raises `HttpError` for what is none."""
    with_pixels = query.get("pixels") == "1"
    try:
        source = _source(predictor, body, content_type)
        if query.get("segment") == "1":
            return _page(predictor, source, max_pixels, with_pixels)
        prediction, pixels = predictor.look(source, max_pixels=max_pixels)
    except ImageSizeError as error:
        raise HttpError(413, str(error)) from None
    except ImageError as error:
        raise HttpError(400, str(error)) from None
    values = _values(predictor, prediction, pixels if with_pixels else None)
    return values | {"timings_us": prediction.timings_us}


def _type_of(head: Head) -> str:
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def _source(predictor: Predictor, body: bytes, content_type: str) -> Source:
    """Return what a body holds: the pixels of the model's input, or an image file."""
    if content_type.partition(";")[0].strip().lower() == _RAW:
        return pixels_of(body, predictor.shape, where=f"body of {_RAW}")
    if body.startswith(b"\xff\xd8") and body.count(b"\xff\xda") > _MOST_SCANS:
        raise ImageError(f"image: a JPEG of over {_MOST_SCANS} scans; expected a photo; save it again")
    return io.BytesIO(body)


def _page(predictor: Predictor, source: Source, max_pixels: int, with_pixels: bool) -> dict[str, Any]:
    from edgecnn.device.commands import rows_of_labels

    try:
        predictor.check_reads_digits("segment")
    except ModelError as error:
        raise HttpError(400, str(error)) from None
    timings_us: dict[str, float] = {}
    with timed(timings_us, "read"):
        gray = read_gray(source, max_pixels)
    with timed(timings_us, "preprocess"):
        page = find_digits(gray)
    digits = predictor.read(page)
    inferred_us = sum(digit.prediction.timings_us.get("infer", 0.0) for digit in digits)
    return {
        "rows": rows_of_labels(digits),
        "digits": [
            {"row": digit.row, "box": digit.box}
            | _values(predictor, digit.prediction, found.pixels if with_pixels else None)
            for digit, found in zip(digits, page.digits, strict=True)
        ],
        "timings_us": {**timings_us, "infer": round(inferred_us, 1)},
    }


def _values(predictor: Predictor, prediction: Prediction, pixels: NDArray[np.uint8] | None) -> dict[str, Any]:
    """Return a prediction as the API says it, its probabilities by label."""
    values = vars(prediction) | {"probabilities": dict(zip(predictor.labels, prediction.probabilities, strict=True))}
    del values["timings_us"]
    return values if pixels is None else values | {"pixels": pixels.tolist()}
