"""Several architectures side by side, and the zoo's table."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.text import Text

from edgecnn import _tf, pipeline, zoo
from edgecnn.artifact import Run
from edgecnn.cli import choose
from edgecnn.config import configure
from edgecnn.config.dicts import stated
from edgecnn.data import load
from edgecnn.errors import ConfigError
from edgecnn.pipeline import architectures
from edgecnn.pipeline.comparing import names
from edgecnn.report import figures
from tests.conftest import Edgecnn
from tests.contracts import taking
from tests.test_moved import CODE, write_images

QUICK = {"data": "digits", "recipe": "quick", "epochs": 3}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compare.json of two trainings that learn and one that cannot, for its rate is zero."""
    folder = tmp_path_factory.mktemp("comparison")
    asked = [(choose.settings(name, **QUICK), folder / name) for name in ("wide", "edge1k")]  # type: ignore[arg-type]
    idle = choose.settings("pool", **QUICK)  # type: ignore[arg-type]
    idle = replace(idle, training=replace(idle.training, learning_rate=0.0))
    return pipeline.compare([asked[0], (idle, folder / "pool"), asked[1]], out=folder / "compared")


def test_each_architecture_is_a_run_and_a_row(comparison: Path) -> None:
    rows = json.loads(comparison.read_text())["results"]
    assert [row["arch"] for row in rows] == [row["name"] for row in rows] == ["wide", "pool", "edge1k"]
    test = load("digits", validation_fraction=0.2).test
    for row in (rows[0], rows[2]):
        model = _tf.load_model(Run(Path(row["run"])).model("baseline"))
        right = _tf.predict(model, test.images, taking(test.images)).argmax(axis=1) == test.labels
        assert row["top1"] == pytest.approx(right.mean())
        assert row["first_100_wrong"] == (~right[:100]).sum()
        assert row["parameters"] == model.count_params()
        assert row["top1_low"] < row["top1"] < row["top1_high"]
        assert 0 < row["log_loss"] < 2.5
        assert len(row["history"]) == row["epochs"] == 3


def test_a_training_that_is_refused_stops_no_other(comparison: Path) -> None:
    refused = json.loads(comparison.read_text())["results"][1]
    assert refused["error"].startswith("fit: dead: ")
    assert "top1" not in refused


def test_curves_and_parameters_are_drawn(comparison: Path) -> None:
    for name in ("curves.png", "parameters.png"):
        assert comparison.with_name(name).read_bytes().startswith(b"\x89PNG")


def test_more_names_than_colours_are_told_apart() -> None:
    history = [{"val_loss": 1 / epoch, "val_accuracy": 0.9} for epoch in (1, 2, 3)]
    drawn = figures.compared_curves({f"net{number}": history for number in range(9)}, theme=figures.LIGHT)
    lines = drawn.axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 9
    assert figures.to_svg(drawn)


def test_long_names_stay_inside_the_pictures_and_are_told_apart() -> None:
    history = [{"val_loss": 1 / epoch, "val_accuracy": 0.9} for epoch in (1, 2, 3)]
    long = [f"depthwise-separable-candidate-{number}" for number in range(14)]
    row = {"parameters": 1000, "top1": 0.9, "top1_low": 0.89, "top1_high": 0.91}
    drawn = (
        figures.compared_curves(dict.fromkeys(long, history), theme=figures.LIGHT),
        figures.against_parameters(dict.fromkeys(long, row), theme=figures.LIGHT),
    )
    for figure in drawn:
        figures.to_png(figure)
        legend = [text for each in figure.legends for text in each.get_texts()]
        texts = legend or figure.axes[0].texts
        boxes = [Text.get_window_extent(text) for text in texts]  # without an annotation's arrow
        assert len({text.get_text() for text in texts}) == 14
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_architectures_are_called_by_the_shortest_name_that_tells_them_apart() -> None:
    notation = "C16@3 R24@3/2 G"
    assert names(["wide", "/home/net.py", notation]) == ["wide", "net", notation]
    assert names(["/a/net.py", "/a/net.keras"]) == ["net.py", "net.keras"]
    assert names(["/a/net.py", "/b/net.py"]) == ["/a/net.py", "/b/net.py"]


