"""The settings of each stage of a run: frozen dataclasses, which refuse values out of range when they are made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from edgecnn.errors import ConfigError, unknown

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


def check_fraction(where: str, value: float) -> None:
    """Raise `ConfigError` for a value outside [0, 1)."""
    if not 0 <= value < 1:
        raise ConfigError(f"{where}: {value}; expected a fraction in [0, 1)")


def check_at_least(where: str, value: float, least: float) -> None:
    """Raise `ConfigError` for a value below `least`."""
    # `not >=` rather than `<`, so that NaN is refused too.
    if not value >= least:
        raise ConfigError(f"{where}: {value}; expected at least {least}")


_DISTANCES = ("rotate_deg", "scale", "shear", "shift_px", "elastic_px")


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
    mirror: bool = False  # half of the images are turned left to right

    def __post_init__(self) -> None:
        for name in _DISTANCES:
            check_at_least(f"augmentation.{name}", getattr(self, name), 0)
        check_at_least("augmentation.elastic_grid", self.elastic_grid, 2)

    def scaled(self, strength: float) -> Augmentation:
        """Return the same distortions, each going so many times as far."""
        values = {name: getattr(self, name) * strength for name in _DISTANCES}
        return dataclasses.replace(self, **values)


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
    batch_norm: bool = False  # behind every convolution of such a network, to be folded into it at the end

    def __post_init__(self) -> None:
        check_at_least("epochs", self.epochs, 1)
        check_at_least("batch_size", self.batch_size, 1)
        check_at_least("learning_rate", self.learning_rate, 0)
        check_at_least("patience", self.patience, 0)
        check_at_least("weight_decay", self.weight_decay, 0)
        for name in ("label_smoothing", "average_decay"):
            check_fraction(name, getattr(self, name))
        if self.dropout is not None:
            check_fraction("dropout", self.dropout)
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
        check_at_least("distillation.temperature", self.temperature, 1)


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
        check_fraction("pruning.initial_sparsity", self.initial_sparsity)
        check_fraction("pruning.final_sparsity", self.final_sparsity)
        check_at_least("pruning.frequency", self.frequency, 1)
        check_at_least("pruning.rounds", self.rounds, 1)
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
        check_at_least("teacher.members", self.members, 1)
        check_at_least("teacher.views", self.views, 1)


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


@dataclass(frozen=True, kw_only=True)
class Exporting:
    """How models are calibrated and what a step of compression or export may lose."""

    calibration_images: int = 500
    max_drop_pp: float = 0.5  # top-1 on validation, percentage points, against the step's Keras parent
    calibration: str = "minmax"  # one of `CALIBRATIONS`
    allow_chance: bool = False  # also what reads the validation images no better than chance

    def __post_init__(self) -> None:
        if self.calibration not in CALIBRATIONS:
            raise unknown("calibration", self.calibration, CALIBRATIONS)
        check_at_least("calibration-images", self.calibration_images, 1)
        check_at_least("max-drop", self.max_drop_pp, 0)
