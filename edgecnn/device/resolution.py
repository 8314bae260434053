"""Where a model's contract comes from: what the user says, its record, the file itself, a labels.txt beside it.

Each part is taken from the first of these that says it. What none of them says is assumed, and called so: see
`Contract.assumed`. Standard library and numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isqrt, prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

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
    PROBABILITIES,
    RANGES,
    RGB,
    STRETCH,
    Contract,
    Numbers,
    Quantized,
    check_normalization,
    may_be_digits,
    normalization_of,
    range_name,
)
from edgecnn.device.errors import ModelError
from edgecnn.device.files import one_line

# Where a part is known from; `modelfiles.clues` names those of a file.
OPTION, LABELS_FILE, SHAPE, NUMBERS, OUTPUTS = "option", "labels.txt", "shape", "numbers", "outputs"
METADATA, LEADING = "metadata", "leading layer"
LABELS = "labels.txt"
OPTIONS = {
    "range": "--input-range or --mean and --std",
    "channels": "--channels",
    "layout": "--layout",
    "scores": "--logits",
    "labels": "--labels",
    "picture": "--picture",
}
_LEAST_SIDE = 8  # pixels; a flat input of fewer is not taken for a picture
_MOST_NAMES_BYTES = 1 << 20


class Known(NamedTuple):
    """One part of a contract, and where it is known from."""

    value: Any
    source: str


Clues = Mapping[str, Known]  # by the names of `contract.PARTS`; a range is a pair of mean and std


@dataclass(frozen=True)
class Said:
    """What the user says of a model, None where nothing: the options that predict, bench, export and adopt share."""

    input_range: str | None = None
    mean: str | None = None
    std: str | None = None
    channels: str | None = None
    layout: str | None = None
    labels: Path | None = None
    logits: bool = False
    picture: str | None = None

    def __bool__(self) -> bool:
        return self != Said()

    def clues(self) -> dict[str, Known]:
        """Return the parts that are said; raises `DeviceError`, naming the option, for what cannot be."""
        found: dict[str, Any] = {"range": self._normalization()}
        found["channels"] = self._choice("channels", (GRAY, RGB, BGR))
        found["layout"] = self._choice("layout", (NHWC, NCHW, HW, FLAT, FEATURES))
        found["picture"] = self._choice("picture", (DIGIT, STRETCH))
        found["scores"] = LOGITS if self.logits else None
        found["labels"] = None if self.labels is None else read_names(self.labels)
        return {part: Known(value, OPTION) for part, value in found.items() if value is not None}

    def _normalization(self) -> tuple[Numbers, Numbers] | None:
        if self.input_range is not None and (self.mean is not None or self.std is not None):
            raise ModelError("--input-range and --mean or --std: got both; expected one of them; leave one out")
        if self.input_range is not None:
            return _range_of(self.input_range)
        if self.mean is None and self.std is None:
            return None
        mean = _numbers("--mean", self.mean or "0")
        std = _numbers("--std", self.std or "1")
        check_normalization(mean, std, max(len(mean), len(std)))
        return mean, std

    def _choice(self, part: str, known: Sequence[str]) -> str | None:
        said = getattr(self, part)
        if said is None:
            return None
        for one in known:
            if said.lower() == one.lower():
                return one
        raise ModelError(f"--{part}: got {said!r:.40}; expected one of {', '.join(known).lower()}")


NOTHING_SAID = Said()


def read_names(path: Path) -> tuple[str, ...]:
    """Return the names in a file, one a line, for each class in the order of the scores; else `ModelError`."""
    try:
        content = path.read_bytes()[:_MOST_NAMES_BYTES]
        names = tuple(line.strip() for line in content.decode("utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ModelError(f"{path}: cannot read it ({reason}); expected a name a line; give --labels FILE") from None
    while names and not names[-1]:
        names = names[:-1]
    if not all(names):
        raise ModelError(
            f"{path}: line {names.index('') + 1} is empty; expected a name a line; name every class with --labels FILE"
        )
    return names


@dataclass(frozen=True)
class Model:
    """What is asked of a model: its file, the shapes of input and output, how they are stored, its own names."""

    path: Path
    input_shape: tuple[int, ...]
    classes: int
    input: Quantized
    output: Quantized
    names: tuple[str, ...] = ()  # a C library has them


def resolved(
    model: Model,
    *,
    said: Said,
    recorded: Contract | None,
    clues: Clues,
    are_probabilities: Callable[[], bool],
    wins: bool = False,
) -> Contract:
    """Return the contract of a model; raises `DeviceError` for what cannot be.

    `clues` are what the file says. `are_probabilities` runs the model, and says whether its scores are. What is said
    must not contradict record or metadata, unless it `wins`.
    """
    options = said.clues()
    if recorded is not None and not wins:
        _refuse_contradiction(model.path, options, recorded_parts(recorded), "its record")
    if recorded is not None and not options:
        return replace(recorded, input=model.input, output=model.output)
    metadata = {part: known for part, known in clues.items() if known.source == METADATA}
    if not wins:
        _refuse_contradiction(model.path, options, metadata, "its metadata")
    earlier = {} if recorded is None else recorded_parts(recorded)
    beside = _names_beside(model.path)
    found: dict[str, Known] = {**clues, **beside, **metadata, **earlier, **options}
    if "scores" not in found:
        found["scores"] = Known(PROBABILITIES if are_probabilities() else LOGITS, OUTPUTS)
    layout, shape = _picture_of(model, found)
    return _of_features(model, found, layout) if layout.value == FEATURES else _of_picture(model, found, layout, shape)


def contradictions(options: Clues, others: Clues) -> dict[str, tuple[str, str]]:
    """Return by part what is said and what stands elsewhere, as text, where the two are not the same."""
    return {
        part: (_text(part, said.value), _text(part, others[part].value))
        for part, said in options.items()
        if part in others and _text(part, said.value) != _text(part, others[part].value)
    }


def remedy_for(parts: Sequence[str]) -> str:
    """Return the options that say these parts."""
    return ", ".join(OPTIONS[part] for part in parts)


def assumption_line(contract: Contract) -> str:
    """Return what is said of a contract with open parts: what is assumed, and how to say it."""
    parts = [part for part, source in contract.sources.items() if source == ASSUMED]
    return f"assumed: {', '.join(contract.assumed)}; say {remedy_for(parts)} (edgecnn adopt keeps it)"


def _refuse_contradiction(path: Path, options: Clues, others: Clues, whose: str) -> None:
    for part, (said, stands) in contradictions(options, others).items():
        raise ModelError(
            f"{path}: {OPTIONS[part]} says {said}, {whose} {stands}; leave the option out, or have it replaced: "
            f"edgecnn adopt"
        )


def recorded_parts(contract: Contract) -> dict[str, Known]:
    """Return the parts of a contract that somebody said, each with its source."""
    values = {
        "range": (contract.mean, contract.std),
        **{part: getattr(contract, part) for part in ("channels", "layout", "scores", "labels", "picture")},
    }
    return {
        part: Known(value, contract.sources.get(part, "record"))
        for part, value in values.items()
        if contract.sources.get(part) not in (ASSUMED, NUMBERS) and (part != "channels" or contract.is_picture)
    }


def _text(part: str, value: Any) -> str:
    if part == "range":
        return range_name(*value)
    return ", ".join(value) if part == "labels" else str(value)


def _names_beside(path: Path) -> dict[str, Known]:
    file = path.with_name(LABELS)
    return {"labels": Known(read_names(file), LABELS_FILE)} if file.is_file() else {}


def _picture_of(model: Model, found: Clues) -> tuple[Known, tuple[int, ...]]:
    """Return how a picture lies in the input, and its height, width and channels."""
    sizes = model.input_shape
    said = found.get("layout")
    if said is not None and said.source != LEADING:
        shape = _shape_in(said.value, sizes, found)
        if shape is None:
            raise ModelError(
                f"{model.path}: layout {said.value.lower()} ({said.source}) does not fit its input [N, "
                f"{', '.join(map(str, sizes))}]; expected {_layouts_for(sizes, found)}; say --layout"
            )
        return said, shape
    fitting = {layout: shape for layout in (NHWC, NCHW, HW, FLAT) if (shape := _shape_in(layout, sizes, found))}
    if not fitting or _is_no_picture(model, found):
        return Known(FEATURES, SHAPE), sizes
    if said is not None and said.value in fitting:
        return said, fitting[said.value]
    layout, shape = next(iter(fitting.items()))
    is_open = len(fitting) > 1 or (layout == FLAT and shape[2] == 3)
    return Known(layout, ASSUMED if is_open else SHAPE), shape


def _shape_in(layout: str, sizes: tuple[int, ...], found: Clues) -> tuple[int, ...] | None:
    """Return height, width and channels of a picture that lies so in an input of these sizes; None where none can."""
    if layout == FEATURES:
        return sizes
    if layout == NHWC and len(sizes) == 3 and sizes[2] in (1, 3):
        return sizes
    if layout == NCHW and len(sizes) == 3 and sizes[0] in (1, 3):
        return (*sizes[1:], sizes[0])
    if layout == HW and len(sizes) == 2:
        return (*sizes, 1)
    if layout == FLAT and len(sizes) == 1:
        channels = (1 if found["channels"].value == GRAY else 3,) if "channels" in found else (1, 3)
        for count in channels:
            side = isqrt(sizes[0] // count)
            if side >= _LEAST_SIDE and side * side * count == sizes[0]:
                return side, side, count
    return None


def _layouts_for(sizes: tuple[int, ...], found: Clues) -> str:
    fitting = [one for one in (NHWC, NCHW, HW, FLAT) if _shape_in(one, sizes, found)]
    return " or ".join([*fitting, FEATURES]).lower()


def _is_no_picture(model: Model, found: Clues) -> bool:
    """Return whether the input stores integers of a range that no pixels have, and nobody says what they become."""
    return model.input.scale > 0 and "range" not in found


def _of_features(model: Model, found: Clues, layout: Known) -> Contract:
    known = {"layout": layout, "scores": found["scores"], "labels": _labels_of(model, found)}
    return _contract(model, known, shape=model.input_shape)


def _of_picture(model: Model, found: Clues, layout: Known, shape: tuple[int, ...]) -> Contract:
    labels = _labels_of(model, found)
    channels = found.get("channels", Known(GRAY, SHAPE) if shape[2] == 1 else Known(RGB, ASSUMED))
    pixels = found.get("range", Known(((0.0,), (1.0,)), ASSUMED))
    picture = found.get("picture") or _picture_kind(shape, labels)
    known = {"layout": layout, "channels": channels, "scores": found["scores"], "labels": labels, "picture": picture}
    (mean, std), sources = pixels.value, {"range": pixels.source}
    return _contract(model, known, shape=shape, mean=mean, std=std, sources=sources)


def _contract(
    model: Model, known: Clues, *, sources: Mapping[str, str] = MappingProxyType({}), **others: Any
) -> Contract:
    values = {part: one.value for part, one in known.items()}
    sources = {**sources, **{part: one.source for part, one in known.items()}}
    return Contract(**values, **others, input=model.input, output=model.output, sources=sources)


def _picture_kind(shape: tuple[int, ...], labels: Known) -> Known:
    """Return how a picture of any size becomes pixels; of 28x28 gray ones in ten classes it may be either."""
    if may_be_digits(shape, labels.value):
        return Known(DIGIT, ASSUMED)
    return Known(STRETCH, SHAPE)


def _labels_of(model: Model, found: Clues) -> Known:
    names = Known(model.names, "record") if model.names else Known(tuple(map(str, range(model.classes))), NUMBERS)
    labels = found.get("labels", names)
    if len(labels.value) != model.classes:
        raise ModelError(
            f"{model.path}: {len(labels.value)} labels ({labels.source}), its output has {model.classes} classes; "
            f"give a file with a name for each: --labels FILE"
        )
    return labels


def _range_of(text: str) -> tuple[Numbers, Numbers]:
    if text in RANGES:
        mean, std = RANGES[text]
        return (mean,), (std,)
    low, _, high = text.partition("..")
    try:
        return normalization_of(float(low), float(high))
    except ValueError:
        raise ModelError(f"--input-range: got {text!r:.40}; expected {', '.join(RANGES)} or LOW..HIGH") from None


def _numbers(option: str, text: str) -> Numbers:
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError as error:
        raise ModelError(f"{option}: got {text!r:.40} ({one_line(error)}); expected numbers by comma, as 0.5") from None


def without_batch(path: Path, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of an input behind its batch; `ModelError` where more is open, or one call takes several."""
    if not shape or shape[0] not in (1, -1) or len(shape) < 2 or min(shape[1:]) < 1:
        raise ModelError(
            f"{path}: input is {list(shape)}; expected a batch of 1, or an open one, and all other sizes known; "
            f"export it with fixed sizes"
        )
    return tuple(shape[1:])


def classes_of(path: Path, shape: Sequence[int]) -> int:
    """Return how many scores an output has: 1 for each class; `ModelError` for another output."""
    sizes = [size for size in shape[1:] if size != 1]
    if len(shape) < 2 or shape[0] not in (1, -1) or len(sizes) != 1 or prod(sizes) < 2:
        raise ModelError(f"{path}: output is {list(shape)}; expected [1, classes]; give a classifier")
    return sizes[0]
