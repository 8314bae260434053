"""README's two pictures of the released models, drawn from released.json and reference.json by benchmarks.readme.

A picture carries the hash of the figures and the code that it was drawn from, so that the check finds one that is
stale; its own bytes differ from machine to machine.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray
from PIL import Image

from benchmarks import standings
from benchmarks.standings import BENCHMARKS, recording
from edgecnn import artifact
from edgecnn.report import figures
from edgecnn.report.figures import LIGHT
from edgecnn.report.table import is_sparse

INPUTS = "Inputs"  # the key of the hash in a PNG's metadata
_OURS, _THEIRS = LIGHT.series[0], LIGHT.muted
_MARKERS = ("s", "^", "v", "D", "P")
_HOLLOW: dict[str, Any] = {"markerfacecolor": LIGHT.page, "markeredgewidth": 1.1, "markersize": 5}
_SMALL = 8
_NEAR_PX = 20  # a name so near to its point needs no line to it
_ERRORS = (0.2, 0.3, 0.5, 0.7, 1, 2, 5, 10)
_BYTES = (500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@dataclass(frozen=True)
class Picture:
    """A picture: its figures, how they are drawn, and what README says of them."""

    name: str
    inputs: Any
    draw: Callable[[Any], Figure]
    alt: str
    sentence: str

    @property
    def path(self) -> Path:
        """Where its PNG lies."""
        return BENCHMARKS / f"{self.name}.png"

    @property
    def sha256(self) -> str:
        """The hash of its figures and of this module, which draws it."""
        return artifact.sha256(json.dumps(self.inputs, sort_keys=True).encode() + Path(__file__).read_bytes())


def draw() -> None:
    """Draw the pictures that are stale."""
    for picture in pictures():
        if _is_stale(picture):
            artifact.write_atomic(
                picture.path, figures.to_png(picture.draw(picture.inputs), **{INPUTS: picture.sha256})
            )


def stale() -> list[str]:
    """Return the names of the pictures that were drawn from other figures, by other code, or never."""
    return [picture.path.name for picture in pictures() if _is_stale(picture)]


def _is_stale(picture: Picture) -> bool:
    if not picture.path.exists():
        return True
    with Image.open(picture.path) as image:
        return image.info.get(INPUTS) != picture.sha256


def part() -> str:
    """Return README's part: each picture under its sentence."""
    return "\n\n".join(f"{p.sentence}\n\n![{p.alt}](benchmarks/{p.path.name})" for p in pictures())


def pictures() -> list[Picture]:
    """Return the two pictures with the figures of now."""
    ours, theirs = released(), printed()
    return [
        Picture(
            "pareto-parameters",
            {"ours": ours, "theirs": theirs},
            lambda inputs: by_parameters(inputs["ours"], inputs["theirs"]),
            alt=f"Test error against parameters: {_said(ours, 'nonzero_parameters', 'parameters not zero')}.",
            sentence=_wrapped(
                "Test error against parameters: the int8 models with their 95 % Wilson intervals, hollow where only "
                "parameters that are not zero are counted; in grey what others printed for theirs, all of it chosen on "
                "the test set ([reference.json](benchmarks/reference.json))."
            ),
        ),
        Picture(
            "pareto-bytes",
            {"ours": ours},
            lambda inputs: by_bytes(inputs["ours"]),
            alt=f"Test error against bytes: {_said(ours, 'size_bytes', 'size_bytes')}.",
            sentence=_wrapped(
                "Test error of the same int8.tflite files against their bytes: as they are, after gzip, and their "
                "weights in the sparse encoding."
            ),
        ),
    ]


def released() -> list[dict[str, Any]]:
    """Return the figures of every released int8.tflite file."""
    keys = ("top1", "top1_low", "top1_high", "parameters", "nonzero_parameters", "size_bytes", "gzip_bytes")
    return [
        {"name": one.model, **{key: one.row[key] for key in keys}, "sparse_bytes": one.row.get("sparse_bytes")}
        for one in standings.all_of_them()
        if one.file == "int8.tflite"
    ]


