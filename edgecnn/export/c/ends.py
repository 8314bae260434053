"""The two ends of a model in C: what model.h says of its input contract, and the functions of model.c that obey it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from edgecnn.device.contract import (
    ASSUMED,
    BGR,
    DIGIT,
    FEATURES,
    FLAT,
    GRAY,
    HW,
    LOGITS,
    NCHW,
    NHWC,
    RGB,
    Contract,
    Quantized,
    range_name,
)
from edgecnn.device.trust.decision import StepWeights, step_weights
from edgecnn.errors import ArtifactError
from edgecnn.export.c.network import Network
from edgecnn.export.c.writing import minus, numbers, plus, string, strings, template
from edgecnn.inspect.graph import Tensor

Calibration = tuple[float, float]  # temperature and floor of `device.trust.decision.Decision`
UNCALIBRATED: Calibration = (1.0, 0.0)
_PARTS = ("range", "channels", "layout", "scores", "labels", "picture")
_PARTS_OF_NO_PICTURE = ("layout", "scores", "labels")
_OPTIONS = {"range": "--input-range", "scores": "--logits"}  # of edgecnn export; of another part -- and its name
_DIGIT_SHAPE = (28, 28, 1)
_COLORS = {GRAY: "gray", RGB: "red, green, blue", BGR: "blue, green, red (blue first)"}
_LAYOUTS = {
    NHWC: "rows from the top, the channels of a pixel together",
    NCHW: "a plane a channel, rows from the top",
    HW: "rows from the top",
    FLAT: "rows from the top, the channels of a pixel together",
}


def settled(known: Contract | None, network: Network, labels: Sequence[str], *, where: str) -> Contract:
    """Return the contract of a network with the types of its own ends; where none is `known`, all of it is assumed.

    Raises `ArtifactError` for a contract of another input, or with another number of labels than there are scores.
    """
    contract = _assumed(network, labels) if known is None else known
    sizes, classes = network.given.shape[1:], prod(network.output.shape)
    if contract.tensor_shape != sizes:
        raise ArtifactError(
            f"{where}: input is {list(sizes)}; its contract says {list(contract.tensor_shape)}; say another --layout"
        )
    if known is not None and len(known.labels) != classes:
        raise ArtifactError(f"{where}: {classes} scores; its contract has {len(known.labels)} labels; say --labels")
    if contract.picture == DIGIT and contract.shape != _DIGIT_SHAPE:
        raise ArtifactError(
            f"{where}: input is {list(contract.shape)}; digits are {list(_DIGIT_SHAPE)}; say --picture stretch"
        )
    return replace(contract, input=_quantized(network.given), output=_quantized(network.made))


def _assumed(network: Network, labels: Sequence[str]) -> Contract:
    """Return what is taken for a contract where nobody says it: a picture of 0..1, if it may be one."""
    sizes, classes = network.given.shape[1:], prod(network.output.shape)
    names = tuple(labels) or tuple(str(number) for number in range(max(2, classes)))  # a contract has two or more
    sources = dict.fromkeys(_PARTS, ASSUMED)
    channels = {1: GRAY, 3: RGB}.get(sizes[-1])
    if len(sizes) != 3 or channels is None:
        return Contract(shape=sizes, labels=names, layout=FEATURES, sources=sources)
    return Contract(shape=sizes, labels=names, channels=channels, sources=sources)


def _quantized(tensor: Tensor) -> Quantized:
    return Quantized(tensor.dtype.lower(), float(tensor.scale[0]), int(tensor.zero_point[0]))


@dataclass(frozen=True)
class Ends:
    """A model's name in C, its network, the contract that `settled` returns, the calibration, the labels if known."""

    name: str
    network: Network
    contract: Contract
    calibration: Calibration
    labels: Sequence[str]

    @property
    def facts(self) -> dict[str, str]:
        """The contract in plain words, in lines for the head of model.h."""
        contract = self.contract
        return {
            "takes": _takes(contract, self.name),
            **({"of a pixel": _of_a_pixel(contract, self.name)} if contract.is_picture else {}),
            "gives": _gives(contract, self.calibration, self.name),
            "assumed": _what_is_assumed(contract),
        }

    @property
    def in_header(self) -> dict[str, str]:
        """What stands in the template of model.h for the ends."""
        contract, sizes = self.contract, dict(zip(("height", "width", "channels"), self._sizes, strict=True))
        return {
            **self._names,
            **{name: str(size) for name, size in sizes.items()},
            "colors": string(contract.channels if contract.is_picture else ""),
            "takes_pictures": str(int(contract.is_picture)),
            "takes_digits": str(int(contract.is_picture and contract.picture == DIGIT)),
            "gives_logits": str(int(contract.scores == LOGITS)),
            "assumed": " \\\n".join(["", *strings(assumed(contract), 4)]) if assumed(contract) else ' ""',
            "picture": template("picture.h").substitute(self._names) if contract.is_picture else "",
        }

    @property
    def in_source(self) -> dict[str, str]:
        """What stands in the template of model.c for the ends."""
        contract, network = self.contract, self.network
        return {
            **self._names,
            "input_values": _tensor_values(network.given, self._sizes),
            "output_values": _tensor_values(network.made, network.output.shape),
            "label_body": _label_body(self.labels),
            "contract_body": _contract_body(contract, self.calibration),
            "picture": self._picture_functions() if contract.is_picture else "",
            "probabilities_body": _probabilities_body(contract, self.calibration, self.name),
        }

    @property
    def _names(self) -> dict[str, str]:
        pixel, score = (f"{tensor.dtype.lower()}_t" for tensor in (self.network.given, self.network.made))
        return {"name": self.name, "NAME": self.name.upper(), "pixel_type": pixel, "score_type": score}

    @property
    def _sizes(self) -> tuple[int, ...]:
        """Height, width and channels of the picture; of what is none, the last three sizes of the input."""
        return self.contract.shape if self.contract.is_picture else self.network.input.shape

    def _picture_functions(self) -> str:
        bodies = {"encode_body": _encode_body(self.contract, self.name), "place_body": _place_body(self.contract)}
        return template("picture.c").substitute(self._names, **bodies)


