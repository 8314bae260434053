"""What came of a study: which trials no other one beats, which fit a condition, and how near the others come.

Points are losses here: what is to be as high as possible comes with its sign changed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgecnn.errors import ConfigError, unknown

Point = Sequence[float]
Distance = Callable[[Mapping[str, float]], float]

_COMPARISONS: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
}


def beats(one: Point, other: Point) -> bool:
    """Return whether `one` is nowhere worse than `other`, and somewhere better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def front(points: Sequence[Point]) -> list[int]:
    """Return the places of the points that no other one beats, the lowest first loss first."""
    best = [i for i, point in enumerate(points) if not any(beats(other, point) for other in points)]
    return sorted(best, key=lambda i: tuple(points[i]))


def ahead(point: Point, others: Sequence[Point]) -> int:
    """Return how many of `others` lie in a better front: those that none beats, then those of the rest, and so on.

    The fronts are those of non-dominated sorting: K. Deb et al., "A Fast and Elitist Multiobjective Genetic Algorithm:
    NSGA-II" (2002).
    """
    left, gone = [tuple(other) for other in others], 0
    while any(beats(other, point) for other in left):
        first = {other for other in left if not any(beats(rival, other) for rival in left)}
        gone += sum(other in first for other in left)
        left = [other for other in left if other not in first]
    return gone


@dataclass(frozen=True)
class Condition:
    """A condition on figures, as ``size_bytes < 8000 and top1 > 0.99``."""

    text: str
    names: tuple[str, ...]
    # How far figures are from meeting it, 0 where they do: the shares by which they miss their limits, added up.
    distance: Distance


def condition(text: str, known: Sequence[str]) -> Condition:
    """Return the condition that `text` states; only names, numbers, comparisons, `and`, `or` and parentheses are read.

    Nothing in it is evaluated as Python. Raises `ConfigError` for anything else and for a name not in `known`.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        names: list[str] = []
        distance = _distance(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(
            f"--where: cannot read {text!r}; expected comparisons of figures with numbers, joined by and, or: "
            f"size_bytes < 8000 and top1 > 0.99"
        ) from None
    for name in names:
        if name not in known:
            raise unknown("--where: figure", name, known)
    return Condition(text, tuple(dict.fromkeys(names)), distance)


def _distance(node: ast.expr, names: list[str]) -> Distance:
    if isinstance(node, ast.BoolOp):
        parts = [_distance(value, names) for value in node.values]
        joined: Callable[[list[float]], float] = sum if isinstance(node.op, ast.And) else min
        return lambda figures: joined([part(figures) for part in parts])
    if isinstance(node, ast.Compare):
        sides = [_value(side, names) for side in (node.left, *node.comparators)]
        if not names:
            raise ValueError("numbers alone")
        pairs = [_compared(a, comparison, b) for a, comparison, b in zip(sides[:-1], node.ops, sides[1:], strict=True)]
        return lambda figures: sum(pair(figures) for pair in pairs)
    raise ValueError("neither a comparison nor several")


def _value(node: ast.expr, names: list[str]) -> Distance:
    if isinstance(node, ast.Name):
        names.append(node.id)
        return lambda figures: figures[node.id]
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    number = node.operand if isinstance(node, ast.UnaryOp) and sign < 0 else node
    if isinstance(number, ast.Constant) and type(number.value) in (int, float):
        value = sign * float(number.value)  # type: ignore[arg-type]
        return lambda figures: value
    raise ValueError("neither a name nor a number")


def _compared(a: Distance, comparison: ast.cmpop, b: Distance) -> Distance:
    """Return by which share of the limit a comparison is missed; where it is missed by nothing, a trace."""
    holds = _COMPARISONS.get(type(comparison))
    if holds is None:
        raise ValueError("another comparison")

    def missed(figures: Mapping[str, float]) -> float:
        x, y = a(figures), b(figures)
        return 0.0 if holds(x, y) else max(share_missed(x, y), 1e-12)

    return missed


def share_missed(value: float, limit: float) -> float:
    """Return how far `value` is from `limit`, as a share of the limit."""
    return abs(value - limit) / max(abs(limit), 1e-9)
