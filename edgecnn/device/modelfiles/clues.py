"""What a model file itself says of its input and its scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgecnn.device.contract import Quantized, range_name
from edgecnn.device.errors import DamagedError, ModelError
from edgecnn.device.modelfiles import onnx, onnx_metadata, tflite, tflite_metadata
from edgecnn.device.modelfiles.leading import (
    Normalization,
    layout_of,
    leading_map,
    order_before,
    quantized_first,
    range_before,
)
from edgecnn.device.modelfiles.metadata import Metadata
from edgecnn.device.modelfiles.onnx import OnnxFile
from edgecnn.device.modelfiles.quantization import is_raw, limits, range_stored
from edgecnn.device.modelfiles.scores import scores_of
from edgecnn.device.modelfiles.tflite import TFLiteFile

METADATA, LEADING, QUANTIZATION, LAST = "metadata", "leading layer", "quantization", "last layer"
_MOST_TIMES = 4.0  # how much wider one of two ranges may be that are to be the same
_UNKNOWN = Quantized("")


@dataclass(frozen=True, kw_only=True)
class Clues:
    """What a model file says; None where it does not.

    The values are those of a `Contract`: `normalization` is mean and std of pixel / 255. `sources` says of each part
    ("range", "channels", "labels", "scores", "layout") where it is known from. `doubts` are lines on what the file says
    twice and differently, which is then left open.
    """

    normalization: Normalization | None = None
    channels: str | None = None
    labels: tuple[str, ...] | None = None
    scores: str | None = None
    layout: str | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


def clues_of(path: Path, content: bytes, *, ignore_metadata: bool = False) -> Clues:
    """Return what the .tflite or .onnx file `path` with this `content` says of itself; of any other file nothing.

    Each part is known from the metadata, else from the first or last operators, else from the input's quantization.
    Constants in files of their own are looked up in the folder of `path`.

    Raises `ModelError` for metadata that cannot be read, unless `ignore_metadata`. A file that is damaged elsewhere
    says nothing: what is wrong with it is for the runtime to say.
    """
    try:
        file = _opened(path, content)
    except DamagedError:
        file = None
    if file is None:
        return Clues()
    metadata = Metadata() if ignore_metadata else _metadata(path, file)
    seen = _seen(file)
    normalization, source, doubts = _range(metadata.normalization, seen)
    channels, layout = metadata.channels or seen.order, metadata.layout or seen.layout
    known = (
        ("range", normalization, source),
        ("channels", channels, METADATA if metadata.channels else LEADING),
        ("labels", metadata.labels, METADATA),
        ("scores", seen.scores, LAST),
        ("layout", layout, METADATA if metadata.layout else LEADING),
    )
    return Clues(
        normalization=normalization,
        channels=channels,
        labels=metadata.labels,
        scores=seen.scores,
        layout=layout,
        sources={part: source for part, value, source in known if value is not None},
        doubts=doubts,
    )


@dataclass(frozen=True)
class _Seen:
    """What the operators show, and how the input is stored: an unknown type of a damaged file."""

    stored: Quantized = _UNKNOWN
    leading: Normalization | None = None
    order: str | None = None
    layout: str | None = None
    scores: str | None = None


def _opened(path: Path, content: bytes) -> TFLiteFile | OnnxFile | None:
    if path.suffix == ".tflite":
        return TFLiteFile(content)
    return OnnxFile(content, path.parent) if path.suffix == ".onnx" else None


def _metadata(path: Path, file: TFLiteFile | OnnxFile) -> Metadata:
    try:
        if isinstance(file, TFLiteFile):
            return tflite_metadata.metadata_of(file)
        return onnx_metadata.metadata_of(file)
    except DamagedError as error:
        raise ModelError(
            f"{path}: its metadata cannot be read ({error}); say what they should by --input-range, --channels and "
            f"--labels, or write the file again with others"
        ) from None


@np.errstate(all="ignore")  # numbers that cannot be become infinite or nan, which say nothing
def _seen(file: TFLiteFile | OnnxFile) -> _Seen:
    try:
        graph = tflite.graph_of(file) if isinstance(file, TFLiteFile) else onnx.graph_of(file)
        made = leading_map(graph)
        return _Seen(
            stored=quantized_first(graph),
            leading=range_before(made.scale, made.offset, is_learnt=made.is_learnt) if made else None,
            order=order_before(made.scale, made.offset) if made else None,
            layout=layout_of(graph),
            scores=scores_of(graph),
        )
    except DamagedError:
        return _Seen()


def _range(said: Normalization | None, seen: _Seen) -> tuple[Normalization | None, str, tuple[str, ...]]:
    """Return mean and std, where they are known from, and what is doubtful."""
    if is_raw(seen.stored):  # it could not store anything but the pixels
        return range_stored(seen.stored), QUANTIZATION, ()
    stored = range_stored(seen.stored)
    if said is not None:
        if _fits(said, seen.stored):
            return said, METADATA, ()
        return None, METADATA, (_doubt("metadata", said, seen.stored),)
    if stored is None or seen.leading in (stored, None):
        return (stored, QUANTIZATION, ()) if seen.leading is None else (seen.leading, LEADING, ())
    return None, LEADING, (_doubt("first layer", seen.leading, seen.stored),)


def _fits(normalization: Normalization, stored: Quantized) -> bool:
    """Return whether an input can store about what becomes of the pixels, and not much more."""
    ends = limits(stored)
    if ends is None:
        return True
    times = (ends[1] - ends[0]) * min(normalization[1])  # pixels 0..255 become a range as wide as 1 / std
    return 1 / _MOST_TIMES <= times <= _MOST_TIMES


def _doubt(said_by: str, normalization: Normalization, stored: Quantized) -> str:
    low, high = limits(stored) or (0.0, 0.0)
    return f"its {said_by} says range {range_name(*normalization)}, but its input stores {low:.3g} to {high:.3g}"
