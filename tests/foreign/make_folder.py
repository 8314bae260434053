"""The folder of a case: a model as somebody else hands it over, six pictures, mostly labels.txt, and what is right.

Beside the folder lies ``NAME.right.json``: the names of the classes and, by model and picture, their probabilities.
LiteRT, ONNX Runtime or Keras computed them from what the network is to be given, worked out here from the pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests.foreign import make_onnx, make_tflite
from tests.foreign.make_networks import (
    GRAY,
    UNIT,
    Floats,
    Network,
    Normalization,
    Pixels,
    Shape,
    classes,
    network,
    pictures,
    softmax,
)
from tests.foreign.make_tflite import PROBABILITIES, Stored, arranged

INT8_UNIT = make_tflite.Form(Stored("int8", 1 / 255, -128), PROBABILITIES["int8"])


@dataclass
class Folder:
    """A folder that is being made, the names of its classes, and what is right in it, by model and picture."""

    path: Path
    classes: Sequence[str]
    right: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in a folder of its own where its name says so."""
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_bytes(content)

    def note(self, model: str, right: Floats, names: Sequence[str]) -> None:
        """Note what is right of the files `names`: probabilities [N, classes]."""
        rows = self.right.setdefault(model, {})
        rows |= {name: [round(float(one), 6) for one in row] for name, row in zip(names, right, strict=True)}

    def write_labels(self, file: str = "labels.txt") -> None:
        """Write the names of the classes, one a line."""
        self.write(file, "".join(f"{name}\n" for name in self.classes).encode())

    def write_pictures(self, pixels: Pixels, *, prefix: str = "", suffix: str = ".png") -> list[str]:
        """Write a picture a class; return the files' names."""
        names = [f"{prefix}{label.replace(' ', '-')}{suffix}" for label in self.classes]
        for name, picture in zip(names, pixels, strict=True):
            Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(self.path / name)
        return names


@contextmanager
def folder(root: Path, name: str, names: Sequence[str] = classes(GRAY)) -> Iterator[Folder]:
    """Give a new folder of classes called `names`; what is right in it is written at the end."""
    made = Folder(root / name, names)
    made.path.mkdir(parents=True)
    yield made
    right = {"labels": list(names), "right": made.right}
    (root / f"{name}.right.json").write_text(json.dumps(right, indent=1))


def add_tflite(made: Folder, content: bytes, given: Floats, form: make_tflite.Form, pixels: Pixels) -> None:
    """Add net.tflite, labels and pictures; `given` [N, H, W, C] is what the network takes of `pixels`."""
    made.write_labels()
    names = made.write_pictures(pixels)
    found = make_tflite.litert(content, arranged(given, form.layout))
    made.write("net.tflite", content)
    made.note("net.tflite", found if form.softmax else softmax(found), names)


def float_folder(
    root: Path, name: str, range_: Normalization, form: make_tflite.Form = make_tflite.FLOATS, *, shape: Shape = GRAY
) -> None:
    """Make the folder of a float32 .tflite file that takes pixels normalized so."""
    with folder(root, name, classes(shape)) as made:
        content = make_tflite.float_file(network(shape).taking(range_), form)
        add_tflite(made, content, range_.of(pictures(shape)), form, pictures(shape))


def integer_folder(
    root: Path, name: str, range_: Normalization, form: make_tflite.Form, *, shape: Shape = GRAY
) -> None:
    """Make the folder of an int8 .tflite file that takes pixels normalized so."""
    with folder(root, name, classes(shape)) as made:
        content = make_tflite.integer_file(network(shape).taking(range_), range_, form)
        add_tflite(made, content, range_.of(pictures(shape)), form, pictures(shape))


def onnx_folder(
    root: Path,
    name: str,
    range_: Normalization,
    form: make_onnx.Form = make_onnx.NCHW_FLOATS,
    *,
    shape: Shape = GRAY,
    inside: Network | None = None,
    labelled: bool = True,
) -> None:
    """Make the folder of an .onnx file that takes pixels normalized so; `inside` is what follows its first nodes."""
    with folder(root, name, classes(shape)) as made:
        content = make_onnx.onnx_file(inside or network(shape).taking(range_), form)
        given = pictures(shape) if form.takes_pixels else range_.of(pictures(shape))
        add_onnx(made, content, given, form, pictures(shape), labelled=labelled)


def add_onnx(
    made: Folder, content: bytes, given: Floats | Pixels, form: make_onnx.Form, pixels: Pixels, *, labelled: bool = True
) -> None:
    """Add net.onnx, labels and pictures; `given` [N, H, W, C] is what the network takes of `pixels`."""
    if labelled:
        made.write_labels()
    names = made.write_pictures(pixels)
    made.write("net.onnx", content)
    found = make_onnx.ort(content, arranged(given, form.layout))
    made.note("net.onnx", found if form.ends == ("Softmax",) else softmax(found), names)


def as_gray(pixels: Pixels) -> Pixels:
    """Return pictures [N, H, W, 3] in gray [N, H, W, 1]: ITU-R 601-2, as Pillow computes it."""
    return np.stack([np.asarray(Image.fromarray(picture).convert("L")) for picture in pixels])[..., None]


def sound_int8() -> bytes:
    """Return a file with nothing odd about it: int8, 0..1 by its scale."""
    return make_tflite.integer_file(network(GRAY), UNIT, INT8_UNIT)
