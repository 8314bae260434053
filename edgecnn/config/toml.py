"""A run's configuration as TOML, and back."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import Any

from edgecnn.config import RunConfig
from edgecnn.config.dicts import from_dict, stated
from edgecnn.config.recipes import RECIPES
from edgecnn.errors import ConfigError


def to_toml(config: RunConfig) -> str:
    """Return `config` as TOML: plain values first, then one table a section."""
    return "\n".join(_toml_lines(dataclasses.asdict(config), prefix="")) + "\n"


def from_toml(text: str, *, where: str) -> RunConfig:
    """Return the configuration that `text` holds; an unknown or missing key is a `ConfigError` naming `where`.

    A run of the time before clustering is read with its recipe's.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not TOML ({error}); restore the file or choose another --out") from None
    if "clustering" not in values and values.get("recipe") in RECIPES:
        values["clustering"] = stated(RECIPES[values["recipe"]].clustering)
    return from_dict(RunConfig, values, where=where)


def _toml_lines(values: dict[str, Any], *, prefix: str) -> list[str]:
    plain = {key: value for key, value in values.items() if value is not None and not isinstance(value, dict)}
    lines = [f"{key} = {_toml_value(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", *_toml_lines(value, prefix=f"{prefix}{key}.")]
    return lines


def _toml_value(value: str | bool | int | float) -> str:
    # Names, numbers and truth values only; repr of a str would use single quotes, which TOML reads literally.
    if isinstance(value, bool):
        return str(value).lower()
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else repr(value)
