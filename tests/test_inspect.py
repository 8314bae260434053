"""Layers, parameters and MACs, the same whatever the format."""

from pathlib import Path

import pytest

from edgecnn.errors import ArtifactError
from edgecnn.inspect import inspect_bytes, inspect_file

MACS = 20 * 20 * 9 * 9 * 32 + 8 * 8 * 3 * 3 * 32 * 32 + 2 * 2 * 3 * 3 * 32 * 32 + 128 * 100 + 100 * 10
FILES = [
    "train/model.keras",
    "compress/pruned80/model.keras",
    "compress/pruned80-qat/model.h5",
    *(f"export/baseline/{scheme}.tflite" for scheme in ("float32", "float16", "dynamic", "int8")),
    *(f"export/baseline/{scheme}.onnx" for scheme in ("float32", "int8")),
    "export/pruned80-qat/int8.tflite",
]


@pytest.mark.parametrize("file", FILES)
def test_every_format_counts_the_same(quick_run: Path, file: str) -> None:
    layers = inspect_file(quick_run / file)
    assert sum(layer.parameters for layer in layers) == 35_030
    assert sum(layer.macs for layer in layers) == MACS
    convolution = next(layer for layer in layers if layer.macs == 20 * 20 * 9 * 9 * 32)
    assert convolution.parameters == 32 * 81 + 32
    assert sorted(convolution.output_shape[1:]) == [20, 20, 32]


def test_int8_layers_have_scales_and_a_quarter_of_the_bytes(quick_run: Path) -> None:
    int8 = inspect_file(quick_run / "export/baseline/int8.tflite")
    assert all(layer.scale and layer.zero_point is not None for layer in int8)
    float32 = inspect_file(quick_run / "export/baseline/float32.tflite")
    assert all(layer.scale is None for layer in float32)
    assert sum(layer.weight_bytes for layer in float32) == 4 * 35_030
    # int8 kernels, int32 biases
    assert sum(layer.weight_bytes for layer in int8) == 34_824 + 4 * 206


def test_sparsity_is_seen_in_every_format(quick_run: Path) -> None:
    for file in (
        "compress/pruned80/model.keras",
        "export/pruned80/int8.tflite",
        "export/pruned80/float32.onnx",
    ):
        layers = inspect_file(quick_run / file)
        assert sum(layer.nonzero_parameters for layer in layers) < 0.25 * 35_030, file


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("cut", [0, 1, 7, 100, 5000, 40000])
def test_a_truncated_model_is_one_line(quick_run: Path, suffix: str, cut: int) -> None:
    content = (quick_run / f"export/baseline/int8{suffix}").read_bytes()[:cut]
    with pytest.raises(ArtifactError, match="here: damaged, no layers can be read") as caught:
        inspect_bytes(content, suffix, where="here")
    assert "\n" not in str(caught.value)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(ArtifactError, match=r"expected .keras, .h5, .tflite or .onnx"):
        inspect_file(tmp_path / "a.txt")
