"""The predictor: preprocessing, input encoding, runtimes, and what it says of bad input."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edgecnn.data.digits import fit_to_mnist
from edgecnn.device import Contract, DeviceError, ImageError, ModelError, Predictor, RuntimeMissingError
from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.device.preprocessing.pictures import read_gray, read_picture
from edgecnn.device.runtimes.ladder import installed, works
from edgecnn.device.runtimes.loader import RUNTIMES, load, pick
from tests.conftest import ROOT


def bar(width: int, height: int) -> np.ndarray:
    """Return a bright bar on black, off centre."""
    image = np.zeros((100, 120), np.uint8)
    image[10 : 10 + height, 5 : 5 + width] = 200
    return image


def test_a_canonical_image_passes_unchanged() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[5:20, 10:17] = np.arange(7, dtype=np.uint8) * 30 + 1
    assert np.array_equal(to_mnist(image), image)


@pytest.mark.parametrize(("width", "height"), [(10, 60), (60, 10), (30, 30), (1, 1)])
def test_ink_fills_the_box_and_keeps_its_shape(width: int, height: int) -> None:
    got = to_mnist(bar(width, height))
    rows, columns = got.any(axis=1).sum(), got.any(axis=0).sum()
    assert max(rows, columns) == 20
    assert min(rows, columns) == pytest.approx(20 * min(width, height) / max(width, height), abs=1)
    grid = np.arange(28)
    centre = [(got.sum(axis=1 - axis) * grid).sum() / got.sum() for axis in (0, 1)]
    assert centre == pytest.approx([13.5, 13.5], abs=0.51)


def test_dark_ink_on_paper_is_the_same_as_light_ink_on_black() -> None:
    assert np.array_equal(to_mnist(bar(20, 60)), to_mnist(255 - bar(20, 60)))


@pytest.mark.parametrize("light", [0.2, 0.5, 0.8, 1.0])
def test_a_dim_photo_is_read_like_a_bright_one(light: float) -> None:
    dim = to_mnist(((255 - bar(20, 60)) * light).astype(np.uint8))
    assert np.abs(dim.astype(int) - to_mnist(255 - bar(20, 60))).max() <= 12


@pytest.mark.parametrize("level", [0, 130, 255])
def test_an_image_without_ink_is_refused(level: int) -> None:
    with pytest.raises(ImageError, match=f"every pixel is {level}; expected a digit on paper"):
        to_mnist(np.full((50, 40), level, np.uint8))


def test_black_on_white_of_the_right_size_is_turned_over() -> None:
    image = np.full((28, 28), 255, np.uint8)
    image[5:20, 10:14] = 0
    assert np.array_equal(to_mnist(image), 255 - image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    upright = Image.open(ROOT / "deploy" / "seven.png")
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that the viewer's turn takes back
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(read_gray(tmp_path / "photo.png"), np.asarray(upright))


def test_sixteen_bits_are_scaled_and_floats_refused(tmp_path: Path) -> None:
    gray = np.asarray(Image.open(ROOT / "deploy" / "seven.png"))
    for scale in (256, 257):
        Image.fromarray(gray.astype(np.uint16) * scale).save(tmp_path / "deep.png")
        assert np.array_equal(read_gray(tmp_path / "deep.png"), gray)
        assert np.array_equal(read_picture(tmp_path / "deep.png", (28, 28, 1)), gray), "digits and others alike"
    Image.fromarray(gray.astype(np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ImageError, match=r"float.tiff: floating-point pixels; expected 8 or 16 bits"):
        read_gray(tmp_path / "float.tiff")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_any_ink_fits(height: int, width: int, seed: int) -> None:
    ink = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    got = fit_to_mnist(ink)
    assert got.shape == (28, 28)
    assert got.dtype == np.uint8


@pytest.mark.parametrize("array", [np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3)), np.zeros((0, 5), np.uint8)])
def test_an_array_that_is_no_gray_image_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected uint8 \[height, width\]"):
        to_mnist(array)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_every_kind_of_image_is_read_the_same(tmp_path: Path, mode: str) -> None:
    picture = Image.new("L", (60, 80), 255)
    ImageDraw.Draw(picture).line([(30, 10), (30, 70)], fill=0, width=7)
    path = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.convert("RGB").convert(mode).save(path)
    assert np.array_equal(to_mnist(read_gray(path)), to_mnist(np.asarray(picture)))


def test_what_is_transparent_is_paper(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (60, 80), (0, 0, 0, 0))
    ImageDraw.Draw(picture).line([(30, 10), (30, 70)], fill=(0, 0, 0, 255), width=7)
    picture.save(tmp_path / "a.png")
    got = to_mnist(read_gray(tmp_path / "a.png"))
    assert 30 < np.count_nonzero(got) < 120


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a.png: not a readable image") as caught:
        read_gray(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


def test_a_truncated_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes((ROOT / "deploy" / "seven.png").read_bytes()[:9000])
    with pytest.raises(ImageError, match="not a readable image"):
        read_gray(path)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(ImageError, match=r"bomb\.png: far too many pixels; expected at most"):
        read_gray(tmp_path / "bomb.png")


@pytest.fixture
def model(quick_run: Path, tmp_path: Path) -> Path:
    """Return a copy of an int8 model with its record."""
    for name in ("int8.tflite", "int8.tflite.json", "int8.onnx", "int8.onnx.json"):
        shutil.copy(quick_run / "export" / "baseline" / name, tmp_path)
    return tmp_path / "int8.tflite"


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_prediction_has_label_and_probabilities(model: Path, suffix: str) -> None:
    prediction = Predictor(model.with_suffix(suffix)).predict(ROOT / "deploy" / "seven.png")
    assert len(prediction.probabilities) == 10
    assert prediction.probability == max(prediction.probabilities)
    assert sum(prediction.probabilities) == pytest.approx(1, abs=0.02)
    assert prediction.label == str(int(np.argmax(prediction.probabilities)))


def contract_changed(model: Path, change: dict[str, object]) -> None:
    """Change the contract in a model's record."""
    record = model.with_name(f"{model.name}.json")
    values = json.loads(record.read_text())
    record.write_text(json.dumps(values | {"contract": values["contract"] | change}))


