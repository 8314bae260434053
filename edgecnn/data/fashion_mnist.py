"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes in MNIST's format (H. Xiao et al., 2017; MIT licence)."""

from __future__ import annotations

from edgecnn.data.published import Published

SET = Published(
    name="fashion-mnist",
    title="Fashion-MNIST",
    checksums={
        "train-images-idx3-ubyte.gz": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte.gz": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte.gz": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte.gz": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    labels=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
)  # fmt: skip
find, read = SET.find, SET.read
