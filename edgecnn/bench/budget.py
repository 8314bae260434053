"""Budgets: what a release may cost and must reach, written in TOML and checked against a benchmark's rows.

[budget]                       # for every row
top1_min = 0.99
size_bytes_max = 150_000

[budget."int8.tflite"]         # for the artifacts of this file name or path, over the above
size_bytes_max = 46_000
ratio_to_baseline_max = 2.0
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

# Limit -> (figure of a row, +1 when the figure must not be above it, -1 when not below).
LIMITS = {
    "top1_min": ("top1", -1),
    "top1_low_min": ("top1_low", -1),
    "max_drop_pp": ("drop_pp", +1),
    "top1_agreement_min": ("top1_agreement", -1),
    "size_bytes_max": ("size_bytes", +1),
    "gzip_bytes_max": ("gzip_bytes", +1),
    "sparse_bytes_max": ("sparse_bytes", +1),
    "p50_us_max": ("p50_us", +1),
    "p99_us_max": ("p99_us", +1),
    "ratio_to_baseline_max": ("ratio_to_baseline", +1),
    "cold_start_ms_max": ("cold_start_ms", +1),
    "peak_rss_bytes_max": ("peak_rss_bytes", +1),
    "flash_bytes_max": ("flash_bytes", +1),
    "arena_bytes_max": ("arena_bytes", +1),
}


class BudgetError(ValueError):
    """A budget that cannot be read; one line."""


@dataclass(frozen=True)
class Budget:
    """Limits for every artifact and, by file name, for single ones."""

    everywhere: Mapping[str, float]
    by_file: Mapping[str, Mapping[str, float]]


def parse(text: str, *, where: str) -> Budget:
    """Return the budget in a TOML `text`; raises `BudgetError` for an unknown limit, listing the known."""
    try:
        table = tomllib.loads(text)["budget"]
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise BudgetError(f"{where}: no [budget] table ({error}); see edgecnn bench --help") from None
    if not isinstance(table, dict) or not table:
        raise BudgetError(f"{where}: [budget] is empty; a budget without limits checks nothing")
    by_file = {name: value for name, value in table.items() if isinstance(value, dict)}
    everywhere = {name: value for name, value in table.items() if name not in by_file}
    for file, limits in by_file.items():
        if not limits:
            raise BudgetError(f'{where}: [budget."{file}"] is empty; a budget without limits checks nothing')
    for limits in (everywhere, *by_file.values()):
        _check(limits, where)
    return Budget(everywhere, by_file)


def from_limits(limits: Iterable[str], *, where: str) -> Budget:
    """Return the budget of ``top1_min=0.99`` and the like, for every artifact; raises `BudgetError` as `parse` does."""
    values: dict[str, float] = {}
    for limit in limits:
        name, _, value = limit.partition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise BudgetError(f"{where}: got {limit!r}; expected NAME=NUMBER, like top1_min=0.99") from None
    _check(values, where)
    return Budget(values, {})


def combined(*budgets: Budget) -> Budget:
    """Return the limits of all `budgets`; where two state the same one, the later holds, for single files too."""
    everywhere: dict[str, float] = {}
    by_file: dict[str, dict[str, float]] = {}
    for budget in budgets:
        everywhere |= budget.everywhere
        by_file = {
            file: {name: value for name, value in limits.items() if name not in budget.everywhere}
            for file, limits in by_file.items()
        }
        for file, limits in budget.by_file.items():
            by_file[file] = by_file.get(file, {}) | dict(limits)
    return Budget(everywhere, by_file)


def broken(budget: Budget, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return a line per limit that a row breaks; a figure that was not measured breaks its limit.

    So does a row that ends in an error, and a file that the budget names and no row has: a check that looks at
    nothing must not pass.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for row in rows:
        names = (PurePath(row["artifact"]).name, row["artifact"])
        seen.update(names)
        if row.get("error"):
            lines.append(f"{row['artifact']} ({row['runtime']}): {row['error']}")
            continue
        for limit, allowed in limits_for(budget, names).items():
            figure, direction = LIMITS[limit]
            value = row.get(figure)
            if value is None or (value - allowed) * direction > 0:
                got = "not measured" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
                lines.append(f"{row['artifact']} ({row['runtime']}): {figure} is {got}; {limit} is {allowed:g}")
    return lines + [f"{file}: in the budget, not measured" for file in budget.by_file if file not in seen]


def excesses(budget: Budget, figures: Mapping[str, Any], *, artifact: str) -> dict[str, float]:
    """Return for each limit on `artifact` by which share of it its figure is beyond; negative: within.

    A figure that is not there is beyond by all of the limit.
    """
    found = {}
    for limit, allowed in limits_for(budget, (artifact,)).items():
        figure, direction = LIMITS[limit]
        value = figures.get(figure)
        found[limit] = 1.0 if value is None else (value - allowed) * direction / (abs(allowed) or 1.0)
    return found


def limits_for(budget: Budget, names: Iterable[str]) -> dict[str, float]:
    """Return the limits on an artifact of these `names`."""
    limits = dict(budget.everywhere)
    for name in names:
        limits |= budget.by_file.get(name, {})
    return limits


def _check(limits: Mapping[str, Any], where: str) -> None:
    for name, value in limits.items():
        if name not in LIMITS:
            raise BudgetError(f"{where}: {name!r} is unknown; expected one of: {', '.join(sorted(LIMITS))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise BudgetError(f"{where}: {name} is {value!r}; expected a number")
