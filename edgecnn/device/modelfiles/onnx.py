"""An .onnx file by its schema: input and output, operators, constants, metadata properties.

The schema: onnx/onnx.proto.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import NCHW, Quantized
from edgecnn.device.errors import DamagedError, ModelError
from edgecnn.device.modelfiles import protobuf
from edgecnn.device.modelfiles.external import LOCATION, OFFSET, external_data, inside
from edgecnn.device.modelfiles.graph import LARGEST_CONSTANT, Graph, Key, Operator, Values
from edgecnn.device.modelfiles.protobuf import Message


# The numbers of the fields of each message.
class _Model:
    GRAPH, OPSETS, METADATA = 7, 8, 14


class _Opset:
    DOMAIN, VERSION = 1, 2


class _Entry:
    KEY, VALUE = 1, 2


class _Graph:
    NODES, INITIALIZERS, INPUTS, OUTPUTS = 1, 5, 11, 12


class _Node:
    INPUTS, OUTPUTS, KIND, ATTRIBUTES = 1, 2, 4, 5


class _Attribute:
    NAME, FLOAT, INT, TENSOR, FLOATS, INTS = 1, 2, 3, 5, 7, 8


class _Tensor:
    DIMS, TYPE, FLOATS, INT32S, INT64S, NAME, RAW, DOUBLES = 1, 2, 4, 5, 7, 8, 9, 10


class _Value:
    NAME, TYPE = 1, 2


class _Type:
    TENSOR, ELEMENT, SHAPE = 1, 1, 2


class _Shape:
    DIMS, SIZE, SYMBOL, DENOTATION = 1, 1, 2, 3


_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip
_SHAPED_ANEW = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")
_MOST_STEPS = 4  # of operators between a constant and its use
_OPTIONS = {"Transpose": "perm", "BatchNormalization": "epsilon"}


@dataclass(frozen=True)
class Argument:
    """An input or output.

    `shape` has -1 for an open size and is empty where no rank is said; `symbols` has the names of open sizes, ""
    elsewhere, and `denotations` what the axes mean. `dtype` is numpy's name, "" for a type that numpy lacks.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    symbols: tuple[str, ...]
    denotations: tuple[str, ...]


