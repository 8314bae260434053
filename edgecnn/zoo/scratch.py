"""One network: "Building a convolutional neural network from scratch for MNIST digit classification"."""

from edgecnn.config.settings import Training
from edgecnn.zoo.architecture import Architecture, Printed

ARCHITECTURES = {
    "report411k": Architecture(
        layers="C32@4s P2s C64@2s P2s F128 D.5",
        parameters=411_626,
        macs=2_409_728,
        training=Training(epochs=20, batch_size=64, learning_rate=1e-3, patience=5),
        printed=(Printed(top1=0.9932, epochs=20),),
    ),
}