def _tensor_values(tensor: Tensor, sizes: Sequence[int]) -> str:
    return f"{', '.join(map(str, sizes))}, {float(tensor.scale[0]):.9e}f, {int(tensor.zero_point[0])}"


def _takes(contract: Contract, name: str) -> str:
    lie, spec = "x".join(map(str, contract.tensor_shape)), contract.input
    if not contract.is_picture:
        return f"no picture but {lie} values, each round(value / {spec.scale:g}){plus(spec.zero_point)} as {spec.dtype}"
    height, width, _ = contract.shape
    what = "a digit in MNIST's shape, white ink on black" if contract.picture == DIGIT else "a picture"
    return (
        f"{what}, {height} pixels high, {width} wide, {_COLORS[contract.channels]}: {lie}, "
        f"{_LAYOUTS[contract.layout]} ({name}_place)"
    )


def _of_a_pixel(contract: Contract, name: str) -> str:
    spec = contract.input
    mean, std = (",".join(f"{one:.6g}" for one in values) for values in (contract.mean, contract.std))
    return (
        f"0 to 255 becomes {range_name(contract.mean, contract.std)}, which is (pixel / 255 - {mean}) / {std}, and is "
        f"stored as {spec.dtype}, round(value / {spec.scale:g}){plus(spec.zero_point)} ({name}_encode)"
    )


def _gives(contract: Contract, calibration: Calibration, name: str) -> str:
    spec, (temperature, floor) = contract.output, calibration
    shown = "their softmax" if contract.scores == LOGITS else "floats of them"
    calibrated = f", calibrated: temperature {temperature:g}, floor {floor:g}" if calibration != UNCALIBRATED else ""
    return (
        f"{contract.scores} as {spec.dtype}, each {spec.scale:g} * (score{minus(spec.zero_point)}); "
        f"{name}_probabilities makes {shown}{calibrated}"
    )


def _what_is_assumed(contract: Contract) -> str:
    parts = _assumed_parts(contract)
    if not parts:
        return "nothing"
    if set(parts) == {part for part in _PARTS if contract.is_picture or part in _PARTS_OF_NO_PICTURE}:
        return "all of this: nothing is known of it, for nobody said it"
    return ", ".join(_said(contract, part) for part in parts)


def _assumed_parts(contract: Contract) -> list[str]:
    parts = _PARTS if contract.is_picture else _PARTS_OF_NO_PICTURE
    return [part for part in parts if contract.sources.get(part) == ASSUMED]


