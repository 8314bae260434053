"""A network for a hundred classes of 28x28 grey images.

The set of its page is not public, so what that printed cannot be compared with and is left out.
"""

from edgecnn.config.settings import Training
from edgecnn.zoo.architecture import Architecture

ARCHITECTURES = {
    "classes100": Architecture(
        layers="C32@3 P2 C64@3 P2 F512 F256",
        parameters=995_556,
        macs=3_400_832,
        classes=100,
        training=Training(epochs=20, batch_size=128, learning_rate=1e-3, patience=0),
    ),
}
