"""Other runtimes beside the board's: they say what ONNX Runtime says, or why they do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.peers import KEPT, compared
from edgecnn.bench import peers
from edgecnn.bench.subject import Subject, SubjectError
from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.errors import ConfigError
from edgecnn.pipeline import bench
from tests.conftest import RELEASED, ROOT

PEERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(not peers.is_installed(name), reason=f"{name} is not installed: make bench-peers"),
    )
    for name in peers.PEERS
]
needs_ncnn = pytest.mark.skipif(not peers.is_installed("ncnn"), reason="ncnn is not installed: make bench-peers")
needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Return the pictures of the cases and a few made ones, uint8 [N, 28, 28, 1]."""
    files = sorted((ROOT / "tests" / "cases").glob("*/input.png"))
    read = [to_mnist(np.asarray(Image.open(file).convert("L"))) for file in files]
    made = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    return np.concatenate([np.stack(read), made])[..., None]


def probabilities(model: Path, runtime: str, images: np.ndarray, folder: Path) -> np.ndarray:
    """Return what `model` says of uint8 `images` in `runtime`, in a process of its own as in a benchmark."""
    np.save(folder / "images.npy", images)
    with Subject(model, runtime) as subject:
        subject.ask("classify", images=str(folder / "images.npy"), out=str(folder / "out.npy"))
        assert subject.ask("turn", runs=2, seconds=0.0)["runs"] == 2
    return np.asarray(np.load(folder / "out.npy"))


def network(nodes: list[tuple[Any, ...]], **constants: np.ndarray) -> bytes:
    """Return an ONNX file from x [1, 28, 28, 1] to y [1, 5]; a node is (operator, inputs, output, attributes)."""
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(op, given.split(), [returned], **attributes) for op, given, returned, attributes in nodes],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 28, 28, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("elsewhere", 1)]
    content: bytes = helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    return content


def normal(*shape: int) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).normal(size=shape) / 3).astype(np.float32)


def strided() -> bytes:
    return network(
        [
            ("Transpose", "x", "image", {"perm": [0, 3, 1, 2]}),
            ("Conv", "image kernels bias", "a", {"strides": [2, 2], "pads": [1, 0, 2, 1]}),
            ("Relu", "a", "b", {}),
            ("AveragePool", "b", "c", {"kernel_shape": [3, 2], "strides": [2, 2]}),
            ("Flatten", "c", "d", {}),
            ("Gemm", "d matrix row", "e", {"transB": 1, "alpha": 0.5}),
            ("Softmax", "e", "y", {}),
        ],
        kernels=normal(6, 1, 3, 4),
        bias=normal(6),
        matrix=normal(5, 6 * 7 * 6),
        row=normal(5),
    )


def padded() -> bytes:
    same = {"auto_pad": "SAME_UPPER"}
    return network(
        [
            ("Reshape", "x shape", "image", {}),
            ("Conv", "image kernels", "a", {"strides": [2, 2], **same}),
            ("BatchNormalization", "a scale bias mean variance", "b", {}),
            ("Relu", "b", "c", {}),
            ("Conv", "c depthwise", "d", {"group": 4, "dilations": [2, 2], "pads": [2, 1, 2, 3]}),
            ("Add", "d each", "e", {}),
            ("MaxPool", "e", "f", {"kernel_shape": [3, 3], "strides": [2, 2], **same}),
            ("AveragePool", "f", "g", {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}),
            ("Transpose", "g", "h", {"perm": [0, 2, 3, 1]}),
            ("Reshape", "h flat", "i", {}),
            ("MatMul", "i matrix", "j", {}),
            ("Add", "j row", "k", {}),
            ("Softmax", "k", "y", {"axis": 1}),
        ],
        shape=np.array([1, 1, 28, 28]),
        flat=np.array([1, -1]),
        kernels=normal(4, 1, 5, 5),
        scale=normal(4),
        bias=normal(4) + 1,
        mean=normal(4),
        variance=np.abs(normal(4)) + 1,
        depthwise=normal(4, 1, 3, 3),
        each=normal(4, 1, 1),
        matrix=normal(4 * 7 * 7, 5),
        row=normal(5),
    )


@needs_released
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_says_what_onnx_runtime_says(name: str, pictures: np.ndarray, tmp_path: Path) -> None:
    expected = probabilities(RELEASED / "float32.onnx", "ort", pictures, tmp_path)
    files = [f"float32{suffix}" for suffix in peers.PEERS[name].suffixes]
    for file in files:
        got = probabilities(RELEASED / file, name, pictures, tmp_path)
        assert np.abs(got - expected).max() < 1e-3, file
        assert (got.argmax(axis=1) == expected.argmax(axis=1)).all(), file


