"""The pictures of a report, drawn with matplotlib: figures in, nothing written."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from edgecnn.report.pareto import front


@dataclass(frozen=True)
class Theme:
    """Colours for a light or a dark page; the background is the page's own."""

    ink: str
    muted: str
    page: str
    red: str
    series: tuple[str, ...]


# The series are told apart by those who see few colours too (M. Okabe, K. Ito, 2008), lightened for the dark page.
LIGHT = Theme("#1b1f24", "#6b7280", "#ffffff", "#c81e1e", ("#0072b2", "#d55e00", "#009e73", "#cc79a7"))
DARK = Theme("#e6e8eb", "#9aa3af", "#14171b", "#ff6b6b", ("#56b4e9", "#e69f00", "#2fc79a", "#e8a2c8"))
# So narrow that on a phone, where a picture is 328 pixels wide, the smallest letters still have 8.
_WIDTH_IN = 4.4
_SMALL = 8
_NAME_LETTERS = 20
_TAG_LETTERS = 3
_NAMED_CLASSES = 20
_MARKERS = "osD^vP"
_WIDE = 50  # numbers at 1, 2 and 5 of so many decades would lie on each other
_LINES = ("-", "--", ":", "-.")
_OPERATIONS = ("ReadVariableOp", "BiasAdd", "MatMul", "Conv2D", "depthwise", "Relu")


def to_png(figure: Figure, **texts: str) -> bytes:
    """Return the figure as a PNG of 160 dots an inch, with `texts` in its metadata."""
    return _saved(figure, format="png", metadata={"Software": None, **texts})


def to_svg(figure: Figure) -> bytes:
    """Return the figure as SVG, the same bytes for the same figure."""
    return _saved(figure, format="svg", metadata={"Date": None})


def _saved(figure: Figure, **options: Any) -> bytes:
    """Return the figure's bytes; a ``$`` in a name is a dollar sign, not TeX."""
    content = io.BytesIO()
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    # Labels of the axes that are made only while it is drawn follow the setting.
    with mpl.rc_context({"svg.hashsalt": "edgecnn", "text.parse_math": False}):
        figure.savefig(content, **options)
    return content.getvalue()


def pareto(
    rows: Sequence[dict[str, Any]], theme: Theme, *, cost: str, axis: str, not_clean: Sequence[str] = ()
) -> Figure:
    """Draw top-1 with its interval against the figure `cost` of each row, the front joined and its points named.

    `rows` are rows of bench.json in which both figures stand; `not_clean` is why the figures are doubtful, in red.
    """
    points = [(row[cost], row["top1"] * 100) for row in rows]
    best = front(points)
    recipes, runtimes = _looks(rows, theme)
    figure, (ax,) = blank(theme, height_in=max(3.4, 0.32 * len(best) + 1.6) + 0.2 * ceil(len(recipes) / 2))
    for row, (x, y) in zip(rows, points, strict=True):
        colour = recipes[row["recipe"]]
        ax.plot([x, x], [row["top1_low"] * 100, row["top1_high"] * 100], color=colour, alpha=0.35, linewidth=1.5)
        ax.plot(x, y, runtimes[row["runtime"]], color=colour, markersize=6)
    ax.step([points[i][0] for i in best], [points[i][1] for i in best], where="post", color=theme.muted, lw=1)
    _cost_scale(ax, [x for x, _ in points])
    ax.set_xlabel(axis)
    ax.set_ylabel("test top-1 %, 95 % interval")
    _name_points(ax, [points[i] for i in best], [short_name(rows[i]) for i in best], theme)
    _explain_looks(figure, recipes, runtimes, theme)
    if not_clean:
        _warn(figure, f"Not clean: {'; '.join(not_clean)}", theme)
    return figure


def _looks(rows: Sequence[dict[str, Any]], theme: Theme) -> tuple[dict[str | None, str], dict[str, str]]:
    """Return the colour of each recipe and the marker of each runtime, in the order of the rows."""
    recipes = dict.fromkeys(row["recipe"] for row in rows)
    runtimes = dict.fromkeys(row["runtime"] for row in rows)
    return (
        {recipe: theme.series[i % len(theme.series)] for i, recipe in enumerate(recipes)},
        {runtime: _MARKERS[i % len(_MARKERS)] for i, runtime in enumerate(runtimes)},
    )


