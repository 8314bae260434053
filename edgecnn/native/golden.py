"""Golden vectors: images, and what TensorFlow Lite's reference kernels say of them, for the C to say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.runtimes.tflite_axes import with_valid_axes

COUNT = 24
_SEED = 20


def cases(tflite: bytes, *, count: int = COUNT) -> bytes:
    """Return `count` cases of a full-integer .tflite file: per case the pixels as it takes them, then its scores.

    The images are always the same: a blank and a full one, then noise under a random window, so that there are edges
    and empty places. Needs LiteRT.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = Interpreter(
        model_content=with_valid_axes(tflite),
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        num_threads=1,
    )
    model.allocate_tensors()
    given, made = model.get_input_details()[0], model.get_output_details()[0]
    content = bytearray()
    for image in _images(count, given):
        model.set_tensor(given["index"], image)
        model.invoke()
        content += image.tobytes() + model.get_tensor(made["index"]).tobytes()
    return bytes(content)


def _images(count: int, given: dict[str, Any]) -> NDArray[Any]:
    """Return images of an input's shape and type, stacked."""
    rng = np.random.default_rng(_SEED)
    shape = tuple(int(size) for size in given["shape"])
    images = np.zeros((count, *shape), np.uint8)
    images[1] = 255
    for image in images[2:]:
        corner = [int(rng.integers(size)) for size in shape[1:]]
        ends = [int(rng.integers(start, size)) + 1 for start, size in zip(corner, shape[1:], strict=True)]
        place = (slice(None), *map(slice, corner, ends))
        image[place] = rng.integers(0, 256, image[place].shape)
    return images.view(np.int8) ^ np.int8(-128) if given["dtype"] == np.int8 else images
