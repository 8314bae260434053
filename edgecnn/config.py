"""What a run is asked for: frozen dataclasses, the recipes as data, and TOML in and out. Standard library only."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from edgecnn.errors import ConfigError, unknown

T = TypeVar("T")

# How weights are chosen to go: single ones, layer by layer or over the whole network; 2 of 4 neighbours; blocks of
# neighbours; whole filters and units.
PRUNING_METHODS = ("magnitude", "global", "2:4", "block", "structured")
MAX_CLUSTERS = 255  # int8 weights take the values -127 to 127
# What the exporters write, per format.
SCHEMES = {"tflite": ("float32", "float16", "dynamic", "int8", "int16x8"), "onnx": ("float32", "int8")}
CALIBRATED = ("int8", "int16x8")  # schemes whose activations have ranges
# How calibration images set these ranges.
CALIBRATIONS = ("minmax", "percentile", "mse")
SCHEDULES = ("constant", "cosine")
OPTIMIZERS = ("adam", "adadelta")
INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal")
# Recipes of an architecture that has a page: trained as that page did; or for its epochs in its batches, but as we find
# better. Whatever comes after is as in `seed`.
PAGE, IMPROVED = "page", "improved"
MAX_SEED = 2**32 - 1
DATA_SETS = {
    "digits": "small",
    "mnist": "seed",
    "fashion-mnist": "seed",
    "two-digits": "seed",
}  # name -> the recipe it is trained with unless told otherwise
MAX_SIDE = 4096  # pixels an image may be resized to
RECIPE_OF_A_PATH = "small"


def _check_fraction(where: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ConfigError(f"{where}: {value}; expected a fraction in [0, 1)")


def _check_at_least(where: str, value: float, least: float) -> None:
    # `not >=` rather than `<`, so that NaN is refused too.
    if not value >= least:
        raise ConfigError(f"{where}: {value}; expected at least {least}")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training images are distorted: each value is the most, drawn anew for every image and epoch."""

    rotate_deg: float
    scale: float  # share by which height and width grow or shrink, each by itself
    shear: float  # pixels sideways a pixel of height
    shift_px: float
    elastic_px: float  # displacement of the points of a coarse grid
    elastic_grid: int  # points along each side of it
    graded: bool = False  # one more draw an image, from 0 to 1, scales all of these: most images change little

    def __post_init__(self) -> None:
        for name in ("rotate_deg", "scale", "shear", "shift_px", "elastic_px"):
            _check_at_least(f"augmentation.{name}", getattr(self, name), 0)
        _check_at_least("augmentation.elastic_grid", self.elastic_grid, 2)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is fitted: on cross-entropy, best weights by validation loss."""

    epochs: int
    batch_size: int
    learning_rate: float  # the highest, where a schedule changes it
    patience: int  # epochs without a better validation loss before stopping; 0: never stop early
    warmup_epochs: float = 0.0  # the learning rate rises from 0 over these, then falls to 0 along half a cosine
    schedule: str = "constant"  # or cosine
    weight_decay: float = 0.0  # AdamW's, decoupled from the gradient
    label_smoothing: float = 0.0
    average_decay: float = 0.0  # of the weights' moving average, which takes their place after each epoch; 0: none
    dropout: float | None = None  # instead of the architecture's own
    augmentation: Augmentation | None = None
    optimizer: str = "adam"
    initializer: str = "glorot_uniform"  # of the hidden kernels of a network of the zoo

    def __post_init__(self) -> None:
        _check_at_least("epochs", self.epochs, 1)
        _check_at_least("batch_size", self.batch_size, 1)
        _check_at_least("learning_rate", self.learning_rate, 0)
        _check_at_least("patience", self.patience, 0)
        _check_at_least("weight_decay", self.weight_decay, 0)
        for name in ("label_smoothing", "average_decay"):
            _check_fraction(name, getattr(self, name))
        if self.dropout is not None:
            _check_fraction("dropout", self.dropout)
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.initializer not in INITIALIZERS:
            raise unknown("initializer", self.initializer, INITIALIZERS)
        if self.weight_decay and self.optimizer != "adam":
            raise ConfigError(f"weight_decay: {self.weight_decay} with {self.optimizer}; expected adam, it is AdamW's")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ConfigError(f"warmup_epochs: {self.warmup_epochs}; expected fewer than the {self.epochs} epochs")


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a student listens: the weight of the teacher's answers in the loss, and how far both are softened."""

    weight: float
    temperature: float

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise ConfigError(f"distillation.weight: {self.weight}; expected more than 0, at most 1")
        _check_at_least("distillation.temperature", self.temperature, 1)


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """Pruning by one of `PRUNING_METHODS`, in epochs so that it fits any data set.

    The ramp (tfmot's polynomial decay) begins at step 0 and ends after `ramp_epochs`; only epochs behind it compete
    for the best weights. `2:4` and `structured` have none: they take all at once and train for the same epochs.
    """

    initial_sparsity: float
    final_sparsity: float  # share of the weights that are zero; structured: of filters and units that are gone
    ramp_epochs: int
    frequency: int  # steps between two mask updates
    training: Training
    method: str = "magnitude"
    rounds: int = 1  # each prunes further and trains anew

    def __post_init__(self) -> None:
        if self.method not in PRUNING_METHODS:
            raise unknown("pruning.method", self.method, PRUNING_METHODS)
        _check_fraction("pruning.initial_sparsity", self.initial_sparsity)
        _check_fraction("pruning.final_sparsity", self.final_sparsity)
        _check_at_least("pruning.frequency", self.frequency, 1)
        _check_at_least("pruning.rounds", self.rounds, 1)
        if self.initial_sparsity > self.final_sparsity:
            raise ConfigError(
                f"pruning.initial_sparsity: {self.initial_sparsity}; expected at most pruning.final_sparsity, "
                f"{self.final_sparsity}: sparsity only rises"
            )
        if self.method == "2:4" and (self.final_sparsity, self.rounds) != (0.5, 1):
            raise ConfigError(
                f"pruning.method: 2:4 with sparsity {self.final_sparsity} in {self.rounds} rounds; "
                f"expected 0.5 in 1 round, for it is 2 zeros in every 4; leave --sparsity and --rounds out"
            )
        if not 0 < self.ramp_epochs < self.training.epochs:
            raise ConfigError(
                f"pruning.ramp_epochs: {self.ramp_epochs}; expected 1 to {self.training.epochs - 1}, fewer than "
                f"pruning.training.epochs, so that the network trains on at its final sparsity"
            )

    def sparsity_after(self, done: int) -> float:
        """Return the sparsity after `done` rounds: each takes the same share of what the one before left.

        This is how S. Han et al. (2015) and J. Frankle and M. Carbin (2019) prune iteratively.
        """
        if done == self.rounds:
            return self.final_sparsity  # exactly, where the formula would round
        kept, kept_at_end = 1 - self.initial_sparsity, 1 - self.final_sparsity
        return 1 - kept * float((kept_at_end / kept) ** (done / self.rounds))


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Weight clustering: every kernel is left with at most `clusters` distinct values, then fine-tuned."""

    clusters: int
    training: Training

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= MAX_CLUSTERS:
            raise ConfigError(f"clusters: {self.clusters}; expected 2 to {MAX_CLUSTERS}")


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Larger networks that are trained first; the mean of their answers teaches the run's own in all its stages.

    `views` distorted copies of every training image are answered once; the epochs of the students go through them in
    turn. Nothing here depends on a run's seed, so that runs of several seeds can share one teacher.
    """

    arch: str
    members: int  # networks of the seeds 0, 1, ...
    training: Training
    views: int
    augmentation: Augmentation  # of the views
    distillation: Distillation

    def __post_init__(self) -> None:
        _check_at_least("teacher.members", self.members, 1)
        _check_at_least("teacher.views", self.views, 1)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to go from labelled images to a quantized sparse network."""

    training: Training
    pruning: Pruning
    clustering: Clustering
    qat: Training
    validation_fraction: float
    teacher: Teacher | None = None
    max_drop_pp: float = 0.5  # what a step may lose against its parent, see Exporting


_DISTORTED = Augmentation(rotate_deg=12.0, scale=0.15, shear=0.2, shift_px=2.0, elastic_px=1.2, elastic_grid=6)
# A small network has no capacity to spare for what is rare: its images are mostly near to those that were written.
GRADED = dataclasses.replace(_DISTORTED, graded=True)
# Two networks of the zoo's vgg4, on distorted images. Labels are not smoothed: a teacher of smoothed ones tells less
# about the classes that it did not choose (R. Müller et al., "When Does Label Smoothing Help?", 2019).
_TEACHER = Teacher(
    arch="vgg4",
    members=2,
    training=Training(
        epochs=24,
        batch_size=128,
        learning_rate=2e-3,
        patience=0,
        warmup_epochs=1.0,
        schedule="cosine",
        weight_decay=0.01,
        average_decay=0.998,
        augmentation=_DISTORTED,
    ),
    views=24,
    augmentation=GRADED,
    distillation=Distillation(weight=0.9, temperature=3.0),
)

# What a teacher says of distorted images, and the average of the weights along a cosine.
_STRONG = Recipe(
    training=Training(
        epochs=100,
        batch_size=128,
        learning_rate=3e-3,
        patience=0,
        warmup_epochs=1.0,
        schedule="cosine",
        average_decay=0.998,
        dropout=0.0,
    ),
    pruning=Pruning(
        initial_sparsity=0.0,
        final_sparsity=0.8,
        ramp_epochs=12,
        frequency=100,
        method="global",
        training=Training(
            epochs=40,
            batch_size=128,
            learning_rate=2e-3,
            patience=0,
            warmup_epochs=1.0,
            schedule="cosine",
            dropout=0.0,
        ),
    ),
    clustering=Clustering(
        clusters=16,
        training=Training(epochs=5, batch_size=128, learning_rate=1e-4, patience=0, schedule="cosine", dropout=0.0),
    ),
    qat=Training(epochs=5, batch_size=128, learning_rate=1e-4, patience=0, schedule="cosine", dropout=0.0),
    validation_fraction=0.1,
    teacher=_TEACHER,
)

RECIPES = {
    # seeds.md E as its page had it (Adam 0.001, batch 128, dropout 0.5 in the architecture), but with the best
    # epoch chosen on validation. Thirty epochs at most: with its ten the validation loss is still falling.
    "seed": Recipe(
        training=Training(epochs=30, batch_size=128, learning_rate=1e-3, patience=8),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=4,
            frequency=50,
            training=Training(epochs=10, batch_size=128, learning_rate=1e-3, patience=4),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=3, batch_size=128, learning_rate=1e-4, patience=2)),
        qat=Training(epochs=3, batch_size=128, learning_rate=1e-4, patience=2),
        validation_fraction=0.1,
    ),
    "strong": _STRONG,
    # `strong` for networks with batch normalization, which stand a higher learning rate and need fewer epochs with it.
    "strong-bn": dataclasses.replace(
        _STRONG, training=dataclasses.replace(_STRONG.training, epochs=80, learning_rate=1e-2)
    ),
    # `seed` for sets of a thousand images or so: smaller batches and more epochs give enough steps.
    "small": Recipe(
        training=Training(epochs=40, batch_size=32, learning_rate=1e-3, patience=10),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=10,
            frequency=10,
            training=Training(epochs=25, batch_size=32, learning_rate=1e-3, patience=8),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=8, batch_size=32, learning_rate=1e-4, patience=4)),
        qat=Training(epochs=8, batch_size=32, learning_rate=1e-4, patience=4),
        validation_fraction=0.2,  # of so few images a tenth would make one mistake weigh 0.7 pp
        max_drop_pp=2.0,  # as large a difference is noise on so few
    ),
    # The whole chain in half a minute on a small set: to see that it works, not for a model worth keeping.
    "quick": Recipe(
        training=Training(epochs=6, batch_size=32, learning_rate=2e-3, patience=0),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=2,
            frequency=10,
            training=Training(epochs=5, batch_size=32, learning_rate=1e-3, patience=0),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=1, batch_size=32, learning_rate=1e-4, patience=0)),
        qat=Training(epochs=1, batch_size=32, learning_rate=1e-4, patience=0),
        validation_fraction=0.2,
        max_drop_pp=10.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """How models are calibrated and what a step of compression or export may lose."""

    calibration_images: int = 500
    max_drop_pp: float = 0.5  # top-1 on validation, percentage points, against the step's Keras parent
    calibration: str = "minmax"  # one of `CALIBRATIONS`

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise unknown("calibration", self.calibration, CALIBRATIONS)
        _check_at_least("calibration-images", self.calibration_images, 1)
        _check_at_least("max-drop", self.max_drop_pp, 0)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that determines a run's bytes; written to config.toml with the defaults filled in."""

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
        _check_fraction("validation_fraction", self.validation_fraction)
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
    validation_fraction: float | None = None,
    resize: str | None = None,
    pages: Mapping[str, Training] = MappingProxyType({}),
    arch_sha256: str | None = None,
) -> RunConfig:
    """Return the run configuration for a named recipe with single values replaced; `data` is a name or a path.

    `pages` is how the architecture is trained by the recipes `page` and `improved`; `arch_sha256` is of the
    file that `arch` is. Raises `ConfigError` for an unknown name (listing the valid ones) or a value out of range.
    """
    data = resolved_data(data)
    name = recipe or DATA_SETS.get(data, RECIPE_OF_A_PATH)
    chosen = _recipe(name, arch, pages)
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


