"""The generated part of edgecnn/API.md: the public names with their signatures and docstrings, read from the source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from types import ModuleType

from edgecnn.report.table import to_markdown

# What is shown of each place, in order; of a class also these methods and properties. Errors have a table of their own.
SHOWN: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "edgecnn.device": {
        "Predictor": ("predict", "predict_batch", "predict_page", "look", "see", "steps"),
        "Prediction": (),
        "PlacedPrediction": (),
        "Contract": ("assumed",),
        "Quantized": (),
    },
    "edgecnn": {"configure": (), "run": (), "RunConfig": (), "RECIPES": ()},
}
ERRORS = ("edgecnn.device", "edgecnn.errors")
_MOST_OF_A_VALUE = 3  # lines: a longer one is not shown


def part() -> str:
    """Return the chapters of the public names, and the table of the errors."""
    chapters = [_chapter(import_module(place), names) for place, names in SHOWN.items()]
    return "\n\n".join([*chapters, f"## Errors\n\n{_errors()}".rstrip()])


def errors_of(place: str) -> list[type[Exception]]:
    """Return the errors that a place exports, each base before what derives from it."""
    module = import_module(place)
    found = [getattr(module, name) for name in module.__all__ if name.endswith("Error")]
    return sorted(found, key=lambda error: len(error.__mro__))


def _chapter(place: ModuleType, names: Mapping[str, tuple[str, ...]]) -> str:
    entries = [_entry(place, name, members) for name, members in names.items()]
    return "\n\n".join([f"## {place.__name__}", *entries])


def _entry(place: ModuleType, name: str, members: tuple[str, ...]) -> str:
    """Return a name's heading, its signature and docstring, and those of its members."""
    value = getattr(place, name)
    home = inspect.getmodule(value) or _module_of(place, name)
    source = Path(inspect.getsourcefile(home) or "").read_text()
    node, said = _found(ast.parse(source), name)
    parts = [f"### {name}", _code(_signature(node, source)), said]
    if isinstance(node, ast.ClassDef):
        methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        if "__init__" in methods:
            parts.append(ast.get_docstring(methods["__init__"]) or "")
        for member in members:
            own = methods[member]
            parts += [f"#### {name}.{member}", _code(_signature(own, source)), ast.get_docstring(own) or ""]
    return "\n\n".join(parts)


def _module_of(place: ModuleType, name: str) -> ModuleType:
    """Return the module of a value that does not know it: a constant."""
    return import_module(place._ROOMS[name])


def _found(tree: ast.Module, name: str) -> tuple[ast.stmt, str]:
    """Return what defines a name in a module, and its docstring; that of a constant is the text below it."""
    for node, below in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            return node, ast.get_docstring(ast.Module([below], [])) or "" if is_text and below else ""
    raise SystemExit(f"benchmarks.api: {name} is not defined where it was looked for")


def _signature(node: ast.stmt, source: str) -> str:
    """Return the lines that say how something is called: of a class its fields, or how one is made."""
    if isinstance(node, ast.FunctionDef):
        return _head(node, source)
    if isinstance(node, ast.ClassDef):
        return _head(node, source) + "\n".join(["", *_made_of(node, source)]).rstrip()
    assert isinstance(node, ast.Assign)
    text = ast.get_source_segment(source, node) or ""
    return text if text.count("\n") < _MOST_OF_A_VALUE else f"{ast.unparse(node.targets[0])} = ..."


def _head(node: ast.FunctionDef | ast.ClassDef, source: str) -> str:
    """Return a definition up to its colon, with its decorators, as it is written."""
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
    return dedent("\n".join(source.splitlines()[first - 1 : node.body[0].lineno - 1])).rstrip()


def _made_of(node: ast.ClassDef, source: str) -> Iterator[str]:
    """Yield the lines of a class's fields, else of its `__init__`, below its head."""
    lines = source.splitlines()
    for one in node.body:
        if isinstance(one, ast.AnnAssign):
            yield from lines[one.lineno - 1 : one.end_lineno]
        elif isinstance(one, ast.FunctionDef) and one.name == "__init__":
            yield from lines[one.lineno - 1 : one.body[0].lineno - 1]


def _code(text: str) -> str:
    return f"```py\n{text}\n```"


def _errors() -> str:
    """Return the table of all errors: where from, of what kind, what a command exits with, and what they say."""
    rows = [
        (
            f"`{place}.{error.__name__}`",
            f"`{error.__bases__[0].__name__}`",
            str(getattr(error, "exit_code", "")),
            " ".join((inspect.getdoc(error) or "").split()),
        )
        for place in ERRORS
        for error in errors_of(place)
    ]
    return to_markdown(("error", "is a", "exit code", "what it says"), rows)
