"""TFLite files without what no interpreter reads: in the file of a small network that is more than its weights.

The converter names a tensor after all that went into it, gives each one that is computed an empty buffer of its own,
writes the zero points of a kernel, all 0, once a channel and tensor, and adds notes on itself. Here a tensor has the
name of its layer, equal names and vectors are stored once, as the format allows, and the notes are left out. Weights,
scales, zero points, operations and signatures stay, and so does every score.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np

from edgecnn._tf import tflite_schema as schema

_MARK = b"TFL3"
_ALIGNMENT = 16  # bytes; the format's, of what a buffer holds


def compact(content: bytes) -> bytes:
    """Return a .tflite file that computes the same as `content` and has fewer bytes."""
    model = parsed(content)
    model.description = model.metadata = model.metadataBuffer = None
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    kept = sorted({tensor.buffer for tensor in tensors if _holds_anything(model.buffers[tensor.buffer])})
    places = {old: new for new, old in enumerate(kept, 1)}  # 0 is the empty one, by convention
    for tensor in tensors:
        tensor.name = short(tensor.name.decode()).encode()
        tensor.buffer = places.get(tensor.buffer, 0)
    model.buffers = [model.buffers[0], *(model.buffers[place] for place in kept)]
    return packed(model)


def short(name: str) -> str:
    """Return the layer of a tensor's name: of ``net/conv1/Relu;net/conv1/BiasAdd/ReadVariableOp`` conv1."""
    parts = name.split(";")[-1].split("/")
    return parts[1] if len(parts) > 1 else name


def _holds_anything(buffer: Any) -> bool:
    return buffer.data is not None and len(buffer.data) > 0


def parsed(content: bytes) -> Any:
    """Return a file's model as the schema's objects, for `packed`."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def packed(model: Any) -> bytes:
    """Return the file of a model; the same model gives the same bytes."""
    builder = _Sharing(1024)
    builder.Finish(model.Pack(builder), _MARK)
    return bytes(builder.Output())


class _Sharing(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers says nothing of its types
    """A builder that stores equal names once, and equal vectors of numbers."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._names: dict[bytes, int] = {}
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateString(self, s: bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
        """Return where this text is."""
        if s not in self._names:
            self._names[s] = super().CreateString(s, encoding, errors)
        return self._names[s]

    def CreateNumpyVector(self, x: Any) -> int:
        """Return where a vector of these values is; what a buffer holds begins at a multiple of 16 bytes."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            self._vectors[key] = self._aligned(x) if x.dtype == np.uint8 else super().CreateNumpyVector(x)
        return self._vectors[key]

    def _aligned(self, x: Any) -> int:
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return int(self.EndVector())
