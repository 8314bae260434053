"""Exporters: every format and scheme runs, agrees with its Keras parent, and is the same bytes each time."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, artifact
from edgecnn.config.settings import SCHEMES
from edgecnn.data import load, representative
from edgecnn.device import Predictor
from edgecnn.device.contract import real_values, unit
from edgecnn.errors import ConfigError
from edgecnn.export.onnx import to_onnx
from edgecnn.export.pyz import to_pyz
from edgecnn.export.tflite import to_tflite
from tests.conftest import ROOT
from tests.contracts import taking

EXPORTERS = {"tflite": to_tflite, "onnx": to_onnx}
TARGETS = [(form, scheme) for form in SCHEMES for scheme in SCHEMES[form]]
# The largest difference of any probability to Keras, and the least share of images with the same class.
TOLERANCE = {
    "float32": (1e-5, 1.0),
    "float16": (0.01, 0.99),
    "dynamic": (0.2, 0.97),
    "int8": (0.3, 0.97),
    "int16x8": (0.05, 0.99),
}


@pytest.fixture(scope="module")
def model(quick_run: Path) -> Any:
    return _tf.load_model(quick_run / "train" / "model.keras")


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Return (calibration, test) images."""
    data = load("digits", validation_fraction=0.2)
    return representative(data.train, 100, seed=0), data.test.images


@pytest.mark.parametrize(("form", "scheme"), TARGETS)
def test_export_agrees_with_keras_and_repeats(model: Any, images: Any, tmp_path: Path, form: str, scheme: str) -> None:
    calibration, test = images
    content = EXPORTERS[form](model, scheme=scheme, representative_dataset=unit(calibration))
    again = EXPORTERS[form](_tf.clone(model), scheme=scheme, representative_dataset=unit(calibration))
    assert content == again, "the same model gives the same bytes"

    path = tmp_path / f"{scheme}.{form}"
    path.write_bytes(content)
    taken = taking(test)
    reference, got = _tf.predict(model, test, taken), Predictor(path, contract=taken.unstored()).probabilities(test)
    error, agreement = TOLERANCE[scheme]
    assert np.abs(reference - got).max() <= error
    assert (reference.argmax(1) == got.argmax(1)).mean() >= agreement


def test_int8_tflite_takes_the_pixels_as_they_are(quick_run: Path) -> None:
    spec = Predictor(quick_run / "export" / "baseline" / "int8.tflite").contract.input
    assert (spec.dtype, spec.zero_point) == ("uint8", 0)
    assert spec.scale == pytest.approx(1 / 255)


@pytest.mark.parametrize("form", EXPORTERS)
def test_int8_does_not_saturate(tmp_path: Path, form: str) -> None:
    """Large weights on bright pixels: where pairs of products are added in 16 bits, the sums come out far too small."""
    layers = _tf.keras.layers
    stack = [layers.Input((28, 28, 1), name="pixels"), layers.Flatten(name="flatten"), layers.Dense(2, name="scores")]
    model = _tf.keras.Sequential(stack, name="bright")
    model.set_weights([np.tile(np.array([[0.01, -0.01]], np.float32), (784, 1)), np.zeros(2, np.float32)])
    bright = np.full((8, 28, 28, 1), 255, np.uint8)
    path = tmp_path / f"int8.{form}"
    path.write_bytes(EXPORTERS[form](model, scheme="int8", representative_dataset=unit(bright)))
    predictor = Predictor(path)
    stored = predictor.model.invoke([predictor.encode(bright[:1])])[0]
    scores = real_values(stored, predictor.contract.output)
    assert np.allclose(scores, [7.84, -7.84], rtol=0.02)


def test_dynamic_batch_takes_any_batch(model: Any, images: Any, tmp_path: Path) -> None:
    path = tmp_path / "float32-batchN.onnx"
    path.write_bytes(to_onnx(model, scheme="float32", dynamic_batch=True))
    predictor = Predictor(path)
    assert predictor.model.inputs[0].shape == (-1, 28, 28, 1)
    (batch,) = predictor.model.invoke([predictor.encode(images[1][:7])])
    assert np.allclose(batch, predictor.probabilities(images[1][:7]), atol=1e-6)


@pytest.mark.parametrize("exporter", EXPORTERS.values())
def test_int8_without_calibration_images_is_refused(model: Any, exporter: Any) -> None:
    with pytest.raises(
        ConfigError, match="export int8: 0 calibration images; needs at least 1; pass --calibration-images"
    ):
        exporter(model, scheme="int8", representative_dataset=unit(np.zeros((0, 28, 28, 1), np.uint8)))


@pytest.mark.parametrize("form", EXPORTERS)
def test_an_unknown_scheme_lists_the_known(model: Any, form: str) -> None:
    with pytest.raises(ConfigError, match=f"scheme for {form}: 'int4' is unknown; expected one of: .*int8"):
        EXPORTERS[form](model, scheme="int4")


def test_zeros_survive_quantization(quick_run: Path) -> None:
    for recipe in ("pruned80", "pruned80-qat"):
        parent = artifact.checked(next((quick_run / "compress" / recipe).glob("model.*")))
        for path in sorted((quick_run / "export" / recipe).glob("int8.*[!n]")):
            exported = artifact.checked(path)
            assert exported.nonzero_parameters <= parent.nonzero_parameters, path
            assert exported.nonzero_parameters < 0.25 * parent.parameters


def test_pyz_is_reproducible_and_holds_the_device_package_alone(tmp_path: Path) -> None:
    content = to_pyz()
    assert content == to_pyz()
    (tmp_path / "predict.pyz").write_bytes(content)
    code = "import sys; from edgecnn.export.pyz import to_pyz; sys.exit(to_pyz() != open(sys.argv[1], 'rb').read())"
    for seed in ("1", "2"):  # sets of names are constants in bytecode, and their order follows this
        command = [sys.executable, "-c", code, tmp_path / "predict.pyz"]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT, check=True)
    names = set(zipfile.ZipFile(tmp_path / "predict.pyz").namelist())
    files = [path for path in (ROOT / "edgecnn" / "device").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    device = {str(path.relative_to(ROOT)) for path in files}
    assert {name for name in names if not name.endswith(".pyc")} == {"__main__.py", "edgecnn/__init__.py"} | device


def test_pyz_holds_bytecode_of_every_source_that_python_takes(tmp_path: Path) -> None:
    (tmp_path / "predict.pyz").write_bytes(to_pyz())
    with zipfile.ZipFile(tmp_path / "predict.pyz") as whole, zipfile.ZipFile(tmp_path / "bare.pyz", "w") as bare:
        for name in whole.namelist():
            if not name.endswith(".py"):
                bare.writestr(name, whole.read(name))
    done = subprocess.run([sys.executable, "-I", tmp_path / "bare.pyz", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("usage: predict.pyz"), done.stderr


def test_pyz_predicts_alone(quick_run: Path, tmp_path: Path) -> None:
    (tmp_path / "predict.pyz").write_bytes(to_pyz())
    model = quick_run / "export" / "baseline" / "int8.tflite"
    # -S leaves out site-packages and with it edgecnn's own installation; the libraries come back by path.
    libraries = ":".join(p for p in sys.path if "site-packages" in p)
    done = subprocess.run(
        [sys.executable, "-S", tmp_path / "predict.pyz", "--model", model, ROOT / "deploy" / "seven.png"],
        capture_output=True, text=True, env={"PYTHONPATH": libraries}, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[1].isdigit()
