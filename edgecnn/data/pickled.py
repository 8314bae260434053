"""Pickles of data frames, of dicts of arrays and of (images, labels) tuples; nothing in the file is run.

A pickle names functions that are called while it is read, any function of any module, which is how one runs code. Here
every name stands for a `_Node`, which does nothing but keep what it is called with; names that are not `_ADMITTED` are
refused. The arrays are then made of what the nodes keep, so that neither pandas nor a pandas of the right version need
be installed.
"""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edgecnn.data import store
from edgecnn.data.arrays import Stored, from_arrays, from_parts
from edgecnn.data.csv_file import LABEL_COLUMNS
from edgecnn.data.splits import Source
from edgecnn.data.watched import ReadObserver, bytes_of, opened, unobserved
from edgecnn.device.runtimes.quiet import quiet
from edgecnn.errors import DataError

_SPLITS = {2: ("train", "test"), 3: ("train", "val", "test")}  # by the number of (images, labels) in a tuple
_ADMITTED = {
    **dict.fromkeys(("_reconstruct", "_frombuffer", "ndarray", "dtype", "scalar"), "numpy"),
    **dict.fromkeys(("DataFrame", "Series", "BlockManager", "SingleBlockManager", "_unpickle_block"), "pandas"),
    **dict.fromkeys(("_new_Index", "Index", "RangeIndex", "Int64Index", "UInt64Index"), "pandas"),
    **dict.fromkeys(("__pyx_unpickle_NDArrayBacked", "StringArray", "StringDtype"), "pandas"),
    **dict.fromkeys(("Categorical", "CategoricalDtype"), "pandas"),
    "slice": "builtins",
    "encode": "_codecs",  # how old protocols write bytes
}
_MODULES = {"__builtin__": "builtins"}


class _Node:
    """What a pickle asks to be made: a name of `_ADMITTED`, what it is called with, and the state that it is given."""

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> _Node:
        node = super().__new__(cls)
        node.args, node.state = args, None
        return node

    def __setstate__(self, state: Any) -> None:
        self.state = state


