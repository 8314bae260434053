"""Models that take no pictures are measured on arrays of their own input: an .npz file with these and their classes."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.device.contract import Contract
from edgecnn.device.resolution import Said
from edgecnn.errors import DataError
from edgecnn.pipeline.contracts import of_file_to_measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecnn.data import DataSet

# What the two arrays may be called.
_INPUTS, _CLASSES = ("x", "x_test", "inputs", "features"), ("y", "y_test", "labels", "targets")


def own_inputs(models: Sequence[Path], data: str | None, said: Said) -> DataSet | None:
    """Return the arrays in the .npz file `data`, as the test split of a set; None where the models take pictures.

    The file holds `x`, float32 [N, ...] of the input's own sizes or what it stores, and `y`, whole numbers [N] from 0
    on. Raises `DataError` for any other arrays.
    """
    if data is None or not data.endswith(".npz"):
        return None
    contracts = [of_file_to_measure(model, None, said) for model in models]
    if any(contract is None or contract.is_picture for contract in contracts):
        return None
    return _read(Path(data), next(contract for contract in contracts if contract is not None))


def _read(path: Path, contract: Contract) -> DataSet:
    import numpy as np

    from edgecnn.data import DataSet, Split

    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file ({error}); save it with numpy.savez") from None
    inputs, classes = _named(path, arrays, _INPUTS), _named(path, arrays, _CLASSES)
    count, sizes = len(contract.labels), contract.tensor_shape
    if inputs.shape[1:] != sizes or classes.shape != inputs.shape[:1] or classes.dtype.kind not in "iu":
        raise DataError(
            f"{path}: {inputs.dtype} {list(inputs.shape)} and {classes.dtype} {list(classes.shape)}; expected "
            f"[N, {', '.join(map(str, sizes))}] and N whole numbers; save them as x and y with numpy.savez"
        )
    if not len(classes) or classes.min() < 0 or classes.max() >= count:
        raise DataError(
            f"{path}: {len(classes)} classes, not all from 0 to {count - 1}; expected those of the model's {count} "
            f"scores; save them as y"
        )
    test = Split(inputs, classes.astype(np.int64))
    none = Split(inputs[:0], test.labels[:0])
    return DataSet(path.stem, none, none, test, contract.labels, artifact.sha256(artifact.read_bytes(path)))


def _named(path: Path, arrays: dict[str, NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    found = [arrays[name] for name in names if name in arrays]
    if len(found) != 1:
        raise DataError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}; expected one of {', '.join(names)}; save it so with "
            f"numpy.savez"
        )
    return found[0]
