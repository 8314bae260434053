"""The sparse encoding: exact, as specified byte for byte, and as small as it says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgecnn.export.sparse import decode, encode
from edgecnn.pipeline.cost import sparse_bytes

kernels = arrays(
    np.int8,
    array_shapes(min_dims=2, max_dims=2, max_side=60),
    elements=st.one_of(st.just(0), st.just(0), st.just(0), st.integers(-128, 127)),
)


def test_a_kernel_is_encoded_as_specified() -> None:
    kernel = np.zeros((2, 40), np.int8)
    kernel[0, [0, 3, 20]] = [7, -1, 5]  # 0 zeros, 2 zeros, then 16: fifteen without a value and one
    kernel[1, 39] = -128  # 39 zeros: twice fifteen and nine
    counts, steps, values = bytes([4, 0, 3, 0]), bytes([0x20, 0x1F, 0xFF, 0x09]), bytes([7, 0xFF, 5, 0x80])
    assert encode(kernel) == counts + steps + values


@given(kernels)
def test_what_is_decoded_is_what_was_encoded(kernel: np.ndarray) -> None:
    assert (decode(encode(kernel), *kernel.shape) == kernel).all()


def test_nothing_costs_a_count_a_row() -> None:
    assert encode(np.zeros((5, 100), np.int8)) == bytes(10)


@pytest.mark.parametrize(("zeros", "bytes_a_weight"), [(0.9, 1.75), (0.8, 1.62), (0.5, 1.55)])
def test_a_kept_weight_costs_about_a_byte_and_a_half(zeros: float, bytes_a_weight: float) -> None:
    rng = np.random.default_rng(0)
    kernel = np.where(rng.random((32, 800)) < zeros, 0, rng.integers(1, 128, (32, 800))).astype(np.int8)
    assert len(encode(kernel)) / np.count_nonzero(kernel) < bytes_a_weight


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "0 bytes; expected the encoding"),
        (encode(np.eye(2, 3, dtype=np.int8))[:-1], "expected the encoding of"),
        (encode(np.eye(2, 3, dtype=np.int8)) + b"\x01", "expected the encoding of"),
        (encode(np.array([[0, 0, 0, 1], [0, 0, 0, 1]], np.int8)), "row 0 has a value in column 3 of 3"),
    ],
)
def test_bytes_that_are_no_encoding_are_refused(encoded: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(encoded, 2, 3)


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.float32), np.zeros(4, np.int8)])
def test_only_int8_matrices_are_encoded(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected int8 \[rows, columns\]"):
        encode(array)


def test_a_pruned_model_is_smaller_so_than_a_dense_one_and_both_formats_agree(quick_run: Path) -> None:
    def size(recipe: str, file: str) -> int | None:
        return sparse_bytes((quick_run / "export" / recipe / file).read_bytes(), Path(file).suffix)

    pruned, dense = size("pruned80", "int8.tflite"), size("baseline", "int8.tflite")
    assert pruned is not None
    assert dense is not None
    assert pruned < 0.45 * dense
    onnx = size("pruned80", "int8.onnx")
    assert onnx is not None
    assert abs(onnx - pruned) < 0.1 * pruned
    assert size("pruned80", "float32.tflite") is None
