"""A report as one page: self-contained HTML that opens offline, or markdown beside its PNG files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FunctionLoader, StrictUndefined

from edgecnn.report import figures
from edgecnn.report.table import REPORT_COLUMNS, Column, escaped, notes, to_markdown


@dataclass(frozen=True)
class Picture:
    """A figure in both themes (SVG) and as PNG; `name` is the PNG's file name without suffix.

    `alt` says in words what the figure shows, for those who do not see it.
    """

    name: str
    title: str
    caption: str
    alt: str
    light: bytes
    dark: bytes
    png: bytes

    @property
    def light_uri(self) -> str:
        """The light figure as a data URI."""
        return _data_uri(self.light)

    @property
    def dark_uri(self) -> str:
        """The dark figure as a data URI."""
        return _data_uri(self.dark)


@dataclass(frozen=True)
class Report:
    """What a report shows: the bench result as its JSON has it, facts of the run, and the pictures in order."""

    name: str
    facts: Sequence[tuple[str, str]]
    measured: dict[str, Any]
    pictures: Sequence[Picture]


def picture(name: str, title: str, caption: str, draw: Callable[[figures.Theme], Any], *, alt: str) -> Picture:
    """Return the figure that `draw` makes of a theme, in both."""
    light, dark = draw(figures.LIGHT), draw(figures.DARK)
    return Picture(name, title, caption, alt, figures.to_svg(light), figures.to_svg(dark), figures.to_png(light))


def to_html(report: Report) -> str:
    """Return the page; everything is inside it, so that it opens without a network."""
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            pictures=report.pictures,
            columns=columns(report.measured),
            rows=report.measured["results"],
            # The box on top says what is not clean.
            notes=[note for note in notes(report.measured) if not note.startswith("not clean: ")],
            not_clean=report.measured["conditions"]["not_clean"],
            conditions=list(conditions(report.measured)),
        )
    )


def environment() -> Environment:
    """Return what the templates of this package are read and filled in with."""
    return Environment(
        loader=FunctionLoader(lambda name: files("edgecnn.report").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def to_report_markdown(report: Report) -> str:
    """Return the same as markdown that refers to the pictures' PNG files beside it."""
    shown = columns(report.measured)
    rows = [[column.cell(row) for column in shown] for row in report.measured["results"]]
    parts = [
        f"# {escaped(report.name)}\n",
        _bullets([f"{name}: {value}" for name, value in report.facts]),
        to_markdown([column.heading for column in shown], rows),
        _bullets(notes(report.measured)),
        *(_markdown_picture(p) for p in report.pictures),
        "## Conditions\n",
        to_markdown(("what", "value"), list(conditions(report.measured))),
    ]
    return "\n".join(parts)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines) + "\n"


def _markdown_picture(p: Picture) -> str:
    alt = escaped(p.alt).replace("[", "\\[").replace("]", "\\]")
    return f"## {escaped(p.title)}\n\n![{alt}]({quote(p.name)}.png)\n\n{escaped(p.caption)}\n"


def columns(measured: dict[str, Any]) -> list[Column]:
    """Return the table's columns; where the test set has fewer than 100 images, the heading says how many."""
    images = 100 if measured["data"] is None else min(100, measured["data"]["test_images"])
    heading, meaning = f"wrong of first {images}", f"mistakes among the first {images} test images"
    return [
        replace(column, heading=heading, meaning=meaning) if column.heading == "wrong of first 100" else column
        for column in REPORT_COLUMNS
    ]


def conditions(measured: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the conditions of a bench result as (what, value), nested ones with a dot.

    What is unknown is left out, and what is not clean: the page says that on top.
    """
    found: list[tuple[str, str]] = []
    for key, value in measured["conditions"].items():
        if key == "not_clean":
            continue
        inner = [(f"{key}.{name}", one) for name, one in value.items()] if isinstance(value, dict) else [(key, value)]
        found += [(name, _plain(one)) for name, one in inner if one not in (None, [])]
    return found


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