class OnnxFile:
    """The graph of an .onnx file's content; all of it raises `DamagedError`.

    `inputs` leave out those that are constants; `properties` are the metadata properties; `opset` is that of ONNX's
    own operators. Constants in files of their own are looked up in `folder`; without one they are unknown.
    """

    def __init__(self, content: bytes, folder: Path | None = None) -> None:
        self._left, self._folder = protobuf.budget(), folder
        model = protobuf.parsed(memoryview(content), self._left)
        graphs = self._inner(model, _Model.GRAPH)
        if not graphs:
            raise DamagedError("no graph in it")
        graph = graphs[-1]
        entries = self._inner(model, _Model.METADATA)
        self.properties = {protobuf.text(one, _Entry.KEY): protobuf.text(one, _Entry.VALUE) for one in entries}
        self.opset = _opset(self._inner(model, _Model.OPSETS))
        self._stored: dict[Key, Message] = {
            protobuf.text(one, _Tensor.NAME): one for one in self._inner(graph, _Graph.INITIALIZERS)
        }
        self.inputs = [a for a in self._arguments(graph, _Graph.INPUTS) if a.name not in self._stored]
        self.outputs = self._arguments(graph, _Graph.OUTPUTS)
        self._plain: dict[Key, Values] = {}  # constants that are an operator's numbers
        self.operators = tuple(self._operator(node) for node in self._inner(graph, _Graph.NODES))
        self._made_by = {name: one for one in self.operators for name in one.outputs}

    def constant(self, tensor: Key, steps: int = _MOST_STEPS) -> Values | None:
        """Return the real values of a tensor that is a constant of few numbers, else None."""
        if tensor in self._plain:
            return self._plain[tensor]
        if tensor in self._stored:
            return self._values(self._stored[tensor])
        operator = self._made_by.get(tensor)
        if operator is None or not operator.inputs or not steps:
            return None
        if operator.kind in _SHAPED_ANEW:
            return self.constant(operator.inputs[0], steps - 1)
        if operator.kind == "DequantizeLinear":
            return self._dequantized(operator, steps - 1)
        return None

    def quantization(self, operator: Operator) -> Quantized | None:
        """Return the one scale and zero point of a QuantizeLinear or DequantizeLinear; None of several or unknown."""
        constants = [self.constant(one, 1) for one in operator.inputs[1:3] if one]
        known = [float(one.ravel()[0]) for one in constants if one is not None and one.size == 1]
        if not known or len(known) != len(constants) or not all(map(math.isfinite, known)):
            return None
        if len(known) == 1:
            return Quantized("uint8", known[0])  # what the format takes a zero point that is left out for
        zero_point = self._stored.get(operator.inputs[2], {})
        return Quantized(_DTYPES.get(protobuf.number(zero_point, _Tensor.TYPE), ""), known[0], int(known[1]))

    def _dequantized(self, operator: Operator, steps: int) -> Values | None:
        values, spec = self.constant(operator.inputs[0], steps), self.quantization(operator)
        return None if values is None or spec is None else (values - spec.zero_point) * spec.scale

    def _inner(self, message: Message, field: int) -> list[Message]:
        return [protobuf.parsed(one, self._left) for one in protobuf.inner(message, field)]

    def _arguments(self, graph: Message, field: int) -> list[Argument]:
        return [self._argument(one) for one in self._inner(graph, field)]

    def _argument(self, value: Message) -> Argument:
        tensors = [t for kind in self._inner(value, _Value.TYPE) for t in self._inner(kind, _Type.TENSOR)]
        dims = [d for t in tensors for shape in self._inner(t, _Type.SHAPE) for d in self._inner(shape, _Shape.DIMS)]
        element = protobuf.number(tensors[-1], _Type.ELEMENT) if tensors else 0
        sizes = [protobuf.number(dim, _Shape.SIZE) if _Shape.SIZE in dim else -1 for dim in dims]
        return Argument(
            name=protobuf.text(value, _Value.NAME),
            dtype=_DTYPES.get(element, ""),
            shape=tuple(size if 0 < size < 1 << 31 else -1 for size in sizes),
            symbols=tuple(protobuf.text(dim, _Shape.SYMBOL) for dim in dims),
            denotations=tuple(protobuf.text(dim, _Shape.DENOTATION) for dim in dims),
        )

    def _operator(self, node: Message) -> Operator:
        kind, outputs = protobuf.text(node, _Node.KIND), protobuf.texts(node, _Node.OUTPUTS)
        wanted = _OPTIONS.get(kind, "")
        attributes = self._inner(node, _Node.ATTRIBUTES) if wanted or kind == "Constant" else []
        if kind == "Constant" and attributes and outputs:
            self._keep_constant(outputs[0], attributes[0])
        named = {protobuf.text(one, _Attribute.NAME): one for one in attributes}
        options = {wanted: self._numbers(named[wanted])} if wanted in named else {}
        return Operator(kind, protobuf.texts(node, _Node.INPUTS), outputs, options=options)

    def _keep_constant(self, name: str, attribute: Message) -> None:
        if tensors := self._inner(attribute, _Attribute.TENSOR):
            self._stored[name] = tensors[-1]
        elif protobuf.text(attribute, _Attribute.NAME) in ("value_float", "value_floats", "value_int", "value_ints"):
            self._plain[name] = np.array(self._numbers(attribute), np.float64)

    def _numbers(self, attribute: Message) -> tuple[float, ...]:
        """Return an attribute's numbers, whole or not."""
        floats = [*protobuf.inner(attribute, _Attribute.FLOAT), *protobuf.inner(attribute, _Attribute.FLOATS)]
        if floats:
            return tuple(map(float, _items(floats, "float32")))
        whole = [*attribute.get(_Attribute.INT, []), *attribute.get(_Attribute.INTS, [])]
        return tuple(map(float, protobuf.numbers(whole, self._left)))

    def _values(self, tensor: Message) -> Values | None:
        """Return the numbers of a TensorProto in its shape; None for many, for texts and for a file that is absent."""
        shape = tuple(protobuf.numbers(tensor.get(_Tensor.DIMS, []), self._left))
        dtype = _DTYPES.get(protobuf.number(tensor, _Tensor.TYPE))
        if dtype is None or min(shape, default=1) < 0 or math.prod(shape) > LARGEST_CONSTANT:
            return None
        place = external_data(tensor, self._left)
        found = self._outside(place, dtype, math.prod(shape)) if place else self._flat(tensor, dtype)
        if found is None:
            return None
        if found.size != math.prod(shape):
            raise DamagedError(f"a constant of {found.size} numbers and shape {list(shape)}")
        return found.astype(np.float64).reshape(shape)

    def _flat(self, tensor: Message, dtype: str) -> NDArray[np.generic]:
        if raws := protobuf.inner(tensor, _Tensor.RAW):
            return _items(raws[-1:], dtype)
        for field, of in ((_Tensor.FLOATS, "float32"), (_Tensor.DOUBLES, "float64")):
            if parts := protobuf.inner(tensor, field):
                return _items(parts, of)
        wide = protobuf.numbers([*tensor.get(_Tensor.INT32S, []), *tensor.get(_Tensor.INT64S, [])], self._left)
        whole = np.array(wide, np.int64)
        return whole.astype(np.uint16).view(np.float16) if dtype == "float16" else whole

    def _outside(self, place: Mapping[str, str], dtype: str, count: int) -> NDArray[np.generic] | None:
        """Return numbers from a file in the model's folder; None where the folder or the file is unknown."""
        if self._folder is None:
            return None
        try:
            with (self._folder / inside(place.get(LOCATION, ""))).open("rb") as file:
                file.seek(int(place.get(OFFSET, "0")))
                return _items([memoryview(file.read(count * np.dtype(dtype).itemsize))], dtype)
        except (OSError, ValueError, OverflowError, ModelError):
            return None