def test_files_are_compared_on_resized_images(tmp_path: Path, edgecnn: Edgecnn) -> None:
    write_images(tmp_path / "photos")
    (tmp_path / "net.py").write_text(CODE)
    with_weights = zoo.build(str(tmp_path / "net.py"), input_shape=(20, 24, 3), classes=3)
    (tmp_path / "net.keras").write_bytes(_tf.save_model(with_weights, suffix=".keras"))
    options = ("--data", "photos", "--resize", "20x24x3", "--recipe", "quick", "--epochs", 4)
    done = edgecnn("compare", "--arch", "net.py,net.keras,edge1k", *options, cwd=tmp_path)
    assert done.returncode == 1, "edge1k does not fit such images"
    compared = json.loads((tmp_path / done.stdout.splitlines()[-1]).read_text())
    assert compared["data"] == "photos"
    assert [row["name"] for row in compared["results"]] == ["net.py", "net.keras", "edge1k"]
    python, keras, small = compared["results"]
    assert small["error"].startswith("arch edge1k: does not fit images of 20x24x3")
    assert python["error"] is None
    assert python["parameters"] == keras["parameters"] == with_weights.count_params()
    assert str(tmp_path) not in json.dumps(compared)


def test_the_log_loss_is_the_mean_of_minus_the_logarithm() -> None:
    import numpy as np

    from edgecnn.bench.accuracy import log_loss

    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    assert log_loss(probabilities, np.array([0, 1])) == pytest.approx((np.log(2) + np.log(1e7)) / 2)


def test_one_architecture_is_nothing_to_compare() -> None:
    with pytest.raises(
        ConfigError, match="--arch: got 'edge35k,edge35k'; expected two architectures or more, by comma"
    ):
        choose.comparison("edge35k,edge35k", data="digits")
    asked = choose.comparison("edge35k, kernel2", data="digits", recipe="page")
    assert [config.training.optimizer for config, _ in asked] == ["adam", "adadelta"]
    assert choose.comparison_directory(asked).name.startswith("compare-digits-")


def test_the_table_of_the_zoo_has_every_architecture() -> None:
    rows = architectures.zoo_rows()
    assert [row[0] for row in rows] == list(zoo.ARCHITECTURES)
    assert all(len(row) == len(architectures.ZOO_HEADINGS) for row in rows)
    assert next(row for row in rows if row[0] == "depth2")[1:5] == ["1,199,882", "11,992,448", "99.19", "30"]


@pytest.mark.parametrize(
    ("arch", "top1", "epochs", "expected"),
    [
        ("edge35k", 0.993, 10, True),
        ("edge35k", 0.9929, 10, False),
        ("edge35k", 0.999, 11, None),  # more epochs than the page took
        ("kernel2", 0.80, 20, True),  # it printed 77.87 % after 20
        ("kernel2", 0.80, 21, False),  # and 89.81 % after 50
        ("classes100", 0.99, 5, None),
    ],
)
def test_reached_is_at_least_what_was_printed_after_no_more_epochs(
    arch: str, top1: float, epochs: int, expected: bool | None
) -> None:
    assert architectures.reached(arch, {"top1": top1, "epochs": epochs}) is expected


def test_recorded_figures_are_of_architectures_as_they_are() -> None:
    """What is said to be reached is; the training is the page's, cut short at most."""
    for row in architectures.recorded():
        pages = zoo.pages_of(row["arch"])
        config = configure(arch=row["arch"], recipe=row["recipe"], pages=pages, epochs=row["training"]["epochs"])
        assert row["training"] == stated(config.training)
        assert row["training"]["epochs"] <= pages["page"].epochs
        if row["error"] is None:
            assert row["reached"] == architectures.reached(row["arch"], row)
