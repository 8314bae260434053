"""One door to the runtimes: a model file in, a callable with its input and output described out.

A model that its record (`int8.tflite.json` beside `int8.tflite`) vouches for is loaded at once. Any other is first
loaded and run in a child process: a file that makes a runtime's C++ crash then costs a message, not the program.

A loaded model may be called from several threads. An interpreter and a C library compute in memory of their own, which
a call reads and writes: there one call waits for another, behind a lock that costs a small part of a microsecond. ONNX
Runtime's sessions take calls side by side, and a lock would only keep them from using several cores.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import Contract, Quantized
from edgecnn.device.errors import DeviceError, ModelError, RuntimeMissingError
from edgecnn.device.files import C_LIBRARY, external_data, one_line, read_model, vouched_for
from edgecnn.device.modelfiles.external import external_files
from edgecnn.device.modelfiles.onnx import OnnxFile, quantized_ends
from edgecnn.device.modelfiles.tflite import refusal_of
from edgecnn.device.runtimes.ladder import LADDER, installed, works
from edgecnn.device.runtimes.library import Library, library_of
from edgecnn.device.runtimes.quiet import quiet
from edgecnn.device.runtimes.tflite_axes import with_valid_axes

Arrays = list[NDArray[Any]]
Invoke = Callable[[Arrays], Arrays]
Loaded = tuple[list["TensorSpec"], list["TensorSpec"], Invoke]
PROBE_TIMEOUT_S = 60
MAX_THREADS = 256
_AS_IT_IS = Quantized()


@dataclass(frozen=True)
class TensorSpec:
    """A model's input or output. `scale` is 0 where the values are not quantized; a shape's -1 is any size."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run: `invoke` takes an array per input, of its shape and dtype, and returns one per output.

    It may be called from several threads; the arrays that it returns are the caller's own. `labels` are the names of
    the classes, `contract` and `calibration` (temperature, floor) the rest of what there is to know, where the model
    itself says it: a C library.
    """

    path: Path
    runtime: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    invoke: Invoke
    labels: tuple[str, ...] = ()
    contract: Contract | None = None
    calibration: tuple[float, float] | None = None


@dataclass(frozen=True)
class Runtime:
    """A way to run models: which module and package it is, which files it takes and how it loads them."""

    module: str
    package: str
    suffix: str
    load: Callable[[bytes, int, Sequence[int] | None], Loaded]


def load(
    path: Path,
    *,
    runtime: str | None = None,
    threads: int = 1,
    shape: Sequence[int] | None = None,
    probe_first: bool = True,
    library: Path | None = None,
) -> LoadedModel:
    """Return the model in `path`, in `runtime` or the first one here that takes it.

    That is the C library beside it, or `library`, where there is one that belongs to it, then an installed one.
    `shape` is given to the first input, of a model that leaves sizes of it open. `probe_first` tries a model without
    a record in a child process; leave it out where the calling process may die.

    Raises `ModelError` for a file that is absent, damaged or differs from its record and for a `shape` that does not
    fit, `RuntimeMissingError` when nothing installed can run it.
    """
    if not 1 <= threads <= MAX_THREADS:
        raise DeviceError(f"--threads: {threads}; expected 1 to {MAX_THREADS}")
    if runtime in (None, C_LIBRARY):
        found = library_of(path, asked=runtime == C_LIBRARY, library=library)
        if found is not None:
            return _load_library(path, found, shape)
    chosen = pick(path, runtime)
    content = read_model(path)
    _check_runs_here(path, content)
    external_data(path, content)  # raises for what is absent
    if not vouched_for(path, content) and probe_first:
        probe(path, chosen)
    try:
        with quiet():
            inputs, outputs, invoke = _loaded(path, content, chosen, threads, shape)
    except ModelError as error:  # the loaders do not name the path
        raise ModelError(f"{path}: {error}") from None
    except Exception as error:  # the runtimes raise almost anything for a file they cannot read
        raise ModelError(f"{path}: {chosen} cannot load it ({one_line(error)}); export it again") from None
    return LoadedModel(path, chosen, inputs, outputs, invoke)


def _check_runs_here(path: Path, content: bytes) -> None:
    """Raise `ModelError` for a .tflite file that was made for something else than a board's CPU."""
    reason = refusal_of(content) if path.suffix == ".tflite" else None
    if reason is not None:
        raise ModelError(f"{path}: {reason}")


def _loaded(path: Path, content: bytes, runtime: str, threads: int, shape: Sequence[int] | None) -> Loaded:
    if runtime == "ort":
        return load_ort(content, threads, shape, path=path)
    return RUNTIMES[runtime].load(content, threads, shape)


