"""The short way: a small plain picture that a model's C library takes as it is, read without numpy.

That is a digit in MNIST's shape; for a model of other gray images, a picture of its input's size.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecnn.device.files import C_LIBRARY, check_contract, labels_of, read_model, read_record, vouched_for
from edgecnn.device.prediction import check_probabilities, timed
from edgecnn.device.preprocessing.digit import are_digits, canonical_levels
from edgecnn.device.preprocessing.plain import read_plain
from edgecnn.device.runtimes.library import Library, Quantized, library_of

Quick = Callable[[Path], dict[str, Any] | None]


def quick_reader(model: Path, runtime: str | None) -> Quick | None:
    """Return what reads an image file, or answers None for one that needs more; None where no C library does `model`.

    It says what a `Prediction` says, by its names. Raises `ModelError` for a model that is not what its record says.
    """
    if runtime not in (None, C_LIBRARY):
        return None
    path = library_of(model, asked=runtime == C_LIBRARY)
    if path is None:
        return None
    from edgecnn.device.trust.plain import judged, read_plain_decision  # for nothing where there is no library

    vouched_for(model, read_model(model))
    library = Library(path)
    shape = library.input.shape[1:]
    if len(shape) != 3 or shape[2] != 1 or not library.input.scale:
        return None
    height, width, _ = shape
    record = read_record(model)
    labels = labels_of(model, library.output.shape[1], record, library.labels)
    check_contract(model, library.input.shape, library.input.dtype, record)
    decision = read_plain_decision(record, classes=len(labels), where=model)
    stored, digits = stored_pixels(library.input), are_digits(shape, labels)

    def read(image: Path) -> dict[str, Any] | None:
        timings_us: dict[str, float] = {}
        with timed(timings_us, "read"):
            plain = read_plain(image, opaque=not digits)
        if plain is None or plain[:2] != (width, height):
            return None
        with timed(timings_us, "preprocess"):
            levels = canonical_levels(plain[2]) if digits else plain[2]
        if levels is None:
            return None
        with timed(timings_us, "infer"):
            raw = real_values(library.scores(levels.translate(stored)), library.output)
        check_probabilities(min(raw), max(raw), sum(raw), model=model)
        with timed(timings_us, "judge"):
            probabilities, reason = judged(levels, raw, labels, decision, digits=digits)
        best = max(probabilities)
        return {
            "label": labels[probabilities.index(best)],
            "probability": best,
            "probabilities": tuple(probabilities),
            "accepted": not reason,
            "reason": reason,
            "timings_us": timings_us,
        }

    return read


def stored_pixels(spec: Quantized) -> bytes:
    """Return what is stored for each pixel 0..255: round((pixel / 255) / scale) + zero_point, clipped to the type."""
    low = -128 if spec.dtype == "int8" else 0
    values = (round(pixel / 255 / spec.scale) + spec.zero_point for pixel in range(256))
    return bytes(min(max(value, low), low + 255) & 255 for value in values)


def real_values(scores: list[int], spec: Quantized) -> list[float]:
    """Return the real values of stored scores, in the precision of float32."""
    return array("f", [(score - spec.zero_point) * spec.scale for score in scores]).tolist()
