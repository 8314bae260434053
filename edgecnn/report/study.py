"""The page of a search: its front, what its parameters matter, and the pictures of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from edgecnn.report import figures
from edgecnn.report.page import Picture, environment, picture

Table = tuple[list[str], list[list[str]]]


def front_picture(points: Sequence[dict[str, Any]], *, cost: str, value: str, axes: tuple[str, str]) -> Picture:
    """Return the picture of all complete trials, `value` against `cost`, those of the front joined and numbered."""
    best = [point for point in points if point["best"]]
    said = "; ".join(f"trial {one['number']}: {one[value]:g} at {one[cost]:g}" for one in best)
    return picture(
        f"front-{cost}",
        f"{axes[1]} against {axes[0]}",
        "Every complete trial; those that no other one beats are joined, where they are the best of this picture too.",
        partial(figures.trials, points, cost=cost, value=value, axes=axes),
        alt=f"{axes[1]} against {axes[0]}: {said}.",
    )


def importance_picture(shares: Mapping[str, Mapping[str, float]]) -> Picture:
    """Return the picture of how much each parameter moves each objective."""
    said = "; ".join(
        f"{objective}: {', '.join(f'{name} {share:.2f}' for name, share in found.items())}"
        for objective, found in shares.items()
    )
    return picture(
        "importances",
        "What moves the objectives",
        "The share of each parameter in what separates the better trials from the others (PED-ANOVA).",
        partial(figures.importances, shares),
        alt=f"Importance of the parameters. {said}.",
    )


def to_html(
    name: str,
    facts: Sequence[tuple[str, str]],
    *,
    front: Table,
    importances: Table | None,
    pictures: Sequence[Picture],
) -> str:
    """Return the page; everything is inside it, so that it opens without a network."""
    tables = [("Front", *front), *([("Importances", *importances)] if importances else [])]
    return (
        environment().get_template("study.html.jinja").render(name=name, facts=facts, tables=tables, pictures=pictures)
    )
