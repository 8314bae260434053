"""The released models: whole, as accurate as their card says, and the same in every format."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn import artifact
from edgecnn.bench import budget
from edgecnn.bench.accuracy import top1_accuracy
from edgecnn.device import Predictor
from edgecnn.device.preprocessing import to_mnist
from tests.conftest import RELEASED, ROOT, Edgecnn

pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
BUDGET = ROOT / "benchmarks" / "budget.toml"
FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
CASES = sorted(path.parent for path in (ROOT / "tests" / "cases").glob("*/case.json"))


def test_every_artifact_is_what_its_record_says() -> None:
    findings = dict(artifact.verify(RELEASED))
    assert {path.name for path in findings} == {"model.keras", *FILES}
    assert [problem for problem in findings.values() if problem] == []
    card = (RELEASED / "MODEL_CARD.md").read_text()
    for path in findings:
        assert artifact.read_record(path).sha256 in card


def test_it_was_made_from_a_commit() -> None:
    commits = {artifact.read_record(RELEASED / file).commit for file in ("model.keras", *FILES)}
    assert len(commits) == 1
    assert "dirty" not in commits.pop()


@pytest.mark.parametrize("file", FILES)
def test_accuracy_is_what_the_card_says(mnist_test: tuple[np.ndarray, np.ndarray], file: str) -> None:
    images, labels = mnist_test
    recorded = {row["artifact"]: row for row in json.loads((RELEASED / "bench.json").read_text())["results"]}[file]
    got = top1_accuracy(Predictor(RELEASED / file).probabilities(images), labels)
    assert got.top1 == pytest.approx(recorded["top1"], abs=0.0003), "three of 10,000: another CPU rounds differently"
    assert got.top1 >= 0.991


def test_the_release_keeps_its_budget(mnist_dir: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    """Not --quick, which leaves TensorFlow out: parity is with the Keras parent."""
    data = ("--data", "mnist", "--data-dir", mnist_dir, "--json", tmp_path / "bench.json")
    done = edgecnn("bench", "--rounds", "1", RELEASED, *data, "--check", BUDGET)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["results"]
    assert {row["parity_reference"] for row in rows} == {"model.keras"}


def test_the_files_keep_their_budget_of_bytes() -> None:
    """Also where MNIST is absent."""
    limits = budget.parse(BUDGET.read_text(), where=str(BUDGET))
    sizes = {
        file: {name: limit for name, limit in named.items() if name.endswith("_bytes_max")}
        for file, named in limits.by_file.items()
    }
    assert set(sizes) == set(FILES)
    records = [artifact.checked(RELEASED / file) for file in FILES]
    rows = [
        {"artifact": r.artifact, "runtime": "-", "size_bytes": r.size_bytes, "gzip_bytes": r.gzip_bytes}
        for r in records
    ]
    assert budget.broken(budget.Budget({}, sizes), rows) == []


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
@pytest.mark.parametrize("file", ["model.keras", *FILES])
def test_every_format_faces_the_reference(case: Path, file: str) -> None:
    """Probabilities that Keras gave for a picture, with the tolerance that each scheme is allowed."""
    expected = json.loads((case / "case.json").read_text())
    pixels = to_mnist(np.asarray(Image.open(case / "input.png").convert("L")))[None, :, :, None]
    assert artifact.sha256(pixels.tobytes()) == expected["pixels_sha256"], "preprocessing is part of the case"
    if file == "model.keras":
        from edgecnn import _tf

        got = _tf.predict(_tf.load_model(RELEASED / file), pixels)[0]
    else:
        got = Predictor(RELEASED / file).probabilities(pixels)[0]
    scheme = artifact.read_record(RELEASED / file).scheme
    assert int(got.argmax()) == int(expected["label"])
    assert np.abs(got - np.array(expected["probabilities"])).max() <= expected["tolerance"][scheme]
