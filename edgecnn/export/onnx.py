"""Keras -> ONNX: float32 through tf2onnx, int8 as QDQ through ONNX Runtime's quantizer.

Both take float32 [N, H, W, C] in [0, 1] named ``pixels``. int8 is stored unsigned, with 128 for a weight of zero: with
signed weights ONNX Runtime adds up pairs of products in 16 bits on x86 without VNNI, where they saturate, and the same
file reads a tenth of a point fewer of MNIST's images there. Unsigned, it says the same on every CPU.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import quiet, tf
from edgecnn.config.settings import SCHEMES
from edgecnn.errors import unknown
from edgecnn.export import calibration as calibrating
from edgecnn.export.mixed import Step, check_layers, steps_of, weighted_layers

OPSET = 17  # tf2onnx 1.17 stops at 18
_BIAS = 2  # of a node's inputs


def to_onnx(
    model: Any,
    *,
    scheme: str,
    representative_dataset: NDArray[np.float32] | None = None,
    dynamic_batch: bool = False,
    calibration: str = "minmax",
    keep_float: Sequence[str] = (),
    per_tensor: bool = False,
) -> bytes:
    """Return the ONNX file for a Keras model that takes float32 [N, H, W, C] in [0, 1].

    `scheme` is float32 or int8; int8 needs `representative_dataset`, inputs [N, ...] made of training images.
    `calibration` is one of `config.CALIBRATIONS`; the layers named in `keep_float` are left out of int8. Each filter
    has a scale of its own, with `per_tensor` each kernel has one. Batch 1, or any batch size with `dynamic_batch`. The
    same model gives the same bytes.
    """
    if scheme not in SCHEMES["onnx"]:
        raise unknown("scheme for onnx", scheme, SCHEMES["onnx"])
    if scheme == "int8":
        calibrating.check(scheme, representative_dataset, calibration)
        check_layers(model, keep_float)
    exported = _float32(model, batch=None if dynamic_batch else 1)
    if scheme == "int8":
        left_out = [step.name for step in steps_of(keep_float, model, _steps(exported))]
        exported = _quantized(exported, representative_dataset, calibration, left_out, per_tensor)
    return bytes(exported.SerializeToString(deterministic=True))


def with_biases(content: bytes, biases: Mapping[str, NDArray[np.float32]], model: Any) -> bytes:
    """Return an int8 file of a Keras `model` with other biases, by layer name; their scales stay."""
    import onnx
    from onnx import numpy_helper

    parsed = onnx.load_model_from_string(content)
    stored = {one.name: one for one in parsed.graph.initializer}
    quantized = {n.output[0]: n.input for n in parsed.graph.node if n.op_type == "DequantizeLinear"}
    weighted = (n for n in parsed.graph.node if n.op_type in ("Conv", "Gemm", "MatMul"))
    for name, node in zip(weighted_layers(model), weighted, strict=True):
        if name not in biases or len(node.input) <= _BIAS:
            continue
        bias, scale = (stored[one] for one in quantized[node.input[_BIAS]][:2])
        values = np.rint(biases[name] / numpy_helper.to_array(scale)).astype(np.int32)
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return bytes(parsed.SerializeToString(deterministic=True))


def _float32(model: Any, *, batch: int | None) -> Any:
    import tf2onnx

    signature = (tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="pixels"),)
    with quiet():
        converted, _ = tf2onnx.convert.from_keras(model, input_signature=signature, opset=OPSET)
    return _with_stable_names(converted)


def _quantized(exported: Any, inputs: Any, calibration: str, left_out: list[str], per_tensor: bool) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Calibration(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inputs = iter(range(len(inputs)))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            place = next(self._inputs, None)
            return None if place is None else {"pixels": inputs[place : place + 1]}

    ranges = {}
    if calibration != "minmax":
        ranges = calibrating.chosen_ranges(_activations(exported), inputs, calibration=calibration)
    # A range without an end gives a scale without one, which the gates see; numpy's warning helps nobody.
    with tempfile.TemporaryDirectory() as folder, quiet(), np.errstate(invalid="ignore"):
        target = Path(folder) / "int8.onnx"
        quantize_static(
            exported,
            target,
            Calibration(),
            quant_format=QuantFormat.QDQ,
            per_channel=not per_tensor,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QUInt8,
            nodes_to_exclude=left_out,
            extra_options={
                "WeightSymmetric": True,  # zero is 128 in every channel, so that pruning still compresses
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}] for name, (low, high) in ranges.items()
                },
            },
        )
        return onnx.load(target)


# Their output has the range of their input.
_SAME_RANGE = ("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")


def _activations(exported: Any) -> Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]:
    """Return a function from an image to what the layers put out; input and scores, whose ranges are known, are not."""
    import onnx
    from onnxruntime import InferenceSession, SessionOptions

    scores = {output.name for output in exported.graph.output}
    names = [
        node.output[0]
        for node in exported.graph.node
        if node.op_type not in _SAME_RANGE and node.output[0] not in scores
    ]
    shown = onnx.ModelProto()
    shown.CopyFrom(exported)
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(given: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {"pixels": given}), strict=True))

    return run


def _steps(exported: Any) -> list[Step]:
    return [Step(node.name, tuple(node.input), tuple(node.output)) for node in exported.graph.node]


_MADE_UP = re.compile(r"__(\d+)")  # what tf2onnx ends the names with that it makes up


def _with_stable_names(model: Any) -> Any:
    """Number the names that tf2onnx makes up (``conv1/BiasAdd__8``) by their order in the file.

    Its counter runs on through the life of the process, so the same model converted twice would differ.
    """
    numbers: dict[str, str] = {}

    def stable(name: str) -> str:
        return _MADE_UP.sub(lambda m: numbers.setdefault(m[0], f"__{len(numbers)}"), name)

    graph = model.graph
    for node in graph.node:
        node.name = stable(node.name)
        node.input[:] = [stable(name) for name in node.input]
        node.output[:] = [stable(name) for name in node.output]
    for value in [*graph.initializer, *graph.input, *graph.output, *graph.value_info]:
        value.name = stable(value.name)
    _order_constants(graph.initializer)
    return model


def _order_constants(initializers: Any) -> None:
    """Put the constants that tf2onnx folds in the order of their numbers: it keeps them in a set, in any order."""
    places = [place for place, one in enumerate(initializers) if _MADE_UP.search(one.name)]
    kept = {place: initializers[place].SerializeToString() for place in places}
    order = sorted(places, key=lambda place: int(_MADE_UP.findall(initializers[place].name)[-1]))
    for place, source in zip(places, order, strict=True):
        initializers[place].ParseFromString(kept[source])
