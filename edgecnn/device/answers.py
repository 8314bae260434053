"""What the server answers: predictions as JSON, its health, and the files of its page. No sockets here."""

from __future__ import annotations

import io
from pkgutil import get_data
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.device.digit import SIDE
from edgecnn.device.errors import ImageError, ImageSizeError
from edgecnn.device.http import Head, HttpError, Response
from edgecnn.device.pictures import read_gray
from edgecnn.device.predictor import Prediction, Predictor
from edgecnn.device.preprocessing import to_mnist
from edgecnn.device.segment import find_digits

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
        content = get_data("edgecnn.device", f"page/{name}")
        if content is None:
            raise FileNotFoundError(name)
        found[path] = Response(200, content, content_type)
    return found


def warm_up(predictor: Predictor, max_pixels: int) -> None:
    """Do once, in the thread that will predict, what a first request would wait for, and take the memory it needs."""
    Image.init()
    Image.MAX_IMAGE_PIXELS = max_pixels  # for pictures inside others, such as an icon's, whose size shows only later
    drawing = np.full((SIDE * 10, SIDE * 10), 255, np.uint8)
    drawing[SIDE * 2 : SIDE * 8, SIDE * 4 : SIDE * 5] = 0
    file = io.BytesIO()
    Image.fromarray(drawing).save(file, "PNG")
    gray = _gray(file.getvalue(), "", max_pixels)
    find_digits(gray)
    predictor.probabilities(to_mnist(gray)[None, :, :, None])  # unlike predict, it is not counted


def check(head: Head) -> None:
    """Raise `HttpError` for a request to /predict whose body need not be read: its type or query is wrong."""
    content_type = _type_of(head)
    if content_type not in _ANY_IMAGE and not content_type.startswith("image/"):
        raise HttpError(
            415, f"Content-Type: {content_type[:60]!r}; expected an image's, or {_RAW} for {SIDE**2} pixels"
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
    started = perf_counter()
    try:
        gray = _gray(body, content_type, max_pixels)
        read_us = round((perf_counter() - started) * 1e6, 1)
        with_pixels = query.get("pixels") == "1"
        if query.get("segment") == "1":
            return _page(predictor, gray, read_us, with_pixels)
        prediction, pixels = predictor.look(gray)
    except ImageSizeError as error:
        raise HttpError(413, str(error)) from None
    except ImageError as error:
        raise HttpError(400, str(error)) from None
    values = _values(predictor, prediction, pixels if with_pixels else None)
    return values | {"timings_us": prediction.timings_us | {"read": read_us}}


def _type_of(head: Head) -> str:
    return head.headers.get("content-type", "").partition(";")[0].strip().lower()


def _gray(body: bytes, content_type: str, max_pixels: int) -> NDArray[np.uint8]:
    """Return the picture that a body holds, uint8 [H, W]."""
    if content_type.partition(";")[0].strip().lower() == _RAW:
        if len(body) != SIDE**2:
            raise ImageError(
                f"body: {len(body)} bytes of {_RAW}; expected {SIDE**2} pixels, row by row; "
                f"give an image file with its own type, such as image/png"
            )
        return np.frombuffer(body, np.uint8).reshape(SIDE, SIDE)
    if body.startswith(b"\xff\xd8") and body.count(b"\xff\xda") > _MOST_SCANS:
        raise ImageError(f"image: a JPEG of over {_MOST_SCANS} scans; expected a photo; save it again")
    return read_gray(io.BytesIO(body), max_pixels=max_pixels)


def _page(predictor: Predictor, gray: NDArray[np.uint8], read_us: float, with_pixels: bool) -> dict[str, Any]:
    from edgecnn.device.commands import rows_of_labels

    started = perf_counter()
    page = find_digits(gray)
    found_us = round((perf_counter() - started) * 1e6, 1)
    digits = predictor.read(page)
    inferred_us = sum(digit.prediction.timings_us.get("infer", 0.0) for digit in digits)
    return {
        "rows": rows_of_labels(digits),
        "digits": [
            {"row": digit.row, "box": digit.box}
            | _values(predictor, digit.prediction, found.pixels if with_pixels else None)
            for digit, found in zip(digits, page.digits, strict=True)
        ],
        "timings_us": {"read": read_us, "preprocess": found_us, "infer": round(inferred_us, 1)},
    }


def _values(predictor: Predictor, prediction: Prediction, pixels: NDArray[np.uint8] | None) -> dict[str, Any]:
    """Return a prediction as the API says it, its probabilities by label."""
    values = vars(prediction) | {"probabilities": dict(zip(predictor.labels, prediction.probabilities, strict=True))}
    del values["timings_us"]
    return values if pixels is None else values | {"pixels": pixels.tolist()}