def _load_library(path: Path, found: Path, shape: Sequence[int] | None) -> LoadedModel:
    """Return a model in its C library; the images are copied to where it reads them, the scores from there."""
    vouched_for(path, read_model(path))
    library = Library(found)
    given, made = TensorSpec("pixels", *library.input), TensorSpec("scores", *library.output)
    if shape is not None:
        check_shape(given, shape)
    pixels, scores = np.zeros(given.shape, given.dtype), np.zeros(made.shape, made.dtype)
    places = ctypes.c_void_p(pixels.ctypes.data), ctypes.c_void_p(scores.ctypes.data)
    one_at_a_time = Lock()

    def invoke(arrays: Arrays) -> Arrays:
        with one_at_a_time:
            np.copyto(pixels, arrays[0], casting="no")
            library.run(*places)
            return [scores.copy()]

    told = library.contract(), library.calibration
    return LoadedModel(path, C_LIBRARY, [given], [made], invoke, tuple(library.labels), *told)


def pick(path: Path, runtime: str | None = None) -> str:
    """Return `runtime`, or the first installed one that takes the suffix of `path`, if it works on this machine."""
    fitting = [name for name, r in RUNTIMES.items() if r.suffix == path.suffix]
    if not fitting:
        raise ModelError(f"{path}: got {path.suffix or 'no suffix'}; expected a .tflite or .onnx file")
    if runtime is not None and runtime not in fitting:
        raise RuntimeMissingError(
            f"{path}: runtime {runtime!r} does not take it; expected one of: {', '.join(fitting)}"
        )
    usable = [name for name in fitting if name in installed() and runtime in (None, name)]
    if not usable:
        packages = " or ".join(RUNTIMES[name].package for name in fitting if runtime in (None, name))
        raise RuntimeMissingError(f"{path}: no runtime for it is installed; run: pip install {packages}")
    reasons = []
    for name in usable:
        finding = works(name)
        if finding.works:
            return name
        reasons.append(f"{name} does not work here ({finding.reason})")
    raise RuntimeMissingError(f"{path}: {'; '.join(reasons)}; run predict.pyz --doctor to see what does")


def check_shape(spec: TensorSpec, shape: Sequence[int]) -> None:
    """Raise `ModelError` unless `shape` is what the input `spec` says, with a size for each one left open."""
    if not spec.shape:
        return  # no rank is stated
    if min(spec.shape) > 0:
        raise ModelError(
            f"--shape is {list(shape)}; expected none: input {spec.name} is {list(spec.shape)}, all sizes fixed; "
            f"leave --shape out"
        )
    pairs = zip(shape, spec.shape, strict=False)
    if len(shape) != len(spec.shape) or any(given < 1 or size not in (given, -1) for given, size in pairs):
        raise ModelError(
            f"--shape is {list(shape)}; expected {list(spec.shape)}, the sizes of input {spec.name}, with a number "
            f"for each -1; pass such a --shape"
        )


def has_open_sizes(spec: TensorSpec) -> bool:
    """Return whether more of an input's shape is open than its batch, so that only a given shape makes it run."""
    return any(size < 0 for size in spec.shape[1:])


def zeros(spec: TensorSpec) -> NDArray[Any]:
    """Return zeros of an input's shape and dtype, with 1 for every size that is open."""
    return np.zeros([max(1, n) for n in spec.shape], spec.dtype)


def probe(path: Path, runtime: str) -> None:
    """Load `path` and run it once on zeros in a child process; raises `ModelError` when that fails or dies.

    A model that leaves more than its batch open is only loaded: no size is known that is large enough for it.
    """
    import subprocess  # 2 ms, and seldom needed

    # The package's root is a folder, or predict.pyz itself.
    root = Path(__file__).parents[3]
    code = "import sys; sys.path.insert(0, sys.argv[1]); from edgecnn.device.runtimes.loader import _probed; _probed()"
    command = [sys.executable, "-c", code, str(root), str(path), runtime]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{path}: {runtime} did not finish one inference in {PROBE_TIMEOUT_S} s; export it again"
        ) from None
    if child.returncode < 0:
        raise ModelError(
            f"{path}: {runtime} died of signal {-child.returncode} on it; the file is damaged: export it again"
        )
    if child.returncode:
        reason = next(iter(child.stdout.strip().splitlines()[-1:]), f"exit {child.returncode}")
        raise ModelError(
            f"{path}: {runtime} cannot run it ({reason}); the file is damaged or unsupported: export it again"
        )


