"""How C is written down: files of this folder, numbers, strings and comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from importlib.resources import files
from string import Template

_WIDTH = 120


def resource(name: str) -> str:
    """Return the text of a file of this folder."""
    return (files(__package__) / name).read_text()


def template(name: str) -> Template:
    """Return one of the templates of this folder, such as ``model.h``."""
    return Template(resource(f"{name}.txt"))


def wrapped(text: str, indent: int) -> list[str]:
    """Return a text in lines that begin with so many blanks."""
    return textwrap.wrap(text, _WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def numbers(values: Iterable[int | float], indent: int) -> list[str]:
    """Return the lines between the braces of an array; a float is written so that it is read back the same."""
    return wrapped(", ".join(map(_number, values)), indent)


def _number(value: int | float) -> str:
    return repr(value) if value != -(2**31) else "INT32_MIN"  # -2147483648 is the negative of what no int32 holds


def minus(value: int) -> str:
    """Return what takes `value` from a term: ``" - 3"``, ``" + 3"`` for -3, and nothing for 0."""
    return f" {'-' if value > 0 else '+'} {abs(value)}" if value else ""


def plus(value: int) -> str:
    """Return what adds `value` to a term, as `minus` does."""
    return minus(-value)


def string(text: str) -> str:
    """Return a string literal of a text in UTF-8, whatever is in it."""
    plain = set(range(0x20, 0x7F)) - {ord("?")}  # of which three make another character in old C
    known = {ord('"'): '\\"', ord("\\"): "\\\\"}
    return '"' + "".join(known.get(b, chr(b) if b in plain else f"\\{b:03o}") for b in text.encode()) + '"'


def strings(text: str, indent: int) -> list[str]:
    """Return the lines of a long string literal, which the compiler joins."""
    length = _WIDTH * 3 // 4  # what is escaped is longer
    return [" " * indent + string(text[start : start + length]) for start in range(0, len(text), length)]


def facts_in_comment(facts: Mapping[str, str]) -> str:
    """Return lines "key: fact" inside a block comment, the long ones broken."""
    starts = {"initial_indent": " * ", "subsequent_indent": " *     ", "break_long_words": False}
    lines = [textwrap.wrap(f"{key}: {comment(fact)}", _WIDTH, **starts) for key, fact in facts.items()]  # type: ignore[arg-type]
    return "\n".join(line for fact in lines for line in fact)


def comment(text: str) -> str:
    """Return a text that can stand in a comment, on one line."""
    return " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *").encode("ascii", "replace").decode()