def resolved_data(data: str) -> str:
    """Return the name of a data set, or an absolute path, so that a run finds it from wherever it is continued."""
    if data in DATA_SETS:
        return data
    path = Path(data).expanduser()
    if os.sep not in data and not path.exists():
        raise unknown("data", data, [*DATA_SETS, "a path"])
    return str(path.resolve())


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


def data_name(data: str) -> str:
    """Return what a data set is called: its name, or that of its file or folder, wherever it lies."""
    return data if data in DATA_SETS else Path(data).name


def arch_name(arch: str) -> str:
    """Return what an architecture is called: its name, or that of its file, wherever it lies."""
    return Path(arch).name if Path(arch).is_absolute() else arch


def _for_epochs(training: Training, epochs: int | None) -> Training:
    """Return `training` for so many epochs, if any are asked for; its warm-up is at most a tenth of them."""
    if epochs is None:
        return training
    return dataclasses.replace(training, epochs=epochs, warmup_epochs=min(training.warmup_epochs, epochs / 10))


def adjusted(exporting: Exporting, **values: Any) -> Exporting:
    """Return `exporting` with the `values` that are not None replaced; raises `ConfigError` for one out of range."""
    return _replaced(exporting, **values)


def without_exporting(config: RunConfig) -> RunConfig:
    """Return `config` with the default export settings: what determines the trained models, and nothing else."""
    return dataclasses.replace(config, exporting=Exporting())