def _explain_looks(figure: Figure, recipes: dict[str | None, str], runtimes: dict[str, str], theme: Theme) -> None:
    """Draw a legend under the axes: the recipes' colours left, the runtimes' shapes right."""
    colours: list[Artist] = [Patch(color=colour) for colour in recipes.values()]
    shapes: list[Artist] = [Line2D([], [], linestyle="", marker=m, color=theme.muted) for m in runtimes.values()]
    left = figure.legend(colours, [""] * len(colours), loc="outside lower left", frameon=False, fontsize=_SMALL)
    right = figure.legend(shapes, [""] * len(shapes), loc="outside lower right", frameon=False, fontsize=_SMALL)
    for legend, names in ((left, recipes), (right, runtimes)):
        # Set afterwards: a legend leaves out names that begin with an underscore.
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set(text=_clipped(name or "no recipe"), color=theme.ink)


def _warn(figure: Figure, text: str, theme: Theme) -> None:
    """Write `text` in small red letters above the axes, in three lines at most."""
    lines = textwrap.wrap(text, 64, max_lines=3, placeholder=" ...")
    figure.suptitle("\n".join(lines), x=0.02, ha="left", fontsize=_SMALL, color=theme.red)


def curves(history: Sequence[dict[str, float]], *, best_epoch: int, theme: Theme) -> Figure:
    """Draw loss and top-1 of training and validation by epoch; the kept epoch (counted from 0) is marked."""
    figure, (loss, top1) = blank(theme, height_in=2.9, columns=2)
    epochs = range(1, len(history) + 1)
    for ax, key, scale in ((loss, "loss", 1), (top1, "accuracy", 100)):
        for name, prefix, colour in (("training", "", theme.series[0]), ("validation", "val_", theme.series[1])):
            values = [epoch[prefix + key] * scale for epoch in history]
            ax.plot(epochs, values, color=colour, marker=".", markersize=4, linewidth=1.5, label=name)
        ax.axvline(best_epoch + 1, color=theme.muted, linestyle=":", linewidth=1)
        ax.set_xlabel("epoch")
        ax.set_title("loss" if key == "loss" else "top-1 %", color=theme.ink, fontsize=10, loc="left")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set_xlim(0.5, len(history) + 0.5)
    if any(isfinite(epoch[key]) and epoch[key] > 0 for epoch in history for key in ("loss", "val_loss")):
        logarithmic(loss, loss.yaxis)
    _legend(top1, theme)
    return figure


def compared_curves(histories: Mapping[str, Sequence[dict[str, float]]], *, theme: Theme) -> Figure:
    """Draw validation loss and top-1 by epoch of several trainings, by name."""
    columns = 3 if max(map(len, histories)) <= _NAME_LETTERS // 2 else 2
    figure, (loss, top1) = blank(theme, height_in=2.9 + 0.17 * ceil(len(histories) / columns), columns=2)
    for number, (name, history) in enumerate(histories.items()):
        colour = theme.series[number % len(theme.series)]
        line = _LINES[number // len(theme.series) % len(_LINES)]
        for ax, key, scale in ((loss, "val_loss", 1), (top1, "val_accuracy", 100)):
            values = [epoch[key] * scale for epoch in history]
            ax.plot(range(1, len(history) + 1), values, line, color=colour, linewidth=1.3, label=_clipped(name))
    for ax, title in ((loss, "validation loss"), (top1, "validation top-1 %")):
        ax.set_title(title, color=theme.ink, fontsize=10, loc="left")
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if all(isfinite(e["val_loss"]) and e["val_loss"] > 0 for history in histories.values() for e in history):
        logarithmic(loss, loss.yaxis)
    handles, names = top1.get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=_SMALL, labelcolor=theme.ink
    )
    return figure


