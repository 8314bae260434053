"""The input contract: what a network takes for a picture, and what its scores are. Standard library and numpy.

Everything that brings pixels to a network, or reads scores from it, asks the contract: training, calibration, gates,
benchmarks, the predictor, the server and the C. It stands in every record, and every room may import this file.
A pixel 0..255 becomes ``(pixel / 255 - mean) / std``, channel by channel, and then whatever the input's type stores of
that number.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from edgecnn.device.errors import DeviceError

# Records are read by commands that compute nothing, so that numpy is imported where something is computed.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = 2  # of records; those of schema 1 say a range only, see `of_first_schema`
NHWC, NCHW, HW, FLAT, FEATURES = "NHWC", "NCHW", "HW", "flat", "features"
LAYOUTS = (NHWC, NCHW, HW, FLAT, FEATURES)
GRAY, RGB, BGR = "gray", "RGB", "BGR"
CHANNELS = {GRAY: 1, RGB: 3, BGR: 3}
PROBABILITIES, LOGITS = "probabilities", "logits"
SCORES = (PROBABILITIES, LOGITS)
DIGIT, STRETCH = "digit", "stretch"
PICTURES = (DIGIT, STRETCH)
PARTS = ("layout", "channels", "range", "scores", "labels", "picture")  # whose sources a contract names
ASSUMED = "assumed"
# The usual ranges by name: mean and std, of pixel / 255.
RANGES = {"0..1": (0.0, 1.0), "-1..1": (0.5, 0.5), "0..255": (0.0, 1 / 255)}
_FLOATS = ("float32", "float16")
_INTEGERS = ("uint8", "int8", "int16")
_LARGEST_STD = 1e6  # of a mean or std that a picture can have

Numbers = tuple[float, ...]


class ContractError(DeviceError):
    """A contract that cannot be; the message says what was got, what was expected and what to do, in one line."""


@dataclass(frozen=True)
class Quantized:
    """How a tensor stores real values: ``scale * (stored - zero_point)``; scale 0 where they are stored as they are.

    A record of schema 1 says less: no scale, and of the output not even a type, "".
    """

    dtype: str = "float32"
    scale: float = 0.0
    zero_point: int = 0


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a network takes and gives.

    `shape` is height, width and channels of the picture; of `features`, which are no picture, the input's own sizes
    without the batch. `layout` says how the picture lies in the input: [N, H, W, C], [N, C, H, W], [N, H, W] or
    [N, H * W * C]. `mean` and `std` have one number, or one a channel in the order of `channels`. `scores` are
    probabilities or logits; `labels` name them in their order. `picture` says how a picture of any size becomes these
    pixels: `digit` (found, and brought into MNIST's shape) or `stretch`. `sources` says of each part where it is known
    from; a part that is `assumed` nobody said.

    Raises `ContractError` for what cannot be.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...]
    layout: str = NHWC
    channels: str = GRAY
    mean: Numbers = (0.0,)
    std: Numbers = (1.0,)
    scores: str = PROBABILITIES
    picture: str = STRETCH
    input: Quantized = Quantized()
    output: Quantized = Quantized()
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _check_choice("layout", self.layout, LAYOUTS)
        _check_choice("channels", self.channels, tuple(CHANNELS))
        _check_choice("scores", self.scores, SCORES)
        _check_choice("picture", self.picture, PICTURES)
        if len(self.labels) < 2:
            raise ContractError(f"labels: got {len(self.labels)}; expected two classes or more; name each class")
        if not self.shape or min(self.shape) < 1:
            raise ContractError(f"shape: got {list(self.shape)}; expected whole numbers from 1 on; give the input's")
        if self.layout != FEATURES:
            self._check_picture()

    def _check_picture(self) -> None:
        if len(self.shape) != 3 or self.shape[2] != CHANNELS[self.channels]:
            raise ContractError(
                f"shape: got {list(self.shape)} for {self.channels}; expected [height, width, "
                f"{CHANNELS[self.channels]}]; say --channels {'gray' if self.shape[-1] == 1 else 'rgb'}, or another "
                f"--layout"
            )
        if self.layout == HW and self.shape[2] != 1:
            raise ContractError(f"layout: got HW for {self.channels}; expected gray; say --layout nhwc")
        check_normalization(self.mean, self.std, self.shape[2])

    @property
    def is_picture(self) -> bool:
        """Whether the network takes a picture; else arrays of its own."""
        return self.layout != FEATURES

    @property
    def assumed(self) -> tuple[str, ...]:
        """What nobody said, each as it is taken: ``("range 0..1", "channels RGB")``."""
        return self.assumed_but(())

    def assumed_but(self, harmless: Container[str]) -> tuple[str, ...]:
        """Return what nobody said, less the parts that are `harmless`."""
        parts = (part for part, source in self.sources.items() if source == ASSUMED and part not in harmless)
        return tuple(f"{part} {self._said(part)}" for part in parts)

    def _said(self, part: str) -> str:
        return range_name(self.mean, self.std) if part == "range" else str(getattr(self, part))

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Sizes of the input behind its batch."""
        if not self.is_picture:
            return self.shape
        height, width, channels = self.shape
        sizes = {NHWC: self.shape, NCHW: (channels, height, width), HW: (height, width)}
        return sizes.get(self.layout, (height * width * channels,))

    def table(self) -> NDArray[np.float32]:
        """Return what each pixel 0..255 becomes, float32 [256, channels] in the picture's order: gray, or red first."""
        return self.exact_table().astype("float32")

    def exact_table(self) -> NDArray[np.float64]:
        """Return `table` in float64, which integers are rounded from."""
        import numpy as np

        unit = np.arange(256, dtype=np.float64)[:, None] / 255
        mean, std = (np.array(one, np.float64).reshape(1, -1) for one in (self.mean, self.std))
        values: NDArray[np.float64] = np.broadcast_to((unit - mean) / std, (256, self.shape[2]))
        return self._in_order(values)

    def ordered(self, numbers: Numbers) -> NDArray[np.float32]:
        """Return mean or std as float32, one or one a channel, in the picture's order: gray, or red first."""
        import numpy as np

        return np.array(numbers[::-1] if self.channels == BGR else numbers, np.float32)

    def _in_order(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values [..., channels] in the other order of channels where the network has blue first."""
        return values[..., ::-1] if self.channels == BGR else values

    @property
    def input_range(self) -> tuple[float, float]:
        """The least and the largest real value that the input can store; infinite for floats."""
        import numpy as np

        dtype, scale = np.dtype(self.input.dtype), self.input.scale or 1.0
        if dtype.kind == "f":
            return -math.inf, math.inf
        limits, zero = np.iinfo(dtype), self.input.zero_point
        return (limits.min - zero) * scale, (limits.max - zero) * scale

    @property
    def is_unit(self) -> bool:
        """Whether a pixel 0..255 becomes 0..1."""
        return range_name(self.mean, self.std) == "0..1"

    def network_input(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return uint8 [N, H, W, C], gray or RGB, as the real values float32 [N, ...] that the network takes."""
        return self.arranged(_looked_up(self.table(), pixels))

    def encoder(self) -> Encoder:
        """Return what brings uint8 pixels into the input's own type, layout and order of channels."""
        return Encoder(self)

    def arranged(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values [N, H, W, C] of a picture, red first, in the input's layout and order of channels."""
        import numpy as np

        values = self._in_order(values)
        if self.layout == NCHW:
            values = values.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(values).reshape(len(values), *self.tensor_shape)

    def with_source(self, source: str, **parts: Any) -> Contract:
        """Return the contract with other parts, known from `source`."""
        named = {"range" if name in ("mean", "std") else name for name in parts}
        return replace(self, **parts, sources={**self.sources, **dict.fromkeys(named, source)})

    def unstored(self) -> Contract:
        """Return the contract of what is made of this model, of which it is not known yet how it stores its ends."""
        return replace(self, input=Quantized(""), output=Quantized(""))

    def as_dict(self) -> dict[str, Any]:
        """Return it as a record keeps it; `from_dict` reads it back."""
        kept = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


class Encoder:
    """Brings uint8 pixels [N, H, W, C] to what a network's input stores; made once, it costs one look-up a pixel."""

    def __init__(self, contract: Contract) -> None:
        import numpy as np

        table = stored(contract.exact_table(), contract.input)
        self._is_alike = bool((table == table[:, :1]).all())
        self._table: NDArray[Any] = np.ascontiguousarray(table[:, 0]) if self._is_alike else table
        self._contract = contract
        self._is_plain = contract.layout == NHWC and contract.channels != BGR

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the input, [N, ...] in its own layout and type."""
        values = self._table[pixels] if self._is_alike else _looked_up(self._table, pixels)
        return values if self._is_plain else self._contract.arranged(values)

    @property
    def table(self) -> NDArray[Any]:
        """What is stored for each pixel 0..255, [256, channels] in the picture's order of channels."""
        import numpy as np

        return np.broadcast_to(self._table[:, None], (256, self._contract.shape[2])) if self._is_alike else self._table


def _looked_up(table: NDArray[Any], pixels: NDArray[np.uint8]) -> NDArray[Any]:
    import numpy as np

    channels = table.shape[1]
    found: NDArray[Any] = table[:, 0][pixels] if channels == 1 else table[pixels, np.arange(channels)]
    return found


def stored(values: NDArray[Any], spec: Quantized) -> NDArray[Any]:
    """Return real values as a tensor stores them: ``round(value / scale) + zero_point``, clipped to its type.

    B. Jacob et al., "Quantization and Training of Neural Networks" (2018). Integers without a scale are the values.
    """
    import numpy as np

    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    steps = np.rint(values.astype(np.float64) / (spec.scale or 1.0)) + spec.zero_point
    return steps.clip(limits.min, limits.max).astype(dtype)


def real_values(raw: NDArray[Any], spec: Quantized) -> NDArray[np.float32]:
    """Return the real values, float32, of what a tensor stores."""
    import numpy as np

    if not spec.scale:
        return raw.astype(np.float32)
    return ((raw.astype(np.float64) - spec.zero_point) * spec.scale).astype(np.float32)


def unit(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels 0..255 as 0..1, float32 of the same shape: what a picture is before a contract's mean and std."""
    import numpy as np

    return pixels.astype(np.float32) / np.float32(255)


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Return the probabilities [N, classes] of logits [N, classes]."""
    import numpy as np

    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)  # type: ignore[no-any-return]


def range_name(mean: Numbers, std: Numbers) -> str:
    """Return ``0..1``, ``-1..1`` or ``0..255`` for these; else the numbers: ``mean 0.485,0.456 std 0.229,0.224``."""
    for name, (usual_mean, usual_std) in RANGES.items():
        if all(math.isclose(one, usual_mean, abs_tol=1e-6) for one in mean) and all(
            math.isclose(one, usual_std, rel_tol=1e-4) for one in std
        ):
            return name
    return f"mean {_listed(mean)} std {_listed(std)}"


def normalization_of(low: float, high: float) -> tuple[Numbers, Numbers]:
    """Return mean and std with which pixels 0..255 become `low` to `high`; `ContractError` where that cannot be."""
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ContractError(
            f"--input-range: got {low:g}..{high:g}; expected a lower and a higher number, as 0..1, -1..1 or 0..255"
        )
    width = high - low
    return (0.0 - low / width,), (1 / width,)


def check_normalization(mean: Numbers, std: Numbers, channels: int) -> None:
    """Raise `ContractError` unless mean and std are numbers, one or one a channel, and std is above 0."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ContractError(
                f"--{name}: got {len(values)} numbers; expected 1, or {channels}: one a channel, by comma"
            )
        if not all(math.isfinite(one) and abs(one) < _LARGEST_STD for one in values):
            raise ContractError(f"--{name}: got {_listed(values)}; expected finite numbers, of pixels from 0 to 1")
    if min(std) <= 0:
        raise ContractError(f"--std: got {_listed(std)}; expected numbers above 0, of pixels from 0 to 1")


def from_dict(kept: Any) -> Contract:
    """Return the contract that a record keeps; `ContractError` for anything else."""
    try:
        known = {one.name for one in fields(Contract)}
        if not isinstance(kept, dict) or set(kept) != known:
            odd = sorted(set(kept) ^ known) if isinstance(kept, dict) else [type(kept).__name__]
            raise ContractError(f"contract: got {odd[0]!r:.40}; expected {', '.join(sorted(known))}; copy it again")
        ends = {end: Quantized(**kept[end]) for end in ("input", "output")}
        for spec in ends.values():
            _check_quantized(spec)
        tuples = {name: _listed_in(kept, name) for name in ("shape", "labels", "mean", "std")}
        _check_kinds(tuples, kept["sources"])
        return Contract(**{**kept, **ends, **tuples})
    except (TypeError, KeyError, AttributeError) as error:
        raise ContractError(f"contract: cannot be read ({error}); copy the record again") from None


def of_first_schema(kept: Mapping[str, Any], labels: Sequence[str]) -> Contract:
    """Return the contract of a record of schema 1, which states shape, type and range: pixels [N, H, W, C] as 0..1.

    All of that schema were trained here, where a picture of 28x28 gray pixels in the classes 0 to 9 was a digit. Scales
    and zero points stand in the model alone.
    """
    shape = tuple(kept["shape"][1:])
    return Contract(
        shape=shape,
        labels=tuple(labels),
        channels=GRAY if shape[-1] == 1 else RGB,
        picture=DIGIT if may_be_digits(shape, labels) else STRETCH,
        input=Quantized(kept["dtype"]),
        output=Quantized(""),
        sources=dict.fromkeys(PARTS, "training"),
    )


def may_be_digits(shape: Sequence[int], labels: Sequence[str]) -> bool:
    """Return whether pictures of `shape` [H, W, C] in these classes may be MNIST's: whether they are, others say."""
    return tuple(shape) == (28, 28, 1) and tuple(labels) == tuple("0123456789")


def _listed_in(kept: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    if not isinstance(kept[name], list):
        raise ContractError(f"contract: {name} is {kept[name]!r:.60}; expected a list; copy the record again")
    return tuple(kept[name])


def _check_choice(name: str, got: str, known: Sequence[str]) -> None:
    if got not in known:
        raise ContractError(f"{name}: got {got!r:.40}; expected one of {', '.join(known)}")


def _check_quantized(spec: Quantized) -> None:
    is_known = spec.dtype in ("", *_FLOATS, *_INTEGERS)
    if not is_known or not (math.isfinite(spec.scale) and spec.scale >= 0) or type(spec.zero_point) is not int:
        raise ContractError(
            f"contract: got {spec.dtype!r:.20} of scale {spec.scale!r:.20}; expected a type of {', '.join(_FLOATS)}, "
            f"{', '.join(_INTEGERS)} and a scale from 0 on; copy the record again"
        )


def _check_kinds(tuples: Mapping[str, tuple[Any, ...]], sources: Any) -> None:
    kinds: dict[str, type | tuple[type, ...]] = {"shape": int, "labels": str, "mean": (int, float), "std": (int, float)}
    for name, values in tuples.items():
        if not all(isinstance(one, kinds[name]) and not isinstance(one, bool) for one in values):
            raise ContractError(f"contract: {name} is {list(values)!r:.60}; copy the record again")
    if not isinstance(sources, dict) or not all(isinstance(one, str) for one in sources.values()):
        raise ContractError(f"contract: sources are {sources!r:.60}; copy the record again")


def _listed(values: Numbers) -> str:
    return ",".join(f"{one:.6g}" for one in values)
