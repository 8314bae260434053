"""Which models no other one beats."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the (cost, accuracy) points that no other one beats, from cheap to dear.

    One point beats another when it costs no more and reads no fewer, and is better in one of the two.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    chosen: list[int] = []
    for i in order:
        better = not chosen or points[i][1] > points[chosen[-1]][1]
        same = bool(chosen) and points[i] == points[chosen[-1]]
        if better or same:
            chosen.append(i)
    return chosen
