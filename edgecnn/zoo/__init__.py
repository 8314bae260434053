"""Architectures: by name, one module for each system that edgecnn grew out of, its own, MLPerf Tiny's; in files; and
written out in one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecnn.config.names import LAYERS
from edgecnn.config.recipes import IMPROVED, PAGE
from edgecnn.config.settings import Training
from edgecnn.errors import ConfigError, unknown
from edgecnn.zoo import compact, depths, files, hundred, kernel_sizes, mlperf_tiny, notation, own, scratch
from edgecnn.zoo.architecture import Architecture, Printed
from edgecnn.zoo.improved import improved

__all__ = ["ARCHITECTURES", "PAGES", "Architecture", "Printed", "architecture", "build", "check", "is_file", "pages_of"]

# Those with a page.
PAGES: dict[str, Architecture] = {
    **compact.ARCHITECTURES,
    **scratch.ARCHITECTURES,
    **kernel_sizes.ARCHITECTURES,
    **hundred.ARCHITECTURES,
    **depths.ARCHITECTURES,
}
ARCHITECTURES: dict[str, Architecture] = {**PAGES, **own.ARCHITECTURES, **mlperf_tiny.ARCHITECTURES}


def architecture(name: str) -> Architecture:
    """Return what the zoo knows of `name`; raises `ConfigError` listing the known names."""
    if name not in ARCHITECTURES:
        raise ConfigError(
            f"{unknown('arch', name, ARCHITECTURES)}; or a file of yours: {', '.join(files.SUFFIXES)}; "
            f"or one written out: {LAYERS}C24@5n P2 S48@3 G"
        )
    return ARCHITECTURES[name]


def pages_of(arch: str) -> dict[str, Training]:
    """Return how `arch` is trained by the recipes `page` and `improved`; nothing for one that has no page.

    Raises as `check` does.
    """
    check(arch)
    known = ARCHITECTURES.get(arch)
    if known is None or known.training is None:
        return {}
    return {PAGE: known.training, IMPROVED: improved(known.training, known.layers)}


def check(arch: str) -> None:
    """Raise `ConfigError` unless `arch` is a name of the zoo, names a file, or is written out correctly."""
    if is_file(arch):
        return
    if arch.startswith(LAYERS):
        notation.check(arch.removeprefix(LAYERS))
    else:
        architecture(arch)


def is_file(arch: str) -> bool:
    """Return whether `arch` is not a name but a file with a user's own architecture."""
    return arch.endswith(files.SUFFIXES) and not arch.startswith(LAYERS)


def build(
    arch: str,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    initializer: str = "glorot_uniform",
    batch_norm: bool = False,
) -> Any:
    """Return an untrained Keras model: float32 [N, H, W, C] in [0, 1] -> probabilities [N, classes].

    `input_shape` is (height, width, channels). `initializer` draws the hidden kernels of a network of the zoo, and
    `batch_norm` puts batch normalization behind each of its convolutions; one in a file has its own. Raises
    `ConfigError` for an unknown name and for images that do not fit.
    """
    if is_file(arch):
        return files.build(Path(arch), input_shape=input_shape, classes=classes)
    name, layers = ("layers", arch.removeprefix(LAYERS)) if arch.startswith(LAYERS) else (arch, None)
    return notation.network(
        layers or architecture(arch).layers,
        name=name,
        input_shape=input_shape,
        classes=classes,
        initializer=initializer,
        batch_norm=batch_norm,
    )
