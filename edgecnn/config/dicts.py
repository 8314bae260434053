"""Settings as nested dicts: what records and files hold, read back, and compared."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, get_args, get_type_hints

from edgecnn.config import RunConfig
from edgecnn.errors import ConfigError, unknown

T = TypeVar("T")


def stated(settings: Any) -> dict[str, Any]:
    """Return a dataclass as nested dicts, without values that are the default.

    For records: one that was made before there was a choice says the same as one made now without using it.
    """
    values = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if value != f.default:
            values[f.name] = stated(value) if dataclasses.is_dataclass(value) else value
    return values


def from_dict(kind: type[T], values: dict[str, Any], *, where: str) -> T:
    """Return a dataclass `kind` from nested dicts, refusing unknown and missing keys and wrong types."""
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown(f"{where}: key", key, known)
    given = {}
    hints = get_type_hints(kind)
    for name, f in known.items():
        if name not in values:
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise ConfigError(f"{where}: key {name!r} is missing from {kind.__name__}")
            continue
        given[name] = _value(hints[name], values[name], where=f"{where}: {name}")
    return kind(**given)


def _value(expected: Any, value: Any, *, where: str) -> Any:
    # What may be left out (X | None) is, when it is there, an X.
    expected = next((one for one in get_args(expected) if one is not type(None)), expected)
    if dataclasses.is_dataclass(expected):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: got {value!r}; expected a table")
        return from_dict(expected, value, where=where)  # type: ignore[arg-type]
    if expected is float and type(value) is int:
        return float(value)
    if isinstance(expected, type) and type(value) is not expected:
        raise ConfigError(f"{where}: got {value!r}; expected {expected.__name__}")
    return value


def differences(asked: RunConfig, found: RunConfig) -> list[str]:
    """Return one phrase per value that differs: ``training.epochs: 20 there, 10 asked``."""
    there, here = _flat(dataclasses.asdict(found)), _flat(dataclasses.asdict(asked))
    keys = dict.fromkeys((*there, *here))
    return [
        f"{key}: {there.get(key)!r} there, {here.get(key)!r} asked" for key in keys if there.get(key) != here.get(key)
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
