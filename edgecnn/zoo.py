"""Architectures by name, written in a notation of one line each.

``C32@9`` is a convolution of 32 filters of 9x9 with ReLU and valid padding (``C32@3s``: same padding), ``P2`` max
pooling 2x2, ``BN`` batch normalization, ``D.5`` dropout of 0.5, ``F100`` a dense layer of 100 units with ReLU.
``C8@5n`` has batch normalization between convolution and ReLU, ``S12@3`` is a depthwise-separable one: 3x3 per channel,
then 1x1 to 12 channels, batch normalization and ReLU; ``G`` is global average pooling.
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
    # For less flash than edge35k takes: 12,194, 4,110 and 1,154 parameters, once batch normalization is folded. A
    # depthwise-separable convolution costs a fraction of the weights of a full one, and the mean over the last pixels
    # leaves the classifier small.
    "edge12k": "C24@5n P2 S48@3 S64@3 P2 S80@3 G",
    "edge4k": "C12@5n P2 S24@3 S32@3 P2 S48@3 G",
    "edge1k": "C8@3n S8@3 P2 S12@3 S12@3 P2 S16@3 G",
    # 198,762 parameters: a teacher for the small ones, six times the multiply-accumulates of edge35k.
    "vgg4": "C32@3 BN C32@3 BN P2 D.2 C64@3 BN C64@3 BN P2 D.2 F128 BN D.4",
}

_TOKEN = re.compile(
    r"(?:C(?P<filters>\d+)@(?P<kernel>\d+)(?P<same>s?)(?P<normalized>n?)|S(?P<separable>\d+)@(?P<depthwise>\d+)"
    r"|P(?P<pool>\d+)|(?P<norm>BN)|(?P<mean>G)|D(?P<rate>\.\d+)|F(?P<units>\d+))"
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
        flat = flat or token.startswith(("F", "G"))
        stack += _layers_of(keras.layers, token, number)
    if not flat:
        stack.append(keras.layers.Flatten(name="flatten"))
    stack.append(keras.layers.Dense(classes, activation="softmax", name="scores"))
    return keras.Sequential(stack, name=arch)


def _layers_of(keras_layers: Any, token: str, number: int) -> list[Any]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ConfigError(
            f"architecture: got {token!r}; expected C<filters>@<kernel>[s][n], S<filters>@<kernel>, P<size>, BN, G, "
            f"D.<rate> or F<units>"
        )
    part = match.groupdict()
    if part["filters"]:
        return _convolution(keras_layers, part, number)
    if part["separable"]:
        return _separable(keras_layers, int(part["separable"]), int(part["depthwise"]), number)
    if part["pool"]:
        return [keras_layers.MaxPooling2D(int(part["pool"]), name=f"pool{number}")]
    if part["norm"]:
        return [keras_layers.BatchNormalization(name=f"norm{number}")]
    if part["mean"]:
        return [keras_layers.GlobalAveragePooling2D(name=f"mean{number}")]
    if part["rate"]:
        return [keras_layers.Dropout(float(part["rate"]), name=f"dropout{number}")]
    return [keras_layers.Dense(int(part["units"]), activation="relu", name=f"dense{number}")]


def _convolution(keras_layers: Any, part: dict[str, Any], number: int) -> list[Any]:
    normalized = bool(part["normalized"])
    convolution = keras_layers.Conv2D(
        int(part["filters"]),
        int(part["kernel"]),
        padding="same" if part["same"] else "valid",
        activation=None if normalized else "relu",
        use_bias=not normalized,
        name=f"conv{number}",
    )
    return [convolution, *(_normalized_relu(keras_layers, number) if normalized else [])]


def _separable(keras_layers: Any, filters: int, kernel: int, number: int) -> list[Any]:
    """Return a depthwise-separable convolution, linear in between: so few channels need the signs of their values."""
    return [
        keras_layers.DepthwiseConv2D(kernel, use_bias=False, name=f"depthwise{number}"),
        keras_layers.Conv2D(filters, 1, use_bias=False, name=f"conv{number}"),
        *_normalized_relu(keras_layers, number),
    ]


def _normalized_relu(keras_layers: Any, number: int) -> list[Any]:
    return [keras_layers.BatchNormalization(name=f"norm{number}"), keras_layers.ReLU(name=f"relu{number}")]
