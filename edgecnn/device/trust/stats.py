"""What a model has met since it is in use, as a few running counts, and a warning when that is not what it knows.

Kept are a histogram of how sure it was, how often it refused, and mean and spread of the images' mean gray level: of
all images, and of the latest 1,000 to 2,000, which are compared with the validation images of training. A few hundred
bytes of JSON, however long it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.digest import sha256
from edgecnn.device.errors import DeviceError, ModelError
from edgecnn.device.files import read_model, read_record

if TYPE_CHECKING:
    from edgecnn.device.predictor import Prediction

# Edges of the histogram's bins: below 0.5, from there to 0.8, and so on; most answers are very sure.
EDGES = (0.5, 0.8, 0.9, 0.95, 0.99)
_WINDOW = 1000  # images; the latest are this many to twice as many
_LEAST = 100  # images; fewer say nothing
_LEVEL = 1e-5  # chance of a false alarm of one test, where nothing changed
_CHI_SQUARE = 30.86  # which a chi square with 5 degrees of freedom exceeds with that chance
_Z = 4.417  # and an absolute normal one
_LARGE_PSI = 0.2  # by custom a change to act upon; below 0.1 is none
_LARGE_SHIFT = 0.25  # standard deviations of an image's mean
_MANY_REFUSED = 2.0  # times what was refused in validation


@dataclass(frozen=True)
class Counts:
    """Of some images: how many, how many refused, the histogram, their means' mean and sum of squared deviations."""

    images: int = 0
    refused: int = 0
    confidence: tuple[int, ...] = (0,) * (len(EDGES) + 1)
    mean: float = 0.0
    deviations: float = 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of the images' means."""
        return math.sqrt(self.deviations / max(1, self.images - 1))


@dataclass(frozen=True)
class Seen:
    """The counts of one model (the sha256 of its file): of all images, and of the latest in two parts."""

    model: str
    all: Counts = Counts()
    earlier: Counts = Counts()
    latest: Counts = Counts()


def stats_of(model: Path, file: Path, *, warn: Callable[[str], None]) -> Stats:
    """Return the counts in `file` of a model's file, to be compared with what the record beside that knows."""
    record = read_record(model)
    identity = record.get("sha256") or sha256(read_model(model))
    kept = (record.get("decision") or {}).get("seen")
    try:
        known = None if kept is None else counts_from(kept)
    except (TypeError, KeyError, ValueError) as error:
        raise ModelError(f"{model}: decision.seen in its record cannot be read ({error}); copy it again") from None
    return Stats(file, model=identity, known=known, warn=warn)


def counts_of(means: NDArray[np.float64], probabilities: NDArray[np.float64], refused: NDArray[np.bool_]) -> Counts:
    """Return the counts of images [N] with these mean gray levels from 0 to 255, surest probabilities, and refusals."""
    if not len(means):
        return Counts()
    bins = np.bincount(np.searchsorted(EDGES, probabilities, side="right"), minlength=len(EDGES) + 1)
    middle = float(means.mean())
    spread = float(((means - middle) ** 2).sum())
    return Counts(len(means), int(refused.sum()), tuple(map(int, bins)), middle, spread)


def merged(one: Counts, other: Counts) -> Counts:
    """Return the counts of both together, deviations by the formula of T. Chan, G. Golub and R. LeVeque (1979)."""
    images = one.images + other.images
    if not images:
        return Counts()
    apart, share = other.mean - one.mean, other.images / images
    return Counts(
        images,
        one.refused + other.refused,
        tuple(a + b for a, b in zip(one.confidence, other.confidence, strict=True)),
        one.mean + apart * share,
        one.deviations + other.deviations + apart**2 * one.images * share,
    )


def drift(counts: Counts, known: Counts) -> dict[str, str]:
    """Return a line for each figure, by its name, in which `counts` differ from those of the images that are `known`.

    A difference must be large, and too large for chance: at a level of 1e-5 for each of three tests, so that a warning
    is rare where nothing changed, however often it is asked for. Fewer than 100 images say nothing.
    """
    if min(counts.images, known.images) < _LEAST:
        return {}
    found = {
        "confidence": _of_confidence(counts, known),
        "refused": _of_refusals(counts, known),
        "input": _of_input(counts, known),
    }
    return {name: line for name, line in found.items() if line}


class Stats:
    """Counts in a file, which several programs and threads may add to: each adds what it saw since it last did.

    `warn` is called with a line when a figure begins to differ from what is `known`, not again while it does. Raises
    `DeviceError` for a file that holds something else, or counts of another model.
    """

    def __init__(
        self, path: Path, *, model: str, known: Counts | None, warn: Callable[[str], None] = lambda line: None
    ) -> None:
        self.path, self.model, self.known, self.warn = path, model, known, warn
        self._new: list[tuple[float, float, bool]] = []
        self._differs: dict[str, str] = {}
        self._in_use = threading.RLock()  # for `add` saves; and `warn` may be a caller's who asks for something here
        _read(path, model)

    def add(self, pixels: NDArray[np.uint8], prediction: Prediction) -> None:
        """Count a prediction made of `pixels`; every hundred are written. It fits `Predictor`'s `watch`."""
        with self._in_use:
            self._new.append((float(pixels.mean()), prediction.probability, not prediction.accepted))
            if len(self._new) >= _LEAST:
                self.save()

    def save(self) -> None:
        """Add what is new to the file, which holds either what it held or all; warn of what differs by now."""
        with self._in_use:
            new, self._new = self._new, []
            seen = self._written(new)
            before, self._differs = self._differs, drift(merged(seen.earlier, seen.latest), self.known or Counts())
            for name, line in self._differs.items():
                if name not in before:
                    self.warn(f"{self.path}: {line}")

    def _written(self, new: list[tuple[float, float, bool]]) -> Seen:
        """Add new images, each its mean gray level, surest probability and whether refused, to the file."""
        columns = [np.array([one[column] for one in new]) for column in range(3)]
        try:
            with _locked(self.path.parent):
                seen = _added(_read(self.path, self.model), counts_of(columns[0], columns[1], columns[2].astype(bool)))
                _write(self.path, json.dumps(asdict(seen)) + "\n")
        except OSError as error:
            raise DeviceError(
                f"--stats: cannot write {self.path} ({error.strerror or error}); give another file"
            ) from None
        return seen


