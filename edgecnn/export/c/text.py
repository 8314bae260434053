"""A plan as C: the kernels it uses from the files beside this one, its data, and the straight list of calls."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.errors import ArtifactError
from edgecnn.export.c.ends import Ends
from edgecnn.export.c.network import Addition, Convolution, Mean, Network, Pooling, Requantization, Softmax
from edgecnn.export.c.plan import Buffer, Plan, Step, columns_of, is_whole, most_taps, padding_of, sums_of
from edgecnn.export.c.weights import QUAD, in_quads
from edgecnn.export.c.writing import comment, facts_in_comment, numbers, resource, template, wrapped
from edgecnn.export.sparse import encode

ARENA_ALIGNMENT = 4
STACK_BYTES = 2048
_WIDE, _MOST = ("multiplier", "steps"), 0xFFFF  # fields of 32 bits, and what the others hold
_ORDER = (
    "fixedpoint", "transfer", "vectors", "convolution", "dense", "sparse", "depthwise", "pooling", "max_pool",
    "average_pool", "mean", "add", "requantize", "softmax",
)  # fmt: skip
_NEEDS = {
    "dense": ("convolution", "vectors"),
    "sparse": ("convolution", "vectors"),
    "depthwise": ("convolution", "vectors"),
    "max_pool": ("pooling",),
    "average_pool": ("pooling",),
}


@dataclass(frozen=True)
class Array:
    """A constant array."""

    kind: str  # the C type of an element, as wide as that of `values`
    name: str
    values: NDArray[Any]
    only_if: str = ""  # what the preprocessor asks before it takes it
    is_other: bool = False  # it is taken instead of another one


@dataclass(frozen=True)
class Piece:
    """One layer in C: the file with its kernel, its data, and the call."""

    file: str
    data: str
    constant_bytes: int  # of its arrays
    call: str


def pieces(made: Plan, *, where: str) -> list[Piece]:
    """Return the layers in C; raises `ArtifactError` for one whose sizes do not fit its numbers."""
    return [_piece(step, number, where) for number, step in enumerate(made.steps, start=1)]


def header(network: Network, made: Plan, ends: Ends, *, title: str, facts: Mapping[str, str]) -> str:
    """Return model.h; `facts` are printed in its head, one a line, and then what the ends are."""
    return template("model.h").substitute(
        ends.in_header,
        title=comment(title),
        facts=facts_in_comment({**facts, **ends.facts}),
        arena_bytes=made.arena_bytes,
        arena_alignment=ARENA_ALIGNMENT,
        scores=prod(network.output.shape),
        input_bytes=prod(network.input.shape),
        stack_bytes=STACK_BYTES,
    )


def source(network: Network, made: Plan, pieces: Sequence[Piece], ends: Ends, *, title: str, version: str) -> str:
    """Return model.c."""
    used = {"fixedpoint", "transfer", *(piece.file for piece in pieces)}
    used |= {need for file in used for need in _NEEDS.get(file, ())}
    return template("model.c").substitute(
        ends.in_source,
        title=comment(title),
        kernels="\n".join(resource(f"{file}.c") for file in _ORDER if file in used).strip(),
        data="\n\n".join(piece.data for piece in pieces),
        version=version,
        calls=textwrap.indent("\n".join(_calls(network, made, pieces)), "    "),
    )


def _calls(network: Network, made: Plan, pieces: Sequence[Piece]) -> list[str]:
    """Return the body of predict, a line a call."""
    is_int8, are_int8 = (tensor.dtype == "INT8" for tensor in (network.given, network.made))
    height, width, channels = made.input.shape
    row = width * channels
    into, last = made.input, made.output
    outputs = last.shape[1] * last.shape[2]
    flip = "0x80" if is_int8 else "0"
    pixels = "(const uint8_t *)pixels" if is_int8 else "pixels"
    lines = [*_filled(into), f"transfer({pixels}, {row}, a + {into.origin}, {into.row}, {height}, {row}, {flip});"]
    for step, piece in zip(made.steps, pieces, strict=True):
        lines += [*_filled(step.target), piece.call]
    scores, flip = ("(uint8_t *)scores", "0x80") if are_int8 else ("scores", "0")
    lines.append(f"transfer(a + {last.origin}, {last.row}, {scores}, {outputs}, {last.shape[0]}, {outputs}, {flip});")
    return lines


def _filled(buffer: Buffer) -> list[str]:
    """Return the line that fills a border, or a tail, whose values only must not be undefined."""
    if padding_is_there(buffer):
        return [f"memset(a + {buffer.offset}, {buffer.zero}, {buffer.size + buffer.tail});"]
    return [f"memset(a + {buffer.offset + buffer.size}, 0, {buffer.tail});"] if buffer.tail else []


def padding_is_there(buffer: Buffer) -> bool:
    """Return whether a buffer has a border."""
    return any(vars(buffer.border).values())


def _piece(step: Step, number: int, where: str) -> Piece:
    match step.layer:
        case Convolution(is_depthwise=True):
            return _depthwise(step, f"depthwise{number}", where)
        case Convolution():
            name = f"{'dense' if is_whole(step.layer) else 'conv'}{number}"
            return _sparse(step, name, where) if step.kernel == "sparse" else _dense(step, name, where)
        case Pooling():
            return _pooling(step, f"pool{number}", where)
        case Mean():
            return _mean(step, f"mean{number}", where)
        case Addition():
            return _addition(step, f"add{number}", where)
        case Requantization():
            return _requantization(step, f"requantize{number}", where)
        case Softmax():
            return _softmax(step, f"softmax{number}", where)
    raise AssertionError(step.layer)


def _dense(step: Step, name: str, where: str) -> Piece:
    layer, source = step.layer, step.sources[0]
    assert isinstance(layer, Convolution)
    kernel = layer.kernel
    if is_whole(layer):
        kernel = kernel.reshape(len(kernel), *source.shape)
        if source.is_planar:  # the planes follow each other: one row
            kernel = _in_memory_order(kernel, source).reshape(len(kernel), 1, 1, -1)
    filters, rows, *_ = kernel.shape
    packed = in_quads(kernel.reshape(filters, rows, -1))
    fields = {
        "c": _convolution_fields(step, name, rows=rows) | {"bias": f"DENSE_BIAS({name})"},
        "quads": packed.shape[1],
        "quad_step": packed.shape[2] * QUAD,
    }
    arrays = _arrays(layer, name, "int8_t", packed)
    arrays[1:2] = _biases(layer, name)
    return _made("dense", step, arrays, _struct("dense", name, fields, where), _call("convolve_dense", name, step))


def _biases(layer: Convolution, name: str) -> list[Array]:
    """Return a dense layer's biases, and those for inputs as int8: a build takes one or the other."""
    for_int8 = layer.bias + 128 * layer.kernel.reshape(len(layer.kernel), -1).sum(1, dtype=np.int64)
    kinds = {"bias": ("!", layer.bias), "bias_for_int8": ("", for_int8)}
    return [
        Array(
            "int32_t",
            f"{name}_{kind}",
            values.astype(np.int32),
            f"{no}defined(INPUTS_ARE_INT8) || defined(FAMILY)",
            not no,
        )
        for kind, (no, values) in kinds.items()
    ]


