"""Runtimes to compare with: the benchmark can time them, the board's package does not carry them.

Each takes the files that `device.runtimes` takes and answers with the same arrays. MNN and ncnn have formats of their
own and are given the file converted, so their cold start and peak memory contain the conversion; their latency does
not.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.bench.to_ncnn import to_ncnn
from edgecnn.device import runtimes
from edgecnn.device.errors import ModelError
from edgecnn.device.files import C_LIBRARY, read_model
from edgecnn.device.quiet import quiet
from edgecnn.device.runtimes import Arrays, Loaded, LoadedModel, TensorSpec


@dataclass(frozen=True)
class Peer:
    """A way to run models, as `device.runtimes.Runtime`; it may take several kinds of file."""

    module: str
    package: str
    suffixes: tuple[str, ...]
    load: Callable[[bytes, int, Sequence[int] | None], Loaded]


def load(path: Path, *, runtime: str, threads: int = 1, shape: Sequence[int] | None = None) -> LoadedModel:
    """Return the model in `path`, in the peer `runtime`, in this process, which may die of a damaged file.

    Raises `ModelError` for a file that is absent or that the peer does not take.
    """
    content = read_model(path)
    try:
        with quiet():
            inputs, outputs, invoke = PEERS[runtime].load(content, threads, shape)
    except Exception as error:  # the peers raise almost anything for a file they cannot read
        raise ModelError(f"{path.name}: {runtime} cannot load it ({_reason(error)})") from None
    return LoadedModel(path, runtime, inputs, outputs, invoke)


def is_installed(name: str) -> bool:
    """Return whether the runtime `name` is installed, without importing it."""
    return find_spec(KNOWN[name].module) is not None


def _reason(error: Exception) -> str:
    """Return what went wrong, in one line, without the places in OpenVINO's source where it passed."""
    said = re.sub(r"(Exception from|Check '.*?' failed at) \S+:\d+:\s", "", str(error))
    return " ".join(said.split())[:160] or type(error).__name__


