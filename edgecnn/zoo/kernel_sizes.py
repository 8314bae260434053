"""Kernels of 2x2, 3x3 and 4x4: "Image Classification using CNN".

Its page cuts the optimizer's name off; its slow curves are those of Keras' default Adadelta, learning rate 0.001.
It printed the accuracy after 20, 50 and 70 epochs.
"""

from edgecnn.config.settings import Training
from edgecnn.zoo.architecture import Architecture, Printed

_TRAINING = Training(epochs=70, batch_size=128, learning_rate=1e-3, patience=0, optimizer="adadelta")


def _printed(*top1: float) -> tuple[Printed, ...]:
    return tuple(Printed(top1=value, epochs=epochs) for value, epochs in zip(top1, (20, 50, 70), strict=True))


ARCHITECTURES = {
    "kernel3": Architecture(
        layers="C32@3 C64@3 P2 D.25 F256 D.5",
        parameters=2_380_938,
        macs=13_173_376,
        training=_TRAINING,
        printed=_printed(0.8970, 0.9228, 0.9362),
    ),
    "kernel4": Architecture(
        layers="C32@3 P2 C64@4 P2 D.25 F256 D.5",
        parameters=445_578,
        macs=3_883_648,
        training=_TRAINING,
        printed=_printed(0.8318, 0.9319, 0.9564),
    ),
    "kernel2": Architecture(
        layers="C32@3 P2 C64@2 P2 D.25 F256 D.5",
        parameters=601_226,
        macs=1_966_720,
        training=_TRAINING,
        printed=_printed(0.7787, 0.8981, 0.9314),
    ),
}
