"""What a model costs, layer by layer, and what quantization does to each layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.config import RunConfig
from edgecnn.device.errors import DeviceError
from edgecnn.errors import ArtifactError, EdgecnnError
from edgecnn.pipeline.fitting import untrained
from edgecnn.pipeline.workspace import Observer, Workspace, load_data, unobserved

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.inspect import Layer

SCHEMA = 1
COMPARED_IMAGES = 100
_COSTS = ("parameters", "nonzero_parameters", "macs", "effective_macs")


@dataclass(frozen=True)
class Inspection:
    """What one model file is made of; `against` and `images` say what its layers were compared with and over."""

    model: Path
    content: bytes
    layers: list[Layer]
    against: Path | None = None
    images: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return all figures for JSON; an SQNR without any error, which no JSON number can be, is "exact"."""
        from edgecnn.report.table import decibels, layer_figures

        *layers, total = layer_figures(self.layers)
        for figures in layers:
            for key in ("sqnr_db", "weight_sqnr_db"):
                if figures[key] is not None and math.isinf(figures[key]):
                    figures[key] = decibels(figures[key])
        return {
            "schema": SCHEMA,
            "model": self.model.name,
            "sha256": artifact.sha256(self.content),
            "size_bytes": len(self.content),
            "gzip_bytes": artifact.gzip_size(self.content),
            "against": self.against and self.against.name,
            "images": self.images,
            "layers": layers,
            "total": {key: value for key, value in total.items() if value is not None or key in _COSTS},
        }


def inspected(model: Path, *, against: Path | None = None, images: NDArray[np.uint8] | None = None) -> Inspection:
    """Return the layers of a model file, after comparing it with its record, if it has one.

    With `against`, the float32 model of the same network and format, each layer has its SQNR: of its weights, and over
    `images`, uint8 [N, H, W, C], of its output. Raises `ArtifactError` or `ModelError` for a file that is damaged, not
    what its record says, or of another network than `against`.
    """
    from edgecnn.inspect import inspect_file

    content = _trusted(model)
    layers = inspect_file(model)
    if against is None:
        return Inspection(model, content, layers)
    if against.suffix != model.suffix or model.suffix not in artifact.EXPORT_SUFFIXES:
        raise ArtifactError(
            f"{against}: cannot be compared with {model.name}; expected two .tflite or two .onnx files; "
            f"give --against its float32 export"
        )
    from edgecnn.device.classifier import contract_of
    from edgecnn.device.runtimes import loader
    from edgecnn.inspect import sqnr

    try:
        contract = None if images is None else contract_of(loader.load(model))
    except DeviceError as error:
        raise ArtifactError(f"inspect {error}") from None
    named = {"where": str(model), "against": str(against)}
    ratios = sqnr.compare(content, _trusted(against), model.suffix, images, contract=contract, **named)
    pairs = zip(layers, ratios, strict=True)
    layers = [replace(layer, sqnr_db=r.output_db, weight_sqnr_db=r.weight_db) for layer, r in pairs]
    return Inspection(model, content, layers, against, 0 if images is None else len(images))


def float32_beside(model: Path) -> Path | None:
    """Return the float32 export of the same parents in the folder of `model`; None when there is none."""
    beside = model.with_name(f"float32{model.suffix}")
    if model.suffix not in artifact.EXPORT_SUFFIXES or beside == model:
        return None
    if not all(path.exists() for path in (beside, *map(artifact.record_path, (model, beside)))):
        return None
    own, other = artifact.read_record(model), artifact.read_record(beside)
    is_parent = own.scheme != "float32" and other.scheme == "float32" and own.parents == other.parents
    return beside if is_parent else None


def images_to_compare(
    config: RunConfig, *, data_dir: Path | None = None, observe: Observer = unobserved
) -> NDArray[np.uint8]:
    """Return the images that layers are compared over: the first of those that calibrate, from training."""
    from edgecnn.data import representative

    data = load_data(config, data_dir=data_dir, observe=observe)
    return representative(data.train, COMPARED_IMAGES, seed=config.seed)


def untrained_cost(work: Workspace) -> dict[str, int]:
    """Return parameters and macs of the network that a run's configuration names, before it is trained.

    Batch normalization counts where it cannot be folded into a convolution, as in the model that will be kept.
    """
    from edgecnn.compress.fold import without_batch_norm
    from edgecnn.inspect.keras import layers

    found = layers(without_batch_norm(untrained(work)))
    return {
        "parameters": sum(layer.parameters for layer in found),
        "macs": sum(layer.macs or 0 for layer in found),
    }


def cost_of(content: bytes, suffix: str) -> dict[str, int | None]:
    """Return parameters, nonzero_parameters, macs and effective_macs of a .tflite or .onnx file's content.

    None for all where the file cannot be read or its reader is not installed, and for the MACs where sizes are open or
    those of a layer are unknown.
    """
    from edgecnn.inspect import inspect_bytes
    from edgecnn.inspect.layers import total

    try:
        layers = inspect_bytes(content, suffix)
    except EdgecnnError:
        return dict.fromkeys(_COSTS)
    return {key: total(getattr(layer, key) for layer in layers) for key in _COSTS}


def sparse_bytes(content: bytes, suffix: str) -> int | None:
    """Return what a file's weights take in the sparse encoding of `export.sparse`, biases and the like as they are.

    None where kernels are not of eight bits, or the file cannot be read.
    """
    import numpy as np

    from edgecnn.export.sparse import encode
    from edgecnn.inspect import inspect_bytes, kernels_of

    try:
        layers, kernels = inspect_bytes(content, suffix), kernels_of(content, suffix)
    except EdgecnnError:
        return None
    if not kernels or any(kernel.stored.dtype.itemsize != 1 for kernel in kernels):
        return None
    # Zero is the zero point: 128 in an ONNX file.
    centred = [(k.stored.astype(np.int16) - k.zero_point).astype(np.int8) for k in kernels]
    others = sum(layer.weight_bytes for layer in layers) - sum(kernel.stored.nbytes for kernel in kernels)
    return others + sum(len(encode(kernel.reshape(len(kernel), -1))) for kernel in centred)


def _trusted(model: Path) -> bytes:
    """Return the file's content; one that no record vouches for is first run in a child process."""
    from edgecnn.inspect import whole

    if artifact.record_path(model).exists():
        artifact.checked(model)
    if model.suffix in artifact.EXPORT_SUFFIXES:
        from edgecnn.device.runtimes import loader as runtimes

        runtimes.load(model)  # refuses a damaged file in a child process before anything here parses it
    return whole(model)
