"""Quantization: ranges by method, corrected biases, layers kept in float, and zeros that stay zero."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, inspect
from edgecnn.artifact import Run
from edgecnn.config import configure
from edgecnn.data.splits import DataSet, Split
from edgecnn.device import Predictor
from edgecnn.device.contract import Contract, unit
from edgecnn.errors import ConfigError, GateError
from edgecnn.export.calibration import Histogram, chosen_ranges, squared_error
from edgecnn.export.onnx import to_onnx
from edgecnn.export.tflite import to_tflite
from edgecnn.inspect.keras import plain_kernels
from edgecnn.inspect.kernels import lost_zeros
from edgecnn.inspect.layers import Constant
from edgecnn.pipeline import AUTO, Target, Workspace, accuracy_line, export_model, exports
from edgecnn.pipeline.conversion import converted
from edgecnn.pipeline.sensitivity import _measured, float_layers
from tests.contracts import taking

FORMS = ("tflite", "onnx")
EXPORTERS = {"tflite": to_tflite, "onnx": to_onnx}
PIXELS = 28 * 28


def stack(*layers: Any) -> Any:
    keras = _tf.keras.layers
    return _tf.keras.Sequential([keras.Input((28, 28, 1), name="pixels"), *layers], name="net")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module")
def fragile(images: np.ndarray) -> tuple[Any, Workspace]:
    """Return a network that int8 breaks in its layer `wide` alone, and a workspace whose labels are its answers.

    Each unit of `wide` has one weight so large that the rest round to zero, on a pixel that is always black.
    """
    keras, rng = _tf.keras.layers, np.random.default_rng(1)
    layers = [
        keras.Conv2D(4, 5, activation="relu", name="conv"),
        keras.Flatten(name="flatten"),
        keras.Dense(16, activation="relu", name="wide"),
        keras.Dense(4, activation="softmax", name="scores"),
    ]
    model = stack(*layers)
    conv, bias, wide, *rest = model.get_weights()
    conv = rng.normal(size=conv.shape).astype(np.float32)
    conv[..., 0], bias[0] = 0, -1  # a filter that never answers
    wide = rng.normal(0, 0.02, wide.shape).astype(np.float32)
    wide[0] = 20.0
    rest[1] = rng.normal(size=rest[1].shape).astype(np.float32)
    model.set_weights([conv, bias, wide, *rest])
    scores = _tf.predict(model, images, taking(images))
    labels = scores.argmax(1).astype(np.int64)
    split = Split(images, labels)
    data = DataSet("digits", split, split, split, tuple("0123"), "0" * 64)
    config = configure(calibration_images=40, max_drop_pp=0)
    return model, Workspace(Run(Path("nowhere")), config, data)


# As a file of such a network is to be read: its own scores, whatever they are.
TAKEN = Contract(shape=(28, 28, 1), labels=tuple("0123")).unstored()


def first_scale(content: bytes, form: str) -> float:
    scales = {layer.kind: layer.scale for layer in inspect.inspect_bytes(content, f".{form}")}
    found = scales.get("CONV_2D") or scales.get("Conv")
    assert found is not None
    return found


def test_a_range_leaves_out_what_is_rare() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.exponential(1.0, 100_000), 100.0).astype(np.float32)
    image = np.zeros((1, 1, 1, 1), np.uint8)

    def highest(calibration: str) -> float:
        ranges = chosen_ranges(lambda _: {"relu": values}, image, calibration=calibration)
        assert ranges["relu"][0] == 0
        return ranges["relu"][1]

    assert highest("minmax") == 100
    assert np.quantile(values, 0.9999) < highest("percentile") < 20
    assert highest("percentile") < highest("mse") < 100
    counts, _ = np.histogram(values, 4096, (0, 100))
    seen = Histogram(counts, 0.0, 100.0)
    assert squared_error(seen, 0, highest("mse")) < squared_error(seen, 0, 100)


def test_ranges_hold_zero_and_what_never_moves() -> None:
    image = np.zeros((1, 1, 1, 1), np.uint8)
    for calibration in ("minmax", "percentile", "mse"):
        ranges = chosen_ranges(
            lambda _: {"above": np.full(9, 3.0, np.float32), "dead": np.zeros(9, np.float32)},
            image,
            calibration=calibration,
        )
        assert ranges["above"] == pytest.approx((0, 3), rel=0.01)
        assert ranges["dead"] == (0, 0)


@pytest.mark.parametrize("form", FORMS)
def test_a_calibration_method_reaches_the_file(form: str, fragile: Any, images: np.ndarray) -> None:
    model, _ = fragile
    peaked = images.copy()
    peaked[0, :5, :5, 0] = 255 * (model.get_weights()[0][:, :, 0, 1] > 0)  # answered as nothing else is
    scales = {
        method: first_scale(
            EXPORTERS[form](model, scheme="int8", representative_dataset=unit(peaked), calibration=method), form
        )
        for method in ("minmax", "percentile", "mse")
    }
    assert scales["percentile"] < scales["minmax"]
    assert scales["mse"] < scales["minmax"]


def test_both_formats_choose_the_same_ranges(fragile: Any, images: np.ndarray) -> None:
    model, _ = fragile
    one, other = (
        first_scale(
            EXPORTERS[f](model, scheme="int8", representative_dataset=unit(images), calibration="percentile"), f
        )
        for f in FORMS
    )
    assert one == pytest.approx(other, rel=0.001)


@pytest.mark.parametrize("form", FORMS)
def test_an_unknown_method_or_layer_lists_the_known(form: str, fragile: Any, images: np.ndarray) -> None:
    model, _ = fragile
    with pytest.raises(ConfigError, match="calibration: 'kl' is unknown; expected one of: minmax, mse, percentile"):
        EXPORTERS[form](model, scheme="int8", representative_dataset=unit(images), calibration="kl")
    with pytest.raises(ConfigError, match="keep-float: layer: 'conv9' is unknown; expected one of: conv, scores, wide"):
        EXPORTERS[form](model, scheme="int8", representative_dataset=unit(images), keep_float=["conv9"])


def test_16_bits_are_not_clipped(fragile: Any, images: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="export int16x8: calibration mse; expected minmax"):
        to_tflite(fragile[0], scheme="int16x8", representative_dataset=unit(images), calibration="mse")


@pytest.mark.parametrize("calibration", ["minmax", "mse"])
@pytest.mark.parametrize("form", FORMS)
def test_per_tensor_gives_a_kernel_one_scale(
    form: str, calibration: str, fragile: Any, images: np.ndarray, tmp_path: Path
) -> None:
    keras = _tf.keras.layers
    convolutions = [keras.Conv2D(8, 5, 2, activation="relu"), keras.DepthwiseConv2D(3), keras.Conv2D(6, 1)]
    model = stack(*convolutions, keras.Flatten(), keras.Dense(4, name="scores"))
    sizes = {}
    for per_tensor in (False, True):
        content = EXPORTERS[form](
            model, scheme="int8", representative_dataset=unit(images), calibration=calibration, per_tensor=per_tensor
        )
        sizes[per_tensor] = len(content)
        scales = [kernel.scale.size for kernel in inspect.kernels_of(content, f".{form}") if kernel.scale is not None]
        assert [count > 1 for count in scales] == [not per_tensor] * 4
        got, expected = outputs(content, form, images, tmp_path), _tf.predict(model, images, taking(images))
        assert np.abs(got - expected).max() < 0.1 * np.ptp(expected)
    assert sizes[True] < sizes[False]


@pytest.mark.parametrize(
    "option", [{"keep_float": ("conv",)}, {"keep_float": AUTO}, {"bias_correction": True}, {"per_tensor": True}]
)
def test_options_of_int8_are_refused_elsewhere(option: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"export float32: --(keep-float|bias-correction|per-tensor) is for --scheme int8"
    ):
        Target("tflite", "float32", **option)


@pytest.mark.parametrize("form", FORMS)
def test_layers_stay_in_float_and_the_file_runs(form: str, fragile: Any, images: np.ndarray, tmp_path: Path) -> None:
    model, _ = fragile
    content = EXPORTERS[form](model, scheme="int8", representative_dataset=unit(images), keep_float=["wide"])
    kinds = [kernel.stored.dtype.kind for kernel in inspect.kernels_of(content, f".{form}")]
    assert [kind == "f" for kind in kinds] == [False, True, False]
    path = tmp_path / f"int8-mixed.{form}"
    path.write_bytes(content)
    predictor = Predictor(path, contract=TAKEN)
    assert np.abs(predictor.probabilities(images) - _tf.predict(model, images, taking(images))).max() < 0.2
    if form == "tflite":
        assert (predictor.contract.input.dtype, predictor.contract.output.dtype) == ("uint8", "float32")


def outputs(content: bytes, form: str, images: np.ndarray, folder: Path) -> np.ndarray:
    path = folder / f"model.{form}"
    path.write_bytes(content)
    return Predictor(path, contract=TAKEN).probabilities(images)


@pytest.mark.parametrize("form", FORMS)
def test_bias_correction_takes_the_mean_error_off(form: str, fragile: Any, images: np.ndarray, tmp_path: Path) -> None:
    """One weight a unit is so large that all others round to zero: the mean output moves by their sum."""
    _, work = fragile
    model = stack(_tf.keras.layers.Flatten(name="flatten"), _tf.keras.layers.Dense(4, name="scores"))
    kernel = np.full((PIXELS, 4), 0.01, np.float32) * np.array([1, -1, 2, -2], np.float32)
    kernel[0] = 10.0
    model.set_weights([kernel, np.array([1, 2, 3, 4], np.float32)])
    dark = images.copy()
    dark[:, 0, 0] = 0  # where the large weight is
    work = replace(work, data=replace(work.data, train=Split(dark, work.data.train.labels)))
    expected = _tf.predict(model, dark, taking(dark)).mean(axis=0)
    errors = []
    for on in (False, True):
        content = converted(model, TAKEN, Target(form, "int8", bias_correction=on), work)
        errors.append(np.abs(outputs(content, form, dark, tmp_path).mean(0) - expected))
    assert errors[0].min() > 3
    assert errors[1].max() < 0.1


def test_bias_correction_is_refused_where_kernels_are_folded(fragile: Any) -> None:
    _, work = fragile
    keras = _tf.keras.layers
    model = stack(keras.Conv2D(4, 3, name="conv"), keras.BatchNormalization(name="norm"), keras.Flatten(name="flatten"),
                  keras.Dense(4, name="scores"))  # fmt: skip
    with pytest.raises(ConfigError, match="bias-correction: norm changes the kernels of the exported file"):
        converted(model, TAKEN, Target("tflite", "int8", bias_correction=True), work)


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_the_one_layer_that_int8_breaks(form: str, fragile: Any, tmp_path: Path) -> None:
    model, work = fragile
    target = Target(form, "int8", keep_float=AUTO)
    measured = {m.layer: m for m in _measured(model, TAKEN, target, work, spare=True)}
    assert list(measured) == ["conv", "wide", "scores"]
    assert json.loads(json.dumps(measured["wide"].as_dict(), allow_nan=False))["alone"]["images"] == 40
    assert measured["wide"].alone.drop_pp > max(10, measured["conv"].alone.drop_pp, measured["scores"].alone.drop_pp)
    assert measured["wide"].spared is not None
    assert measured["wide"].spared.drop_pp < measured["conv"].spared.drop_pp  # type: ignore[union-attr]
    assert measured["wide"].sqnr_db < measured["conv"].sqnr_db  # type: ignore[operator]

    loose = replace(work, config=configure(calibration_images=40, max_drop_pp=10))
    assert float_layers(model, TAKEN, target, loose) == ("wide",)
    anything = replace(work, config=configure(calibration_images=40, max_drop_pp=100))
    assert float_layers(model, TAKEN, target, anything) == ()


def test_a_mixed_export_states_its_layers(fragile: Any, tmp_path: Path) -> None:
    model, work = fragile
    (tmp_path / "net.keras").write_bytes(_tf.save_model(model, suffix=".keras"))
    config = configure(calibration_images=40, max_drop_pp=10)
    path = export_model(
        tmp_path / "net.keras", target=Target("tflite", "int8", keep_float=AUTO), out=tmp_path, config=config,
        data=work.data,
    )  # fmt: skip
    assert path.name == "int8-mixed.tflite"
    assert exports.artifact.checked(path).settings["keep_float"] == ["wide"]
    line = accuracy_line(path)
    assert line is not None
    assert "of 40 validation images, parent 100.00 %" in line
    assert line.endswith("; in float: wide")
    with pytest.raises(GateError, match=r"int8.tflite: .*it loses .*--keep-float auto"):
        export_model(tmp_path / "net.keras", target=Target("tflite", "int8"), out=tmp_path, config=config,
                     data=work.data)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("normalized", [False, True])
def test_zeros_are_known_again_in_the_file(form: str, normalized: bool, images: np.ndarray) -> None:
    keras, rng = _tf.keras.layers, np.random.default_rng(2)
    norm = [keras.BatchNormalization(name="norm")] if normalized else []
    model = stack(
        keras.Conv2D(4, 3, name="conv"), *norm, keras.Flatten(name="flatten"), keras.Dense(8, name="square"),
        keras.Dense(8, name="scores"),
    )  # fmt: skip
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) ** 2 + 0.1 for w in model.get_weights()])
    for layer in ("conv", "square", "scores"):
        kernel, bias = model.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights([kernel * (rng.random(kernel.shape) < 0.5), bias])
    kernels = plain_kernels(model)
    stored = inspect.kernels_of(EXPORTERS[form](model, scheme="int8", representative_dataset=unit(images)), f".{form}")
    assert lost_zeros(kernels, stored) == {}

    values = stored[2].stored.copy()
    place = np.argwhere(values == stored[2].zero_point)[0]
    values[tuple(place)] += 1
    broken = [*stored[:2], Constant(values, stored[2].scale, stored[2].zero_point)]
    assert lost_zeros(kernels, broken) == {"scores": (1, int((kernels["scores"] == 0).sum()))}


def test_an_export_that_lost_a_zero_is_refused(fragile: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, work = fragile
    (tmp_path / "net.keras").write_bytes(_tf.save_model(model, suffix=".keras"))
    other = _tf.clone(model)
    other.set_weights([w + np.float32(0.3) for w in model.get_weights()])
    monkeypatch.setattr(exports, "converted", lambda _, contract, target, w: converted(other, contract, target, w))
    with pytest.raises(GateError, match=r"baseline/int8.tflite: layer conv lost 25 of the 25 zeros"):
        export_model(tmp_path / "net.keras", target=Target("tflite", "int8"), out=tmp_path, config=work.config,
                     data=work.data)  # fmt: skip
    assert not (tmp_path / "int8.tflite").exists()