def _of_confidence(counts: Counts, known: Counts) -> str:
    """Return a warning where the histograms differ by the population stability index.

    B. Yurdakul, "Statistical Properties of Population Stability Index" (2018): where nothing changed it is distributed
    as (1 / n + 1 / m) times a chi square with one degree of freedom less than there are bins.
    """
    shares = [
        [(count + 0.5) / (one.images + 0.5 * len(one.confidence)) for count in one.confidence]
        for one in (counts, known)
    ]
    index = sum((a - b) * math.log(a / b) for a, b in zip(*shares, strict=True))
    chance = _CHI_SQUARE * (1 / counts.images + 1 / known.images)
    if index <= max(_LARGE_PSI, chance):
        return ""
    sure, usual = (one.confidence[-1] / one.images for one in (counts, known))
    return f"{sure:.0%} of the answers are at least {EDGES[-1]:.0%} sure, in training {usual:.0%} (PSI {index:.2f})"


def _of_refusals(counts: Counts, known: Counts) -> str:
    """Return a warning where more are refused, by the binomial tail at the highest rate that validation allows."""
    usual = known.refused / known.images
    rate = usual + 3 * math.sqrt((usual + 1 / known.images) / known.images)
    share = counts.refused / counts.images
    if share <= _MANY_REFUSED * usual or share <= rate or _tail(counts.refused, counts.images, rate) >= _LEVEL:
        return ""
    return f"{share:.1%} of the images are refused, in training {usual:.1%}"


def _of_input(counts: Counts, known: Counts) -> str:
    """Return a warning where the images are lighter or darker, by a z-test of their mean gray level."""
    shift = counts.mean - known.mean
    spread = max(known.spread, 1e-6)
    error = math.sqrt(max(known.spread, counts.spread) ** 2 * (1 / counts.images + 1 / known.images)) + 1e-9
    if abs(shift) <= max(_LARGE_SHIFT * spread, _Z * error):
        return ""
    return f"the images' mean gray level is {counts.mean:.1f}, in training {known.mean:.1f}"


def _tail(least: int, of: int, rate: float) -> float:
    """Return the chance of `least` or more out of `of` at this rate each, summed from the likeliest of them on."""
    logs = [
        math.lgamma(of + 1) - math.lgamma(k + 1) - math.lgamma(of - k + 1)
        + k * math.log(rate) + (of - k) * math.log1p(-rate)
        for k in range(least, min(of, least + 500) + 1)
    ]  # fmt: skip
    return sum(math.exp(value) for value in logs) if rate < 1 else 1.0


def _added(seen: Seen, new: Counts) -> Seen:
    """Return `seen` with new counts; what was the latest becomes the earlier part when it is full."""
    latest = merged(seen.latest, new)
    whole = merged(seen.all, new)
    if latest.images >= _WINDOW:
        return Seen(seen.model, whole, latest, Counts())
    return Seen(seen.model, whole, seen.earlier, latest)


def counts_from(kept: Any) -> Counts:
    """Return the counts that JSON holds; raises `TypeError`, `KeyError` or `ValueError` for anything else."""
    counts = Counts(**{**kept, "confidence": tuple(kept["confidence"])})
    whole = [counts.images, counts.refused, *counts.confidence]
    if not all(type(count) is int and count >= 0 for count in whole) or len(counts.confidence) != len(EDGES) + 1:
        raise ValueError("counts that are none")
    if not (math.isfinite(counts.mean) and math.isfinite(counts.deviations) and counts.deviations >= 0):
        raise ValueError("mean or deviations that are no numbers")
    return counts


def _read(path: Path, model: str) -> Seen:
    """Return what is in the file, nothing where there is none."""
    try:
        kept = json.loads(path.read_text())
        parts = {name: counts_from(kept[name]) for name in ("all", "earlier", "latest")}
        of = kept["model"]
    except FileNotFoundError:
        return Seen(model)
    except OSError as error:
        raise DeviceError(f"--stats: cannot read {path} ({error.strerror}); give another file") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())[:80]
        raise DeviceError(f"--stats: {path} holds no counts ({reason}); give another file, or remove it") from None
    if of != model:
        raise DeviceError(f"--stats: {path} counts another model, {of!r:.14}; give another file, or remove it")
    return Seen(model, **parts)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder against others that hold it, too."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        temporary = Path(file.name)
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
