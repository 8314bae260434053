"""Keras -> TFLite, with post-training quantization by the converter.

Full-integer models take uint8 (of pixels as 0..1 the bytes of the image as they are: scale 1/255, zero point 0) and
return int8 scores; with some layers kept in float they return float32. int16x8 (activations int16, weights int8) takes
and returns int16: LiteRT has no other integers for it. Float models take float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import mlir_quantize, quiet, tf
from edgecnn._tf import tflite_schema as schema
from edgecnn.config.settings import CALIBRATED, SCHEMES
from edgecnn.errors import unknown
from edgecnn.export import calibration as calibrating
from edgecnn.export.compact import compact, packed, parsed
from edgecnn.export.mixed import Step, check_layers, steps_of, weighted_layers

_BIAS = 2  # of an operator's inputs


def to_tflite(
    model: Any,
    *,
    scheme: str,
    representative_dataset: NDArray[np.float32] | None = None,
    quantization_aware: bool = False,
    calibration: str = "minmax",
    keep_float: Sequence[str] = (),
    per_tensor: bool = False,
) -> bytes:
    """Return the TFLite file for a Keras model that takes one float32 input.

    `scheme` is float32, float16 (weights stored as float16), dynamic (int8 weights, float activations), int8
    (full integer) or int16x8. The last two need `representative_dataset`, inputs [N, ...] made of training images,
    unless the model is `quantization_aware` and carries its ranges. `calibration` is one of `config.CALIBRATIONS`;
    the layers named in `keep_float` are left out of int8. Each filter has a scale of its own, with `per_tensor` each
    kernel has one: fewer bytes, larger steps. The same model gives the same bytes.
    """
    if scheme not in SCHEMES["tflite"]:
        raise unknown("scheme for tflite", scheme, SCHEMES["tflite"])
    calibrated = scheme in CALIBRATED and not quantization_aware
    if calibrated:
        calibrating.check(scheme, representative_dataset, calibration)
        check_layers(model, keep_float)
    converter = _converter(model, scheme)
    if calibrated:
        converter.target_spec.supported_ops = [_INTEGER_OPERATIONS[scheme]]
        converter.representative_dataset = _generator(representative_dataset)
        converter._experimental_disable_per_channel = per_tensor
    if calibrated and scheme == "int8" and (calibration != "minmax" or keep_float):
        return compact(_quantized_as_told(converter, model, representative_dataset, calibration, keep_float))
    return compact(_convert(converter))


_INTEGER_OPERATIONS = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
}


def _converter(model: Any, scheme: str) -> Any:
    """Return a converter for batch 1 whose tensor names do not depend on what the process did before."""
    shape = (1, *model.input_shape[1:])
    function = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(
        tf.TensorSpec(shape, tf.float32, name="pixels")
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], model)
    if scheme != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme == "int8":
        converter.inference_input_type, converter.inference_output_type = tf.uint8, tf.int8
    if scheme == "int16x8":
        converter.inference_input_type, converter.inference_output_type = tf.int16, tf.int16
    return converter


def _convert(converter: Any) -> bytes:
    with quiet(), warnings.catch_warnings():
        # QAT models carry their ranges; the converter warns that it was given none.
        warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
        return bytes(converter.convert())


def _generator(inputs: NDArray[np.float32] | None) -> Callable[[], Iterator[list[NDArray[np.float32]]]]:
    assert inputs is not None
    return lambda: ([inputs[place : place + 1]] for place in range(len(inputs)))


def _quantized_as_told(
    converter: Any, model: Any, inputs: NDArray[np.float32] | None, calibration: str, keep_float: Sequence[str]
) -> bytes:
    """Return the int8 file with ranges and float layers as told, through the converter's own two steps.

    Between calibrating and quantizing the ranges stand in the float file, where others can be put in their place.
    """
    assert inputs is not None
    converter._experimental_calibrate_only = True
    calibrated = _convert(converter)
    if calibration != "minmax":
        ranges = calibrating.chosen_ranges(_activations(calibrated), inputs, calibration=calibration)
        calibrated = _with_ranges(calibrated, ranges)
    left_out = [step.name for step in steps_of(keep_float, model, _steps(calibrated))]
    with quiet():
        return bytes(
            mlir_quantize(
                calibrated,
                disable_per_channel=converter._experimental_disable_per_channel,
                input_data_type=tf.uint8,
                output_data_type=tf.float32 if keep_float else tf.int8,
                denylisted_nodes=left_out,
            )
        )


def with_biases(content: bytes, biases: Mapping[str, NDArray[np.float32]], model: Any) -> bytes:
    """Return an int8 file of a Keras `model` with other biases, by layer name; their scales stay."""
    file = parsed(content)
    graph = file.subgraphs[0]
    weighted = (o for o in graph.operators if _is_weighted(file, o))
    for name, operator in zip(weighted_layers(model), weighted, strict=True):
        if name not in biases or len(operator.inputs) <= _BIAS or operator.inputs[_BIAS] < 0:
            continue
        tensor = graph.tensors[operator.inputs[_BIAS]]
        if sum(other.buffer == tensor.buffer for other in graph.tensors) > 1:  # equal biases share one
            tensor.buffer = len(file.buffers)
            file.buffers.append(schema.BufferT())
        stored = np.rint(biases[name] / tensor.quantization.scale).astype("<i4")
        file.buffers[tensor.buffer].data = np.frombuffer(stored.tobytes(), np.uint8)
    return packed(file)


def _is_weighted(file: Any, operator: Any) -> bool:
    code = file.operatorCodes[operator.opcodeIndex]
    kinds = schema.BuiltinOperator
    return max(code.builtinCode, code.deprecatedBuiltinCode) in (
        kinds.CONV_2D,
        kinds.DEPTHWISE_CONV_2D,
        kinds.FULLY_CONNECTED,
    )


def _activations(calibrated: bytes) -> Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]]:
    """Return a function from an input to what the layers put out; input and scores, whose ranges are known, are not."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Operation by operation: a delegate would fuse them and leave nothing between them to be seen.
    interpreter = Interpreter(
        model_content=calibrated,
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    names = {step.outputs[0]: step.name for step in _steps(calibrated)[:-1]}

    def run(given: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        interpreter.set_tensor(source["index"], given)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for index, name in names.items()}

    return run


def _steps(content: bytes) -> list[Step]:
    """Return the operations of a file, each by the name of its output, as the quantizer calls it."""
    graph = parsed(content).subgraphs[0]
    return [
        Step(graph.tensors[o.outputs[0]].name.decode(), tuple(map(int, o.inputs)), tuple(map(int, o.outputs)))
        for o in graph.operators
    ]


def _with_ranges(calibrated: bytes, ranges: Mapping[str, calibrating.Range]) -> bytes:
    """Return the calibrated file with the ranges of these tensors."""
    model = parsed(calibrated)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name.decode() in ranges:
            low, high = ranges[tensor.name.decode()]
            tensor.quantization.min, tensor.quantization.max = np.array([low], np.float32), np.array([high], np.float32)
    return packed(model)
