"""A run whose images or architecture file are moved, its teacher's too, and that no release says where they lay."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn import artifact, pipeline
from edgecnn.artifact import Run
from edgecnn.cli import choose
from edgecnn.config import configure
from edgecnn.config.toml import to_toml
from edgecnn.errors import ArtifactError, ConfigError, DataError
from tests.conftest import Edgecnn
from tests.test_pipeline import taught_config

CODE = """
import tf_keras as keras


def build(shape, classes):
    k = keras.layers
    layers = [k.Input(shape), k.Conv2D(8, 3, strides=2, activation="relu"), k.Flatten()]
    return keras.Sequential([*layers, k.Dense(classes, activation="softmax")])
"""


def write_images(folder: Path, *, seed: int = 0) -> None:
    """Write 40 images of 28x28 in each of three classes, which are told apart by where the bright half is."""
    rng = np.random.default_rng(seed)
    halves = {"left side": np.s_[:, :14], "right side": np.s_[:, 14:], "top": np.s_[:14]}
    for label, half in halves.items():
        (folder / label).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 90, (28, 28), np.uint8)
            pixels[half] += 150
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


LOOK: dict[str, Any] = {
    "quick": True, "thorough": False, "rounds": 1, "threads": 1, "pin": None, "shape": None
}  # fmt: skip
QUICK: dict[str, Any] = {"recipe": "quick", "epochs": 4, "max_drop_pp": 100.0}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images, an architecture file and a run of both that can be released; never write to it."""
    home = tmp_path_factory.mktemp("home") / "of somebody"
    write_images(home / "my photos")
    (home / "net.py").write_text(CODE)
    config = choose.settings(str(home / "net.py"), data=str(home / "my photos"), **QUICK)
    with pipeline.begin(config, home / "run") as work:
        pipeline.train(work)
        for form in ("tflite", "onnx"):
            for scheme in ("float32", "int8"):
                pipeline.export(work, recipe="baseline", target=pipeline.Target(form, scheme))
        pipeline.bench_run(work.run, data=work.data, setting=choose.setting(**LOOK), keras=False)
        pipeline.report(work.run, data=work.data)
    return home


@pytest.fixture
def moved(trained: Path, tmp_path: Path) -> Path:
    """Return the run in another folder, its images beside it under another name; where they were is nothing."""
    home = tmp_path / "moved"
    shutil.copytree(trained, home)
    (home / "my photos").rename(home / "photos")
    config = home / "run" / "config.toml"
    config.write_text(config.read_text().replace("of somebody", "of nobody"))
    return home


def test_images_that_are_gone_are_found_again_where_they_lie(moved: Path) -> None:
    opened = Run(moved / "run")
    with pytest.raises(DataError, match=r"my photos: the images of run .* are not there; if .* moved.*: --data PATH$"):
        pipeline.data_of_run(opened)
    with pipeline.reopen(opened, moved=str(moved / "photos")) as work:
        path = pipeline.export(work, recipe="baseline", target=pipeline.Target("tflite", "float16"))
    assert artifact.read_record(path).data == artifact.read_record(opened.model("baseline")).data
    assert pipeline.read_config(opened).data == str(moved / "photos")
    assert pipeline.data_of_run(opened).name == "my photos"


def test_a_run_that_is_started_again_finds_its_files_where_they_lie(moved: Path) -> None:
    record = moved / "run" / "train" / "record.json"
    before = record.read_bytes()
    asked = choose.settings(str(moved / "net.py"), data=str(moved / "photos"), **QUICK)
    with pipeline.begin(asked, moved / "run") as work:
        pipeline.train(work)
    assert record.read_bytes() == before
    assert pipeline.read_config(work.run) == asked


def test_other_images_in_their_place_are_refused(moved: Path) -> None:
    write_images(moved / "others", seed=1)
    config = (moved / "run" / "config.toml").read_bytes()
    others = str(moved / "others")
    asked = choose.settings(str(moved / "net.py"), data=others, **QUICK)
    begun, reopened = pipeline.begin(asked, moved / "run"), pipeline.reopen(Run(moved / "run"), moved=others)
    for opened in (begun, reopened):
        with (
            pytest.raises(ArtifactError, match=r"trained on other images of my photos \(sha256 .*; restore them"),
            opened,
        ):
            pytest.fail("it went on")
    assert (moved / "run" / "config.toml").read_bytes() == config


