"""What a run is asked for: `RunConfig`, and how one is made of a recipe. Standard library only.

names, settings -> recipes -> this page -> dicts -> toml: each imports only what stands before it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from edgecnn.config.names import DATA_SETS, RECIPE_OF_A_PATH, resolved_data
from edgecnn.config.recipes import IMPROVED, PAGE, RECIPES, suited
from edgecnn.config.settings import Clustering, Exporting, Pruning, Recipe, Teacher, Training, check_fraction
from edgecnn.errors import ConfigError, unknown

T = TypeVar("T")

MAX_SEED = 2**32 - 1
MAX_SIDE = 4096  # pixels an image may be resized to


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that determines a run's bytes; written to config.toml with the defaults filled in.

    `configure` makes one. Frozen, like the settings of the stages in it, which check their values when they are made:
    `ConfigError` names the first that is out of range. `dataclasses.replace` makes another.
    """

    data: str
    arch: str
    recipe: str
    seed: int
    validation_fraction: float
    training: Training
    pruning: Pruning
    clustering: Clustering
    qat: Training
    exporting: Exporting
    teacher: Teacher | None = None
    resize: str | None = None  # HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS that images are stretched to
    arch_sha256: str | None = None  # of the file, where `arch` is one

    def __post_init__(self) -> None:
        if self.data not in DATA_SETS and not Path(self.data).is_absolute():
            raise unknown("data", self.data, [*DATA_SETS, "a path"])
        if self.resize is not None:
            parse_size(self.resize)
        if self.recipe not in (*RECIPES, PAGE, IMPROVED):
            raise unknown("recipe", self.recipe, (*RECIPES, PAGE, IMPROVED))
        if not 0 <= self.seed <= MAX_SEED:
            raise ConfigError(f"seed: {self.seed}; expected 0 to {MAX_SEED}")
        check_fraction("validation_fraction", self.validation_fraction)
        stages = {"": self.training, "pruning.": self.pruning.training, "clustering.": self.clustering.training}
        for stage, training in {**stages, "qat.": self.qat}.items():
            if self.teacher is not None and training.augmentation is not None:
                raise ConfigError(
                    f"{stage}training.augmentation: given beside a teacher, whose lessons are distorted already; "
                    f"leave one of them out"
                )


def configure(
    *,
    data: str = "digits",
    arch: str = "edge35k",
    recipe: str | None = None,
    epochs: int | None = None,
    sparsity: float | None = None,
    seed: int = 0,
    max_drop_pp: float | None = None,
    calibration_images: int | None = None,
    calibration: str | None = None,
    allow_chance: bool | None = None,
    validation_fraction: float | None = None,
    resize: str | None = None,
    pages: Mapping[str, Training] = MappingProxyType({}),
    arch_sha256: str | None = None,
) -> RunConfig:
    """Return the run configuration for a named recipe with single values replaced.

    `data` is a name (`digits`, `mnist`, ...) or the path of one's own images, `arch` a name of `edgecnn zoo`, `recipe`
    one of `RECIPES`, by default the one that suits the data. `sparsity` is the share of weights that pruning leaves
    zero, `max_drop_pp` how many percentage points of validation top-1 a step may lose, `calibration` how ranges of
    activations are set: `minmax`, `percentile` or `mse`; `resize` is ``HEIGHTxWIDTH`` or ``HEIGHTxWIDTHxCHANNELS``.
    `pages` is how the architecture is trained by the recipes `page` and `improved`; `arch_sha256` is of the file that
    `arch` is. Raises `ConfigError` for an unknown name (listing the valid ones) or a value out of range.
    """
    data = resolved_data(data)
    name = recipe or DATA_SETS.get(data, RECIPE_OF_A_PATH)
    chosen = suited(_recipe(name, arch, pages), data)
    return RunConfig(
        data=data,
        arch=arch,
        recipe=name,
        seed=seed,
        validation_fraction=chosen.validation_fraction if validation_fraction is None else validation_fraction,
        training=_for_epochs(chosen.training, epochs),
        pruning=_replaced(chosen.pruning, final_sparsity=sparsity),
        clustering=chosen.clustering,
        qat=chosen.qat,
        exporting=adjusted(
            Exporting(max_drop_pp=chosen.max_drop_pp),
            max_drop_pp=max_drop_pp,
            calibration_images=calibration_images,
            calibration=calibration,
            allow_chance=allow_chance,
        ),
        teacher=chosen.teacher,
        resize=resize,
        arch_sha256=arch_sha256,
    )


def _recipe(name: str, arch: str, pages: Mapping[str, Training]) -> Recipe:
    if name not in (PAGE, IMPROVED):
        if name not in RECIPES:
            raise unknown("recipe", name, (*RECIPES, PAGE, IMPROVED))
        return RECIPES[name]
    if name not in pages:
        raise ConfigError(
            f"recipe {name}: arch {arch} has no page that says how it was trained; "
            f"give --recipe {'|'.join(RECIPES)} or an arch that has one: edgecnn zoo"
        )
    return dataclasses.replace(RECIPES["seed"], training=pages[name])


def _for_epochs(training: Training, epochs: int | None) -> Training:
    """Return `training` for so many epochs, if any are asked for; its warm-up is at most a tenth of them."""
    if epochs is None:
        return training
    return dataclasses.replace(training, epochs=epochs, warmup_epochs=min(training.warmup_epochs, epochs / 10))


def parse_size(text: str) -> tuple[int, int, int | None]:
    """Return (height, width, channels or None) of ``32``, ``32x24`` or ``32x24x3``; `ConfigError` for other text."""
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4})(?:x([13]))?)?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if match is None or not 0 < min(height, width) <= max(height, width) <= MAX_SIDE:
        raise ConfigError(
            f"resize: got {text!r}; expected HEIGHT, HEIGHTxWIDTH or HEIGHTxWIDTHxCHANNELS of 1 to {MAX_SIDE} "
            f"pixels and 1 or 3 channels, like 32x32"
        )
    return height, width, int(match[3]) if match[3] else None


def adjusted(exporting: Exporting, **values: Any) -> Exporting:
    """Return `exporting` with the `values` that are not None replaced; raises `ConfigError` for one out of range."""
    return _replaced(exporting, **values)


def without_exporting(config: RunConfig) -> RunConfig:
    """Return `config` with the default export settings: what determines the trained models, and nothing else."""
    return dataclasses.replace(config, exporting=Exporting())


def _replaced(instance: T, **values: Any) -> T:
    return dataclasses.replace(instance, **{k: v for k, v in values.items() if v is not None})  # type: ignore[type-var]
