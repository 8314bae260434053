"""What a model file is made of: one `Layer` per operation, whatever the format."""

from __future__ import annotations

from pathlib import Path

from edgecnn import extras
from edgecnn.artifact import parts_of, read_bytes
from edgecnn.errors import ArtifactError
from edgecnn.inspect.graph import Graph
from edgecnn.inspect.layers import Constant, Layer, Operation, reading

__all__ = [
    "Constant",
    "Graph",
    "Layer",
    "faults_of",
    "graph_of",
    "inspect_bytes",
    "inspect_file",
    "kernels_of",
    "operations_of",
    "whole",
]


def inspect_file(path: Path) -> list[Layer]:
    """Return the layers of a .keras, .h5, .tflite or .onnx file; raises `ArtifactError` for one that is damaged."""
    if path.suffix in (".keras", ".h5"):
        extras.require("train", needed_by=f"inspect {path.name}")
        from edgecnn import _tf
        from edgecnn.inspect.keras import layers

        return layers(_tf.load_model(path))
    return inspect_bytes(whole(path), path.suffix, where=str(path))


def whole(path: Path) -> bytes:
    """Return the content of a model file; of an .onnx file whose weights lie in others beside it, with them in it.

    Raises `ArtifactError` where one of the files is absent, empty or unreadable.
    """
    if len(parts_of(path)) == 1:
        return read_bytes(path)
    extras.require("train", needed_by=f"inspect {path}", modules=("onnx",))
    from edgecnn.inspect.onnx import with_weights

    with reading(str(path)):
        return with_weights(path)


def operations_of(content: bytes, suffix: str, *, where: str = "model") -> list[Operation]:
    """Return the operations of a .tflite or .onnx file's content, in the order of `inspect_bytes`."""
    inspect_bytes(content, suffix, where=where)  # says what is missing or damaged
    if suffix == ".onnx":
        from edgecnn.inspect.onnx import operations
    else:
        from edgecnn.inspect.tflite import operations
    return operations(content)


def kernels_of(content: bytes, suffix: str, *, where: str = "model") -> list[Constant]:
    """Return the kernels of a .tflite or .onnx file's convolutions and dense layers as stored, in order."""
    return [step.kernel for step in operations_of(content, suffix, where=where) if step.kernel is not None]


def faults_of(content: bytes, suffix: str, *, where: str = "model") -> list[str]:
    """Return what in a .tflite or .onnx file's content nothing can be computed with, a line each, naming the layer.

    NaN and infinity in weights, and scales that are zero, negative or no number; none of it is run. Raises
    `ArtifactError` for one that is damaged.
    """
    inspect_bytes(content, suffix, where=where)  # says what is missing or damaged
    if suffix == ".onnx":
        from edgecnn.inspect.onnx import numbers
    else:
        from edgecnn.inspect.tflite import numbers
    with reading(where):
        return [fault for one in numbers(content) if (fault := one.fault()) is not None]


def graph_of(content: bytes, *, where: str = "model") -> Graph:
    """Return the network of a .tflite file's content; raises `ArtifactError` for one that is damaged."""
    extras.require("litert", needed_by=f"inspect {where}")
    from edgecnn.inspect import tflite

    with reading(where):
        return tflite.graph(content)


def inspect_bytes(content: bytes, suffix: str, *, where: str = "model") -> list[Layer]:
    """Return the layers of a .tflite or .onnx file's content; `where` names it in an error."""
    match suffix:
        case ".tflite":
            extras.require("litert", needed_by=f"inspect {where}")
            from edgecnn.inspect import tflite

            with reading(where):
                return tflite.layers(content)
        case ".onnx":
            extras.require("train", needed_by=f"inspect {where}", modules=("onnx",))
            from edgecnn.inspect import onnx

            with reading(where):
                return onnx.layers(content)
    raise ArtifactError(f"{where}: got {suffix or 'no suffix'}; expected .keras, .h5, .tflite or .onnx")
