"""Compact TFLite files: the same scores in fewer bytes, and names that a reader understands."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecnn import _tf, zoo
from edgecnn.device.contract import unit
from edgecnn.export import tflite
from edgecnn.export.compact import compact, parsed, short

SCHEMES = ("float32", "float16", "dynamic", "int8")


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)


@pytest.fixture(scope="module", params=SCHEMES)
def written(request: pytest.FixtureRequest, images: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Return a file as the converter writes it, and as it is exported."""
    model = zoo.build("edge1k", input_shape=(28, 28, 1), classes=10)
    converter = tflite._converter(model, request.param)
    if request.param == "int8":
        converter.target_spec.supported_ops = [_tf.tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = tflite._generator(unit(images))
    calibration = unit(images) if request.param == "int8" else None
    return tflite._convert(converter), tflite.to_tflite(model, scheme=request.param, representative_dataset=calibration)


def test_scores_are_the_same_in_every_set_of_kernels(written: tuple[bytes, bytes], images: NDArray[np.uint8]) -> None:
    from ai_edge_litert.interpreter import OpResolverType

    for kernels in (
        OpResolverType.AUTO,
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        OpResolverType.BUILTIN_REF,
    ):
        before, after = (scores(content, images, kernels) for content in written)
        assert np.array_equal(before, after)


def scores(content: bytes, images: NDArray[np.uint8], kernels: Any) -> NDArray[Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=kernels)
    run = interpreter.get_signature_runner("serving_default")
    (source,) = run.get_input_details().values()
    found = []
    for image in images:
        given = image[None] if source["dtype"] == np.uint8 else (image[None] / 255).astype(np.float32)
        found.append(next(iter(run(pixels=given).values())).copy())
    return np.concatenate(found)


def test_a_small_network_takes_fewer_bytes(written: tuple[bytes, bytes]) -> None:
    before, after = written
    assert len(after) < 0.9 * len(before)
    assert compact(before) == after
    assert compact(after) == after, "nothing is left to be taken out"


def test_weights_lie_where_the_format_wants_them(written: tuple[bytes, bytes]) -> None:
    content = written[1]
    stored = [buffer.data.tobytes() for buffer in parsed(content).buffers if buffer.data is not None]
    large = [data for data in stored if len(data) >= 64 and any(data)]
    assert large
    assert {content.index(data) % 16 for data in large} == {0}


def test_tensors_have_the_names_of_their_layers(written: tuple[bytes, bytes]) -> None:
    names = [tensor.name.decode() for tensor in parsed(written[1]).subgraphs[0].tensors]
    assert {"conv1", "conv2", "pool3", "mean8", "scores"} <= {*names}
    assert all("/" not in name and ";" not in name for name in names)
    assert short("net/conv1/Relu;net/conv1/BiasAdd/ReadVariableOp") == "conv1"
    assert short("serving_default_pixels:0") == "serving_default_pixels:0"
