"""The released models: whole, as accurate as their card says, and the same in every format."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn import artifact
from edgecnn.bench import budget
from edgecnn.bench.accuracy import top1_accuracy
from edgecnn.device import Predictor
from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.pipeline.cost import sparse_bytes
from edgecnn.pipeline.release import FILES
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.contracts import taking
from tests.make_cases import keras_models, reference

pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
MODELS = list(artifact.released_models().values())
EXPORTS = [folder / file for folder in MODELS for file in FILES]
CASES = sorted(path.parent for path in (ROOT / "tests" / "cases").glob("*/case.json"))


def named(path: Path) -> str:
    return path.name if path.is_dir() else f"{path.parent.name}/{path.name}"


def budget_of(folder: Path) -> tuple[Path, budget.Budget]:
    path = ROOT / "benchmarks" / "budgets" / f"{folder.name}.toml"
    return path, budget.parse(path.read_text(), where=str(path))


def recorded_rows(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["artifact"]: row for row in json.loads((folder / "bench.json").read_text())["results"]}


@pytest.mark.parametrize("folder", MODELS, ids=named)
def test_every_artifact_is_what_its_record_says(folder: Path) -> None:
    findings = dict(artifact.verify(folder))
    assert {path.name for path in findings} - {artifact.RELEASED_QAT} == {"model.keras", *FILES}
    assert [problem for problem in findings.values() if problem] == []
    card = (folder / "MODEL_CARD.md").read_text()
    for path in findings:
        record = artifact.read_record(path)
        assert record.sha256 in card
        assert record.artifact == path.name
        assert all((folder / parent).is_file() for parent in record.parents)
        assert bool(record.parents) == (path.name != "model.keras")


@pytest.mark.parametrize("folder", MODELS, ids=named)
def test_it_was_made_from_a_commit(folder: Path) -> None:
    for path, _ in artifact.verify(folder):
        commit = artifact.read_record(path).commit
        assert commit is not None
        assert "dirty" not in commit


@pytest.mark.parametrize("path", EXPORTS, ids=named)
def test_accuracy_is_what_the_card_says(mnist_test: tuple[np.ndarray, np.ndarray], path: Path) -> None:
    images, labels = mnist_test
    recorded = recorded_rows(path.parent)[path.name]
    got = top1_accuracy(Predictor(path).probabilities(images), labels)
    assert got.top1 == pytest.approx(recorded["top1"], abs=0.0003), "three of 10,000: another CPU rounds differently"
    assert f"| {recorded['top1'] * 100:.2f} |" in (path.parent / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("folder", MODELS, ids=named)
def test_the_release_keeps_its_budget(folder: Path) -> None:
    """By the figures recorded with it, of these very files; their accuracy is measured again above."""
    rows = recorded_rows(folder)
    for file in FILES:
        content = (folder / file).read_bytes()
        assert rows[file]["sha256"] == artifact.sha256(content)
        assert rows[file]["size_bytes"] == len(content)
        assert rows[file].get("sparse_bytes") in (None, sparse_bytes(content, Path(file).suffix))
    path, limits = budget_of(folder)
    assert set(limits.by_file) == set(FILES), path
    assert budget.broken(limits, rows.values()) == []


def test_a_release_that_is_measured_again_keeps_its_budget(mnist_dir: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    """Of one model, for it takes long. Not --quick, which leaves TensorFlow out: parity is with the Keras parent."""
    data = ("--data", "mnist", "--data-dir", mnist_dir, "--json", tmp_path / "bench.json")
    done = edgecnn("bench", "--rounds", "1", RELEASED, *data, "--check", budget_of(RELEASED)[0])
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert {row["parity_reference"] for row in rows} <= {"model.keras", artifact.RELEASED_QAT}


@cache
def loaded(path: Path) -> Any:
    from edgecnn import _tf

    return _tf.load_model(path)


def probabilities(path: Path, pixels: np.ndarray) -> np.ndarray:
    from edgecnn import _tf

    keras = path.suffix not in artifact.EXPORT_SUFFIXES
    return (_tf.predict(loaded(path), pixels, taking(pixels)) if keras else Predictor(path).probabilities(pixels))[0]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize("path", [*(p for folder in MODELS for p in keras_models(folder)), *EXPORTS], ids=named)
def test_every_format_faces_the_reference(case: Path, path: Path) -> None:
    """Probabilities that its Keras parent gave for a picture, with the tolerance that each scheme is allowed."""
    described = json.loads((case / "case.json").read_text())
    pixels = to_mnist(np.asarray(Image.open(case / "input.png").convert("L")))[None, :, :, None]
    assert artifact.sha256(pixels.tobytes()) == described["pixels_sha256"], "preprocessing is part of the case"
    record = artifact.read_record(path)
    keras = next(iter(record.parents)) if record.stage == "export" else path.name
    expected = reference(case, path.parent.name, keras)
    assert expected is not None, "no answers of this model among the cases; run: python -m tests.make_cases"
    got = probabilities(path, pixels)
    assert got.argmax() == np.argmax(expected)
    # The one that was trained for int8 simulates it: another CPU's last bit may be another step of its scale.
    scheme = "int8" if path.name == artifact.RELEASED_QAT else record.scheme
    assert np.abs(got - np.array(expected)).max() <= described["tolerance"][scheme]


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_edge35k_reads_the_cases(case: Path) -> None:
    described = json.loads((case / "case.json").read_text())
    assert int(np.argmax(described["probabilities"])) == int(described["label"])