def test_a_teacher_is_learned_from_where_its_images_lie_now(tmp_path: Path) -> None:
    write_images(tmp_path / "photos")
    config = replace(taught_config(), data=str(tmp_path / "photos"), recipe="small")
    taught, stages = Run(tmp_path / "taught"), set[str]()
    with pipeline.begin(config, taught.root) as work:
        pipeline.teach(work)
    (tmp_path / "photos").rename(tmp_path / "pictures")
    asked = replace(config, data=str(tmp_path / "pictures"), seed=5)
    with pipeline.begin(asked, tmp_path / "run", teacher=taught, observe=lambda stage, *_: stages.add(stage)) as work:
        record = artifact.checked(pipeline.train(work))
    members = [artifact.read_record(taught.teacher / str(number) / "model.keras") for number in range(2)]
    assert list(record.parents.values()) == [member.sha256 for member in members]
    assert record.data == members[0].data
    assert record.data["name"] == "photos", "images keep the name that they were first learned from under"
    # Moved once more, the run learns from its own lessons; where the other one lies is nothing to it.
    (tmp_path / "pictures").rename(tmp_path / "images")
    shutil.rmtree(taught.root)
    moved = str(tmp_path / "images")
    with pipeline.reopen(work.run, moved=moved, observe=lambda stage, *_: stages.add(stage)) as work:
        pipeline.train_quantized(work, "baseline")
    assert not {stage for stage in stages if stage.startswith(("teach", "lessons"))}
    assert [problem for _, problem in artifact.verify(tmp_path / "run") if problem] == []


def test_a_teacher_of_other_images_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "photos")
    config = replace(taught_config(), data=str(tmp_path / "photos"))
    taught = Run(tmp_path / "taught")
    with pipeline.begin(config, taught.root) as work:
        pipeline.teach(work)
    write_images(tmp_path / "others", seed=1)
    asked = replace(config, data=str(tmp_path / "others"))
    with (
        pytest.raises(ArtifactError, match=r"taught/teacher/0/model.keras: trained on other images of photos \("),
        pipeline.begin(asked, tmp_path / "run", teacher=taught),
    ):
        pytest.fail("it went on")
    assert not (tmp_path / "run").exists()


def test_a_data_set_with_a_name_lies_nowhere_else(tmp_path: Path) -> None:
    opened = Run(tmp_path)
    artifact.write_atomic(opened.config, to_toml(configure(data="digits")))
    with pytest.raises(ConfigError, match="--data: got photos; the run has its own, digits; leave it out"):
        pipeline.data_of_run(opened, moved="photos")


def test_the_commands_say_where_the_images_lie_now(moved: Path, edgecnn: Edgecnn) -> None:
    gone = edgecnn("export", moved / "run", "--scheme", "int8")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr.endswith("if they were moved, say where: --data PATH\n")
    found = edgecnn("export", moved / "run", "--scheme", "int8", "--data", "photos", cwd=moved)
    assert found.returncode == 0, found.stderr


def test_nothing_that_leaves_names_a_folder_of_this_machine(trained: Path, tmp_path: Path) -> None:
    run, out = trained / "run", tmp_path / "models"
    released = pipeline.release(Run(run), name="sides", recipe="baseline", out=out)
    pipeline.export_bundle(released / "int8.tflite", out=out, name="for the board")
    pipeline.export_c(released / "int8.tflite", out=out / "c", name="model", kernel="auto")
    left = [*out.rglob("*"), *(run / "bench").iterdir(), *(run / "train").iterdir(), *(run / "export").rglob("*")]
    files = [path for path in left if path.is_file()]
    assert len(files) > 25
    for path in files:
        assert b"of somebody" not in path.read_bytes(), path
    card = (released / "MODEL_CARD.md").read_text()
    assert "edgecnn run --data 'my photos' --arch net.py --recipe quick --seed 0 --epochs 4" in card