def test_labels_come_from_the_record(model: Path) -> None:
    contract_changed(model, {"labels": list("abcdefghij")})
    assert Predictor(model).predict(ROOT / "deploy" / "seven.png").label in "abcdefghij"
    contract_changed(model, {"labels": ["a", "b"]})
    with pytest.raises(ModelError, match="10 classes, its record names 2"):
        Predictor(model)


@pytest.mark.parametrize("labels", [5, "abcdefghij", [1] * 10])
def test_labels_that_are_no_names_are_refused(model: Path, labels: object) -> None:
    contract_changed(model, {"labels": labels})
    with pytest.raises(ModelError, match=r"int8\.tflite: its record has no readable contract"):
        Predictor(model)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [32, 32, 3], "channels": "RGB"},
        {"input": {"dtype": "float32", "scale": 0.0, "zero_point": 0}},
        {"input": {"dtype": "uint8", "scale": 0.5, "zero_point": 0}},
        {"layout": "HW"},
    ],
)
def test_a_record_that_states_another_input_is_refused(model: Path, change: dict[str, object]) -> None:
    contract_changed(model, change)
    with pytest.raises(ModelError, match=r"int8\.tflite: its record says .*copy both again"):
        Predictor(model)


def test_a_record_of_schema_1_says_what_it_said(model: Path) -> None:
    record = model.with_name("int8.tflite.json")
    values = json.loads(record.read_text())
    before = Predictor(model).predict(ROOT / "deploy" / "seven.png")
    given = {"shape": [1, 28, 28, 1], "dtype": "uint8", "range": [0, 255]}
    old = {name: value for name, value in values.items() if name != "contract"}
    record.write_text(json.dumps(old | {"schema": 1, "input": given, "labels": values["contract"]["labels"]}))
    assert Predictor(model).predict(ROOT / "deploy" / "seven.png") == before