def against_parameters(rows: Mapping[str, dict[str, Any]], *, theme: Theme) -> Figure:
    """Draw test top-1 with its interval against the parameters of each architecture, by name; the front joined."""
    lines = sum(_wrapped(name).count("\n") + 1 for name in rows)
    figure, (ax,) = blank(theme, height_in=max(3.4, 0.16 * lines + 0.04 * len(rows) + 1))
    points = [(row["parameters"], row["top1"] * 100) for row in rows.values()]
    best = front(points)
    for row, (x, y) in zip(rows.values(), points, strict=True):
        ax.plot([x, x], [row["top1_low"] * 100, row["top1_high"] * 100], color=theme.series[0], alpha=0.35)
        ax.plot(x, y, "o", color=theme.series[0], markersize=5)
    ax.step([points[i][0] for i in best], [points[i][1] for i in best], where="post", color=theme.muted, lw=1)
    _cost_scale(ax, [x for x, _ in points])
    if max(points)[0] > _WIDE * min(points)[0]:
        ax.xaxis.set_major_locator(LogLocator())
    ax.set_xlabel("parameters")
    ax.set_ylabel("test top-1 %, 95 % interval")
    _name_points(ax, points, list(rows), theme)
    return figure


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str], theme: Theme) -> Figure:
    """Draw the counts [true, predicted], coloured by their share of the true class, mistakes in red.

    Of more than 20 classes no numbers are written, and some of the names.
    """
    matrix = np.asarray(counts)
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    is_small = len(labels) <= _NAMED_CLASSES
    figure, (ax,) = blank(theme, height_in=max(3.6, 0.4 * len(labels) + 0.9) if is_small else _WIDTH_IN)
    colours = LinearSegmentedColormap.from_list("cells", [theme.page, theme.series[0]])
    # Only the lower part of the map: what is written in a cell must stay readable.
    cells = colours(shares * 0.5)
    if not is_small:
        wrong = (matrix > 0) & ~np.eye(len(labels), dtype=bool)
        # One mistake in a cell of a few pixels must be seen too.
        cells[wrong] = LinearSegmentedColormap.from_list("wrong", [theme.page, theme.red])(0.3 + 2 * shares[wrong])
    ax.imshow(cells, aspect="auto", interpolation="nearest")
    if is_small:
        for true, predicted in np.argwhere(matrix > 0):
            right = true == predicted
            ax.text(
                predicted, true, f"{matrix[true, predicted]}", ha="center", va="center",
                fontsize=_SMALL if right else 9, weight="normal" if right else "bold",
                color=theme.ink if right else theme.red,
            )  # fmt: skip
    step = ceil(len(labels) / _NAMED_CLASSES)
    names = [_clipped(label) for label in labels[::step]]
    upright = max(map(len, names)) > 2
    ax.set_xticks(range(0, len(labels), step), names, rotation=90 if upright else 0)
    ax.set_yticks(range(0, len(labels), step), names)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    ax.grid(False)
    return figure


def calibration(curve: Sequence[dict[str, float]], theme: Theme) -> Figure:
    """Draw how often the model was right against how sure it was; the dots grow with the number of images."""
    figure, (ax,) = blank(theme, height_in=3.6)
    ax.plot([0, 100], [0, 100], color=theme.muted, linestyle=":", linewidth=1)
    x, y = ([b[key] * 100 for b in curve] for key in ("confidence", "top1"))
    sizes = [12 + 40 * np.log10(b["images"]) for b in curve]
    ax.plot(x, y, color=theme.series[0], linewidth=1, alpha=0.6)
    ax.scatter(x, y, s=sizes, color=theme.series[0], zorder=3)
    for b, at_x, at_y in zip(curve, x, y, strict=True):
        ax.annotate(
            f"{b['images']:,}", (at_x, at_y), (0, -14), textcoords="offset points", ha="center", fontsize=_SMALL,
            color=theme.muted,
        )  # fmt: skip
    ax.set_xlabel("mean confidence %, by bin (number: images)")
    ax.set_ylabel("top-1 %")
    ax.set_xlim(0, 103)
    ax.set_ylim(0, 103)
    return figure


def coverage(curve: Sequence[dict[str, float]], accepted: tuple[float, float] | None, theme: Theme) -> Figure:
    """Draw top-1 of the surest images against their share, and as a dot the share the rule accepts with its top-1."""
    figure, (ax,) = blank(theme, height_in=3.6)
    x, y = ([one[key] * 100 for one in curve] for key in ("coverage", "top1"))
    ax.plot(x, y, color=theme.series[0], marker="o", markersize=4, linewidth=1)
    if accepted is not None:
        ax.scatter([accepted[0] * 100], [accepted[1] * 100], s=60, color=theme.series[1], zorder=3)
    ax.set_xlabel("share of the test images, the surest first, %")
    ax.set_ylabel("top-1 %")
    return figure


