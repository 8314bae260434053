"""How far quantization moves each layer: its signal-to-quantization-noise ratio against a float32 model.

SQNR = 10 log10(sum(x^2) / sum((x - x_q)^2)) in dB, with x the float32 model's values and x_q the real values that the
quantized ones stand for (D. D. Lin, S. S. Talathi, V. S. Annapureddy, "Fixed Point Quantization of Deep Convolutional
Networks", ICML 2016, where it is E[x^2] / E[n^2]). Of a layer's output it includes what the layers before it did; of
its weights it is the layer's own. 6 dB more are half the error.

It is the error of what the file says. ONNX files are run node by node, not in ONNX Runtime's fused int8 kernels, whose
products saturate on x86 without VNNI: what a runtime adds on its machine shows in the parity that bench measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import Contract, Quantized, real_values
from edgecnn.device.runtimes import loader as runtimes
from edgecnn.device.runtimes.quiet import quiet
from edgecnn.errors import ArtifactError
from edgecnn.inspect.layers import Operation, reading

_QDQ = ("QUANTIZE", "DEQUANTIZE")
Pair = tuple[Operation, Operation]


@dataclass(frozen=True)
class Sqnr:
    """The ratios of one layer in dB, infinite where nothing differs, None where there is nothing to compare."""

    output_db: float | None = None
    weight_db: float | None = None


@dataclass
class Power:
    """The sums of squares that a ratio is made of, added up array by array."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: NDArray[Any], quantized: NDArray[Any]) -> None:
        """Add the values of two arrays of one shape; the sums are formed in float64."""
        x, x_q = reference.astype(np.float64), quantized.astype(np.float64)
        self.signal += float(np.square(x).sum())
        self.noise += float(np.square(x - x_q).sum())

    @property
    def sqnr_db(self) -> float | None:
        """The ratio in dB: inf for no noise, -inf for noise without a signal, None where values were not finite."""
        if not math.isfinite(self.signal) or not math.isfinite(self.noise):
            return None
        if not self.noise:
            return math.inf
        return 10 * math.log10(self.signal / self.noise) if self.signal else -math.inf


def compare(
    content: bytes,
    reference: bytes,
    suffix: str,
    images: NDArray[np.uint8] | None,
    *,
    contract: Contract | None,
    where: str,
    against: str,
) -> list[Sqnr]:
    """Return the ratios of each of the file's layers, in the order of `inspect.inspect_bytes`.

    `content` and `reference` are .tflite or .onnx files (`suffix`), named `where` and `against` in errors. `images`
    are uint8 [N, H, W, C], given to both as the `contract` says, one inference each; without any only weights are
    compared.
    Raises `ArtifactError` when the two are not one network, or one does not take the images.
    """
    reader = _reader(suffix)
    with reading(where):
        own = reader.operations(content)
    with reading(against):
        theirs = reader.operations(reference)
    kernels = _paired_kernels(own, theirs, where, against)
    if images is not None and contract is not None and images.shape[1:] != contract.shape:
        raise ArtifactError(
            f"{where}: input is {list(contract.shape)}; expected {list(images.shape[1:])}, an image; name a data set "
            f"that fits"
        )
    pairs = _pairs_by_name(own, theirs) if suffix == ".onnx" else _pairs_in_order(own, theirs)
    outputs: dict[Any, Power] = {}
    if images is not None and contract is not None:
        mine = _Outputs(reader.exposed(content, [o.output for o, _ in pairs]), suffix, contract, where)
        others = _Outputs(reader.exposed(reference, [o.output for _, o in pairs]), suffix, contract, against)
        outputs = _output_powers(pairs, mine, others, images)
    return [
        Sqnr(
            outputs[o.output].sqnr_db if o.output in outputs else None,
            _weight_db(o, kernels[o.output]) if o.output in kernels else None,
        )
        for o in own
    ]


