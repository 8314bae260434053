"""What is counted of a model in use, and when it warns."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.device import DeviceError, Prediction
from edgecnn.device.stats import Counts, Stats, counts_of, drift, merged, stats_of
from tests.conftest import RELEASED, ROOT, Edgecnn

needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def columns(count: int, *, seed: int = 0, lighter: float = 0.0, refused: float = 0.007) -> tuple[np.ndarray, ...]:
    """Return means, probabilities and refusals as those of a good model: nearly always sure."""
    rng = np.random.default_rng(seed)
    means = rng.normal(33 + lighter, 11, count).clip(0, 255)
    sure = np.where(rng.random(count) < 0.97, 1 - 0.005 * rng.random(count), rng.uniform(0.4, 0.99, count))
    return means, sure, rng.random(count) < refused


KNOWN = counts_of(*columns(6000, seed=99))


def predicted(probability: float = 0.999, *, accepted: bool = True) -> Prediction:
    return Prediction("7", probability, (probability,), accepted, "" if accepted else "looks like no digit")


def test_counts_of_parts_are_those_of_the_whole() -> None:
    parts = [columns(count, seed=count) for count in (1, 7, 250)]
    whole = counts_of(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    got = Counts()
    for part in parts:
        got = merged(got, counts_of(*part))
    assert (got.images, got.refused, got.confidence) == (whole.images, whole.refused, whole.confidence)
    assert (got.mean, got.spread) == pytest.approx((whole.mean, whole.spread))
    assert merged(Counts(), Counts()) == Counts()


def test_nothing_changed_nothing_is_said() -> None:
    """Asked after every 100 images of 150 series of 2,000: 3,000 times, of which 2 may be wrong."""
    rng = np.random.default_rng(0)
    means, sure, refused = columns(6000, seed=99)
    alarms = 0
    for _ in range(150):
        drawn = rng.integers(6000, size=2000)
        for end in range(100, 2001, 100):
            part = drawn[:end]
            alarms += bool(drift(counts_of(means[part], sure[part], refused[part]), KNOWN))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lighter": 12.0}, "mean gray level is 4"),
        ({"lighter": -12.0}, "mean gray level is 2"),
        ({"refused": 0.1}, "of the images are refused, in training 0."),
    ],
)
def test_a_change_is_said(changed: dict[str, float], said: str) -> None:
    (line,) = drift(counts_of(*columns(500, **changed)), KNOWN).values()
    assert said in line


def test_a_model_that_became_unsure_is_said() -> None:
    means, sure, refused = columns(500)
    (line,) = drift(counts_of(means, sure * np.where(np.arange(500) % 3, 1, 0.9), refused), KNOWN).values()
    assert "at least 99% sure, in training 97%" in line or "in training 98%" in line


def test_few_images_say_nothing() -> None:
    assert drift(counts_of(*columns(99, lighter=90, refused=0.9)), KNOWN) == {}


def test_the_file_stays_small_and_the_latest_count(tmp_path: Path) -> None:
    said: list[str] = []
    stats = Stats(tmp_path / "stats.json", model="abc", known=KNOWN, warn=said.append)
    dark, usual = np.zeros((28, 28), np.uint8), np.full((28, 28), 33, np.uint8)
    for _ in range(5000):
        stats.add(usual, predicted())
    assert said == []
    for _ in range(2500):
        stats.add(dark, predicted())
    stats.save()
    assert len(said) == 1, "once, while it lasts"
    assert "mean gray level is" in said[0]
    kept = json.loads(stats.path.read_text())
    assert kept["all"]["images"] == 7500
    assert stats.path.stat().st_size < 1000


def test_programs_add_to_one_file(tmp_path: Path) -> None:
    def work() -> None:
        stats = Stats(tmp_path / "stats.json", model="abc", known=None)
        for _ in range(250):
            stats.add(np.zeros((28, 28), np.uint8), predicted(accepted=False))
        stats.save()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = json.loads((tmp_path / "stats.json").read_text())
    assert (kept["all"]["images"], kept["all"]["refused"]) == (1000, 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["stats.json"], "no temporary file stays"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"model": "abc", "all": {}, "earlier": {}, "latest": {}}',
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "stats.json").write_text(content)
    with pytest.raises(DeviceError, match="holds no counts"):
        Stats(tmp_path / "stats.json", model="abc", known=None)
    assert (tmp_path / "stats.json").read_text() == content


def test_counts_of_another_model_are_not_added_to(tmp_path: Path) -> None:
    Stats(tmp_path / "stats.json", model="abc", known=None).save()
    with pytest.raises(DeviceError, match="counts another model"):
        Stats(tmp_path / "stats.json", model="def", known=None)


@needs_released
def test_the_command_counts_and_warns(tmp_path: Path, edgecnn: Edgecnn) -> None:
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(RELEASED / name, tmp_path)
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    model, file = tmp_path / "int8.tflite", tmp_path / "stats.json"
    command = ("predict", "--model", model, "--stats", file)
    done = edgecnn(*command, ROOT / "deploy/seven.png", tmp_path / "blank.png")
    assert (done.returncode, done.stderr) == (0, ""), "two images say nothing"
    assert json.loads(file.read_text())["all"]["refused"] == 1
    done = edgecnn(*command, *[tmp_path / "blank.png"] * 150)
    assert done.returncode == 0
    assert "of the images are refused, in training" in done.stderr
    assert all(line.startswith(f"warning: {file}: ") for line in done.stderr.splitlines())
    assert json.loads(file.read_text())["all"]["images"] == 152
    assert stats_of(model, file, warn=print).known is not None


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="--stats: cannot"):
        Stats(tmp_path / "file" / "stats.json", model="abc", known=None).save()