def _load_openvino(content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    import openvino

    core = openvino.Core()
    with _as_file(content) as path:  # from memory it reads ONNX only
        model = core.read_model(path)
    if shape is not None:
        model.reshape(list(shape))
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    # A float32 file is computed in float32, as the others do: by itself it takes bfloat16 where the CPU has it.
    options["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(model, "CPU", options)
    request = compiled.create_infer_request()
    inputs, outputs = ([_openvino_spec(port) for port in ports] for ports in (compiled.inputs, compiled.outputs))
    _check_float(inputs)
    open_sizes = any(size < 0 for spec in inputs for size in spec.shape)
    sources = [] if open_sizes else [request.get_input_tensor(i).data for i in range(len(inputs))]

    def invoke(arrays: Arrays) -> Arrays:
        # Tensors are written and read in place: request.infer(arrays) takes half as long again.
        for source, array in zip(sources, arrays, strict=True):
            source[...] = array
        request.infer()
        return [request.get_output_tensor(i).data.copy() for i in range(len(outputs))]

    return inputs, outputs, invoke


def _openvino_spec(port: Any) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else -1 for size in port.partial_shape)
    return TensorSpec(port.any_name, shape, np.dtype(port.element_type.to_dtype()).name)


def _load_mnn(content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    from MNN import expr, nn

    manager = nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    with _as_file(content) as path:
        converted = _to_mnn(path)
        # The manager goes to both: one module loaded without it makes all others three times as slow.
        options = {"runtime_manager": manager, "dynamic": False, "shape_mutable": False}
        names = nn.load_module_from_file(converted, [], [], **options).get_info()
        given, returned = names["inputNames"], names["outputNames"]
        module = nn.load_module_from_file(converted, given, returned, **options)
    variables = module.get_info()["inputs"]
    if len(variables) != len(given):
        raise ModelError("it cannot work out the sizes in the converted file")
    inputs = [_mnn_spec(name, variable) for name, variable in zip(given, variables, strict=True)]
    if shape is not None:
        inputs[0] = TensorSpec(inputs[0].name, tuple(shape), inputs[0].dtype)
    # Its modules answer wrongly to quantized tensors: MNN 3.6.1 reads int8 scores as floats.
    _check_float(inputs)
    sources = [
        expr.placeholder(list(spec.shape), variable.data_format)
        for spec, variable in zip(inputs, variables, strict=True)
    ]

    def invoke(arrays: Arrays) -> Arrays:
        for source, array in zip(sources, arrays, strict=True):
            source.write(array)
        return [np.array(answer.read()) for answer in module.onForward(sources)]

    answers = invoke([runtimes.zeros(spec) for spec in inputs])
    outputs = [TensorSpec(name, a.shape, a.dtype.name) for name, a in zip(returned, answers, strict=True)]
    return inputs, outputs, invoke


def _to_mnn(path: Path) -> str:
    """Return the path of the model converted to MNN's format, beside `path`."""
    # Not MNN.tools.mnnconvert: that module installs a package on import, to report each use to its makers.
    import _tools

    converted = path.with_suffix(".mnn")
    framework = "TFLITE" if path.suffix == ".tflite" else "ONNX"
    _tools.mnnconvert(
        ["", "-f", framework, "--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "edgecnn"]
    )
    if not converted.exists():
        raise ModelError("its converter refused the file")
    return str(converted)


def _mnn_spec(name: str, variable: Any) -> TensorSpec:
    from MNN import expr

    names = {expr.float: "float32", expr.int: "int32", expr.uint8: "uint8", expr.int8: "int8"}
    return TensorSpec(name, tuple(variable.shape), names.get(variable.dtype, str(variable.dtype)))


def _load_ncnn(content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    import ncnn

    converted = to_ncnn(content, shape=shape)
    net = ncnn.Net()
    net.opt.num_threads = threads
    # float32 as in the other runtimes; on Arm ncnn would take float16 by itself.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder) / "net.param", Path(folder) / "net.bin"
        param.write_text(converted.param)
        weights.write_bytes(converted.weights)
        if net.load_param(str(param)) or net.load_model(str(weights)):
            raise ModelError("it refused the converted file")
    inner = converted.input_shape[1:]

    def invoke(arrays: Arrays) -> Arrays:
        extractor = net.create_extractor()
        extractor.input(converted.source, ncnn.Mat(arrays[0].reshape(inner)))
        _, scores = extractor.extract(converted.sink)
        return [np.array(scores).reshape(converted.output_shape)]

    inputs = [TensorSpec(converted.input_name, converted.input_shape, "float32")]
    return inputs, [TensorSpec(converted.output_name, converted.output_shape, "float32")], invoke


def _check_float(inputs: Iterable[TensorSpec]) -> None:
    """Raise `ModelError` for an input of integers: a peer does not say what scale they have."""
    for spec in inputs:
        if spec.dtype != "float32":
            raise ModelError(f"input {spec.name} is {spec.dtype}; expected float32")


@contextmanager
def _as_file(content: bytes) -> Iterator[Path]:
    """Give `content` as a file with the suffix of its format, in a folder of its own that goes afterwards."""
    # As the current folder too: MNN's converter leaves a file there.
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        path = Path(folder) / f"model{'.tflite' if content[4:8] == b'TFL3' else '.onnx'}"
        path.write_bytes(content)
        yield path


_PACKAGE = "'edgecnn[peers]'"
PEERS = {
    "openvino": Peer("openvino", _PACKAGE, (".onnx", ".tflite"), _load_openvino),
    "mnn": Peer("MNN", _PACKAGE, (".onnx", ".tflite"), _load_mnn),
    "ncnn": Peer("ncnn", _PACKAGE, (".onnx",), _load_ncnn),
}
# All that can be timed: the board's runtimes and the peers.
KNOWN = {name: Peer(r.module, r.package, (r.suffix,), r.load) for name, r in runtimes.RUNTIMES.items()} | PEERS
# What each takes; the C library is a model's own, and nothing is installed for it.
SUFFIXES = {C_LIBRARY: (".tflite",), **{name: peer.suffixes for name, peer in KNOWN.items()}}
