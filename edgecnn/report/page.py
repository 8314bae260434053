"""A report as one page: self-contained HTML that opens offline, or markdown beside its PNG files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined

from edgecnn.report import figures
from edgecnn.report.table import REPORT_COLUMNS, notes, to_markdown


@dataclass(frozen=True)
class Picture:
    """A figure in both themes (SVG) and as PNG; `name` is the PNG's file name without suffix."""

    name: str
    title: str
    caption: str
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


def picture(name: str, title: str, caption: str, draw: Callable[[figures.Theme], Any]) -> Picture:
    """Return the figure that `draw` makes of a theme, in both."""
    light, dark = draw(figures.LIGHT), draw(figures.DARK)
    return Picture(name, title, caption, figures.to_svg(light), figures.to_svg(dark), figures.to_png(light))


def to_html(report: Report) -> str:
    """Return the page; everything is inside it, so that it opens without a network."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("edgecnn.report").joinpath("page.html.jinja").read_text("utf-8"))
    return template.render(
        report=report,
        columns=REPORT_COLUMNS,
        rows=report.measured["results"],
        notes=notes(report.measured),
        not_clean=report.measured["conditions"]["not_clean"],
        conditions=list(conditions(report.measured)),
    )


def to_report_markdown(report: Report) -> str:
    """Return the same as markdown that refers to the pictures' PNG files beside it."""
    headings = [column.heading for column in REPORT_COLUMNS]
    rows = [[column.cell(row) for column in REPORT_COLUMNS] for row in report.measured["results"]]
    parts = [
        f"# {report.name}\n",
        "\n".join(f"- {name}: {value}" for name, value in report.facts) + "\n",
        to_markdown(headings, rows),
        "\n".join(f"- {note}" for note in notes(report.measured)) + "\n",
        *(f"## {p.title}\n\n![{p.title}]({p.name}.png)\n\n{p.caption}\n" for p in report.pictures),
        "## Conditions\n",
        to_markdown(("what", "value"), list(conditions(report.measured))),
    ]
    return "\n".join(parts)


def conditions(measured: dict[str, Any]) -> Sequence[tuple[str, str]]:
    """Return the conditions of a bench result as (what, value), nested ones with a dot, without what is unknown."""
    found: list[tuple[str, str]] = []
    for key, value in measured["conditions"].items():
        inner = [(f"{key}.{name}", one) for name, one in value.items()] if isinstance(value, dict) else [(key, value)]
        found += [(name, _plain(one)) for name, one in inner if one not in (None, [])]
    return found


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