def _sparse(step: Step, name: str, where: str) -> Piece:
    layer, source = step.layer, step.sources[0]
    assert isinstance(layer, Convolution)
    columns = columns_of(layer, source)
    matrix = _in_memory_order(layer.kernel, source) if columns == 0 else layer.kernel.reshape(len(layer.kernel), -1)
    encoded = np.frombuffer(encode(matrix), np.uint8)
    steps = int(encoded[: 2 * len(matrix)].view("<u2").sum())
    encoded = encoded if steps else np.append(encoded, np.uint8(0))  # that there is something where steps would be
    fields = {
        "c": _convolution_fields(step, name, rows=layer.window[0]),
        "steps": steps,
        "columns": columns,
        **vars(sums_of(layer, source, step.target)),
        "most": most_taps(layer) if columns else 0,
    }
    arrays = _arrays(layer, name, "uint8_t", encoded)
    call = _call("convolve_sparse", name, step, f"a + {step.scratch}")
    return _made("sparse", step, arrays, _struct("sparse", name, fields, where), call)


def _in_memory_order(kernel: NDArray[np.int8], source: Buffer) -> NDArray[np.int8]:
    """Return a kernel whose window is the whole input as int8 [filters, inputs], inputs as they lie in memory."""
    shaped = kernel.reshape(len(kernel), *source.shape)
    ordered = shaped.transpose(0, 3, 1, 2) if source.is_planar else shaped
    return ordered.reshape(len(kernel), -1)