def stated(settings: Any) -> dict[str, Any]:
    """Return a dataclass as nested dicts, without values that are the default.

    For records: one that was made before there was a choice says the same as one made now without using it.
    """
    values = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if value != f.default:
            values[f.name] = stated(value) if dataclasses.is_dataclass(value) else value
    return values


def to_toml(config: RunConfig) -> str:
    """Return `config` as TOML: plain values first, then one table a section."""
    return "\n".join(_toml_lines(dataclasses.asdict(config), prefix="")) + "\n"


def from_toml(text: str, *, where: str) -> RunConfig:
    """Return the configuration that `text` holds; an unknown or missing key is a `ConfigError` naming `where`.

    A run of the time before clustering is read with its recipe's.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML ({error}); restore the file or choose another --out") from None
    if "clustering" not in values and values.get("recipe") in RECIPES:
        values["clustering"] = stated(RECIPES[values["recipe"]].clustering)
    return from_dict(RunConfig, values, where=where)


def from_dict(kind: type[T], values: dict[str, Any], *, where: str) -> T:
    """Return a dataclass `kind` from nested dicts, refusing unknown and missing keys and wrong types."""
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"{where}: key", key, known)
    given = {}
    hints = _type_hints(kind)
    for name, f in known.items():
        if name not in values:
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{where}: key {name!r} is missing from {kind.__name__}")
            continue
        given[name] = _value(hints[name], values[name], where=f"{where}: {name}")
    return kind(**given)


def differences(asked: RunConfig, found: RunConfig) -> list[str]:
    """Return one phrase per value that differs: ``training.epochs: 20 there, 10 asked``."""
    there, here = _flat(dataclasses.asdict(found)), _flat(dataclasses.asdict(asked))
    keys = dict.fromkeys((*there, *here))
    return [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} asked" for key in keys if there.get(key) != here.get(key)
    ]


def _type_hints(kind: type) -> dict[str, Any]:
    from typing import get_type_hints

    return get_type_hints(kind)


def _value(expected: Any, value: Any, *, where: str) -> Any:
    # What may be left out (X | None) is, when it is there, an X.
    expected = next((one for one in get_args(expected) if one is not type(None)), expected)
    if dataclasses.is_dataclass(expected):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: got {value!r}; expected a table")
        return from_dict(expected, value, where=where)  # type: ignore[arg-type]
    if expected is float and type(value) is int:
        return float(value)
    if isinstance(expected, type) and type(value) is not expected:
        raise ConfigError(f"{where}: got {value!r}; expected {expected.__name__}")
    return value


def _toml_lines(values: dict[str, Any], *, prefix: str) -> list[str]:
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, dict)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", *_toml_lines(value, prefix=f"{prefix}{key}.")]
    return lines


def _toml_value(value: str | bool | int | float) -> str:
    # Names, numbers and truth values only; repr of a str would use single quotes, which TOML reads literally.
    if isinstance(value, bool):
        return str(value).lower()
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _replaced(instance: T, **values: Any) -> T:
    return dataclasses.replace(instance, **{k: v for k, v in values.items() if v is not None})  # type: ignore[type-var]
