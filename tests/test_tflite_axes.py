"""Files whose biases are quantized along an axis that they do not have: they are run, and nothing else is changed."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.device.runtimes.loader import load
from edgecnn.device.runtimes.tflite_axes import with_valid_axes
from tests.tflite_files import SAME, Net, to_bytes

FOREIGN = Path(os.environ.get("EDGECNN_DATA", "")) / "models" / "tflite_micro_person_detect_int8.tflite"


def network(*, axis: int) -> bytes:
    """Return a depthwise convolution whose bias, of one dimension, is quantized along `axis`."""
    net = Net((1, 6, 6, 2), dtype="INT8")
    output = net.conv(net.input, 2, (3, 3), padding=SAME, depthwise=True)
    bias = net.operators[-1].inputs[2]
    net.tensors[bias] = type(net.tensors[bias])(**{**vars(net.tensors[bias]), "axis": axis})
    return to_bytes(net.graph(output))


WRONG = network(axis=3)


def test_litert_refuses_such_a_file_by_itself() -> None:
    with pytest.raises(ValueError, match="quantized_dimension must be in range"):
        Interpreter(model_content=WRONG)


def test_the_axis_is_mended_and_nothing_else() -> None:
    assert differing(WRONG, with_valid_axes(WRONG)) == 1
    model = Interpreter(model_content=with_valid_axes(WRONG))
    model.allocate_tensors()
    axes = [
        d["quantization_parameters"]["quantized_dimension"] for d in model.get_tensor_details() if len(d["shape"]) == 4
    ]
    assert 3 in axes, "the weights keep theirs"


def differing(one: bytes, other: bytes) -> int:
    assert len(one) == len(other)
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_it_is_run_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "wrong.tflite").write_bytes(WRONG)
    (tmp_path / "right.tflite").write_bytes(network(axis=0))
    pixels = np.random.default_rng(0).integers(-128, 128, (1, 6, 6, 2)).astype(np.int8)
    wrong, right = (load(tmp_path / name).invoke([pixels])[0] for name in ("wrong.tflite", "right.tflite"))
    assert np.array_equal(wrong, right)


@pytest.mark.parametrize("axis", [-1, 1, 2**31 - 1])
def test_any_axis_but_the_first_is_out_of_range(axis: int) -> None:
    assert differing(with_valid_axes(network(axis=axis)), network(axis=axis)) > 0
    Interpreter(model_content=with_valid_axes(network(axis=axis))).allocate_tensors()


def test_a_sound_file_is_returned_itself() -> None:
    sound = network(axis=0)
    assert with_valid_axes(sound) is sound


@given(st.integers(0, len(WRONG) - 1), st.binary(min_size=1, max_size=8), st.integers(0, len(WRONG)))
def test_a_damaged_file_is_no_error(place: int, change: bytes, end: int) -> None:
    damaged = (WRONG[:place] + change + WRONG[place + len(change) :])[:end]
    assert len(with_valid_axes(damaged)) == len(damaged)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_error(content: bytes) -> None:
    assert len(with_valid_axes(content)) == len(content)


def test_a_file_that_says_the_same_a_million_times_is_left() -> None:
    """A thousand graphs that are one, each of a thousand tensors: in a sound file each has four bytes of its own."""
    many = 1000
    head = struct.pack("<I4x", 32) + struct.pack("<5H2x", 10, 8, 0, 0, 4) + struct.pack("<3H6x", 6, 8, 4)
    model = struct.pack("<iI", 32 - 8, 4)
    graphs = struct.pack("<I", many) + b"".join(struct.pack("<I", 4 * (many - n)) for n in range(many))
    graph = struct.pack("<iI", len(head + model + graphs) - 20, 4)
    content = head + model + graphs + graph + struct.pack("<I", many) + bytes(4 * many)
    assert with_valid_axes(content) is content


@pytest.mark.skipif(not FOREIGN.is_file(), reason="no models made by others here: set EDGECNN_DATA")
def test_a_published_file_is_run() -> None:
    mended = with_valid_axes(FOREIGN.read_bytes())
    assert differing(mended, FOREIGN.read_bytes()) == 14, "its depthwise convolutions"
    Interpreter(model_content=mended).allocate_tensors()
