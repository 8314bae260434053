"""Architectures by name, written in a notation of one line each.

``C32@9`` is a convolution of 32 filters of 9x9 with ReLU and valid padding (``C32@3s``: same padding), ``P2`` max
pooling 2x2, ``BN`` batch normalization, ``D.5`` dropout of 0.5, ``F100`` a dense layer of 100 units with ReLU.
Every network ends in a dense softmax over the classes; ``P1`` of the source is the identity and is left out.
"""

from __future__ import annotations

import re
from typing import Any

from edgecnn.errors import ConfigError, unknown

ARCHITECTURES = {
    # 35,030 parameters for 28x28x1 and 10 classes: model 10 of "Convolutional Neural Networks for digit image
    # classification".
    "edge35k": "C32@9 P2 C32@3 P2 C32@3 F100 D.5",
    # For less flash than edge35k takes: 12,542, 4,646 and 1,145 parameters. Pairs of 3x3 convolutions read more per
    # parameter than one large kernel, and without a hidden dense layer no parameter goes to waste there.
    "edge12k": "C12@3 C12@3 P2 C20@3 C20@3 P2 C24@3",
    "edge4k": "C8@3 C8@3 P2 C12@3 C12@3 P2 C12@3",
    "edge1k": "C4@5 P2 C5@3 C6@3 P2 C6@3",
    # 198,762 parameters: a teacher for the small ones, six times the multiply-accumulates of edge35k.
    "vgg4": "C32@3 BN C32@3 BN P2 D.2 C64@3 BN C64@3 BN P2 D.2 F128 BN D.4",
}

_TOKEN = re.compile(
    r"(?:C(?P<filters>\d+)@(?P<kernel>\d+)(?P<same>s?)|P(?P<pool>\d+)|(?P<norm>BN)|D(?P<rate>\.\d+)|F(?P<units>\d+))"
)


def layers(arch: str) -> str:
    """Return the notation of architecture `arch`; raises `ConfigError` listing the known names."""
    if arch not in ARCHITECTURES:
        raise unknown("arch", arch, ARCHITECTURES)
    return ARCHITECTURES[arch]


def build(arch: str, *, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Return an untrained Keras model: float32 [N, H, W, C] in [0, 1] -> probabilities [N, classes].

    Every layer has a fixed name, because names reach the exported files and those must not depend on how many
    models a process has built.
    """
    from edgecnn._tf import keras

    notation = layers(arch)
    stack = [keras.layers.Input(input_shape, name="pixels")]
    flat = False
    for number, token in enumerate(notation.split(), start=1):
        if token.startswith("F") and not flat:
            stack.append(keras.layers.Flatten(name="flatten"))
            flat = True
        stack.append(_layer(keras.layers, token, number))
    if not flat:
        stack.append(keras.layers.Flatten(name="flatten"))
    stack.append(keras.layers.Dense(classes, activation="softmax", name="scores"))
    return keras.Sequential(stack, name=arch)


def _layer(keras_layers: Any, token: str, number: int) -> Any:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ConfigError(
            f"architecture: got {token!r}; expected C<filters>@<kernel>[s], P<size>, BN, D.<rate> or F<units>"
        )
    part = match.groupdict()
    if part["filters"]:
        return keras_layers.Conv2D(
            int(part["filters"]),
            int(part["kernel"]),
            padding="same" if part["same"] else "valid",
            activation="relu",
            name=f"conv{number}",
        )
    if part["pool"]:
        return keras_layers.MaxPooling2D(int(part["pool"]), name=f"pool{number}")
    if part["norm"]:
        return keras_layers.BatchNormalization(name=f"norm{number}")
    if part["rate"]:
        return keras_layers.Dropout(float(part["rate"]), name=f"dropout{number}")
    return keras_layers.Dense(int(part["units"]), activation="relu", name=f"dense{number}")
