"""The corpus of cases made elsewhere: each is typed, and is right, or says that it is not sure, or is refused."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.foreign.cases import CASES, Assumed, Case, Measured, Open, Refused, Right

ROOT = Path(__file__).resolve().parents[2]
_PROGRAMS = ("python", "cp", "sed")


@dataclass(frozen=True)
class Said:
    """What a line came to: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """Where a case is tried: a copy of its folder, the sets of pictures, and what is right."""

    folder: Path
    within: Path
    sets: Path
    labels: Sequence[str]
    right: dict[str, dict[str, list[float]]]

    def files(self) -> set[Path]:
        return set(self.folder.rglob("*"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder of the corpus, made once for all processes of a session; read it, never write to it."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "foreign"
    with Path(f"{root}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            maker = [sys.executable, "-m", "tests.foreign.make_everything", root]
            made = subprocess.run(maker, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
            assert made.returncode == 0, made.stderr
    return root


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.door}: {case.name}")
def test_what_was_made_elsewhere(case: Case, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _copied(case, corpus, tmp_path / "case")
    monkeypatch.chdir(place.within)
    last, told = "", ""
    for line in case.lines[:-1]:
        said = _typed(line, place, last, typed=case.typed)
        assert said.code == 0, f"{line}\n{said.out}{said.err}"
        last, told = (said.out.strip().splitlines() or [""])[-1], told + said.out + said.err
    told += _judge(case, place, last)
    for fact in case.says:
        assert fact in told, f"{fact!r} is not said: {told}"


def _copied(case: Case, corpus: Path, to: Path) -> Place:
    shutil.copytree(corpus / case.folder, to)
    known = json.loads((corpus / f"{case.folder}.right.json").read_text())
    return Place(to, to / case.within, corpus, known["labels"], known["right"])


def _judge(case: Case, place: Place, last: str) -> str:
    """Type the last line, hold it against what is expected of it, and return what it printed."""
    line, files = case.lines[-1], place.files()
    said = _typed(line, place, last, typed=case.typed)
    match case.expected:
        case Right() as right:
            _check_right(said, right, place)
        case Measured() as measured:
            _check_measured(said, measured, place)
        case Assumed() as assumed:
            _check_assumed(said, assumed, place)
            _check_right(_typed(f"{line} {assumed.remedy}", place, last), assumed.then, place)
        case Refused() as refused:
            _check_refused(said, refused)
            assert place.files() == files, "a refused line left files behind"
            _check_remedy(refused, place)
        case Open() as left_open:
            _check_open(said, place, left_open)
            _check_right(_typed(f"{line} {left_open.remedy}", place, last), left_open.then, place)
    return said.out + said.err


def _check_measured(said: Said, measured: Measured, place: Place) -> None:
    """Check that every row of out.json is as good as it should be, and that a warning names what is assumed."""
    assert said.code == 0, said.err
    rows = json.loads((place.within / "out.json").read_text())["results"]
    assert all(row["top1"] >= measured.top1 for row in rows), rows
    warnings_ = [line for line in said.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings_) == bool(measured.assumed), said.err
    assert all(measured.assumed in line for line in warnings_)


def _check_right(said: Said, right: Right, place: Place) -> None:
    """Check that a prediction is right, sure of its contract, and accepted."""
    assert said.code == 0, said.err
    rows = _rows_of_program(said.out) if right.program else _rows(said.out)
    for row in rows:
        _check_row(row, right, place)
        assert not row.get("assumed"), row["assumed"]
        assert right.calibrated or row.get("accepted", True), row["reason"]
    if right.calibrated:
        _check_temperature(rows, right, place)


def _check_row(row: dict[str, Any], right: Right, place: Place) -> None:
    """Check label and probabilities of one picture."""
    expected = _right_values(right, place, row["image"])
    best = int(np.argmax(expected))
    label = str(best) if right.numbered else place.labels[best]
    assert row["label"] == label, f"{row['image']}: {row['label']} at {row['probability']}, right is {label}"
    if right.calibrated:
        return
    assert row["probability"] == pytest.approx(expected[best], abs=right.tolerance), row["image"]
    if "probabilities" in row:
        assert row["probabilities"] == pytest.approx(expected, abs=right.tolerance), row["image"]


def _check_temperature(rows: Sequence[dict[str, Any]], right: Right, place: Place) -> None:
    """Check that one temperature explains all: it divides the logarithms of ratios, here of the first two classes."""
    found = []
    for row in rows:
        expected = np.array(_right_values(right, place, row["image"]))
        first, second = expected.argsort()[::-1][:2]
        ratio = row["probabilities"][first] / row["probabilities"][second]
        found.append(np.log(ratio) / np.log(expected[first] / expected[second]))
    assert min(found) > 0
    assert max(found) < 1.2 * min(found), found


def _right_values(right: Right, place: Place, image: str) -> list[float]:
    """Return the right probabilities of a picture; a .pgm is the .png of its name."""
    rows, name = place.right[right.model], Path(image)
    return rows[name.name] if name.name in rows else rows[f"{name.stem}.png"]


def _rows(printed: str) -> list[dict[str, Any]]:
    """Return what predict printed as JSON: a line for each of a folder's pictures, which are four or more."""
    rows = [json.loads(line) for line in printed.splitlines()]
    assert len(rows) >= 4, printed
    return rows


def _rows_of_program(printed: str) -> list[dict[str, Any]]:
    """Return what the C program printed: file, label and probability, which has three digits."""
    fields = [line.split("\t") for line in printed.splitlines()]
    return [{"image": one[0], "label": one[1], "probability": float(one[2])} for one in fields]


def _check_assumed(said: Said, assumed: Assumed, place: Place) -> None:
    """Check that it is said on one line and in the JSON what is assumed, and that nothing of that is accepted."""
    assert said.code == 0, said.err
    (warning,) = said.err.strip().splitlines()
    assert warning.startswith("warning: ")
    assert assumed.part in warning
    assert assumed.remedy.split()[0] in warning
    rows = _rows(said.out)
    assert any(one.startswith(assumed.part) for row in rows for one in row["assumed"])
    _check_not_silent(rows, assumed.then, place)


def _check_not_silent(rows: Sequence[dict[str, Any]], right: Right, place: Place) -> None:
    """Check that whatever is assumed of a picture is not accepted, and that it is right where nothing is."""
    for row in rows:
        if row["assumed"]:
            assert row["accepted"] is False
        else:
            _check_row(row, right, place)


def _check_refused(said: Said, refused: Refused) -> None:
    """Check that a line is refused in one line that holds the facts."""
    codes = (1, 2) if refused.code is None else (refused.code,)
    error = _the_error(said, codes)
    for fact in refused.facts:
        assert fact.lower() in error.lower(), f"{fact!r} is not in: {error}"
    for word in refused.never:
        assert word not in error, error


def _the_error(said: Said, codes: Sequence[int]) -> str:
    """Return the error of a line that failed so: the last of stderr, and the only one of its kind."""
    assert said.code in codes, f"exit code {said.code}\n{said.out}{said.err}"
    lines = said.err.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], said.err
    assert "Traceback" not in said.err
    return errors[0]


def _check_remedy(refused: Refused, place: Place) -> None:
    """Check that what should have been typed works."""
    last = ""
    for line in refused.remedy:
        said = _typed(line, place, last)
        assert said.code == 0, f"{line}\n{said.err}"
        last = (said.out.strip().splitlines() or [""])[-1]
    if refused.then is not None:
        _check_right(said, refused.then, place)


def _check_open(said: Said, place: Place, left_open: Open) -> None:
    """Check that what a file leaves open is right by itself, or assumed, or asked for."""
    if said.code:
        assert left_open.remedy.split()[0] in _the_error(said, (2,))
        return
    assert not said.err or left_open.remedy.split()[0] in said.err
    _check_not_silent(_rows(said.out), left_open.then, place)


def _typed(line: str, place: Place, last: str, *, typed: bool = False) -> Said:
    """Type a line in the current folder; `typed`: in a process of its own, else in this one, which is quicker."""
    line = line.format(few=place.sets / "pictures-few", many=place.sets / "pictures-many", last=last)
    words = [found for word in shlex.split(line) for found in _expanded(word, place.within)]
    if words[0] in _PROGRAMS or words[0].startswith(("./", "export/")):
        return _run([sys.executable if words[0] == "python" else words[0], *words[1:]])
    return _run([sys.executable, "-m", "edgecnn", *words]) if typed else _in_this_process(words)


def _expanded(word: str, folder: Path) -> list[str]:
    """Return the files that a pattern stands for, as a shell does."""
    if "*" not in word:
        return [word]
    up = word.startswith("../")
    base = folder.parent if up else folder
    found = sorted(base.glob(word.removeprefix("../").removeprefix("./")))
    return [f"{'../' * up}{path.relative_to(base)}" for path in found] or [word]


def _run(command: Sequence[str]) -> Said:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


def _in_this_process(words: Sequence[str]) -> Said:
    """Return what the command line's own `main` comes to; TensorFlow need not be imported once a case."""
    from edgecnn import cli

    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        pytest.raises(SystemExit) as ended,
    ):
        warnings.resetwarnings()  # a user's Python shows what no filter hides
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)
        patch.setattr(sys, "argv", ["edgecnn", *words])
        cli.main()
    code = ended.value.code
    return Said(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def test_gray_pictures_to_mlperf_tinys_resnet8() -> None:
    """Classes 0, 3, 0 and 8, as LiteRT finds them when it is given what the file's scale and zero point say."""
    from ai_edge_litert.interpreter import Interpreter

    from edgecnn.device import Predictor

    model = Path(os.environ.get("EDGECNN_DATA", "nowhere")) / "models" / "mlperf_tiny_resnet8_int8.tflite"
    if not model.is_file():
        pytest.skip("EDGECNN_DATA has no models/mlperf_tiny_resnet8_int8.tflite")
    interpreter, predictor = Interpreter(str(model), num_threads=1), Predictor(model)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for level, right in ((0, 0), (60, 3), (120, 0), (127, 8)):
        interpreter.set_tensor(given["index"], np.full((1, 32, 32, 3), level - 128, np.int8))
        interpreter.invoke()
        scores = (interpreter.get_tensor(made["index"])[0] + 128.0) / 256
        found = predictor.predict(np.full((32, 32, 3), level, np.uint8))
        assert (int(scores.argmax()), found.label) == (right, str(right))
        assert found.probabilities == pytest.approx(scores, abs=1 / 256)
