"""The whole chain on images that are no digits: a folder of color JPEGs of many sizes, in classes with names."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edgecnn.data import folder
from edgecnn.device import ImageError, ModelError, Predictor
from edgecnn.device.commands import predict_files
from edgecnn.device.contract import may_be_digits
from edgecnn.device.selftest import views
from tests.conftest import Edgecnn

CLASSES = ("Square box", "cross & line", "round")
SHAPE = (28, 32, 3)


def drawn(kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a light figure on a dark ground, of any size."""
    width, height = (int(side) for side in rng.integers(40, 120, 2))
    picture = Image.new("RGB", (width, height), tuple(int(level) for level in rng.integers(0, 90, 3)))
    draw, ink = ImageDraw.Draw(picture), tuple(int(level) for level in rng.integers(160, 255, 3))
    left, top = width * rng.uniform(0.1, 0.3), height * rng.uniform(0.1, 0.3)
    right, bottom = width * rng.uniform(0.7, 0.9), height * rng.uniform(0.7, 0.9)
    if kind == "round":
        draw.ellipse([left, top, right, bottom], fill=ink)
    elif kind == "Square box":
        draw.rectangle([left, top, right, bottom], outline=ink, width=6)
    else:
        draw.line([left, top, right, bottom], fill=ink, width=8)
        draw.line([left, bottom, right, top], fill=ink, width=8)
    return picture


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 150 JPEGs in three classes."""
    root, rng = tmp_path_factory.mktemp("shapes") / "set", np.random.default_rng(0)
    for kind in CLASSES:
        (root / kind).mkdir(parents=True)
        for number in range(50):
            drawn(kind, rng).save(root / kind / f"{number}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def shapes_run(edgecnn: Edgecnn, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a complete run on them."""
    root = tmp_path_factory.mktemp("run") / "shapes"
    options = ("--resize", "28x32", "--recipe", "small", "--epochs", "20", "--sparsity", "0.5", "--max-drop", "15")
    done = edgecnn("run", "--data", pictures, *options, "--out", root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def board(shapes_run: Path, tmp_path: Path) -> Path:
    """Return a folder with an int8 model and its record alone."""
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(shapes_run / "export" / "pruned50" / name, tmp_path / name)
    return tmp_path


def test_the_chain_ends_with_models_that_agree(shapes_run: Path) -> None:
    result = json.loads((shapes_run / "bench" / "bench.json").read_text())
    assert result["data"]["labels"] == list(CLASSES)
    rows = result["results"]
    assert {row["runtime"] for row in rows} == {"litert", "ort"}
    assert min(row["top1"] for row in rows) > 0.8
    assert all(row["top1_agreement"] > 0.9 for row in rows if row["parity_reference"])
    assert (shapes_run / "bench" / "report.html").exists()


def test_the_predictor_names_the_class(shapes_run: Path, pictures: Path) -> None:
    for path in (shapes_run / "export" / "pruned50" / "int8.tflite", shapes_run / "export" / "baseline" / "int8.onnx"):
        predictor = Predictor(path)
        assert (predictor.shape, predictor.reads_digits) == (SHAPE, False)
        right = [predictor.predict(file).label == file.parent.name for file in sorted(pictures.rglob("*.jpg"))]
        assert np.mean(right) > 0.85


def test_a_file_is_seen_as_in_training(shapes_run: Path, pictures: Path) -> None:
    """Every file's pixels are those that the folder's reader gave to the network."""
    predictor = Predictor(shapes_run / "export" / "baseline" / "float32.tflite")
    source = folder.read(pictures, resize="28x32")
    trained = {image.tobytes() for split in (source.train, source.test) for image in split.images}
    seen = {predictor.see(file).tobytes() for file in pictures.rglob("*.jpg")}
    assert seen == trained


def test_an_array_is_seen_as_its_file(board: Path, pictures: Path) -> None:
    predictor = Predictor(board / "int8.tflite")
    Image.open(next(pictures.rglob("*.jpg"))).save(board / "a.png")
    pixels = np.asarray(Image.open(board / "a.png"))
    assert predictor.predict(pixels) == predictor.predict(board / "a.png")
    gray = predictor.see(pixels[..., 0])
    assert gray.shape == SHAPE
    assert (gray == gray[..., :1]).all()
    with pytest.raises(ImageError, match=r"image: uint8 \[4, 4, 4\]; expected uint8 \[height, width\]"):
        predictor.predict(np.zeros((4, 4, 4), np.uint8))


def test_pixels_alone_must_be_of_the_models_size(board: Path) -> None:
    predictor = Predictor(board / "int8.tflite")
    pixels = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    (board / "a.raw").write_bytes(pixels.tobytes())
    assert np.array_equal(predictor.see(board / "a.raw"), pixels)
    (board / "a.raw").write_bytes(b"x" * 784)
    with pytest.raises(ImageError, match=r"a.raw: 784 bytes; expected 2688, the 28x32x3 pixels of the model's input"):
        predictor.predict(board / "a.raw")


def test_a_black_picture_is_not_refused_for_its_ink(board: Path) -> None:
    assert "ink" not in Predictor(board / "int8.tflite").predict(np.zeros((50, 50, 3), np.uint8)).reason


def test_what_is_not_sure_is_refused(board: Path) -> None:
    path = board / "int8.tflite.json"
    record = json.loads(path.read_text())
    assert record["decision"]["layers"] == []
    record["decision"]["least_probability"] = 2.0
    path.write_text(json.dumps(record))
    prediction = Predictor(board / "int8.tflite").predict(np.zeros((50, 50, 3), np.uint8))
    assert not prediction.accepted
    assert prediction.reason.startswith("not sure: ")
    assert any(name in prediction.reason for name in CLASSES)


def test_digits_on_a_page_are_for_models_of_digits(board: Path, pictures: Path) -> None:
    image = next(pictures.rglob("*.jpg"))
    said = r"--segment: .*int8.tflite reads images of 28x32x3 in 3 classes \(Square box, cross & line, round\)"
    options = {"model": board / "int8.tflite", "runtime": None, "threads": 1, "as_json": False}
    with pytest.raises(ModelError, match=said):
        list(predict_files([image], segment=True, **options))
    with pytest.raises(ModelError, match="predict_page"):
        Predictor(board / "int8.tflite").predict_page(image)


def test_what_was_seen_is_drawn_in_color(board: Path, pictures: Path) -> None:
    image = next(pictures.rglob("*.jpg"))
    options = {"model": board / "int8.tflite", "runtime": None, "threads": 1, "as_json": False}
    assert list(predict_files([image], show=board / "steps.png", **options))
    with Image.open(board / "steps.png") as sheet:
        assert (sheet.mode, sheet.width) == ("RGB", 560)


def test_a_bundle_tests_itself(edgecnn: Edgecnn, shapes_run: Path, pictures: Path, tmp_path: Path) -> None:
    made = edgecnn("export", shapes_run, "--format", "bundle", "--out", tmp_path)
    assert made.returncode == 0, made.stderr
    bundle = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert (bundle / "labels.txt").read_text().splitlines() == list(CLASSES)
    command = [sys.executable, "-I", "predict.pyz"]
    tested = subprocess.run([*command, "--self-test"], cwd=bundle, capture_output=True, text=True, check=True)
    assert "selftest.png: 28x32x3 pixels, largest difference 0 of 255" in tested.stdout
    assert "4 images" in tested.stdout
    image = sorted(pictures.rglob("*.jpg"))[0]
    said = subprocess.run([*command, image], cwd=bundle, capture_output=True, text=True, check=True)
    assert said.stdout.split("\t")[1] == image.parent.name


def test_the_c_library_reads_color_too(edgecnn: Edgecnn, board: Path, pictures: Path) -> None:
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        pytest.skip("no C compiler here")
    built = edgecnn("build", board / "int8.tflite", "--out", board / "made")
    assert built.returncode == 0, built.stderr
    shutil.copy(next((board / "made").rglob("libmodel.so")), board)
    images = sorted(pictures.rglob("*.jpg"))[::10]
    lines = {
        runtime: list(predict_files(images, model=board / "int8.tflite", runtime=runtime, threads=1, as_json=False))
        for runtime in ("c", "litert")
    }
    assert [line.split("\t")[:2] for line in lines["c"]] == [line.split("\t")[:2] for line in lines["litert"]]


def test_only_mnists_shape_and_classes_may_be_digits() -> None:
    digits = [str(number) for number in range(10)]
    assert may_be_digits((28, 28, 1), digits)
    assert not may_be_digits((28, 28, 3), digits)
    assert not may_be_digits((28, 28, 1), [*"abcdefghij"])
    assert not may_be_digits((28, 28, 1), [f"{number:02}" for number in range(100)])


def test_the_self_tests_copies_of_a_color_image_differ_in_their_channels() -> None:
    gray = np.arange(30, dtype=np.uint8).reshape(5, 6)
    copies = views(np.stack([gray] * 3, axis=-1))
    assert copies.shape == (4, 5, 6, 3)
    assert all(not np.array_equal(copy[..., 0], copy[..., 1]) for copy in copies)
    assert len({copy.tobytes() for copy in copies}) == 4


def test_a_released_card_says_what_the_images_are(edgecnn: Edgecnn, shapes_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(shapes_run, tmp_path / "shapes"))
    done = edgecnn("release", run, "--name", "shapes", "--out", tmp_path / "models")
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "models" / "shapes" / "MODEL_CARD.md").read_text()
    assert "for 28x32 color images, 3 classes" in card
    assert "stretched to that size" in card
    assert "digit" not in card
