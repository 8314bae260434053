"""The bundle of a model file: composed of what lies around it, written as a folder and as one archive."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.archives import PROGRAM, is_program, to_tar_gz
from edgecnn.artifact import Record
from edgecnn.device.files import LIBRARY
from edgecnn.device.selftest import SUMS
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.building import build

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecnn.device import Predictor

_IMAGE = "seven.png"
_OWN_INPUTS = 8
_PLAIN_NAME = re.compile(r"[\w.-]+", re.ASCII)
_EXTRAS = {".tflite": "litert", ".onnx": "ort"}
# What scores of the same file may differ by from CPU to CPU. Between LiteRT's kernels (XNNPACK, optimized, reference),
# and ONNX Runtime with and without fusing, the released models' scores of the self-test's images differ by up to
# 0.055 where they compute in integers, whose sums are rounded otherwise, and by up to 7e-7 in floats.
_TOLERANCE = {"float32": 1e-4, "float16": 0.01}  # a CPU with half-precision arithmetic may use it
_TOLERANCE_OF_ROUNDED = 0.1


def export_bundle(model: Path, *, out: Path, name: str, target: str | None = None) -> tuple[Path, Path]:
    """Write the bundle of a .tflite or .onnx file, which must have its record; return the folder and the archive.

    With a `target` the model is compiled for that machine, and its library and program are put in.

    They are ``out/name`` and ``out/name.tar.gz``, `name` without what a shell would have quoted, and replace former
    ones when they are complete. Raises `ArtifactError` for a file without a record or with another one's, and where
    `out/name` is no former bundle.
    """
    name = "-".join(_PLAIN_NAME.findall(name if target is None else f"{name}-{target}")).strip("-.") or "bundle"
    folder = out / name
    _check_replaceable(folder)
    files = bundle_files(model, name=name, in_c={} if target is None else compiled(model, target))
    artifact.write_folder(folder, files, programs={file for file, content in files.items() if is_program(content)})
    archive = out / f"{name}.tar.gz"
    artifact.write_atomic(archive, to_tar_gz(files, folder=name))
    return folder, archive


def bundle_files(model: Path, *, name: str, in_c: Mapping[str, bytes] = MappingProxyType({})) -> dict[str, bytes]:
    """Return the content of every file of the bundle of `model`, whose scores are computed here, by file name.

    `in_c` is the model in C; without it, a library of this model that lies beside it is taken.
    """
    from edgecnn.device import Predictor
    from edgecnn.device.runtimes.ladder import LADDER
    from edgecnn.device.runtimes.loader import pick
    from edgecnn.export.bundle import bundle

    if _PLAIN_NAME.fullmatch(model.name) is None:
        raise ArtifactError(
            f"export bundle {model}: expected a name of letters a to z, digits, dots, - and _, as checksums name it; "
            f"rename it and its record"
        )
    extras.require(_EXTRAS[model.suffix], needed_by="export --format bundle")
    record = artifact.checked(model)
    predictor = Predictor(model, runtime=pick(model))  # not a C library: requirements.txt names what computed here
    package = LADDER[predictor.model.runtime].package
    return bundle(
        {**_model_files(model), **in_c, **_self_test_files(predictor, record)},
        model=model.name,
        labels=predictor.labels,
        script=artifact.for_the_board("predict.py").read_text(),
        versions={name: _version(name) for name in ("numpy", "pillow", package)},
        facts=_facts(model, record),
        name=name,
    )


def compiled(model: Path, target: str) -> dict[str, bytes]:
    """Return library and program of an int8 .tflite file for another machine or this one."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(model, target=target, out=Path(folder))
        return {LIBRARY: artifact.read_bytes(library), PROGRAM: artifact.read_bytes(library.with_name(PROGRAM))}


def _model_files(model: Path) -> dict[str, bytes]:
    from edgecnn.export.pyz import to_pyz

    library = model.with_name(LIBRARY)
    of_model = {str(part.relative_to(model.parent)): part for part in artifact.parts_of(model)}
    of_model[artifact.record_path(model).name] = artifact.record_path(model)
    files = {name: artifact.read_bytes(path) for name, path in of_model.items()}
    # One for another machine cannot be asked whose it is, but its parent's hash stands in it.
    if library.is_file() and artifact.sha256(files[model.name]).encode() in artifact.read_bytes(library):
        files[LIBRARY] = artifact.read_bytes(library)
    return {**files, "predict.pyz": to_pyz()}


def _self_test_files(predictor: Predictor, record: Record) -> dict[str, bytes]:
    """Return a picture, its pixels, and the scores that this machine computes for them and their copies.

    Of a model that takes no pictures, arrays of its own input and their scores.
    """
    from edgecnn.device import selftest

    if predictor.contract.is_picture:
        picture = artifact.for_the_board(_IMAGE)
        pixels = predictor.see(picture)
        given: NDArray[Any] = selftest.views(pixels)
        files = {selftest.IMAGE: artifact.read_bytes(picture), selftest.PIXELS: pixels.tobytes()}
        shown = predictor.predict(pixels).probability
    else:
        given = _own_inputs(predictor)
        files = {selftest.INPUTS: _npy(given), selftest.PIXELS: given[0].tobytes()}
        shown = predictor.predict_input(given[0]).probability
    scores = predictor.probabilities(given)
    expected = {
        "model": predictor.model.path.name,
        "runtime": predictor.model.runtime,
        "tolerance": _TOLERANCE.get(record.scheme, _TOLERANCE_OF_ROUNDED),
        "shown": shown,  # of the first image, calibrated, as the program in C prints it
        "scores": [[float(f"{score:.9g}") for score in row] for row in scores],  # nine digits name a float32
    }
    return {**files, selftest.EXPECTED: (json.dumps(expected, indent=1) + "\n").encode()}


def _own_inputs(predictor: Predictor) -> NDArray[Any]:
    """Return random arrays of a model's own input, always the same: integers that it stores, or floats from -1 to 1."""
    import numpy as np

    rng, spec = np.random.default_rng(0), predictor.contract.input
    sizes = (_OWN_INPUTS, *predictor.contract.tensor_shape)
    if spec.dtype.startswith("float"):
        return rng.uniform(-1, 1, sizes).astype(spec.dtype)
    limits = np.iinfo(spec.dtype)
    return rng.integers(limits.min, limits.max + 1, sizes).astype(spec.dtype)


def _npy(array: NDArray[Any]) -> bytes:
    import numpy as np

    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def _facts(model: Path, record: Record) -> list[str]:
    """Return what the bundle's README says of the model."""
    facts = [f"model: {model.name}, {record.size_bytes:,} bytes, {record.parameters:,} parameters, {record.recipe}"]
    figures = record.metrics
    if "validation_top1" in figures and "images" in figures:
        facts.append(
            f"{figures['validation_top1']:.2%} of {figures['images']:,} validation images of {record.data['name']} read"
        )
    return [*facts, f"sha256: {record.sha256}"]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise ArtifactError(
            f"export bundle: {package} was installed without its version; install it by pip, so that "
            f"requirements.txt can name it"
        ) from None


def _check_replaceable(folder: Path) -> None:
    """Raise `ArtifactError` when `folder` holds anything that is of no former bundle: it would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: is there, and is no folder; move it away or choose another --out")
    of_bundle = {line.split("  ")[-1] for line in _lines(folder / SUMS)} | {SUMS}
    others = sorted(path.name for path in folder.iterdir() if path.name not in of_bundle)
    if others:
        raise ArtifactError(
            f"{folder}: is there, and holds {others[0]}, which is of no bundle; move it away or choose another --out"
        )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
