"""The C library of a model, libmodel.so: found beside it, tried, asked what it is, and called. No numpy.

`edgecnn build` makes it. It is code: it is loaded only from the folder of the model that was named, or by its own name.
"""

from __future__ import annotations

import ctypes
import json
import sys
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgecnn.device.digest import sha256
from edgecnn.device.errors import ModelError, RuntimeMissingError
from edgecnn.device.files import LIBRARY, LIBRARY_ABI, read_model
from edgecnn.device.runtimes import ladder

if TYPE_CHECKING:
    from edgecnn.device.contract import Contract  # numpy, which a library is tried and asked without


class _Described(ctypes.Structure):
    """struct edgecnn_description of edgecnn/native/library.c, with room for what later versions add to its end."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("abi", "height", "width", "channels", "scores")),
        *((name, ctypes.c_int32) for name in ("arena_bytes", "arena_alignment", "pixels_are_int8", "scores_are_int8")),
        ("input_scale", ctypes.c_float),
        ("input_zero_point", ctypes.c_int32),
        ("output_scale", ctypes.c_float),
        ("output_zero_point", ctypes.c_int32),
        ("name", ctypes.c_char_p),
        ("version", ctypes.c_char_p),
        ("contract", ctypes.c_char_p),
        ("later", ctypes.c_char * 256),
    )


class Quantized(NamedTuple):
    """A tensor: real value = scale * (stored - zero_point)."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class Library:
    """A loaded library. Its arena is its own: one call at a time, for which the caller has to see.

    Attributes: `version`, the sha256 of the .tflite file that it was made from; `input` and `output`; `labels`, which
    may be empty; `calibration`, temperature and floor; `arena_bytes`. Raises `ModelError` for a file that is no such
    library, or of another version of it.
    """

    def __init__(self, path: Path) -> None:
        try:
            loaded = ctypes.CDLL(str(path.resolve()))
            described = _Described()
            loaded.edgecnn_describe(ctypes.byref(described))
        except (OSError, AttributeError) as error:
            reason = str(error).removeprefix(f"{path.resolve()}: ")
            raise ModelError(f"{path}: cannot be loaded ({reason}); make it again: edgecnn build") from None
        if described.abi != LIBRARY_ABI:
            raise ModelError(
                f"{path}: of version {described.abi}; expected {LIBRARY_ABI}; make it again: edgecnn build"
            )
        name, classes = described.name.decode(), described.scores
        self.version: str = described.version.decode()
        told = json.loads(described.contract)
        shape = tuple(told["input_shape"])
        pixel, score = (
            "int8" if is_int8 else "uint8" for is_int8 in (described.pixels_are_int8, described.scores_are_int8)
        )
        self.input = Quantized(shape, pixel, described.input_scale, described.input_zero_point)
        self.output = Quantized((1, classes), score, described.output_scale, described.output_zero_point)
        self.calibration: tuple[float, float] = (told["temperature"], told["floor"])
        self._told: dict[str, Any] = told["contract"]
        label = loaded[f"{name}_label"]
        label.restype = ctypes.c_char_p
        self.labels = [label(number).decode() for number in range(classes)] if label(0) else []
        self.arena_bytes: int = described.arena_bytes
        self._predict = loaded[f"{name}_predict"]
        self._room = ctypes.create_string_buffer(described.arena_bytes + described.arena_alignment)
        start = ctypes.addressof(self._room)
        self._arena = ctypes.c_void_p(start + -start % described.arena_alignment)
        self._size = ctypes.c_size_t(described.arena_bytes)

    def run(self, pixels: ctypes.c_void_p, scores: ctypes.c_void_p) -> None:
        """Compute the scores of the image at one address and write them to another."""
        if self._predict(pixels, self._arena, self._size, scores):
            raise ModelError("libmodel.so: the call is refused; make it again: edgecnn build")

    def contract(self) -> Contract:
        """Return the input contract that the library was made with; its labels are "0", "1", ... where it has none."""
        from edgecnn.device.contract import from_dict

        return from_dict({**self._told, "labels": self.labels or [str(n) for n in range(max(2, self.output.shape[1]))]})

    def scores(self, pixels: bytes) -> list[int]:
        """Return the stored scores of one image, given as the bytes of its stored pixels."""
        assert len(pixels) == prod(self.input.shape)
        given = ctypes.create_string_buffer(pixels, len(pixels))
        made = ((ctypes.c_int8 if self.output.dtype == "int8" else ctypes.c_uint8) * self.output.shape[1])()
        self.run(ctypes.c_void_p(ctypes.addressof(given)), ctypes.c_void_p(ctypes.addressof(made)))
        return list(made)


def library_of(model: Path, *, asked: bool, library: Path | None = None) -> Path | None:
    """Return the C library that belongs to `model` and works here: itself, `library`, or the one beside it.

    None where there is none; raises `RuntimeMissingError` or `ModelError` then, saying why, if it was `asked` for.
    """
    itself = model.suffix == ".so"
    path = model if itself else library or model.with_name(LIBRARY)
    why: Exception | None = None
    if not itself and model.suffix != ".tflite":
        why = RuntimeMissingError(f"{model}: runtime 'c' does not take it; expected a .tflite file or a {LIBRARY}")
    elif not path.is_file():
        why = RuntimeMissingError(f"{model}: no {LIBRARY} beside it; make it: edgecnn build")
    else:
        read_model(path)
        finding = ladder.library_works(path)
        if not finding.works:
            why = RuntimeMissingError(f"{path}: does not work here ({finding.reason}); make it here: edgecnn build")
        elif not itself and finding.version != (got := sha256(read_model(model))):
            why = ModelError(
                f"{path}: made from a model of sha256 {finding.version[:12]}…, {model.name} is {got[:12]}…; "
                f"make it again: edgecnn build"
            )
    if why is not None and (asked or itself):
        raise why
    return None if why is not None else path


def tried() -> None:
    """Run in a child process: load the library named on the command line, call it once, and print its version."""
    path = Path(sys.argv[1])
    try:
        library = Library(path)
    except ModelError as error:
        sys.exit(str(error).replace(f"{path}: ", ""))
    library.scores(bytes(prod(library.input.shape)))
    sys.stdout.write(library.version)