def graph_of(file: OnnxFile) -> Graph:
    """Return the graph of an .onnx file, from its first input to its first output; raises `DamagedError`."""
    if not file.inputs or not file.outputs:
        raise DamagedError("no input or no output")
    first = file.inputs[0]
    return Graph(
        operators=file.operators,
        input=first.name,
        output=file.outputs[0].name,
        shape=first.shape,
        stored=quantized_ends(file).get(first.name, Quantized(first.dtype)),
        constant=file.constant,
        quantizes=file.quantization,
        convolves=NCHW,
    )


def quantized_ends(file: OnnxFile) -> dict[str, Quantized]:
    """Return how inputs and outputs of whole numbers store real values, by name.

    The format does not say it of a tensor: it is the scale of the DequantizeLinear that takes an input, and of the
    QuantizeLinear that makes an output.
    """
    takes = {one.inputs[0]: one for one in file.operators if one.kind == "DequantizeLinear" and one.inputs}
    makes = {one.outputs[0]: one for one in file.operators if one.kind == "QuantizeLinear" and one.outputs}
    ends = [(one, takes.get(one.name)) for one in file.inputs] + [(one, makes.get(one.name)) for one in file.outputs]
    found = {}
    for argument, operator in ends:
        spec = file.quantization(operator) if operator and "int" in argument.dtype else None
        if spec is not None:
            found[argument.name] = replace(spec, dtype=argument.dtype)
    return found


def _opset(opsets: Sequence[Message]) -> int:
    """Return the version of ONNX's own operators, whose domain is "" or "ai.onnx"."""
    own = [one for one in opsets if protobuf.text(one, _Opset.DOMAIN) in ("", "ai.onnx")]
    return protobuf.number(own[0], _Opset.VERSION) if own else 0


def _items(parts: Sequence[memoryview], dtype: str) -> NDArray[np.generic]:
    """Return little-endian numbers, packed or one a part."""
    raw, item = b"".join(parts), np.dtype(dtype).newbyteorder("<")
    if len(raw) % item.itemsize:
        raise DamagedError(f"a constant has {len(raw)} bytes of {dtype}")
    return np.frombuffer(raw, item)