def _said(contract: Contract, part: str) -> str:
    """Return a part of the contract as it is taken: "range 0..1"."""
    if part == "range":
        return f"range {range_name(contract.mean, contract.std)}"
    if part == "labels":
        return f"labels {contract.labels[0]} to {contract.labels[-1]}"
    return f"{part} {getattr(contract, part)}"


def assumed(contract: Contract) -> str:
    """Return what nobody said, each with the option of `edgecnn export` that says it; "" where there is nothing."""
    parts = _assumed_parts(contract)
    return ", ".join(f"{_said(contract, part)} ({_OPTIONS.get(part, f'--{part}')})" for part in parts)


def _label_body(labels: Sequence[str]) -> str:
    """Return the body of NAME_label."""
    if not labels:
        return '    (void)number;\n    return "";'
    table = ", ".join(string(label) for label in labels)
    return (
        f"    static const char *const labels[] = {{{table}}};\n"
        f'    return number >= 0 && number < {len(labels)} ? labels[number] : "";'
    )


def _contract_body(contract: Contract, calibration: Calibration) -> str:
    """Return the body of NAME_contract: all but the labels, which are told one by one, as JSON."""
    kept = {key: value for key, value in contract.as_dict().items() if key != "labels"}
    temperature, floor = calibration
    told = {"input_shape": [1, *contract.tensor_shape], "contract": kept, "temperature": temperature, "floor": floor}
    return "    return\n" + "\n".join(strings(json.dumps(told, separators=(",", ":")), 8)) + ";"


def _encode_body(contract: Contract, name: str) -> str:
    """Return the body of NAME_encode: what is stored for a pixel of a channel, red first."""
    table = contract.encoder().table.astype(np.int64)
    for offset in (0, 128):
        if (table == np.arange(256)[:, None] - offset).all():
            return f"    (void)channel;\n    return ({name}_pixel)(pixel{minus(offset)});"
    if (table == table[:, :1]).all():
        lines = [f"    static const {name}_pixel stored[256] = {{", *numbers(table[:, 0].tolist(), 8), "    };"]
        return "\n".join([*lines, "    (void)channel;", "    return stored[pixel];"])
    rows = [["        {", *numbers(row.tolist(), 12), "        },"] for row in table.T]
    lines = [f"    static const {name}_pixel stored[{len(rows)}][256] = {{", *(line for row in rows for line in row)]
    return "\n".join([*lines, "    };", "    return stored[channel][pixel];"])


def _place_body(contract: Contract) -> str:
    """Return the body of NAME_place: where the value of a pixel's channel, red first, lies in the input."""
    height, width, channels = contract.shape
    if channels == 1:
        return f"    (void)channel;\n    return row * {width} + column;"
    channel = f"({channels - 1} - channel)" if contract.channels == BGR else "channel"
    if contract.layout == NCHW:
        return f"    return ({channel} * {height} + row) * {width} + column;"
    return f"    return (row * {width} + column) * {channels} + {channel};"


def _probabilities_body(contract: Contract, calibration: Calibration, name: str) -> str:
    """Return the body of NAME_probabilities: what `device.trust.decision.weighted` computes, or the real values."""
    spec, (temperature, floor) = contract.output, calibration
    steps = step_weights(spec, scores=contract.scores, temperature=temperature, floor=floor)
    each = f"    for (int i = 0; i < {name.upper()}_SCORES; i++)"
    if steps is None:
        real = f"(scores[i]{minus(spec.zero_point)}) * {spec.scale!r}"
        return f"{each}\n        probabilities[i] = (float)({real});"
    table = ["    static const double weights[256] = {", *numbers(steps.weights.tolist(), 8), "    };"]
    return "\n".join([*table, *_shares(steps, each, int(np.iinfo(spec.dtype).min))])


def _shares(steps: StepWeights, each: str, least: int) -> list[str]:
    """Return the lines that give each class its weight's share; the sum is formed in the order of the classes."""
    search: list[str] = []
    place = f"scores[i]{minus(least)}"
    if steps.is_relative:
        place = "255 + scores[i] - largest"
        taken = "        largest = scores[i] > largest ? scores[i] : largest;"
        search = ["    int largest = scores[0];", each, taken]
    summed = ["    double sum = 0;", each, f"        sum += weights[{place}];"]
    return [*search, *summed, each, f"        probabilities[i] = (float)(weights[{place}] / sum);"]
