"""From 542,230 parameters down to 35,030: "Convolutional Neural Networks for digit image classification".

edge35k is its model 10, its best, and the network that edgecnn begins with.
"""

from edgecnn.config.settings import Training
from edgecnn.zoo.architecture import Architecture, Printed

TRAINING = Training(epochs=10, batch_size=128, learning_rate=1e-3, patience=0)


def _architecture(layers: str, *, parameters: int, macs: int, top1: float, wrong: int) -> Architecture:
    printed = (Printed(top1=top1, epochs=TRAINING.epochs, first_100_wrong=wrong),)
    return Architecture(layers=layers, parameters=parameters, macs=macs, training=TRAINING, printed=printed)


ARCHITECTURES = {
    "edge35k": _architecture(
        "C32@9 P2 C32@3 P2 C32@3 F100 D.5", parameters=35_030, macs=1_677_288, top1=0.993, wrong=0
    ),
    "linear": _architecture("C1@1", parameters=7_852, macs=8_624, top1=0.927, wrong=4),
    "pool": _architecture("C1@1 P2", parameters=1_972, macs=2_744, top1=0.918, wrong=6),
    "kernel": _architecture("C1@3 P2", parameters=1_710, macs=7_774, top1=0.920, wrong=4),
    "wide": _architecture("C32@3 P2", parameters=54_410, macs=248_768, top1=0.983, wrong=3),
    "hidden": _architecture("C32@3 P2 F100 D.5", parameters=542_230, macs=736_488, top1=0.987, wrong=2),
    "kernel9": _architecture("C32@9 P2 F100 D.5", parameters=323_734, macs=1_357_800, top1=0.992, wrong=0),
    "kernel11": _architecture("C32@11 P2 F100 D.5", parameters=264_214, macs=1_514_728, top1=0.991, wrong=0),
    "slim": _architecture("C16@9 P2 F100 D.5", parameters=162_422, macs=679_400, top1=0.990, wrong=0),
    "conv2": _architecture("C32@9 P2 C32@3 F100 D.5", parameters=217_782, macs=1_832_424, top1=0.993, wrong=0),
    "conv2pool": _architecture("C32@9 P2 C32@3 P2 F100 D.5", parameters=64_182, macs=1_678_824, top1=0.993, wrong=1),
    "nohidden": _architecture("C32@9 P2 C32@3 P2 C32@3", parameters=22_410, macs=1_664_768, top1=0.990, wrong=1),
    "padded": _architecture(
        "C32@9 P2 C32@3s P2 C32@3 F100 D.5", parameters=51_030, macs=2_071_144, top1=0.991, wrong=0
    ),
}