def test_a_predictor_of_schema_1_says_in_a_line_what_to_do(model: Path) -> None:
    """It compares what stands under `input` with what it feeds, and prints both."""
    values = json.loads(model.with_name("int8.tflite.json").read_text())
    assert values["schema"] == 2
    assert "edgecnn export --format pyz" in values["input"]
    assert len(repr(values["input"])) <= 120, "what it prints of that"
    assert "labels" not in values


def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    from edgecnn._tf import keras
    from edgecnn.export.tflite import to_tflite

    layers = [
        keras.layers.Input((28, 28, 1), name="x"),
        keras.layers.Flatten(name="f"),
        keras.layers.Dense(10, name="d"),
    ]
    path = tmp_path / "logits.tflite"
    path.write_bytes(to_tflite(keras.Sequential(layers, name="m"), scheme="float32"))
    taken = Contract(shape=(28, 28, 1), labels=tuple("0123456789"))
    with pytest.raises(ModelError, match="are no probabilities"):
        Predictor(path, contract=taken.unstored()).predict(ROOT / "deploy" / "seven.png")
    unsaid = Predictor(path)
    assert unsaid.contract.scores == "logits", "as its last layer says"
    assert sum(unsaid.predict(ROOT / "deploy" / "seven.png").probabilities) == pytest.approx(1)


@pytest.mark.parametrize("threads", [0, -5, 10**11])
def test_a_number_of_threads_that_cannot_be_is_refused(model: Path, threads: int) -> None:
    with pytest.raises(DeviceError, match=f"--threads: {threads}; expected 1 to"):
        Predictor(model, threads=threads)


def test_a_batch_is_predicted_in_order(model: Path) -> None:
    pictures = [ROOT / "deploy" / "seven.png", 255 - bar(5, 60)]
    predictor = Predictor(model)
    assert predictor.predict_batch(pictures) == [predictor.predict(picture) for picture in pictures]


def test_a_model_without_a_record_is_tried_first_and_works(model: Path) -> None:
    model.with_name("int8.tflite.json").unlink()
    assert Predictor(model).labels == list("0123456789")


def test_a_model_that_differs_from_its_record_is_refused(model: Path) -> None:
    content = bytearray(model.read_bytes())
    content[-100] ^= 1
    model.write_bytes(content)
    with pytest.raises(ModelError, match=r"sha256 is .*its record says"):
        Predictor(model)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("damage", ["empty", "text", "head", "half", "end", "zeros"])
