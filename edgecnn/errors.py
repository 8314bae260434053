"""Everything edgecnn raises on purpose, and the exit code each becomes on the command line.

    Exception
    ├── EdgecnnError              2   base of all below
    │   ├── ConfigError           2   an unknown name, a bad value, a run asked for twice with other settings
    │   ├── MissingExtraError     2   an optional dependency is not installed
    │   ├── DataError             2   a data set that is absent, damaged or of the wrong shape
    │   ├── ArtifactError         2   a model file that is absent, damaged or not what its record says
    │   ├── SearchError           2   what a search runs on is not there: its database, its cluster, its own processes
    │   ├── StorageError          2   the disk refused a write; nothing half-written stays behind
    │   ├── BoardError            2   a board that does not answer, or lacks what a deployment needs
    │   └── GateError             1   the work was done and the result is refused: it is worse than allowed
    └── edgecnn.device.DeviceError 2  the board's own (that package stands alone): no runtime, no image, no fit;
                                      1   where the self-test computes something else

A message is one line and says where, got, expected, remedy:
``export int8: 0 calibration images; needs at least 1; pass --calibration-images``.
"""

__all__ = [
    "ArtifactError",
    "BoardError",
    "ConfigError",
    "DataError",
    "EdgecnnError",
    "GateError",
    "MissingExtraError",
    "SearchError",
    "StorageError",
]


class EdgecnnError(Exception):
    """Base class: bad input, reported in one line, exit code 2."""

    exit_code = 2


class ConfigError(EdgecnnError):
    """A name, value or combination that edgecnn does not know."""


class MissingExtraError(EdgecnnError):
    """A command needs an optional dependency that is not installed."""


class DataError(EdgecnnError):
    """A data set that is absent, damaged, or of another shape than stated."""


class ArtifactError(EdgecnnError):
    """A model file that is absent, damaged, or differs from its record."""


class SearchError(EdgecnnError):
    """What a search runs on cannot be reached or went away; what was finished is kept."""


class StorageError(EdgecnnError):
    """The file system refused a write (full disk, no permission)."""


class BoardError(EdgecnnError):
    """A board that cannot be reached, is not the one that is known, or lacks what a deployment needs."""


class GateError(EdgecnnError):
    """A result was computed and refused: it is worse than the gate allows."""

    exit_code = 1


def unknown(what: str, got: str, known: object) -> ConfigError:
    """Return the error for a name that is not among `known` (an iterable of str), listing those that are."""
    names = ", ".join(sorted(known))  # type: ignore[call-overload]
    return ConfigError(f"{what}: {got!r} is unknown; expected one of: {names}")
