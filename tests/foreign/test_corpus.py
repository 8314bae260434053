"""The corpus itself: it knows nothing of edgecnn, it is as large as it should be, and a wrong reading shows in it."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.foreign.cases import CASES, WHOLE, Right
from tests.foreign.make_networks import COLOR, GRAY, SQUARE_COLOR, SQUARE_GRAY, UNIT, Shape, network, pictures, usual

HERE = Path(__file__).parent
MAKERS = sorted(path for path in HERE.glob("*.py") if not path.name.startswith("test_"))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MAKERS, ids=lambda path: path.name)
def test_what_makes_the_corpus_knows_nothing_of_edgecnn(path: Path) -> None:
    """Nor do they by way of another test: of the tests they import each other alone."""
    names = imported(path)
    assert not {name for name in names if name.split(".")[0] == "edgecnn"}
    own = {name for name in names if name.split(".")[0] == "tests"}
    assert all(name.startswith(("tests.foreign.make_", "tests.foreign.cases")) for name in own)
    assert "import_module" not in path.read_text() and "__import__" not in path.read_text()


def test_the_packages_above_import_nothing() -> None:
    assert [(HERE.parent / "__init__.py").read_text(), (HERE / "__init__.py").read_text()] == ["", ""]


def test_there_are_enough_cases_at_every_door() -> None:
    doors = Counter(case.door for case in CASES)
    assert sum(doors.values()) >= 60
    assert min(doors.values()) >= 3, doors
    assert sum(isinstance(case.expected, Right) for case in CASES) >= 45
    assert len({(case.door, case.name) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("shape", [GRAY, COLOR, SQUARE_GRAY, SQUARE_COLOR], ids=str)
def test_any_other_reading_of_a_picture_shows(shape: Shape) -> None:
    """What is right is right for each class; taken for anything else, some probability is off by five tolerances."""
    for meant in usual(shape[2]):
        reads = network(shape).taking(meant)
        right = reads.probabilities(meant.of(pictures(shape)))
        assert (right.argmax(1) == np.arange(len(right))).all()
        for other in usual(shape[2]):
            if other is not meant:
                found = reads.probabilities(other.of(pictures(shape)))
                assert np.abs(found - right).max() > 5 * WHOLE, f"{meant} read as {other}"
    if shape[2] == 3:
        swapped = network(shape).probabilities(UNIT.of(pictures(shape)[..., ::-1])).argmax(1)
        assert (swapped != right.argmax(1)).sum() >= 2
