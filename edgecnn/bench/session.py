"""Measure several models in several runtimes: each in a process of its own, taking turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecnn.bench.latency import Latency
from edgecnn.bench.place import Place, here
from edgecnn.bench.subject import RefusedError, Subject, SubjectError
from edgecnn.device.contract import Contract
from edgecnn.device.files import C_LIBRARY


@dataclass(frozen=True)
class Effort:
    """How long to look: calls and seconds a round at least, seconds of warm-up at most, cold starts.

    In each round every model has `turns`. A machine that changes its speed for seconds at a time (other tenants,
    heat) then shows every model the same mix, and the models of one turn the same speed.
    """

    runs: int
    seconds: float
    turns: int
    warm_up_s: float
    starts: int
    rounds: int = 5


EFFORTS = {
    "quick": Effort(runs=100, seconds=0.1, turns=2, warm_up_s=0.3, starts=1),
    "default": Effort(runs=500, seconds=1.0, turns=10, warm_up_s=2.0, starts=3),
    # The rule of MLPerf Tiny: five runs of at least ten seconds each, the median reported.
    "thorough": Effort(runs=1000, seconds=10.0, turns=50, warm_up_s=10.0, starts=5),
}


@dataclass(frozen=True)
class Setting:
    """What is the same for all models of a session. `pin`: cores to run on; `shape`: for a model with open sizes."""

    effort: Effort
    threads: int = 1
    pin: Sequence[int] | None = None
    shape: Sequence[int] | None = None


@dataclass
class Measurement:
    """What was seen of one model in one runtime; `error` says why the rest is missing.

    `unclassified` says why a model that takes the images has no probabilities.
    """

    model: Path
    runtime: str
    error: str | None = None
    library: Path | None = None
    contract: Contract | None = None
    unclassified: str | None = None
    cold_start_ms: float | None = None
    cpu_s: float = 0.0  # that its process took
    peak_rss_bytes: int | None = None
    inputs: list[dict[str, Any]] = field(default_factory=list)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    probabilities: NDArray[np.float32] | None = None
    turns: list[Latency] = field(default_factory=list)
    rounds: list[Latency] = field(default_factory=list)
    end_to_end: list[Latency] = field(default_factory=list)

    def classifies(self, images: NDArray[Any], classes: int) -> bool:
        """Return whether the model takes such images, or arrays of its own input, and scores `classes` classes."""
        contract = self.contract
        return contract is not None and images.shape[1:] == contract.shape and len(contract.labels) == classes


def measure(
    candidates: Sequence[tuple[Path, str]],
    setting: Setting,
    *,
    images: NDArray[Any] | None,
    classes: int,
    contracts: Mapping[Path, Contract | None],
    libraries: Mapping[Path, Path | str] | None = None,
    place: Place | None = None,
    observe: Callable[[int, int], None],
    on_prepared: Callable[[Sequence[Measurement]], None] = lambda measurements: None,
) -> list[Measurement]:
    """Return a measurement per (model, runtime); one that cannot be loaded or dies has an `error` and no figures.

    `images` (uint8 [N, H, W, C], or a network's own inputs) are classified where they fit a model by its contract in
    `contracts`, which has None for what is no classifier. `libraries` are those of the models in C,
    which the runtime c takes, or why there is none. `place` is where they are measured, by default here; where times
    mean nothing, none are taken. `observe` is called with (steps done,
    steps in all), `on_prepared` when all models have been loaded and none is timed yet: it may raise.
    """
    measurements = [_candidate(model, runtime, libraries or {}, contracts[model]) for model, runtime in candidates]
    a_round = [*[_take_turn] * setting.effort.turns, _end_round]
    place = place or here(look_s=0)
    steps = [_prepare, *(a_round * setting.effort.rounds if place.has_timings else [])]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        scene = _Scene(Path(folder), setting, stack, images, classes, place)
        for number, step in enumerate(steps):
            for index, measurement in enumerate(measurements):
                observe(number * len(measurements) + index, len(steps) * len(measurements))
                if measurement.error is None:
                    _guarded(step, measurement, scene)
            if step is _prepare:
                on_prepared(measurements)
    observe(len(steps) * len(measurements), len(steps) * len(measurements))
    return measurements


def _candidate(
    model: Path, runtime: str, libraries: Mapping[Path, Path | str], contract: Contract | None
) -> Measurement:
    found = libraries.get(model) if runtime == C_LIBRARY else None
    if isinstance(found, str):
        return Measurement(model, runtime, error=found, contract=contract)
    return Measurement(model, runtime, library=found, contract=contract)


class _Scene:
    """The files and processes of one session."""

    def __init__(
        self,
        folder: Path,
        setting: Setting,
        stack: ExitStack,
        images: NDArray[Any] | None,
        classes: int,
        place: Place,
    ) -> None:
        self.place = place
        self.setting, self.stack, self.images, self.classes = setting, stack, images, classes
        self.images_file, self.answer_file = folder / "images.npy", folder / "probabilities.npy"
        self.photo = folder / "photo.png"
        self.subjects: dict[int, Subject] = {}
        if images is not None:
            np.save(self.images_file, images)
            self.images_there = place.put(self.images_file)
            if images.dtype == np.uint8:
                _save_photo(images, self.photo)
                self.photo_there = place.put(self.photo)
            self.answer_file.touch()
            self.answer_there = place.put(self.answer_file)

    def start(self, measurement: Measurement) -> Subject:
        setting = self.setting
        return Subject(
            measurement.model,
            measurement.runtime,
            threads=setting.threads,
            pin=setting.pin,
            shape=setting.shape,
            library=measurement.library,
            contract=measurement.contract,
            place=self.place,
        )


def _save_photo(images: NDArray[np.uint8], path: Path) -> None:
    """Write an image that shows something eight times as large, so that decoding and scaling have work to do."""
    shown = next((image for image in images[:100] if image.min() < image.max()), images[0])
    picture = shown[:, :, 0] if shown.shape[2] == 1 else shown
    Image.fromarray(picture.repeat(8, axis=0).repeat(8, axis=1)).save(path)


def _guarded(step: Callable[[Measurement, _Scene], None], measurement: Measurement, scene: _Scene) -> None:
    try:
        step(measurement, scene)
    except SubjectError as error:
        measurement.error = str(error)


def _prepare(measurement: Measurement, scene: _Scene) -> None:
    """Start cold several times, keep the last process, classify the images with it and warm up."""
    starts = []
    for _ in range(scene.setting.effort.starts - 1 if scene.place.has_timings else 0):
        with scene.start(measurement) as cold:
            starts.append(cold.cold_start_ms)
    subject = scene.stack.enter_context(scene.start(measurement))
    scene.subjects[id(measurement)] = subject
    if scene.place.has_timings:
        measurement.cold_start_ms = median([*starts, subject.cold_start_ms])
        measurement.peak_rss_bytes = subject.peak_rss_bytes
    measurement.inputs, measurement.outputs = subject.inputs, subject.outputs
    if scene.images is not None and measurement.classifies(scene.images, scene.classes):
        _classify(measurement, subject, scene)
    if scene.place.has_timings:
        subject.ask("warm_up", seconds=scene.setting.effort.warm_up_s)


def _classify(measurement: Measurement, subject: Subject, scene: _Scene) -> None:
    """Note the model's scores; one that refuses the images, or whose scores are no numbers, is only timed."""
    try:
        subject.ask("classify", images=scene.images_there, out=scene.answer_there)
    except RefusedError as error:
        measurement.unclassified = str(error)
        return
    scene.place.get(scene.answer_there, scene.answer_file)
    scores = np.load(scene.answer_file)
    if np.isfinite(scores).all():
        measurement.probabilities = scores
    else:
        measurement.unclassified = "scores that are no numbers"


def _take_turn(measurement: Measurement, scene: _Scene) -> None:
    """Measure the model alone, for its share of a round."""
    subject, effort = scene.subjects[id(measurement)], scene.setting.effort
    share = {"runs": -(-effort.runs // effort.turns), "seconds": effort.seconds / effort.turns}
    measurement.turns.append(Latency(**subject.ask("turn", **share)))


def _end_round(measurement: Measurement, scene: _Scene) -> None:
    """Sum up a round and, where the model reads pictures, measure a shorter one from file to label."""
    subject, effort = scene.subjects[id(measurement)], scene.setting.effort
    measurement.rounds.append(Latency(**subject.ask("end_round")))
    measurement.cpu_s = subject.ask("cpu")["cpu_s"]
    if measurement.probabilities is not None and measurement.contract is not None and measurement.contract.is_picture:
        with suppress(RefusedError):  # its scores are no probabilities: it predicts nothing
            answer = subject.ask("end_to_end", image=scene.photo_there, runs=20, seconds=effort.seconds / 4)
            measurement.end_to_end.append(Latency(**answer))
