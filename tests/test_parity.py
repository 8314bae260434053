"""Parity in a benchmark: with what a model is compared, and that a disagreement is shown, not averaged away."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn import artifact, pipeline
from edgecnn.bench.session import Effort, Setting
from edgecnn.data import DataSet
from tests.conftest import Edgecnn

LOOK = Setting(Effort(runs=2, seconds=0.0, turns=1, warm_up_s=0.0, starts=1, rounds=1))


@pytest.fixture(scope="module")
def digits(quick_run: Path) -> DataSet:
    return pipeline.load_data(pipeline.read_config(artifact.Run(quick_run)))


def test_every_export_is_compared_with_its_keras_parent(quick_run: Path) -> None:
    rows = json.loads((quick_run / "bench" / "bench.json").read_text())["results"]
    expected = {"baseline": "model.keras", "pruned80": "model.keras", "pruned80-qat": "model.h5"}
    assert {row["artifact"]: row["parity_reference"] for row in rows} == {
        row["artifact"]: expected[row["recipe"]] for row in rows
    }
    for row in rows:
        floating = row["scheme"] == "float32"
        assert row["top1_agreement"] == 1 if floating else row["top1_agreement"] > 0.95
        assert row["max_abs_error"] < (1e-4 if floating else 0.5)


def test_disagreeing_images_are_saved_as_they_are(quick_run: Path, digits: DataSet) -> None:
    rows = json.loads((quick_run / "bench" / "bench.json").read_text())["results"]
    folder, expected = quick_run / "bench" / "bench.disagreeing", set()
    for row in rows:
        for one in row["disagreeing"]:
            name = f"{one['image']:05d}-reference{one['reference']}-got{one['predicted']}.png"
            path = folder / f"{row['artifact'].replace('/', '-')}-{row['runtime']}" / name
            expected.add(path)
            assert (np.asarray(Image.open(path)) == digits.test.images[one["image"], :, :, 0]).all()
            assert one["reference"] != one["predicted"]
    assert set(folder.rglob("*.png")) == expected


def test_without_keras_the_float32_export_of_the_recipe_is_the_reference(
    quick_run: Path, digits: DataSet, tmp_path: Path
) -> None:
    files = [quick_run / "export" / "pruned80" / name for name in ("float32.tflite", "int8.tflite", "int8.onnx")]
    result = pipeline.bench(files, data=digits, out=tmp_path / "b.json", setting=LOOK, keras=False)
    references = {row["artifact"]: row["parity_reference"] for row in result["results"]}
    # The float32 model is not compared with itself: that would agree whatever it says.
    assert references == {"float32.tflite": None} | dict.fromkeys(
        ("int8.tflite", "int8.onnx"), "float32.tflite (litert)"
    )


def test_a_model_that_answers_otherwise_is_found_out(quick_run: Path, digits: DataSet, tmp_path: Path) -> None:
    """Two networks without records: the baseline of the session is the reference."""
    for name, recipe in (("one", "baseline"), ("other", "pruned80")):
        shutil.copy(quick_run / "export" / recipe / "float32.tflite", tmp_path / f"{name}.tflite")
    files = [tmp_path / "one.tflite", tmp_path / "other.tflite"]
    result = pipeline.bench(files, data=digits, out=tmp_path / "b.json", setting=LOOK)
    one, other = result["results"]
    assert (one["parity_reference"], other["parity_reference"]) == (None, "one.tflite (litert)")
    assert one["disagreeing"] is None
    assert other["top1_agreement"] < 1
    assert 1 <= len(other["disagreeing"]) <= 10
    assert len(list((tmp_path / "b.disagreeing").rglob("*.png"))) == len(other["disagreeing"])


def test_a_look_leaves_tensorflow_out(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    model = quick_run / "export/baseline/int8.tflite"
    done = edgecnn("bench", "--quick", model, "--json", tmp_path / "b.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "b.json").read_text())["results"]
    assert row["parity_reference"] is None