def test_a_damaged_model_is_one_line(model: Path, suffix: str, damage: str) -> None:
    path = model.with_suffix(suffix)
    path.with_name(path.name + ".json").unlink()
    content = path.read_bytes()
    path.write_bytes({
        "empty": b"", "text": b"not a model at all", "head": content[:10], "half": content[: len(content) // 2],
        "end": content[:-100], "zeros": content[:400] + bytes(len(content) - 400),
    }[damage])  # fmt: skip
    with pytest.raises(ModelError) as caught:
        Predictor(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_kills_its_runtime_costs_a_message(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A stand-in for the rare file that passes a runtime's checks and crashes it: the child kills itself on import.
    (tmp_path / "sabotage").mkdir()
    (tmp_path / "sabotage" / "ai_edge_litert.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert works("litert").works  # known before the sabotage, and kept
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "sabotage"))
    model.with_name("int8.tflite.json").unlink()
    with pytest.raises(ModelError, match="litert died of signal 11 on it"):
        Predictor(model)


def test_a_model_of_two_channels_takes_no_picture(tmp_path: Path) -> None:
    from edgecnn._tf import keras
    from edgecnn.export.tflite import to_tflite

    layers = [
        keras.layers.Input((8, 8, 2), name="pixels"),
        keras.layers.Flatten(name="f"),
        keras.layers.Dense(4, name="d"),
    ]
    (tmp_path / "other.tflite").write_bytes(to_tflite(keras.Sequential(layers, name="other"), scheme="float32"))
    predictor = Predictor(tmp_path / "other.tflite")
    with pytest.raises(ImageError, match=r"seven\.png: .*\[8, 8, 2\].*\.npy"):
        predictor.predict(ROOT / "deploy" / "seven.png")
    np.save(tmp_path / "own.npy", np.zeros((8, 8, 2), np.float32))
    assert len(predictor.predict(tmp_path / "own.npy").probabilities) == 4


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"got .txt; expected a .tflite or .onnx file"):
        pick(tmp_path / "a.txt")
    with pytest.raises(
        RuntimeMissingError, match="runtime 'ort' does not take it; expected one of: litert, tflite-runtime"
    ):
        pick(tmp_path / "a.tflite", "ort")
    with pytest.raises(ModelError, match=r"gone.tflite: cannot read \(No such file or directory\)"):
        Predictor(tmp_path / "gone.tflite")


def test_a_missing_runtime_names_the_package(tmp_path: Path) -> None:
    assert "tflite-runtime" not in installed()
    with pytest.raises(RuntimeMissingError, match="no runtime for it is installed; run: pip install tflite-runtime"):
        pick(tmp_path / "a.tflite", "tflite-runtime")


def test_every_runtime_agrees(model: Path) -> None:
    images = np.stack([to_mnist(read_gray(ROOT / "deploy" / "seven.png"))] * 2)[..., None]
    results = [
        Predictor(model.with_suffix(RUNTIMES[name].suffix), runtime=name).probabilities(images) for name in installed()
    ]
    assert len(results) >= 2
    for other in results[1:]:
        assert np.abs(results[0] - other).max() < 0.3


def test_open_sizes_are_kept_open_until_arrays_come(tmp_path: Path) -> None:
    from edgecnn._tf import keras, tf

    layers = [keras.layers.Input((None, None, 3), name="x"), keras.layers.Conv2D(2, 3, padding="valid", name="c")]
    path = tmp_path / "open.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Sequential(layers, name="o")).convert())
    loaded = load(path)
    assert loaded.inputs[0].shape == (-1, -1, -1, 3)
    assert loaded.outputs[0].shape == (-1, -1, -1, 2)
    assert [loaded.invoke([np.zeros((1, h, w, 3), np.float32)])[0].shape for h, w in ((5, 7), (3, 4))] == [
        (1, 3, 5, 2),
        (1, 1, 2, 2),
    ]
    with pytest.raises(ModelError, match=r"open.tflite: --shape is \[1, 5, 7, 4\]; expected \[-1, -1, -1, 3\]"):
        load(path, shape=[1, 5, 7, 4])
    assert load(path, shape=[1, 5, 7, 3]).outputs[0].shape == (1, 3, 5, 2)


def test_pixels_alone_are_read_from_raw_files(model: Path, tmp_path: Path) -> None:
    pixels = to_mnist(read_gray(ROOT / "deploy" / "seven.png"))
    (tmp_path / "seven.raw").write_bytes(pixels.tobytes())
    predictor = Predictor(model)
    assert np.array_equal(predictor.see(tmp_path / "seven.raw"), pixels)
    (tmp_path / "short.raw").write_bytes(pixels.tobytes()[:-1])
    with pytest.raises(ImageError, match=r"short.raw: 783 bytes; expected 784, the 28x28x1 pixels"):
        predictor.predict(tmp_path / "short.raw")
    with pytest.raises(ImageError, match=r"gone.raw: cannot read"):
        predictor.predict(tmp_path / "gone.raw")


@pytest.mark.parametrize("form", ["P5 28 28 255\n", "P2 28 28 255\n"])
def test_a_pgm_is_read(model: Path, tmp_path: Path, form: str) -> None:
    pixels = to_mnist(read_gray(ROOT / "deploy" / "seven.png"))
    body = pixels.tobytes() if form.startswith("P5") else " ".join(map(str, pixels.ravel())).encode()
    (tmp_path / "seven.pgm").write_bytes(form.encode() + body)
    assert np.array_equal(Predictor(model).see(tmp_path / "seven.pgm"), pixels)