def printed() -> list[dict[str, Any]]:
    """Return the systems of reference.json that print a figure for MNIST."""
    systems: list[dict[str, Any]] = recording("reference")["systems"]
    return [system for system in systems if all(row["top1_percent"] is not None for row in system["rows"])]


def by_parameters(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> Figure:
    """Draw the test error of all networks against their parameters."""
    models = [
        Drawn(
            row,
            row["parameters"],
            {"o": row["nonzero_parameters"]} if is_sparse(row["parameters"], row["nonzero_parameters"]) else {},
        )
        for row in ours
    ]
    figure, ax = _axes(height_in=5.8)
    others = []
    for system, marker in zip(theirs, _MARKERS, strict=True):
        places = [(row["parameters"], 100 - row["top1_percent"]) for row in system["rows"]]
        ax.plot(*zip(*places, strict=True), marker, color=_THEIRS, **_HOLLOW)
        others += places
    ax.set_xlabel("parameters")
    ax.set_xlim(400, 8e6)
    ax.xaxis.set_major_locator(LogLocator())
    systems = [(_mark(marker, _THEIRS, **_HOLLOW), one["source"]) for marker, one in zip(_MARKERS, theirs, strict=True)]
    looks = [
        (_mark("o", _OURS), "edgecnn, int8, with its 95 % interval"),
        (_mark("o", _OURS, **_HOLLOW), "the same, counting what is not zero"),
        (_mark("", _THEIRS), "As others printed it, chosen on the test set:"),
    ]
    _explain(figure, [*looks, *systems])
    _draw_models(figure, ax, models, others)
    return figure


def by_bytes(ours: Sequence[dict[str, Any]]) -> Figure:
    """Draw the test error of the released models against the bytes of their int8 file, three ways to store it."""
    figure, ax = _axes(height_in=4.6)
    stored = ({"s": row["gzip_bytes"]} | ({"D": row["sparse_bytes"]} if row["sparse_bytes"] else {}) for row in ours)
    models = [Drawn(row, row["size_bytes"], others) for row, others in zip(ours, stored, strict=True)]
    ax.set_xlabel("bytes of int8.tflite")
    ax.set_xlim(min(model.left for model in models) / 1.6, max(model.x for model in models) * 8)  # room for names
    ax.xaxis.set_major_locator(FixedLocator(_BYTES))
    looks = [
        (_mark("o", _OURS), "the file (size_bytes), with the 95 % interval of its error"),
        (_mark("s", _OURS, **_HOLLOW), "after gzip (gzip_bytes)"),
        (_mark("D", _OURS, **_HOLLOW), "its weights in the sparse encoding (sparse_bytes)"),
    ]
    _explain(figure, looks)
    _draw_models(figure, ax, models, [])
    return figure


@dataclass(frozen=True)
class Drawn:
    """A released model at `x`, and at `others` (marker -> x), where it stands by other counts."""

    row: dict[str, Any]
    x: float
    others: dict[str, float]

    @property
    def error(self) -> float:
        """Its test error in percent."""
        return _error(self.row["top1"])

    @property
    def left(self) -> float:
        """The smallest of its counts: there the interval is drawn, since models of one size stand apart by it."""
        return min(self.x, *self.others.values()) if self.others else self.x

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the interval of its error in percent."""
        return _error(self.row["top1_high"]), _error(self.row["top1_low"])


def _error(top1: float) -> float:
    return 100 * (1 - top1)


def _axes(*, height_in: float) -> tuple[Figure, Axes]:
    figure, (ax,) = figures.blank(LIGHT, height_in=height_in)
    FigureCanvasAgg(figure)  # which knows how wide a text is
    figures.logarithmic(ax, ax.xaxis)
    figures.logarithmic(ax, ax.yaxis)
    ax.yaxis.set_major_locator(FixedLocator(_ERRORS))
    ax.set_ylabel("test error %")
    return figure, ax


def _mark(marker: str, colour: str, **look: Any) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, color=colour, **look)


def _explain(figure: Figure, looks: Sequence[tuple[Line2D, str]]) -> None:
    """Draw a legend under the axes, one entry a line."""
    marks, names = [mark for mark, _ in looks], [textwrap.fill(name, 62) for _, name in looks]
    place: dict[str, Any] = {"loc": "outside lower left", "frameon": False}
    figure.legend(marks, names, **place, fontsize=_SMALL, labelcolor=LIGHT.ink, handletextpad=0.4)


def _draw_models(figure: Figure, ax: Axes, models: Sequence[Drawn], others: Sequence[tuple[float, float]]) -> None:
    """Draw the released models over the `others`, each with its name where nothing else is."""
    for model in models:
        ends = [model.x, model.left]
        ax.plot([model.left] * 2, model.interval, color=_OURS, alpha=0.35, linewidth=2.5, solid_capstyle="butt")
        ax.plot(ends, [model.error] * 2, color=_OURS, linewidth=1, alpha=0.6)
        for marker, x in model.others.items():
            ax.plot(x, model.error, marker, color=_OURS, **_HOLLOW)
        ax.plot(model.x, model.error, "o", color=_OURS, markersize=6)
    figure.draw_without_rendering()  # now it is known where everything lies
    points = [*others, *(point for model in models for point in _along(model))]
    taken = [_around(ax.transData.transform(point)) for point in points]
    for model in sorted(models, key=lambda model: model.error):
        taken.append(_name(ax, model, taken))


def _along(model: Drawn) -> Iterator[tuple[float, float]]:
    """Yield points all along what is drawn of a model."""
    for share in np.linspace(0, 1, 25):
        low, high = model.interval
        yield model.left, float(low * (high / low) ** share)
        yield float(model.left * (model.x / model.left) ** share), model.error


def _around(centre: NDArray[np.float64]) -> Bbox:
    return Bbox.from_bounds(centre[0] - 7, centre[1] - 7, 14, 14)


def _name(ax: Axes, model: Drawn, taken: Sequence[Bbox]) -> Bbox:
    """Write a model's name as near to it as nothing is in the way, joined by a thin line; return the room it takes."""
    at = ax.transData.transform((model.x, model.error))
    look: dict[str, Any] = {"fontsize": _SMALL, "color": LIGHT.ink, "weight": "bold", "va": "bottom"}
    text = ax.text(at[0], at[1], model.row["name"], transform=IdentityTransform(), **look)
    text.set_in_layout(False)
    size = text.get_window_extent()
    rooms = [
        Bbox.from_bounds(at[0] + dx * far - size.width * (dx < 0) - size.width / 2 * (dx == 0),
                         at[1] + dy * far - size.height / 2 * (1 - dy), size.width, size.height)
        for far in range(14, 200, 6)
        for dx, dy in ((1, 0), (-1, 0), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8), (0, 1), (0, -1))
    ]  # fmt: skip
    inside = ax.get_window_extent()
    free = [room for room in rooms if not room.count_overlaps(taken) and inside.containsx(room.x0)]
    room = next((room for room in free if inside.containsx(room.x1) and inside.containsy(room.y0)), rooms[0])
    text.set_position((room.x0, room.y0))
    end = [np.clip(at[0], room.x0 - 3, room.x1 + 3), np.clip(at[1], room.y0, room.y1)]
    if np.hypot(*(at - end)) > _NEAR_PX:
        ax.plot(*zip(at, end, strict=True), color=LIGHT.muted, linewidth=0.7, transform=IdentityTransform(), zorder=1)
    return room


def _said(ours: Sequence[dict[str, Any]], cost: str, unit: str) -> str:
    return "; ".join(f"{row['name']} {_error(row['top1']):.2f} % at {row[cost]:,} {unit}" for row in ours)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
