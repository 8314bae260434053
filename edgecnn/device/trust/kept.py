"""The decision that a model's record keeps: read and checked once, for numpy and for plain Python. No numpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from edgecnn.device.errors import ModelError

Layer = TypeVar("Layer")
_NUMBERS = ("temperature", "floor", "least_probability", "least_typicality")


def read_kept(
    record: dict[str, Any],
    *,
    classes: int,
    where: Path,
    unpack: Callable[[Any], tuple[Layer, ...]],
    fit: Callable[[tuple[Layer, ...], int], bool],
) -> tuple[dict[str, float], tuple[Layer, ...]] | None:
    """Return the numbers of the decision in a record by name, and its layers; None for a record without one.

    `unpack` makes layers of what is kept; `fit` says whether they, if there are any, follow on one another and end in
    so many outputs: the classes and one for none of them. Raises `ModelError` for anything else.
    """
    kept = record.get("decision") or {}
    if not kept:
        return None
    try:
        numbers = {name: float(kept[name]) for name in _NUMBERS}
        layers = unpack(kept["layers"])
        is_sound = numbers["temperature"] > 0 and 0 <= numbers["floor"] < 0.5
        is_sound = is_sound and (not layers or fit(layers, classes + 1))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"{where}: decision in its record cannot be read ({error}); copy the record again") from None
    if not is_sound:
        raise ModelError(f"{where}: decision in its record is not one for {classes} classes; copy the record again")
    return numbers, layers