def first_images(
    images: NDArray[np.uint8], truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str], theme: Theme
) -> Figure:
    """Draw images uint8 [N, H, W, C], ten a line, those that `predicted` gets wrong framed red with its answer."""
    lines = ceil(len(images) / 10)
    figure, (ax,) = blank(theme, height_in=_WIDTH_IN * 0.98 * lines / 10, bare=True)
    wrong = [t != p for t, p in zip(truth, predicted, strict=True)]
    side = images.shape[1] + 4
    ax.imshow(_mosaic(images, wrong, lines, theme), interpolation="nearest")
    for place, (is_wrong, answer) in enumerate(zip(wrong, predicted, strict=True)):
        if is_wrong:
            ax.text(
                place % 10 * side + 4, place // 10 * side + 4, _tag(labels[answer]), va="top", color="white",
                fontsize=9, weight="bold", bbox={"facecolor": theme.red, "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
    return figure


def worst(images: NDArray[np.uint8], mistakes: Sequence[dict[str, Any]], labels: Sequence[str], theme: Theme) -> Figure:
    """Draw the images uint8 [N, H, W, C] of `mistakes` (rows of bench.json) with truth and answer.

    Five a line, or three where the names of the classes are long.
    """
    columns = 5 if max(map(len, labels)) <= 2 else 3
    lines = ceil(len(images) / columns)
    figure, axes = blank(
        theme,
        height_in=(_WIDTH_IN / columns + (0.6 if columns == 5 else 0.75)) * lines,
        columns=columns,
        lines=lines,
        bare=True,
    )
    for ax in axes[len(images) :]:
        ax.set_visible(False)
    for ax, image, mistake in zip(axes, images, mistakes, strict=False):
        ax.imshow(_rgb(image), interpolation="nearest")
        ax.set_title(_mistake(mistake, labels), fontsize=_SMALL, color=theme.ink)
    return figure


def _mistake(mistake: dict[str, Any], labels: Sequence[str]) -> str:
    """Return truth, answer, how sure it was and the image's number, in lines of few letters."""
    truth, answer = (_clipped(labels[mistake[key]]) for key in ("label", "predicted"))
    said = f"{truth} read as {answer}" if len(truth + answer) <= 4 else f"{truth}\nread as {answer}"
    if len(answer) > _NAME_LETTERS // 2:  # beside "read as" it would reach into the next picture
        said = f"{truth}\nread as\n{answer}"
    return f"{said}\n{mistake['probability']:.1%} sure\nno. {mistake['image']}"


def layer_bars(layers: Sequence[Any], theme: Theme) -> Figure:
    """Draw each weighted layer's share of MACs, weight bytes and zeros; `layers` are `inspect.Layer`s."""
    weighted = [layer for layer in layers if layer.parameters]
    figure, (ax,) = blank(theme, height_in=0.62 * len(weighted) + 1.4)
    bars = (*_shares(weighted), ("zeros", [layer.sparsity or 0 for layer in weighted]))
    for number, (name, shares) in enumerate(bars):
        places = np.arange(len(weighted)) + (number - 1) * 0.27
        drawn = ax.barh(places, [100 * share for share in shares], height=0.25, color=theme.series[number], label=name)
        ax.bar_label(drawn, fmt="%.1f", padding=2, fontsize=_SMALL, color=theme.muted)
    ax.set_yticks(range(len(weighted)), [_short(layer.name) for layer in weighted])
    ax.invert_yaxis()
    ax.set_xlim(0, 115)
    ax.set_xlabel("share of all MACs, of all weight bytes,\nzeros in the layer: %")
    _legend(ax, theme, loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return figure


def dearest(layers: Sequence[Any]) -> list[tuple[str, str, float]]:
    """Return the layer with the most MACs and the one with the most weight bytes, as (of what, its name, share)."""
    weighted = [layer for layer in layers if layer.parameters]
    return [(what, _short(weighted[int(np.argmax(of))].name), max(of)) for what, of in _shares(weighted) if weighted]


def _shares(weighted: Sequence[Any]) -> list[tuple[str, list[float]]]:
    """Return each layer's share of all MACs and of all weight bytes."""
    macs, bytes_ = (sum(getattr(layer, key) or 0 for layer in weighted) or 1 for key in ("macs", "weight_bytes"))
    return [
        ("MACs", [(layer.macs or 0) / macs for layer in weighted]),
        ("weight bytes", [layer.weight_bytes / bytes_ for layer in weighted]),
    ]


def blank(
    theme: Theme, *, height_in: float, columns: int = 1, lines: int = 1, bare: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure of the report's width and its axes, in the theme's colours; `bare` axes have no frame."""
    figure = Figure(figsize=(_WIDTH_IN, height_in), dpi=160, facecolor=theme.page, layout="constrained")
    axes = list(np.ravel(figure.subplots(lines, columns)))
    for ax in axes:
        ax.set_facecolor(theme.page)
        if bare:
            ax.set_axis_off()
            continue
        ax.tick_params(which="both", colors=theme.muted, labelsize=_SMALL)
        ax.grid(True, color=theme.muted, alpha=0.2, linewidth=0.6)
        ax.set_axisbelow(True)
        for side, spine in ax.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(theme.muted)
        ax.xaxis.label.set(color=theme.ink, fontsize=9)
        ax.yaxis.label.set(color=theme.ink, fontsize=9)
    return figure, axes


def _cost_scale(ax: Axes, values: Sequence[float]) -> None:
    """Give the axis of costs plain numbers, and a logarithmic scale when it spans more than fivefold."""
    if max(values) > 5 * min(values):
        logarithmic(ax, ax.xaxis)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.xaxis.set_major_formatter(FuncFormatter(_plain_number))


def logarithmic(ax: Axes, axis: XAxis | YAxis) -> None:
    """Make `axis` logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    (ax.set_xscale if axis is ax.xaxis else ax.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(_plain_number))
    axis.set_minor_formatter(NullFormatter())


def _plain_number(value: float, _: int | None) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _name_points(ax: Axes, points: Sequence[tuple[float, float]], names: Sequence[str], theme: Theme) -> None:
    """Write the names in a column right of the axes, from high to low, each joined to its point by a thin line.

    Names beside the points would lie on each other: models of one recipe differ by hundredths of a point.
    """
    order = sorted(range(len(points)), key=lambda i: (-points[i][1], points[i][0]))
    lines = [_wrapped(names[i]).count("\n") + 1 for i in order]
    for place, i in enumerate(order):
        height = 1 - (sum(lines[:place]) + lines[place] / 2) / sum(lines)
        ax.annotate(
            _wrapped(names[i]), points[i], (1.06, height),
            textcoords="axes fraction", va="center", fontsize=_SMALL, color=theme.ink, annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": theme.muted, "linewidth": 0.7, "relpos": (0, 0.5), "shrinkA": 0,
            },
        )  # fmt: skip


def short_name(row: dict[str, Any]) -> str:
    """Return a short name of a row: ``baseline int8 litert``, or the file's where it has no recipe."""
    return (
        f"{row['recipe']} {row['scheme']} {row['runtime']}" if row["recipe"] else f"{row['artifact']} {row['runtime']}"
    )


def _wrapped(name: str) -> str:
    """Return a name in three lines at most."""
    return textwrap.fill(name, _NAME_LETTERS, max_lines=3, placeholder="...")


def _clipped(name: str) -> str:
    """Return a name's beginning and end: what tells long ones apart is as often behind as in front."""
    end = _NAME_LETTERS // 2 - 2
    return name if len(name) <= _NAME_LETTERS else f"{name[: _NAME_LETTERS - 1 - end]}…{name[-end:]}"


def _tag(name: str) -> str:
    """Return as much of a name as fits onto one of ten images in a line: its first letters."""
    return name[:_TAG_LETTERS]


def _short(name: str) -> str:
    """Return the layer's own part of its name, which converters make a path: conv1 of net/conv1/BiasAdd."""
    parts = [part for part in name.split("/") if not part.startswith(_OPERATIONS)]
    return (parts or [name])[-1][:18]


def _legend(ax: Axes, theme: Theme, **place: Any) -> None:
    ax.legend(**{"loc": "lower right"} | place, fontsize=_SMALL, frameon=False, labelcolor=theme.ink)


def _rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image uint8 [H, W, 1 or 3] as [H, W, 3]."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _mosaic(images: NDArray[np.uint8], wrong: Sequence[bool], lines: int, theme: Theme) -> NDArray[np.uint8]:
    """Return the images in lines of ten with a frame of two pixels each, red where wrong."""
    height, width = images.shape[1] + 4, images.shape[2] + 4
    page, red = (_colour(theme.page), _colour(theme.red))
    canvas = np.tile(page, (lines * height, 10 * width, 1))
    for place, (image, is_wrong) in enumerate(zip(images, wrong, strict=True)):
        y, x = place // 10 * height, place % 10 * width
        if is_wrong:
            canvas[y : y + height, x : x + width] = red
        canvas[y + 2 : y + height - 2, x + 2 : x + width - 2] = _rgb(image)
    return canvas


def _colour(name: str) -> NDArray[np.uint8]:
    return np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.uint8)
