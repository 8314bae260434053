"""MNIST: 60,000 and 10,000 handwritten digits, 28x28, white on black (Y. LeCun, C. Cortes, C. Burges)."""

from __future__ import annotations

from edgecnn.data.published import Published

SET = Published(
    name="mnist",
    title="MNIST",
    checksums={
        "train-images-idx3-ubyte.gz": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "27ae3e4e09519cfbb04c329615203637",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    labels=tuple("0123456789"),
)
find, read = SET.find, SET.read