def _depthwise(step: Step, name: str, where: str) -> Piece:
    layer = step.layer
    assert isinstance(layer, Convolution)
    fields = {
        "c": _convolution_fields(step, name, rows=layer.window[0]),
        "multiplier": layer.kernel.shape[2] // layer.sources[0].shape[2],
    }
    arrays = _arrays(layer, name, "int8_t", layer.kernel)
    struct = _struct("depthwise", name, fields, where)
    return _made("depthwise", step, arrays, struct, _call("convolve_depthwise", name, step))


def _convolution_fields(step: Step, name: str, *, rows: int) -> dict[str, Any]:
    layer, source, target = step.layer, step.sources[0], step.target
    assert isinstance(layer, Convolution)
    window = source.shape[:2] if is_whole(layer) else layer.window
    return {
        "weights": f"{name}_weights",
        "bias": f"{name}_bias",
        "multiplier": f"{name}_multiplier",
        "shift": f"{name}_shift",
        "filters": len(layer.bias),
        "window_height": rows if step.kernel == "dense" else window[0],
        "window_width": window[1],
        "channels": source.shape[2],
        "in_row": source.row,
        "in_column": source.column,
        "in_channel": source.channel,
        "down": layer.stride[0] * source.row,
        "right": 0 if is_whole(layer) else layer.stride[1] * source.column,
        "height": target.shape[0],
        "width": target.shape[1],
        "out_row": target.row,
        "out_column": target.column,
        "out_channel": target.channel,
        "pool": layer.pool,
        "rounds_once": int(layer.rounds_once),
        "is_left": int(max(layer.shifts) > 0),
        "zero": target.zero,
        "low": layer.low,
        "high": layer.high,
    }


def _arrays(layer: Convolution, name: str, kind: str, weights: NDArray[Any]) -> list[Array]:
    return [
        Array(kind, f"{name}_weights", weights),
        Array("int32_t", f"{name}_bias", layer.bias.astype(np.int32)),
        Array("int32_t", f"{name}_multiplier", np.array(layer.multipliers, np.int32)),
        Array("int8_t", f"{name}_shift", np.array(layer.shifts, np.int8)),
    ]


def _pooling(step: Step, name: str, where: str) -> Piece:
    layer, source, target = step.layer, step.sources[0], step.target
    assert isinstance(layer, Pooling)
    fields = {
        "window_height": layer.window[0],
        "window_width": layer.window[1],
        "stride_y": layer.stride[0],
        "stride_x": layer.stride[1],
        "above": layer.padding.top,
        "beside": layer.padding.left,
        "in_height": source.shape[0],
        "in_width": source.shape[1],
        "channels": source.shape[2],
        "in_row": source.row,
        "in_column": source.column,
        "height": target.shape[0],
        "width": target.shape[1],
        "out_row": target.row,
        "out_column": target.column,
        "low": layer.low,
        "high": layer.high,
    }
    file = "max_pool" if layer.is_max else "average_pool"
    return _made(file, step, [], _struct("pooling", name, fields, where), _call(file, name, step))


def _mean(step: Step, name: str, where: str) -> Piece:
    layer, source = step.layer, step.sources[0]
    assert isinstance(layer, Mean)
    height, width, channels = source.shape
    fields = {
        "multiplier": layer.multiplier,
        "shift": layer.shift,
        "in_zero": source.zero,
        "out_zero": step.target.zero,
        "height": height,
        "width": width,
        "channels": channels,
        "in_row": source.row,
        "in_column": source.column,
    }
    return _made("mean", step, [], _struct("mean", name, fields, where), _call("mean", name, step))


