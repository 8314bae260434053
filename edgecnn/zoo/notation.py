"""Architectures written in one line each.

``C32@9`` is a convolution of 32 filters of 9x9 with ReLU and valid padding; ``C32@3s`` has same padding, ``C64@10x4`` a
window 10 high and 4 wide, ``C32@3/2`` stride 2. ``C8@5n`` has batch normalization between convolution and ReLU and
therefore no bias, ``C8@5nb`` has both. ``W3`` is a depthwise convolution with the same marks. ``S12@3`` is a
depthwise-separable one: 3x3 per channel, linear, then 1x1 to 12 channels, batch normalization and ReLU. ``R16@3`` is a
residual block: two convolutions of 16 filters with batch normalization, the block's input added before the second ReLU;
where the block changes size (``R32@3/2``) or channels, the input goes through a convolution of 1x1.
``P2`` is max pooling 2x2 (``P2s``: same padding), ``BN`` batch normalization, ``D.5`` dropout of 0.5, ``F100`` a dense
layer of 100 units with ReLU, ``G`` global average pooling.
Every network ends in a dense softmax over the classes; ``P1`` of the sources is the identity and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from edgecnn.errors import ConfigError

# A layer, or what applies several of them to a tensor.
Step = Callable[[Any], Any]

_WINDOW = r"(?P<height>\d+)(?:x(?P<width>\d+))?(?P<same>s?)(?:/(?P<stride>\d+))?"
_TOKENS = {
    kind: re.compile(pattern)
    for kind, pattern in {
        "convolution": rf"C(?P<filters>\d+)@{_WINDOW}(?P<normalized>n?)(?P<biased>b?)",
        "depthwise": rf"W{_WINDOW}(?P<normalized>n?)(?P<biased>b?)",
        "separable": r"S(?P<filters>\d+)@(?P<height>\d+)",
        "residual": r"R(?P<filters>\d+)@(?P<height>\d+)(?:/(?P<stride>\d+))?(?P<biased>b?)",
        "pooling": r"P(?P<size>\d+)(?P<same>s?)",
        "normalization": r"BN",
        "mean": r"G",
        "dropout": r"D(?P<rate>\.\d+)",
        "dense": r"F(?P<units>\d+)",
    }.items()
}


def network(
    layers: str,
    *,
    name: str,
    input_shape: tuple[int, int, int],
    classes: int,
    initializer: str = "glorot_uniform",
    batch_norm: bool = False,
) -> Any:
    """Return the untrained Keras model that `layers` describe, float32 [N, H, W, C] -> probabilities [N, classes].

    It is Sequential unless it has residual blocks; `initializer` draws the hidden kernels, and with `batch_norm` every
    convolution is built as if it were marked ``n``. Every layer has a fixed name, because names reach the exported
    files and those must not depend on how many models a process has built. Raises `ConfigError` for images that are too
    small for it.
    """
    from edgecnn._tf import keras

    tokens = [_parsed(token) for token in layers.split()]
    if batch_norm:
        tokens = [(kind, part | {"normalized": "n"} if "normalized" in part else part) for kind, part in tokens]
    try:
        steps = _steps(tokens, keras.layers, initializer)
        steps.append(keras.layers.Dense(classes, activation="softmax", name="scores"))
        pixels = keras.layers.Input(input_shape, name="pixels")
        if not any(kind == "residual" for kind, _ in tokens):
            return keras.Sequential([pixels, *steps], name=name)
        x = pixels
        for step in steps:
            x = step(x)
        return keras.Model(pixels, x, name=name)
    except ValueError as error:
        size = "x".join(map(str, input_shape))
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"arch {name}: does not fit images of {size} ({reason}); take larger images or another --arch"
        ) from None


def check(layers: str) -> None:
    """Raise `ConfigError` unless every one of `layers` can be read, and there is one."""
    if not layers.split():
        raise ConfigError("architecture: no layers in it; expected some, like C24@5n P2 S48@3 G")
    for token in layers.split():
        _parsed(token)


def _parsed(token: str) -> tuple[str, dict[str, Any]]:
    """Return the kind of `token` and its parts, numbers as such."""
    for kind, pattern in _TOKENS.items():
        if match := pattern.fullmatch(token):
            parts = match.groupdict()
            return kind, {key: int(text) if (text or "").isdigit() else text for key, text in parts.items()}
    raise ConfigError(
        f"architecture: got {token!r}; expected C<filters>@<window>[s][/<stride>][n][b], "
        f"W<window>[s][/<stride>][n][b], S<filters>@<window>, R<filters>@<window>[/<stride>][b], P<size>[s], BN, G, "
        f"D.<rate> or F<units>"
    )


def _steps(tokens: list[tuple[str, dict[str, Any]]], keras_layers: Any, initializer: str) -> list[Step]:
    """Return the hidden layers; what is dense comes behind a Flatten, unless the mean was taken."""
    steps: list[Step] = []
    flat = False
    for number, (kind, part) in enumerate(tokens, start=1):
        if kind == "dense" and not flat:
            steps.append(keras_layers.Flatten(name="flatten"))
        flat = flat or kind in ("dense", "mean")
        steps += _steps_of(keras_layers, kind, part, number, initializer)
    return steps if flat else [*steps, keras_layers.Flatten(name="flatten")]


def _steps_of(keras_layers: Any, kind: str, part: dict[str, Any], number: int, initializer: str) -> list[Step]:
    match kind:
        case "convolution":
            layer = keras_layers.Conv2D(
                part["filters"], name=f"conv{number}", kernel_initializer=initializer, **_window(part)
            )
            return [layer, *_normalized_relu(keras_layers, part, f"{number}")]
        case "depthwise":
            layer = keras_layers.DepthwiseConv2D(
                name=f"depthwise{number}", depthwise_initializer=initializer, **_window(part)
            )
            return [layer, *_normalized_relu(keras_layers, part, f"{number}")]
        case "separable":
            return _separable(keras_layers, part["filters"], part["height"], number, initializer)
        case "residual":
            return [_residual(keras_layers, part, number, initializer)]
        case "pooling":
            padding = "same" if part["same"] else "valid"
            return [keras_layers.MaxPooling2D(part["size"], padding=padding, name=f"pool{number}")]
        case "normalization":
            return [keras_layers.BatchNormalization(name=f"norm{number}")]
        case "mean":
            return [keras_layers.GlobalAveragePooling2D(name=f"mean{number}")]
        case "dropout":
            return [keras_layers.Dropout(float(part["rate"]), name=f"dropout{number}")]
        case _:
            units = part["units"]
            return [keras_layers.Dense(units, activation="relu", kernel_initializer=initializer, name=f"dense{number}")]


def _window(part: dict[str, Any]) -> dict[str, Any]:
    """Return what a convolution is told besides its filters."""
    return {
        "kernel_size": (part["height"], part["width"] or part["height"]),
        "strides": part["stride"] or 1,
        "padding": "same" if part["same"] else "valid",
        "activation": None if part["normalized"] else "relu",
        "use_bias": not part["normalized"] or bool(part["biased"]),
    }


def _separable(keras_layers: Any, filters: int, window: int, number: int, initializer: str) -> list[Step]:
    """Return a depthwise-separable convolution, linear in between: so few channels need the signs of their values."""
    return [
        keras_layers.DepthwiseConv2D(
            window, use_bias=False, depthwise_initializer=initializer, name=f"depthwise{number}"
        ),
        keras_layers.Conv2D(filters, 1, use_bias=False, kernel_initializer=initializer, name=f"conv{number}"),
        *_normalized_relu(keras_layers, {"normalized": "n"}, f"{number}"),
    ]


def _residual(keras_layers: Any, part: dict[str, Any], number: int, initializer: str) -> Step:
    """Return a residual block without bottleneck: K. He et al., "Deep Residual Learning" (2016), figure 2."""
    filters, stride = part["filters"], part["stride"] or 1

    def convolution(window: int, strides: int, letter: str, *, use_bias: bool) -> Any:
        return keras_layers.Conv2D(
            filters, window, strides=strides, padding="same", use_bias=use_bias, kernel_initializer=initializer,
            name=f"conv{number}{letter}",
        )  # fmt: skip

    def block(x: Any) -> Any:
        biased, window = bool(part["biased"]), part["height"]
        y = convolution(window, stride, "a", use_bias=biased)(x)
        for layer in _normalized_relu(keras_layers, {"normalized": "n"}, f"{number}a"):
            y = layer(y)
        y = convolution(window, 1, "b", use_bias=biased)(y)
        y = keras_layers.BatchNormalization(name=f"norm{number}b")(y)
        if stride != 1 or x.shape[-1] != filters:
            x = convolution(1, stride, "c", use_bias=True)(x)
        return keras_layers.ReLU(name=f"relu{number}b")(keras_layers.Add(name=f"add{number}")([x, y]))

    return block


def _normalized_relu(keras_layers: Any, part: dict[str, Any], number: str) -> list[Step]:
    """Return what follows a convolution that is marked ``n``."""
    if not part["normalized"]:
        return []
    return [keras_layers.BatchNormalization(name=f"norm{number}"), keras_layers.ReLU(name=f"relu{number}")]
