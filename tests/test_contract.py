"""The input contract: what pixels become, how they lie in the input, what scores say, and what a record keeps of it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.device.contract import (
    Contract,
    ContractError,
    Quantized,
    from_dict,
    normalization_of,
    of_first_schema,
    range_name,
    real_values,
    softmax,
)

TWO = ("cat", "dog")
LEVELS = np.arange(256)


def gray(**parts: object) -> Contract:
    return Contract(**{"shape": (2, 3, 1), "labels": TWO, **parts})  # type: ignore[arg-type]


def color(**parts: object) -> Contract:
    return Contract(**{"shape": (2, 3, 3), "labels": TWO, "channels": "RGB", **parts})  # type: ignore[arg-type]


def stored_levels(spec: Quantized, low: float = 0, high: float = 1) -> np.ndarray:
    """Return what is stored for each pixel 0..255."""
    mean, std = normalization_of(low, high)
    return gray(input=spec, mean=mean, std=std).encoder().table[:, 0]


def test_pixels_as_0_to_1_are_those_that_training_divided() -> None:
    assert np.array_equal(gray().table()[:, 0], LEVELS.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 255, LEVELS), (-1, 1, LEVELS / 127.5 - 1), (-128, 127, LEVELS - 128), (0, 16, LEVELS * 16 / 255)],
)
def test_a_range_maps_black_and_white_to_its_ends(low: float, high: float, expected: np.ndarray) -> None:
    mean, std = normalization_of(low, high)
    assert gray(mean=mean, std=std).table()[:, 0] == pytest.approx(expected, abs=1e-5)


def test_what_is_stored_follows_scale_and_zero_point() -> None:
    assert np.array_equal(stored_levels(Quantized("uint8", 1 / 255)), LEVELS)
    assert np.array_equal(stored_levels(Quantized("int8", 1 / 255, -128)), LEVELS - 128)
    assert np.array_equal(stored_levels(Quantized("int8", 1.0, -128), 0, 255), LEVELS - 128)
    assert np.array_equal(stored_levels(Quantized("uint8"), 0, 255), LEVELS), "integers without a scale are the values"
    assert stored_levels(Quantized("int8", 1 / 127))[[0, 128, 255]].tolist() == [0, 64, 127]
    assert stored_levels(Quantized("int8", 1 / 1000)).max() == 127, "clipped, not wrapped around"
    assert stored_levels(Quantized("uint8", 2 / 255, 128), -1, 1)[[0, 255]].tolist() == [0, 255]


@given(st.integers(-128, 127), st.floats(1e-4, 1), st.integers(-128, 127))
def test_scores_are_read_by_scale_and_zero_point(q: int, scale: float, zero_point: int) -> None:
    got = real_values(np.array([[q]], np.int8), Quantized("int8", scale, zero_point))
    assert got[0, 0] == pytest.approx((q - zero_point) * scale, rel=1e-6)


def test_layouts_and_orders_of_channels() -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(1, 2, 3, 3)
    raw = {"mean": (0.0,), "std": (1 / 255,)}
    got = {layout: color(layout=layout, **raw).encoder()(pixels) for layout in ("NHWC", "NCHW", "flat")}
    assert np.array_equal(got["NHWC"], pixels)
    assert np.array_equal(got["NCHW"], pixels.transpose(0, 3, 1, 2))
    assert np.array_equal(got["flat"], pixels.reshape(1, -1))
    assert np.array_equal(color(channels="BGR", **raw).encoder()(pixels), pixels[..., ::-1])
    one = pixels[..., :1]
    assert np.array_equal(gray(layout="HW", **raw).encoder()(one), one[..., 0])


def test_mean_and_std_are_in_the_networks_order_of_channels() -> None:
    pixels = np.array([[[[10, 20, 30]]]], np.uint8)
    numbers = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7), "shape": (1, 1, 3)}
    unit = pixels / 255
    rgb = (unit - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    bgr = (unit[..., ::-1] - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    assert color(**numbers).network_input(pixels) == pytest.approx(rgb, abs=1e-6)
    assert color(channels="BGR", **numbers).network_input(pixels) == pytest.approx(bgr, abs=1e-6)
    assert color(channels="BGR", layout="NCHW", **numbers).network_input(pixels)[0, :, 0, 0] == pytest.approx(
        bgr.ravel()
    )


def test_a_tensor_of_a_training_is_the_same_input() -> None:
    from edgecnn._tf import network_input, tf, unit_tensor

    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    for parts in ({}, {"channels": "BGR", "layout": "NCHW", "mean": (0.1, 0.2, 0.3), "std": (0.2, 0.3, 0.4)}):
        contract = color(shape=(4, 5, 3), **parts)
        got = network_input(unit_tensor(tf.constant(pixels)), contract).numpy()
        assert got == pytest.approx(contract.network_input(pixels), abs=1e-6)
    plain = network_input(unit_tensor(tf.constant(pixels)), color(shape=(4, 5, 3))).numpy()
    assert np.array_equal(plain, color(shape=(4, 5, 3)).network_input(pixels)), "to the bit"


def test_softmax_of_large_logits_is_finite() -> None:
    assert softmax(np.array([[1000.0, 0.0]])).tolist() == [[1.0, 0.0]]


def test_a_record_keeps_every_part() -> None:
    contract = color(
        channels="BGR", layout="NCHW", mean=(0.1,), std=(0.2, 0.3, 0.4), scores="logits", picture="stretch",
        input=Quantized("int8", 0.5, -3), sources={"range": "option", "channels": "assumed"},
    )  # fmt: skip
    again = from_dict(json.loads(json.dumps(contract.as_dict())))
    assert again == contract
    assert again.assumed == ("channels BGR",)


def test_a_record_of_schema_1_said_a_range_and_labels() -> None:
    digits = of_first_schema({"shape": [1, 28, 28, 1], "dtype": "uint8", "range": [0, 255]}, list("0123456789"))
    assert (digits.picture, digits.is_unit, digits.input.dtype) == ("digit", True, "uint8")
    others = of_first_schema({"shape": [-1, 28, 28, 1], "dtype": "float32", "range": [0, 1]}, list("abcdefghij"))
    assert (others.picture, others.assumed) == ("stretch", ())


@pytest.mark.parametrize(
    ("parts", "fact"),
    [
        ({"layout": "NHCW"}, "NHCW"), ({"channels": "RGBA"}, "RGBA"), ({"scores": "votes"}, "votes"),
        ({"labels": ("one",)}, "1"), ({"std": (0.0,)}, "0"), ({"std": (-1.0,)}, "-1"),
        ({"mean": (float("nan"),)}, "nan"),
        ({"mean": (0.1, 0.2)}, "2 numbers"), ({"shape": (2, 3, 3)}, "3"), ({"shape": ()}, "[]"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(parts: dict[str, object], fact: str) -> None:
    with pytest.raises(ContractError) as caught:
        gray(**parts)
    assert fact in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("low", "high"), [(1, 0), (0, 0), (float("nan"), 1), (0, float("inf"))])
def test_a_range_that_cannot_be_is_one_line(low: float, high: float) -> None:
    with pytest.raises(ContractError, match="--input-range"):
        normalization_of(low, high)


@pytest.mark.parametrize(
    "damage",
    [
        {"labels": 5}, {"labels": [1, 2]}, {"shape": ["a", 3, 1]}, {"input": 5}, {"unknown": 1},
        {"sources": {"range": 1}}, {"input": {"dtype": "complex", "scale": 0, "zero_point": 0}},
        {"output": {"dtype": "int8", "scale": -1, "zero_point": 0}},
    ],
)  # fmt: skip
def test_a_damaged_contract_is_one_line(damage: dict[str, object]) -> None:
    with pytest.raises(ContractError) as caught:
        from_dict({**gray().as_dict(), **damage})
    assert "\n" not in str(caught.value)


def test_ranges_have_the_usual_names() -> None:
    assert [range_name(*normalization_of(*ends)) for ends in ((0, 1), (-1, 1), (0, 255))] == ["0..1", "-1..1", "0..255"]
    assert range_name((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).startswith("mean 0.485,0.456,0.406 std")
