"""When to trust a prediction: calibrated probabilities, what is refused and why, and what is kept of it in a record."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from benchmarks.scenes import blank_pages, scenes
from edgecnn import artifact
from edgecnn.bench import acceptance
from edgecnn.bench.accuracy import calibration_curve, expected_calibration_error
from edgecnn.data import Split
from edgecnn.data.outliers import outliers
from edgecnn.device import ModelError, Predictor
from edgecnn.device.contract import Contract
from edgecnn.device.resolution import Said
from edgecnn.device.trust.decision import Decision, calibrated, much_smaller, read_decision, reasons_to_refuse
from edgecnn.device.trust.refusal import NO_INK, SEVERAL
from edgecnn.device.trust.typicality import Layer, log_probabilities, packed, unpacked
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.drawing import STROKES, draw

MODEL = RELEASED / "int8.tflite"
needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
DIGITS = Contract(shape=(28, 28, 1), labels=tuple("0123456789"), picture="digit")


def answers(count: int, *, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities [count, 10] that are too sure by a temperature, and labels drawn from the true ones."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 3, (count, 10))
    true = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    sharp = np.exp(scores * temperature)
    return (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32), labels


def random_layers(classes: int, *, seed: int = 0) -> list[Layer]:
    rng = np.random.default_rng(seed)
    sizes = ((9, 4), (36, 6), (54, 5), (45, classes + 1))
    return [
        Layer(rng.normal(0, 0.3, size).astype(np.float32), rng.normal(0, 0.1, size[1]).astype(np.float32))
        for size in sizes
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    probabilities, labels = answers(20_000, temperature=temperature)
    found = acceptance.fitted(probabilities, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    fresh, truth = answers(20_000, temperature=temperature, seed=1)
    curves = [calibration_curve(p, truth) for p in (fresh, calibrated(fresh, found))]
    before, after = map(expected_calibration_error, curves)
    assert after < 0.02
    assert temperature == 1 or after < before


def test_nothing_is_sharpened_without_a_mistake_to_prove_it() -> None:
    probabilities, _ = answers(200, temperature=0.5)
    found = acceptance.fitted(probabilities, probabilities.argmax(axis=1))
    assert found.temperature == pytest.approx(1.0, abs=1e-3)


def test_an_integer_model_is_calibrated_too() -> None:
    probabilities, labels = answers(20_000, temperature=2.0)
    steps = (np.rint(probabilities * 256).clip(0, 255) / 256).astype(np.float32)
    found = acceptance.fitted(steps, labels)
    sure = calibrated(steps, found)
    assert sure.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert sure.min() > 0, "what was rounded to 0 may happen"
    assert acceptance.negative_log_likelihood(steps, labels, found) < acceptance.negative_log_likelihood(
        steps, labels, Decision(floor=found.floor)
    )
    assert expected_calibration_error(calibration_curve(sure, labels)) < 0.02


def test_the_rule_accepts_the_stated_share() -> None:
    probabilities, _ = answers(4000, temperature=1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (4000, 28, 28)).astype(np.uint8)
    rule = acceptance.with_rule(Decision(1.0, 1e-6), probabilities, pixels, random_layers(10))
    accepted = acceptance.applied(rule, probabilities, pixels, DIGITS).accepted
    assert accepted.mean() == pytest.approx(acceptance.COVERAGE, abs=0.001)


def test_accuracy_rises_as_coverage_falls() -> None:
    probabilities, labels = answers(5000, temperature=1.0)
    curve = acceptance.coverage_curve(probabilities, labels)
    top1 = [one.top1 for one in curve]
    assert top1 == sorted(top1, reverse=True)
    assert curve[-1].top1 == pytest.approx((probabilities.argmax(axis=1) == labels).mean())


def test_the_network_in_numpy_is_that_of_keras() -> None:
    from edgecnn._tf import keras
    from edgecnn.train.typicality import network

    keras.utils.set_random_seed(0)
    model = network(10)
    arrays = [array + 0.01 for array in model.get_weights()]  # biases are not zero then
    model.set_weights(arrays)
    layers = [Layer(k.reshape(-1, k.shape[-1]), b) for k, b in zip(arrays[::2], arrays[1::2], strict=True)]
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    scores = model(pixels[..., None].astype(np.float32) / 255, training=False).numpy()
    scores -= scores.max(axis=1, keepdims=True)
    expected = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert log_probabilities(pixels, layers) == pytest.approx(expected, abs=1e-4)


def test_a_record_keeps_the_network_in_8_bits() -> None:
    layers = random_layers(10)
    again = unpacked(json.loads(json.dumps(packed(layers))))
    for layer, kept in zip(layers, again, strict=True):
        assert np.abs(layer.kernel - kept.kernel).max() <= np.abs(layer.kernel).max() / 250
    twice = unpacked(packed(again))
    assert all(np.allclose(a.kernel, b.kernel, rtol=1e-4) for a, b in zip(again, twice, strict=True))


def test_a_reason_is_a_short_clause() -> None:
    four = np.zeros((1, 10), np.float32)
    four[0, [4, 9]] = 0.55, 0.45
    inked, blank = np.full((1, 28, 28), 9, np.uint8), np.zeros((1, 28, 28), np.uint8)
    unsure = Decision(least_probability=0.6)
    assert reasons_to_refuse(inked, four, DIGITS, unsure) == ["not sure: 4 or 9"]
    assert reasons_to_refuse(inked, four, DIGITS, Decision(least_probability=0.5)) == [""]
    assert reasons_to_refuse(blank, four, DIGITS, Decision()) == [NO_INK]


BROKEN: dict[str, Callable[[dict], object]] = {
    "no number": lambda kept: kept.update(temperature="hot"),
    "temperature 0": lambda kept: kept.update(temperature=0),
    "layers missing": lambda kept: kept.pop("layers"),
    "a kernel cut off": lambda kept: kept["layers"][0].update(kernel=kept["layers"][0]["kernel"][:8]),
    "no base64": lambda kept: kept["layers"][1].update(kernel="%%%"),
    "other classes": lambda kept: kept.update(layers=packed(random_layers(7))),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_decision_is_one_line(damage: str) -> None:
    kept = {"temperature": 1.1, "floor": 1e-5, "least_probability": 0.5, "least_typicality": -4.0}
    record = {"decision": {**kept, "layers": packed(random_layers(10))}}
    assert read_decision(record, classes=10, where=Path("a.tflite")).temperature == 1.1
    BROKEN[damage](record["decision"])
    with pytest.raises(ModelError, match=r"a\.tflite: decision in its record .*copy the record again"):
        read_decision(record, classes=10, where=Path("a.tflite"))


def test_a_decision_of_few_images_refuses_by_probability_alone() -> None:
    """Where too little was seen to say what is typical, a record has thresholds and no layers."""
    probabilities, _ = answers(500, temperature=1.0)
    pixels = np.full((500, 28, 28), 9, np.uint8)
    rule = acceptance.with_rule(Decision(), probabilities, pixels, [])
    kept = {name: getattr(rule, name) for name in ("temperature", "floor", "least_probability", "least_typicality")}
    read = read_decision({"decision": {**kept, "layers": []}}, classes=10, where=Path("a"))
    assert read == rule
    refused = [bool(r) for r in reasons_to_refuse(pixels, calibrated(probabilities, read), DIGITS, read)]
    assert refused == (calibrated(probabilities, read).max(axis=1) < read.least_probability).tolist()
    assert 0 < sum(refused) <= 4


def test_a_record_without_a_decision_judges_nothing() -> None:
    assert read_decision({}, classes=10, where=Path("a")) == Decision()
    probabilities, _ = answers(50, temperature=1.0)
    assert calibrated(probabilities, Decision()) is probabilities


def two_digits() -> np.ndarray:
    picture = Image.new("L", (400, 200), 240)
    font = ImageFont.load_default(120)
    for left, digit in ((60, "4"), (240, "7")):
        ImageDraw.Draw(picture).text((left, 30), digit, fill=20, font=font)
    return np.asarray(picture)


@pytest.fixture(scope="module", params=["with its record", "without"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    if not RELEASED.is_dir():
        pytest.skip("models/edge35k is not released yet")
    if request.param == "with its record":
        return Predictor(MODEL)
    bare = shutil.copy(MODEL, tmp_path_factory.mktemp("bare"))
    return Predictor(bare, said=Said(picture="digit"))


@pytest.mark.parametrize("size", [(28, 28), (40, 40), (300, 200)])
@pytest.mark.parametrize("level", [0, 130, 255])
def test_blank_paper_is_refused(predictor: Predictor, size: tuple[int, int], level: int) -> None:
    got = predictor.predict(np.full(size, level, np.uint8))
    assert (got.accepted, got.reason) == (False, NO_INK)
    assert sum(got.probabilities) == pytest.approx(1, abs=0.02)


def test_several_digits_are_refused(predictor: Predictor) -> None:
    got = predictor.predict(two_digits())
    assert (got.accepted, got.reason) == (False, SEVERAL)
    page = predictor.predict_page(two_digits())
    assert len(page) == 2
    assert all(digit.prediction.reason != SEVERAL for digit in page)


@pytest.mark.parametrize("name", STROKES)
def test_a_drawn_digit_is_accepted(predictor: Predictor, name: str) -> None:
    got = predictor.predict(np.asarray(draw(STROKES[name])))
    assert (got.accepted, got.reason) == (True, "")


def test_much_smaller_marks_of_a_page_are_no_digits() -> None:
    heights, all_of_them = np.array([60, 58, 66, 40, 57, 61, 63, 59, 48]), np.ones(9, np.bool_)
    assert np.flatnonzero(much_smaller(heights, all_of_them)).tolist() == [3]
    assert not much_smaller(heights[:5], all_of_them[:5]).any(), "of a few nothing is usual"


@needs_released
@pytest.mark.parametrize("make", [blank_pages, scenes])
def test_pictures_without_a_digit_are_refused(make: Callable[..., dict[str, list[np.ndarray]]]) -> None:
    predictor = Predictor(MODEL)
    got = [predictor.predict(picture) for pictures in make(4, seed=3).values() for picture in pictures]
    assert np.mean([not prediction.accepted for prediction in got]) >= 0.9


@needs_released
def test_mnist_is_accepted(mnist_test: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = mnist_test
    predictor = Predictor(MODEL)
    got = [predictor.predict(image) for image in images[:2000, ..., 0]]
    accepted = np.array([prediction.accepted for prediction in got])
    right = np.array([int(prediction.label) for prediction in got]) == labels[:2000]
    assert accepted.mean() >= 0.985, "99 % of all 10,000: benchmarks.trust"
    assert right[accepted].mean() > right.mean()


@needs_released
def test_the_command_says_what_it_refuses(tmp_path: Path) -> None:
    Image.new("L", (50, 50), 200).save(tmp_path / "blank.png")
    command = [sys.executable, "-m", "edgecnn", "predict", "--model", MODEL]
    images = [tmp_path / "blank.png", ROOT / "deploy" / "seven.png"]
    done = subprocess.run([*command, *images], capture_output=True, text=True, check=True)
    blank, seven = done.stdout.splitlines()
    assert blank.split("\t")[3] == f"rejected: {NO_INK}"
    assert len(seven.split("\t")) == 3
    done = subprocess.run([*command, "--json", *images], capture_output=True, text=True, check=True)
    blank, seven = map(json.loads, done.stdout.splitlines())
    assert (blank["accepted"], blank["reason"]) == (False, NO_INK)
    assert (seven["accepted"], seven["reason"]) == (True, "")


def test_outliers_are_of_the_shape_that_digits_have(quick_digits: Split) -> None:
    made = outliers(quick_digits, 60, seed=0)
    assert made.shape == (60, 28, 28)
    assert made.dtype == np.uint8
    for picture in made:
        rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
        assert rows[-1] - rows[0] < 20
        assert columns[-1] - columns[0] < 20
    assert np.array_equal(made, outliers(quick_digits, 60, seed=0))
    assert not np.array_equal(made, outliers(quick_digits, 60, seed=1))


@pytest.fixture(scope="module")
def quick_digits() -> Split:
    from edgecnn import data

    return data.load("digits", validation_fraction=0.2).train


def test_an_export_knows_when_to_trust_itself(quick_run: Path) -> None:
    records = [artifact.read_record(path) for path in artifact.Run(quick_run).exports()]
    assert records
    for record in records:
        figures = record.decision["validation"]
        assert figures["coverage"] >= 0.97, "few images: one more or less"
        assert figures["nll"] <= figures["nll_before"] + 1e-6
    assert len({json.dumps(record.decision["layers"]) for record in records}) == 1, "one for all"


def test_deciding_anew_changes_the_decision_alone(quick_run: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    original = artifact.Run(quick_run).exported("baseline", "int8.tflite")
    path = Path(shutil.copy(original, tmp_path))
    shutil.copy(artifact.record_path(original), tmp_path)
    before = json.loads(artifact.record_path(path).read_text())
    artifact.record_path(path).write_text(json.dumps({**before, "decision": {}}))
    done = edgecnn("decide", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "validation images accepted" in done.stdout
    after = json.loads(artifact.record_path(path).read_text())
    assert {**after, "decision": None} == {**before, "decision": None}
    assert after["decision"]["temperature"] == pytest.approx(before["decision"]["temperature"])
    assert path.read_bytes() == original.read_bytes()