def _probed() -> None:
    """Run in the child process of `probe`."""
    path, runtime = sys.argv[2:]
    try:
        with quiet():
            inputs, _, invoke = _loaded(Path(path), Path(path).read_bytes(), runtime, 1, None)
            if not any(has_open_sizes(spec) for spec in inputs):
                invoke([zeros(spec) for spec in inputs])
    except Exception as error:
        print(one_line(error))
        sys.exit(1)


def _load_litert(content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    from ai_edge_litert.interpreter import Interpreter

    return _from_interpreter(Interpreter, content, threads, shape)


def _load_tflite_runtime(content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    from tflite_runtime.interpreter import Interpreter

    return _from_interpreter(Interpreter, content, threads, shape)


def _from_interpreter(interpreter_class: Any, content: bytes, threads: int, shape: Sequence[int] | None) -> Loaded:
    interpreter = interpreter_class(model_content=with_valid_axes(content), num_threads=threads)
    declared = [_tflite_spec(d) for d in interpreter.get_input_details()]
    if shape is not None:
        check_shape(declared[0], shape)
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], list(shape))
    is_open = shape is None and any(has_open_sizes(spec) for spec in declared)
    if not is_open:  # LiteRT would take 1 for an open size, which few networks can be run with
        interpreter.allocate_tensors()
    given, returned = interpreter.get_input_details(), interpreter.get_output_details()
    sources, sinks = [d["index"] for d in given], [d["index"] for d in returned]
    one_at_a_time = Lock()

    def invoke(arrays: Arrays) -> Arrays:
        with one_at_a_time:
            if is_open:
                for index, array in zip(sources, arrays, strict=True):
                    interpreter.resize_tensor_input(index, array.shape)
                interpreter.allocate_tensors()
            for index, array in zip(sources, arrays, strict=True):
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in sinks]  # copies

    inputs = [_tflite_spec(d, is_resized=shape is not None and d is given[0]) for d in given]
    outputs = [_tflite_spec(d, is_resized=shape is not None) for d in returned]
    return inputs, outputs, invoke


def _tflite_spec(details: dict[str, Any], *, is_resized: bool = False) -> TensorSpec:
    """Return an interpreter's details as a spec; until it is resized "shape" has 1 where the signature has -1."""
    scale, zero_point = details["quantization"]
    shape = tuple(int(n) for n in details["shape" if is_resized else "shape_signature"])
    return TensorSpec(details["name"], shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))


def load_ort(
    content: bytes, threads: int, shape: Sequence[int] | None, *, path: Path | None = None, fuse: bool = True
) -> Loaded:
    """Return an ONNX file's content loaded by ONNX Runtime; without `fuse` each node is computed as it is written.

    Weights in other files are looked up in the folder of `path`, the file whose content it is; raises `ModelError` for
    a model that has such and no `path`: ONNX Runtime would take what lies in the current folder.
    """
    import onnxruntime

    model: bytes | str = content
    if external_files(content):
        if path is None:
            raise ModelError("some of its weights are in other files; save it with all of them in it")
        model = str(path)
    options = onnxruntime.SessionOptions()
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given, returned = session.get_inputs(), session.get_outputs()
    sources, sinks = [argument.name for argument in given], [argument.name for argument in returned]

    def invoke(arrays: Arrays) -> Arrays:
        return session.run(sinks, dict(zip(sources, arrays, strict=True)))  # type: ignore[no-any-return]

    ends = quantized_ends(OnnxFile(content, path.parent if path else None))
    specs = [_onnx_spec(a, ends) for a in given]
    if shape is not None:
        check_shape(specs[0], shape)
        specs[0] = replace(specs[0], shape=tuple(shape))
    return specs, [_onnx_spec(a, ends) for a in returned], invoke


def _onnx_spec(argument: Any, ends: Mapping[str, Quantized]) -> TensorSpec:
    dtype = (
        argument.type.removeprefix("tensor(")
        .removesuffix(")")
        .replace("float", "float32")
        .replace("float3216", "float16")
    )
    stored = ends.get(argument.name, _AS_IT_IS)
    shape = tuple(n if isinstance(n, int) else -1 for n in argument.shape)
    return TensorSpec(argument.name, shape, dtype, stored.scale, stored.zero_point)


_LOADERS = {"litert": _load_litert, "tflite-runtime": _load_tflite_runtime, "ort": load_ort}
# In order of preference.
RUNTIMES = {
    name: Runtime(rung.module.partition(".")[0], rung.package, rung.suffix, _LOADERS[name])
    for name, rung in LADDER.items()
}
