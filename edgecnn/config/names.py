"""What data sets and architectures are called."""

from __future__ import annotations

import os
from pathlib import Path

from edgecnn.errors import unknown

# What an architecture begins with that is written out in the notation of `zoo.notation`: ``layers:C24@5n P2 S48@3 G``.
LAYERS = "layers:"
# Name -> the recipe it is trained with unless told otherwise.
DATA_SETS = {
    "digits": "small",
    "mnist": "seed",
    "fashion-mnist": "seed",
    "two-digits": "seed",
}
RECIPE_OF_A_PATH = "small"


def resolved_data(data: str) -> str:
    """Return the name of a data set, or an absolute path, so that a run finds it from wherever it is continued."""
    if data in DATA_SETS:
        return data
    path = Path(data).expanduser()
    if os.sep not in data and not path.exists():
        raise unknown("data", data, [*DATA_SETS, "a path"])
    return str(path.resolve())


def data_name(data: str) -> str:
    """Return what a data set is called: its name, or that of its file or folder, wherever it lies."""
    return data if data in DATA_SETS else Path(data).name


def arch_name(arch: str) -> str:
    """Return what an architecture is called: its name, or that of its file, wherever it lies."""
    return Path(arch).name if Path(arch).is_absolute() else arch


def arch_label(arch: str) -> str:
    """Return what an architecture is called in the names of folders: of one that is written out, ``layers``."""
    return LAYERS.removesuffix(":") if arch.startswith(LAYERS) else Path(arch).stem
