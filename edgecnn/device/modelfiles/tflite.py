"""A .tflite file by its schema: tensors, operators, constants, metadata, and what it was compiled for.

The schema: tensorflow/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import NHWC, Quantized
from edgecnn.device.errors import DamagedError
from edgecnn.device.modelfiles.flatbuffer import Table, root
from edgecnn.device.modelfiles.graph import LARGEST_CONSTANT, Graph, Key, Operator, Values

MARK = b"TFL3"


# The numbers of the fields of each table.
class _Model:
    OPERATOR_CODES, SUBGRAPHS, BUFFERS, METADATA = 1, 2, 4, 6


class _OperatorCode:
    OLD_BUILTIN, CUSTOM, BUILTIN = 0, 1, 3


class _SubGraph:
    TENSORS, INPUTS, OUTPUTS, OPERATORS = 0, 1, 2, 3


class _Tensor:
    SHAPE, TYPE, BUFFER, NAME, QUANTIZATION, SIGNATURE = 0, 1, 2, 3, 4, 7


class _Quantization:
    SCALE, ZERO_POINT, AXIS = 2, 3, 6


class _Operator:
    CODE, INPUTS, OUTPUTS, OPTIONS = 0, 1, 2, 4


class _Buffer:
    DATA, OFFSET, SIZE = 0, 1, 2


class _Metadata:
    NAME, BUFFER = 0, 1


_DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float64",
    12: "uint64", 15: "uint32", 16: "uint16",
}  # fmt: skip
_CUSTOM = 32
_KINDS = {
    0: "Add", 1: "AveragePool", 3: "Conv", 4: "Conv", 6: "DequantizeLinear", 9: "Gemm", 14: "Sigmoid", 18: "Mul",
    22: "Reshape", 25: "Softmax", 34: "Pad", 39: "Transpose", 40: "ReduceMean", 41: "Sub", 42: "Div", 43: "Squeeze",
    50: "LogSoftmax", 53: "Cast", 70: "Unsqueeze", 114: "QuantizeLinear", 126: "MatMul",
}  # fmt: skip
_ADD, _AVERAGE_POOL, _CONV, _DEPTHWISE, _DENSE, _MUL, _TRANSPOSE, _SUB, _DIV = 0, 1, 3, 4, 9, 18, 39, 41, 42
# Which field of an operator's options is its activation, 0 for none.
_ACTIVATION = {_ADD: 0, _MUL: 0, _SUB: 0, _DIV: 0, _DENSE: 0, _CONV: 3, _DEPTHWISE: 4, _AVERAGE_POOL: 5}
_DATA_IN_FILE = 1  # offsets above it say where a buffer's data lies behind the flatbuffer

_REFUSED = {
    "edgetpu-custom-op": "compiled for an Edge TPU, which alone runs it; give the .tflite from before edgetpu_compiler",
    "ethos-u": "compiled for an Arm Ethos-U, which alone runs it; give the .tflite from before vela",
}
_FLEX = "Flex"  # how the names of TensorFlow's own operators begin


@dataclass(frozen=True)
class Tensor:
    """A tensor as the file describes it; `signature` is its shape with -1 for an open size.

    `scales` is empty where the values are stored as they are, and has one number or one along `axis`. `dtype` is
    numpy's name, "" for a type that numpy lacks.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int


class TFLiteFile:
    """The first graph of a .tflite file's content; all of it raises `DamagedError`.

    `content` is the file's; `inputs` and `outputs` are numbers of tensors; an operator's input of -1 is left out.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._model = root(content, MARK)
        graphs = self._model.tables(_Model.SUBGRAPHS)
        if not graphs:
            raise DamagedError("no graph in it")
        self._graph = graphs[0]
        self._tensors = self._graph.tables(_SubGraph.TENSORS)
        self._buffers = self._model.tables(_Model.BUFFERS)
        self.inputs = _whole(self._graph, _SubGraph.INPUTS)
        self.outputs = _whole(self._graph, _SubGraph.OUTPUTS)

    def tensor(self, number: int) -> Tensor:
        """Return a tensor by its number."""
        table = self._table(number)
        shape = _whole(table, _Tensor.SHAPE)
        spec = table.table(_Tensor.QUANTIZATION)
        return Tensor(
            name=table.text(_Tensor.NAME),
            shape=shape,
            signature=_whole(table, _Tensor.SIGNATURE) or shape,
            dtype=_DTYPES.get(table.number(_Tensor.TYPE, "b"), ""),
            scales=spec.numbers(_Quantization.SCALE, "f") if spec else (),
            zero_points=tuple(map(int, spec.numbers(_Quantization.ZERO_POINT, "q"))) if spec else (),
            axis=spec.number(_Quantization.AXIS, "i") if spec else 0,
        )

    def data(self, number: int) -> NDArray[np.generic] | None:
        """Return what a constant stores, flat; None for what is computed, is large or of a type that numpy lacks."""
        raw = self._buffer(self._table(number).number(_Tensor.BUFFER, "I"))
        dtype = np.dtype(self.tensor(number).dtype or "V").newbyteorder("<")
        if not len(raw) or dtype.kind == "V" or len(raw) > LARGEST_CONSTANT * dtype.itemsize:
            return None
        if len(raw) % dtype.itemsize:
            raise DamagedError(f"tensor {number} has {len(raw)} bytes of {dtype.name}")
        return np.frombuffer(raw, dtype)

    def operators(self) -> list[Operator]:
        """Return the operators in their order, under their names in ONNX; others under the number of their code."""
        codes = [_builtin(code) for code in self._model.tables(_Model.OPERATOR_CODES)]
        found = []
        for table in self._graph.tables(_SubGraph.OPERATORS):
            number = table.number(_Operator.CODE, "I")
            if number >= len(codes):
                raise DamagedError(f"an operator of code {number}; there are {len(codes)}")
            found.append(self._operator(table, codes[number]))
        return found

    def custom_codes(self) -> tuple[str, ...]:
        """Return the names of the operators that are none of TFLite's own."""
        codes = self._model.tables(_Model.OPERATOR_CODES)
        return tuple(code.text(_OperatorCode.CUSTOM) for code in codes if _builtin(code) == _CUSTOM)

    def metadata(self, name: str) -> memoryview | None:
        """Return the bytes of the metadata of that name, None where there are none."""
        for table in self._model.tables(_Model.METADATA):
            if table.text(_Metadata.NAME) == name:
                return self._buffer(table.number(_Metadata.BUFFER, "I"))
        return None

    def _table(self, number: int) -> Table:
        if not 0 <= number < len(self._tensors):
            raise DamagedError(f"tensor {number}; there are {len(self._tensors)}")
        return self._tensors[number]

    def _buffer(self, number: int) -> memoryview:
        if not 0 <= number < len(self._buffers):
            raise DamagedError(f"buffer {number}; there are {len(self._buffers)}")
        table = self._buffers[number]
        offset, size = (table.number(field, "Q") for field in (_Buffer.OFFSET, _Buffer.SIZE))
        if offset <= _DATA_IN_FILE:
            return table.raw(_Buffer.DATA)
        if offset + size > len(self.content):
            raise DamagedError(f"buffer {number} ends behind the file")
        return memoryview(self.content)[offset : offset + size]

    def _operator(self, table: Table, code: int) -> Operator:
        inputs = _whole(table, _Operator.INPUTS)
        options = table.table(_Operator.OPTIONS) if code in _ACTIVATION else None
        perm = self.data(inputs[1]) if code == _TRANSPOSE and len(inputs) == 2 else None
        return Operator(
            kind=_KINDS.get(code, str(code)),
            inputs=inputs,
            outputs=_whole(table, _Operator.OUTPUTS),
            is_followed=options is not None and options.number(_ACTIVATION[code], "b") != 0,
            options={} if perm is None else {"perm": tuple(map(float, perm.astype(np.float64)))},
        )