def _addition(step: Step, name: str, where: str) -> Piece:
    layer = step.layer
    assert isinstance(layer, Addition)
    ends = (*step.sources, step.target)
    parts: dict[str, Any] = {
        key: {"row": buffer.row, "zero": buffer.zero, "shift": shift, "multiplier": m}
        for key, buffer, (m, shift) in zip(("a", "b", "out"), ends, layer.scales, strict=True)
    }
    height, width, channels = step.target.shape
    fields = parts | {"height": height, "row_bytes": width * channels, "low": layer.low, "high": layer.high}
    return _made("add", step, [], _struct("addition", name, fields, where), _call("add", name, step))


def _requantization(step: Step, name: str, where: str) -> Piece:
    layer, source, target = step.layer, step.sources[0], step.target
    assert isinstance(layer, Requantization)
    fields = {
        "multiplier": layer.multiplier,
        "shift": layer.shift,
        "in_zero": source.zero,
        "out_zero": target.zero,
        "height": target.shape[0],
        "row_bytes": target.shape[1] * target.shape[2],
        "in_row": source.row,
        "out_row": target.row,
    }
    return _made(
        "requantize", step, [], _struct("requantization", name, fields, where), _call("requantize", name, step)
    )


def _softmax(step: Step, name: str, where: str) -> Piece:
    layer = step.layer
    assert isinstance(layer, Softmax)
    height, width, classes = step.target.shape
    fields = {
        "multiplier": layer.multiplier,
        "shift": layer.shift,
        "least": layer.least,
        "rows": height * width,
        "classes": classes,
    }
    return _made("softmax", step, [], _struct("softmax", name, fields, where), _call("softmax", name, step))


def _call(function: str, name: str, step: Step, *more: str) -> str:
    padding = padding_of(step.layer)
    starts = [b.origin - padding.top * b.row - padding.left * b.column for b in step.sources]
    places = [*(f"a + {start}" for start in starts), f"a + {step.target.origin}", *more]
    return f"{function}(&{name}, {', '.join(places)});"


def _made(file: str, step: Step, arrays: Sequence[Array], struct: str, call: str) -> Piece:
    """Return a piece whose data begins with what the layer is, in words."""
    layer = step.layer
    before, after = ("x".join(map(str, view.shape)) for view in (layer.sources[0], layer.target))
    kernel = f", {step.kernel}" if step.kernel else ""
    head = f"/* {comment(layer.label)}: {before} to {after}{kernel} */"
    data = "\n".join((head, *_constants(arrays), struct))
    return Piece(file, data, sum(a.values.nbytes for a in arrays if a.only_if[:14] != "defined(INPUTS"), call)


def _struct(kind: str, name: str, fields: Mapping[str, Any], where: str) -> str:
    return f"static const struct {kind} {name} = {{\n{_fields(fields, name, where, 4)}\n}};"


def _fields(fields: Mapping[str, Any], name: str, where: str, indent: int) -> str:
    """Return designated initializers; raises `ArtifactError` for a number that its field cannot hold."""
    nested = {key: value for key, value in fields.items() if isinstance(value, dict)}
    margin = " " * indent
    blocks = [f"{margin}.{key} = {{\n{_fields(v, name, where, indent + 4)}\n{margin}}}," for key, v in nested.items()]
    plain = []
    for key, value in fields.items():
        if key in nested:
            continue
        if isinstance(value, int) and key not in _WIDE and value > _MOST:
            raise ArtifactError(f"{where}: {name}: {key} is {value:,}; the kernels in C take at most {_MOST:,}")
        plain.append(f".{key}\0=\0{value},")
    return "\n".join((*blocks, *(line.replace("\0", " ") for line in wrapped(" ".join(plain), indent))))


def _constants(arrays: Sequence[Array]) -> list[str]:
    """Return the arrays, or that they are in another build of the file (see the head of model.c)."""
    if not arrays:
        return []
    declared = [f"extern SHARED {array.kind} {array.name}[{array.values.size}];" for array in arrays]
    return ["#if defined(HOLDS_CONSTANTS)", *map(_array, arrays), "#else", *declared, "#endif"]


def _array(array: Array) -> str:
    lines = (
        f"SHARED {array.kind} {array.name}[{array.values.size}] = {{",
        *numbers(array.values.ravel().tolist(), 4),
        "};",
    )
    return "\n".join(_guarded(array, *lines))


def _guarded(array: Array, *lines: str) -> Sequence[str]:
    return [f"#if {array.only_if}", *lines, "#endif"] if array.only_if else lines
