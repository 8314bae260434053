"""Metadata properties of an .onnx file.

The standard's keys (https://onnx.ai/onnx/repo-docs/MetadataProps.html), and those that people use: `mean`, `std`, and
`labels`, `names`, `classes` or `class_names`. Keys and values are read in any case, as the standard says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from edgecnn.device.contract import BGR, GRAY, NCHW, NHWC, RGB, Numbers
from edgecnn.device.errors import DamagedError
from edgecnn.device.modelfiles.leading import Normalization, usual
from edgecnn.device.modelfiles.metadata import Metadata, names, normalization, numbers
from edgecnn.device.modelfiles.onnx import OnnxFile

_RANGE, _FORMAT = "image.nominalpixelrange", "image.bitmappixelformat"
_RANGES = {"nominalrange_0_255": "0..255", "normalized_0_1": "0..1", "normalized_1_1": "-1..1"}
_CHANNELS = {"gray8": GRAY, "rgb8": RGB, "bgr8": BGR}
_LABELS = ("labels", "names", "classes", "class_names")
_OF_BYTES = 1.5  # a mean or std above it is of pixels 0..255
_CHANNEL_AXIS = "DATA_CHANNEL"
_LAYOUTS = {1: NCHW, 3: NHWC}  # by the axis of the channels

Known = TypeVar("Known")


def metadata_of(file: OnnxFile) -> Metadata:
    """Return what an .onnx file's metadata properties say; raises `DamagedError` for what cannot be read.

    `mean` and `std` are of pixels from 0 to 1; where one of their numbers is above 1.5, both are of pixels 0..255.
    """
    said = {key.casefold(): value.strip() for key, value in file.properties.items()}
    lists = (names(said[key]) for key in _LABELS if said.get(key))
    return Metadata(
        normalization=_standard(said) or _mean_and_std(said),
        channels=_one_of(said, _FORMAT, _CHANNELS, "Gray8, Rgb8, Bgr8"),
        layout=_layout(file),
        labels=next((found for found in lists if found), None),
    )


def _standard(said: Mapping[str, str]) -> Normalization | None:
    name = _one_of(said, _RANGE, _RANGES, "NominalRange_0_255, Normalized_0_1, Normalized_1_1")
    return None if name is None else usual(name)


def _mean_and_std(said: Mapping[str, str]) -> tuple[Numbers, Numbers] | None:
    mean, std = (numbers(said.get(key, "")) for key in ("mean", "std"))
    if not mean and not std:
        return None
    return normalization(mean, std, of_bytes=max(*mean, *std, 0.0, 0.0) > _OF_BYTES)


def _one_of(said: Mapping[str, str], key: str, known: Mapping[str, Known], expected: str) -> Known | None:
    value = said.get(key, "")
    if value and value.casefold() not in known:
        raise DamagedError(f"{key} is {value!r:.60}; expected one of {expected}")
    return known.get(value.casefold())


def _layout(file: OnnxFile) -> str | None:
    """Return the layout, where the input's axes say what they mean."""
    axes = file.inputs[0].denotations if file.inputs else ()
    return _LAYOUTS.get(axes.index(_CHANNEL_AXIS)) if len(axes) == len(NCHW) and _CHANNEL_AXIS in axes else None