def graph_of(file: TFLiteFile) -> Graph:
    """Return the first graph of a .tflite file, from its first input to its first output; raises `DamagedError`."""
    if not file.inputs or not file.outputs:
        raise DamagedError("no input or no output")
    operators = tuple(file.operators())
    made_by = {tensor: operator for operator in operators for tensor in operator.outputs}

    def constant(tensor: Key) -> Values | None:
        # Constants of float16 files pass a DEQUANTIZE before they are used.
        operator = made_by.get(tensor)
        if operator is not None and operator.kind == "DequantizeLinear" and operator.inputs:
            tensor = operator.inputs[0]
        return _real(file, int(tensor)) if int(tensor) >= 0 else None

    first = file.tensor(file.inputs[0])
    return Graph(
        operators=operators,
        input=file.inputs[0],
        output=file.outputs[0],
        shape=first.signature,
        stored=stored_as(first),
        constant=constant,
        quantizes=lambda operator: stored_as(file.tensor(int(operator.outputs[0]))),
        convolves=NHWC,
    )


def stored_as(tensor: Tensor) -> Quantized:
    """Return how a tensor with one scale stores real values; of several it is the first."""
    if not tensor.scales:
        return Quantized(tensor.dtype)
    return Quantized(tensor.dtype, tensor.scales[0], tensor.zero_points[0] if tensor.zero_points else 0)


def refusal_of(content: bytes) -> str | None:
    """Return why no runtime of a board's CPU can run a .tflite file, with what to do, in one line; None where it may.

    A damaged file gives None: what is wrong with it is for the runtime to say.
    """
    try:
        codes = TFLiteFile(content).custom_codes()
    except DamagedError:
        return None
    for code in codes:
        if code in _REFUSED:
            return _REFUSED[code]
        if code.startswith(_FLEX):
            return (
                f"uses TensorFlow's own operator {code.removeprefix(_FLEX)!r:.40} (Flex), which is not in LiteRT; "
                f"convert it again with OpsSet.TFLITE_BUILTINS only"
            )
    return None


def _real(file: TFLiteFile, number: int) -> Values | None:
    """Return the real values of a constant in its shape."""
    data, tensor = file.data(number), file.tensor(number)
    is_whole = min(tensor.shape, default=0) >= 0 and data is not None and data.size == math.prod(tensor.shape)
    if data is None or not is_whole:
        return None
    values = data.astype(np.float64).reshape(tensor.shape)
    if not tensor.scales:
        return values
    if len(tensor.scales) == 1:
        stored = stored_as(tensor)
        return (values - stored.zero_point) * stored.scale
    if not 0 <= tensor.axis < values.ndim or values.shape[tensor.axis] != len(tensor.scales):
        return None
    along = [-1 if axis == tensor.axis else 1 for axis in range(values.ndim)]
    zero_points = tensor.zero_points if len(tensor.zero_points) == len(tensor.scales) else (0,) * len(tensor.scales)
    return (values - np.reshape(zero_points, along)) * np.reshape(tensor.scales, along)  # type: ignore[no-any-return]


def _builtin(code: Table) -> int:
    """Return an operator code's number: the greater of the two fields, of which old files have the first only."""
    return max(code.number(_OperatorCode.OLD_BUILTIN, "b"), code.number(_OperatorCode.BUILTIN, "i"))


def _whole(table: Table, field: int) -> tuple[int, ...]:
    return tuple(map(int, table.numbers(field, "i")))
