"""Two to seven convolutions: "Constructing Different CNN Architectures on MNIST Dataset"."""

from dataclasses import replace

from edgecnn.config.settings import Training
from edgecnn.zoo.architecture import Architecture, Printed

_TRAINING = Training(epochs=30, batch_size=128, learning_rate=1e-3, patience=0)
_HE = replace(_TRAINING, initializer="he_uniform")
_TAIL = "F512 BN D.5 F256 BN D.5 F128 BN D.5 F64 BN D.5"
_C64, _C128, _C256 = "C64@3s", "C128@3s", "C256@3s"


def _architecture(
    layers: str, *, parameters: int, macs: int, top1: float, log_loss: float, training: Training = _HE
) -> Architecture:
    printed = (Printed(top1=top1, epochs=training.epochs, log_loss=log_loss),)
    return Architecture(layers=layers, parameters=parameters, macs=macs, training=training, printed=printed)


ARCHITECTURES = {
    "depth2": _architecture(
        "C32@3 C64@3 P2 D.25 F128 D.5",
        parameters=1_199_882,
        macs=11_992_448,
        top1=0.9919,
        log_loss=0.0323,
        training=_TRAINING,
    ),
    "depth3a": _architecture(
        "C64@3s C128@3 BN P2 D.3 C256@3 BN P2 F512 BN D.4 F128 BN D.4",
        parameters=3_718_026,
        macs=89_319_680,
        top1=0.9945,
        log_loss=0.0256,
        training=_TRAINING,
    ),
    "depth3b": _architecture(
        f"{_C64} {_C64} BN P2 D.4 {_C64} BN P2 D.4 {_TAIL}",
        parameters=1_858_122,
        macs=38_356_608,
        top1=0.9947,
        log_loss=0.0230,
    ),
    "depth5a": _architecture(
        f"{_C64} {_C64} {_C64} BN P2 D.5 {_C128} {_C128} BN P2 D.5 {_TAIL}",
        parameters=3_685_450,
        macs=104_990_336,
        top1=0.9940,
        log_loss=0.0249,
    ),
    "depth5b": _architecture(
        f"{_C64} {_C64} {_C64} BN P2 D.5 C128@5s C128@5s BN P2 D.5 {_TAIL}",
        parameters=4_078_666,
        macs=182_060_672,
        top1=0.9959,
        log_loss=0.0189,
    ),
    "depth7a": _architecture(
        f"{_C64} {_C64} BN P2 D.5 {_C128} {_C128} BN P2 D.5 {_C256} {_C256} {_C256} BN P2 D.5 {_TAIL}",
        parameters=3_093_258,
        macs=146_310_784,
        top1=0.9960,
        log_loss=0.0186,
    ),
    "depth7b": _architecture(
        f"{_C64} {_C64} {_C64} BN P2 D.5 {_C128} {_C128} BN P2 D.5 {_C256} {_C256} BN P2 D.5 {_TAIL}",
        parameters=2_540_106,
        macs=146_310_784,
        top1=0.9963,
        log_loss=0.0183,
    ),
}