@needs_released
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_reads_the_test_images_as_onnx_runtime_does(
    name: str, mnist_test: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    images = mnist_test[0][:1000]
    expected = probabilities(RELEASED / "float32.onnx", "ort", images, tmp_path)
    got = probabilities(RELEASED / "float32.onnx", name, images, tmp_path)
    assert np.abs(got - expected).max() < 1e-3
    assert (got.argmax(axis=1) == expected.argmax(axis=1)).all()


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_reads_another_network(name: str, pictures: np.ndarray, tmp_path: Path) -> None:
    assert_same(strided(), name, pictures, tmp_path)


@needs_ncnn
def test_what_is_converted_for_ncnn_keeps_its_meaning(pictures: np.ndarray, tmp_path: Path) -> None:
    assert_same(padded(), "ncnn", pictures, tmp_path)


def assert_same(content: bytes, name: str, pictures: np.ndarray, folder: Path) -> None:
    model = folder / "network.onnx"
    model.write_bytes(content)
    expected = probabilities(model, "ort", pictures, folder)
    assert expected.std(axis=0).max() > 1e-2, "the network looks at its input"
    assert np.abs(probabilities(model, name, pictures, folder) - expected).max() < 1e-4


def unknown_operator() -> bytes:
    return network([("Unheard", "x", "y", {"domain": "elsewhere"})])


def damaged() -> bytes:
    return strided()[:900]


@pytest.mark.parametrize("made", [unknown_operator, damaged])
@pytest.mark.parametrize("name", PEERS)
def test_what_a_peer_cannot_read_is_one_line(name: str, made: Any, tmp_path: Path) -> None:
    model = tmp_path / "network.onnx"
    model.write_bytes(made())
    with pytest.raises(SubjectError, match=rf"{name} cannot load it \(.+\)$|died of signal") as refused:
        Subject(model, name)
    assert "\n" not in str(refused.value)


@needs_ncnn
@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Sin", "x", "y", {})], "operator Sin is not supported; expected convolutions"),
        ([("Add", "x x", "y", {})], "operator Add takes more than the output of the one before it; expected a chain"),
        ([("Add", "x one", "y", {})], "operator Add is not a bias after Conv or MatMul"),
        ([("Reshape", "x batch", "y", {})], r"operator Reshape has a value of \[2, 392\]; expected \[1, ...\]"),
        ([("Softmax", "x", "y", {"axis": 0})], "operator Softmax is over the batch"),
    ],
)
def test_ncnn_names_what_is_not_converted(nodes: list[tuple[Any, ...]], message: str, tmp_path: Path) -> None:
    from onnx import load_from_string

    from edgecnn.bench.to_ncnn import to_ncnn
    from edgecnn.device.errors import ModelError

    content = network(nodes, one=np.ones(1, np.float32), batch=np.array([2, -1]))
    model = load_from_string(content)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match=message):
        to_ncnn(model.SerializeToString())


@needs_released
@pytest.mark.parametrize("name", [p for p in PEERS if p.values[0] != "ncnn"])
def test_a_peer_refuses_integers_whose_scale_it_does_not_say(name: str) -> None:
    with pytest.raises(SubjectError, match=f"{name} cannot load it .*pixels:0 is uint8; expected float32"):
        Subject(RELEASED / "int8.tflite", name)


@needs_released
def test_a_peer_that_is_not_installed_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "is_installed", lambda name: False)
    with pytest.raises(ConfigError, match=r"runtime ncnn: not installed; run: pip install 'edgecnn\[peers\]'"):
        bench([RELEASED / "float32.onnx"], data=None, out=tmp_path / "bench.json", runtimes=["ncnn"])


@needs_released
def test_peers_are_timed_when_they_are_named_only(tmp_path: Path) -> None:
    from edgecnn.pipeline.measure import _pairs

    assert _pairs([RELEASED / "float32.onnx"], None) == [(RELEASED / "float32.onnx", "ort")]


def test_ratios_are_to_our_fastest() -> None:
    def row(runtime: str, ratio: float | None) -> dict[str, Any]:
        figures = {"error": None if ratio else "died of signal 6", "ratio_to_baseline": ratio}
        return {**dict.fromkeys(KEPT), "runtime": runtime, **figures}

    rows = [row("litert", 1.0), row("ort", 0.5), row("mnn", 0.25), row("ncnn", None)]
    assert [r["ratio_to_best"] for r in compared(rows)] == [2, 1, 0.5, None]