class _Outputs:
    """The outputs of a model image by image, as real values."""

    def __init__(self, content: bytes, suffix: str, contract: Contract, where: str) -> None:
        runtime = runtimes.pick(Path(f"model{suffix}"))
        load = partial(runtimes.load_ort, fuse=False) if suffix == ".onnx" else runtimes.RUNTIMES[runtime].load
        try:
            with quiet():
                inputs, self._specs, self._invoke = load(content, 1, None)
        except Exception as error:  # the runtimes raise almost anything for a file they cannot take
            reason = " ".join(str(error).split())[:200]
            raise ArtifactError(f"{where}: {runtime} does not show its layers' outputs ({reason})") from None
        expected = [1, *contract.tensor_shape]
        if len(inputs) != 1 or [max(1, n) for n in inputs[0].shape] != expected:
            shapes = ", ".join(str(list(spec.shape)) for spec in inputs)
            raise ArtifactError(f"{where}: input is {shapes}; expected {expected}, an image; name a data set that fits")
        spec = inputs[0]
        self._encode = replace(contract, input=Quantized(spec.dtype, spec.scale, spec.zero_point)).encoder()

    def of(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the outputs for an image uint8 [H, W, C]."""
        raw = self._invoke([self._encode(image[None])])
        return [
            real_values(values, Quantized(spec.dtype, spec.scale, spec.zero_point))
            for values, spec in zip(raw, self._specs, strict=True)
        ]


def _reader(suffix: str) -> ModuleType:
    if suffix == ".onnx":
        from edgecnn.inspect import onnx

        return onnx
    from edgecnn.inspect import tflite

    return tflite


def _paired_kernels(own: list[Operation], theirs: list[Operation], where: str, against: str) -> dict[Any, Operation]:
    """Return the reference's operation for each one with a kernel; `ArtifactError` unless they agree in order."""
    weighted = [[o for o in operations if o.kernel is not None] for operations in (own, theirs)]
    described = [[_described(o) for o in operations] for operations in weighted]
    if described[0] != described[1]:
        number = next((n for n, (a, b) in enumerate(zip(*described, strict=False)) if a != b), min(map(len, described)))
        got, expected = (d[number] if number < len(d) else "none" for d in described)
        raise ArtifactError(
            f"{where}: its weighted layer {number + 1} is {got}, that of {against} {expected}; expected one network; "
            f"give --against the float32 export of this model"
        )
    return {mine.output: other for mine, other in zip(*weighted, strict=True)}


def _described(operation: Operation) -> str:
    assert operation.kernel is not None
    return f"{operation.kind} {'x'.join(map(str, operation.kernel.stored.shape))}"


def _pairs_in_order(own: list[Operation], theirs: list[Operation]) -> list[Pair]:
    """Pair operations of the same kind and output shape in their order; what is only on one side stays unpaired."""
    mine, others = [o for o in own if o.kind not in _QDQ], [o for o in theirs if o.kind not in _QDQ]
    keys = [(o.kind, o.output_shape) for o in mine], [(o.kind, o.output_shape) for o in others]
    blocks = SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks()
    return [(mine[b.a + n], others[b.b + n]) for b in blocks for n in range(b.size)]


def _pairs_by_name(own: list[Operation], theirs: list[Operation]) -> list[Pair]:
    """Pair operations by their outputs' names; quantizers keep them, though the node before may be another."""
    by_name = {name: o for o in theirs for name in o.names}
    return [(o, by_name[name]) for o in own if (name := next((n for n in o.names if n in by_name), None)) is not None]


def _output_powers(
    pairs: Sequence[Pair], own: _Outputs, theirs: _Outputs, images: NDArray[np.uint8]
) -> dict[Any, Power]:
    """Return the power of each pair's outputs over the images by the own output; pairs of two shapes are left out."""
    powers = {mine.output: Power() for mine, _ in pairs}
    for image in images:
        for (mine, _), x_q, x in zip(pairs, own.of(image), theirs.of(image), strict=True):
            if x.shape == x_q.shape and mine.output in powers:
                powers[mine.output].add(x, x_q)
            else:
                powers.pop(mine.output, None)
    return powers


def _weight_db(own: Operation, reference: Operation) -> float | None:
    assert own.kernel is not None
    assert reference.kernel is not None
    power = Power()
    power.add(reference.kernel.real(), own.kernel.real())
    return power.sqnr_db
