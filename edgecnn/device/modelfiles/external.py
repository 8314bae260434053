"""Files beside an .onnx file that hold some of its weights; no numpy.

The format keeps a large tensor in a file of its own, whose place is given from the folder of the .onnx file:
https://onnx.ai/onnx/repo-docs/ExternalData.html.
"""

from __future__ import annotations

import posixpath

from edgecnn.device.errors import ModelError
from edgecnn.device.modelfiles import protobuf
from edgecnn.device.modelfiles.budget import Budget
from edgecnn.device.modelfiles.protobuf import Message

LOCATION, OFFSET = "location", "offset"
_EXTERNAL_DATA, _DATA_LOCATION, _IS_EXTERNAL = 13, 14, 1  # in a TensorProto
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto
# In which fields of a message of onnx.proto there are messages in which there may be a tensor.
_HOLDERS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "training": {1: "graph", 2: "graph"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}


def external_files(content: bytes) -> tuple[str, ...]:
    """Return the files, from the model's folder, that hold weights of an .onnx file, in the order it names them first.

    Raises `DamagedError` for a damaged file, `ModelError` for a place that is not in the model's folder or below.
    """
    left = protobuf.budget()
    found: dict[str, None] = {}
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        if kind == "tensor":
            if location := external_data(protobuf.parsed(message, left), left).get(LOCATION):
                found[inside(location)] = None
            continue
        held = [
            (_HOLDERS[kind][field], value)
            for field, value in protobuf.fields(message, left)
            if field in _HOLDERS[kind] and isinstance(value, memoryview)
        ]
        waiting += reversed(held)
    return tuple(found)


def external_data(tensor: Message, left: Budget) -> dict[str, str]:
    """Return where the numbers of a TensorProto lie ("location", "offset", "length"); empty where they are in it."""
    if protobuf.number(tensor, _DATA_LOCATION) != _IS_EXTERNAL:
        return {}
    entries = [protobuf.parsed(entry, left) for entry in protobuf.inner(tensor, _EXTERNAL_DATA)]
    return {protobuf.text(entry, _KEY): protobuf.text(entry, _VALUE) for entry in entries}


def inside(location: str) -> str:
    """Return a place that is in the model's folder or below; raises `ModelError` for any other."""
    place = posixpath.normpath(location)
    if place.startswith(("/", "../")) or place in (".", "..") or "\0" in place:
        raise ModelError(
            f"some of its weights are said to be in {location!r:.80}; expected a file in its folder or below; "
            f"save it again with its weights beside it, or in it"
        )
    return place