# Classes and not functions, because a pickle may set attributes of what it names, but not call this on a class.
_NODES: dict[str, type[_Node]] = {name: type(name, (_Node,), {"name": name}) for name in _ADMITTED}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, where: str) -> None:
        super().__init__(file, encoding="bytes")  # as Python 2 wrote them
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        root = module.partition(".")[0]
        if _ADMITTED.get(name) != _MODULES.get(root, root):
            raise DataError(
                f"{self._where}: asks for {_line(f'{module}.{name}')}, which could run code; expected arrays and data "
                f"frames of numpy and pandas alone; save the arrays with numpy.savez"
            )
        return _NODES[name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise DataError(f"{self._where}: refers to objects outside of the file; save the arrays with numpy.savez")


def read(path: Path, *, observe: ReadObserver = unobserved) -> Source:
    """Return the data set in a pickle, gzipped or not.

    A data frame has a label column (`LABEL_COLUMNS`) and a column a pixel, or one whose cells are the images. A dict
    has arrays by the names of `arrays.from_arrays`; a tuple has (images, labels) for train and test, or train, val and
    test. The file is read into memory whole. Raises `DataError` for other content, and for a name that could run
    code. `observe` is called with (bytes read, bytes in all).
    """
    content = _unpickled(path, observe)
    try:
        if isinstance(content, _Node) and content.name == "DataFrame":
            return from_parts({"train": _split_frame(_columns(content), str(path))}, where=str(path))
        if isinstance(content, Mapping):
            arrays = {_text(name): _array(value) for name, value in content.items()}
            return from_arrays(arrays, where=str(path))
        if isinstance(content, Sequence) and len(content) in _SPLITS and all(map(_is_pair, content)):
            pairs = {
                split: (_array(x), _array(y)) for split, (x, y) in zip(_SPLITS[len(content)], content, strict=True)
            }
            return from_parts(pairs, where=str(path))
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        why = _line(str(error)) or type(error).__name__
        raise DataError(
            f"{path}: a data frame or array in it cannot be made ({why}); save the arrays with numpy.savez"
        ) from None
    kind = content.name if isinstance(content, _Node) else type(content).__name__
    raise DataError(
        f"{path}: holds a {kind}; expected a data frame, a dict of arrays or a tuple of (images, labels); save it so"
    )


def _unpickled(path: Path, observe: ReadObserver) -> Any:
    try:
        with bytes_of([path], observe) as count, opened(path, count) as file:
            packed = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            with quiet():  # Python prints to stderr where a bytearray is cut off, besides raising
                return _Unpickler(packed, str(path)).load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot read ({error.strerror or error}); check the path") from None
    except Exception as error:  # a damaged pickle raises almost anything
        why = _line(f"{type(error).__name__}: {error}")
        raise DataError(f"{path}: no pickle, or a damaged one ({why}); save it again") from None


def _line(text: str) -> str:
    return " ".join(text.split())[:100]


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _array(value: Any) -> NDArray[Any]:
    """Return the array that a node, a list or a scalar stands for; its bytes are not copied."""
    if not isinstance(value, _Node):
        return np.array([_scalar(one) for one in value] if isinstance(value, list | tuple) else value)
    match value.name:
        case "_frombuffer":
            buffer, dtype, shape, order = value.args
            return np.frombuffer(buffer, _dtype(dtype)).reshape(shape, order=_text(order))  # type: ignore[call-overload,no-any-return]
        case "_reconstruct":
            return _reconstructed(*value.state[-4:])
        case "Series":
            return _blocks(_manager(value))[0][0].reshape(-1)
        case "_new_Index":
            return _index(value.args[1])
        case "StringArray" | "Categorical" | "__pyx_unpickle_NDArrayBacked":
            return _extension(value)
    raise TypeError(f"{value.name} where an array should be")


def _reconstructed(shape: tuple[int, ...], dtype: _Node, by_columns: bool, content: Any) -> NDArray[Any]:
    order: Any = "F" if by_columns else "C"
    if isinstance(content, list):
        cells = np.empty(len(content), object)
        for i, cell in enumerate(content):
            cells[i] = _array(cell) if isinstance(cell, _Node | list) else _scalar(cell)
        return cells.reshape(shape, order=order)
    if isinstance(content, _Node):  # _codecs.encode(text, "latin1")
        content = content.args[0].encode("latin1")
    return np.frombuffer(content, _dtype(dtype)).reshape(shape, order=order)


def _scalar(value: Any) -> Any:
    if isinstance(value, _Node) and value.name == "scalar":
        content = value.args[1]
        return np.frombuffer(
            content.args[0].encode("latin1") if isinstance(content, _Node) else content, _dtype(value.args[0])
        )[0]
    if isinstance(value, _Node):
        raise TypeError(f"{value.name} where a number or name should be")
    return value


def _dtype(node: _Node) -> np.dtype[Any]:
    dtype = np.dtype(_text(node.args[0]))
    if dtype.names or dtype.hasobject:
        raise TypeError(f"values of type {dtype}")
    return dtype.newbyteorder(_text(node.state[1])) if node.state else dtype  # type: ignore[arg-type]


def _manager(node: _Node) -> _Node:
    """Return what holds the columns of a data frame or series."""
    state = node.state
    found: _Node = state["_mgr"] if "_mgr" in state else state["_data"]
    return found


def _blocks(manager: _Node) -> list[tuple[NDArray[Any], list[int]]]:
    """Return the values of each block, a row a column of the frame, and which columns these are."""
    if manager.state is not None:  # pandas before 1.3, and series
        given = [(block["values"], block["mgr_locs"]) for block in manager.state[3]["0.14.1"]["blocks"]]
    else:
        given = [(block.args[0], block.args[1]) for block in manager.args[0]]
    blocks = []
    for content, placement in given:
        values = _array(content)
        values = values if values.ndim == 2 else values[None]
        blocks.append((values, _placed(placement, len(values))))
    return blocks


def _placed(placement: Any, count: int) -> list[int]:
    if isinstance(placement, _Node) and placement.name == "slice":
        return list(range(*slice(*placement.args).indices(1 << 31)))[:count]
    return [int(i) for i in _array(placement)]


def _columns(frame: _Node) -> dict[str, NDArray[Any]]:
    """Return the columns of a data frame, in their order."""
    manager = _manager(frame)
    axes = manager.args[1] if manager.state is None else manager.state[3]["0.14.1"]["axes"]
    names = [_text(name) for name in _array(axes[0])]
    if len(set(names)) < len(names):
        raise ValueError("two columns have one name")
    at = {i: row for values, places in _blocks(manager) for i, row in zip(places, values, strict=True)}
    return {name: at[i] for i, name in enumerate(names)}


def _index(state: dict[str, Any]) -> NDArray[Any]:
    if "data" in state:
        return _array(state["data"])
    return np.arange(state["start"], state["stop"], state["step"])


def _extension(node: _Node) -> NDArray[Any]:
    """Return the values of pandas' string and categorical columns."""
    parts = list(_flat((node.args, node.state)))
    values = next(_array(part) for part in parts if part.name in ("_reconstruct", "_frombuffer"))
    categories = next((part for part in parts if part.name == "CategoricalDtype"), None)
    if categories is None:
        return values
    if values.min(initial=0) < 0:
        raise ValueError("a categorical column has missing values")
    chosen: NDArray[Any] = _array(categories.state["categories"])[values]
    return chosen


def _flat(value: Any) -> Sequence[_Node]:
    if isinstance(value, _Node):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    return [node for one in inside for node in _flat(one)]


def _split_frame(columns: dict[str, NDArray[Any]], where: str) -> Stored:
    """Return images and labels of a data frame's columns."""
    labels = [name for name in columns if name.lower() in LABEL_COLUMNS]
    if len(labels) != 1:
        raise DataError(
            f"{where}: {len(labels)} label columns among {', '.join(list(columns)[:3])}, ...; expected one of "
            f"{', '.join(LABEL_COLUMNS)}; name it label"
        )
    pixels = {name: column for name, column in columns.items() if name not in labels}
    if len(pixels) == 1 and (cells := next(iter(pixels.values()))).dtype == object:
        return _stacked(cells, where), columns[labels[0]]
    for name, column in pixels.items():
        if column.dtype.kind not in "iufb":
            raise DataError(f"{where}: column {name} holds no numbers; expected a pixel; leave it out")
    dtype = np.result_type(*{column.dtype for column in pixels.values()}) if pixels else np.dtype(np.uint8)
    rows = len(columns[labels[0]])
    images: NDArray[Any] = np.empty((rows, len(pixels)), dtype)
    for part in store.chunks(images):  # columns lie apart: all of them for some rows, to stay within the caches
        for i, column in enumerate(pixels.values()):
            images[part, i] = column[part]
    return images, columns[labels[0]]


def _stacked(cells: NDArray[Any], where: str) -> NDArray[Any]:
    """Return cells that are one image each as [N, ...]; `DataError` naming the first of another size."""
    first = np.asarray(cells[0])
    images = np.empty((len(cells), *first.shape), first.dtype)
    for row, cell in enumerate(cells):
        image = np.asarray(cell)
        if image.shape != first.shape:
            raise DataError(
                f"{where}: image {row} is {list(image.shape)}, image 0 {list(first.shape)}; expected one size"
            )
        images[row] = image
    return images
