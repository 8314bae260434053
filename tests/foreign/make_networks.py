"""Small classifiers of drawn shapes, fitted with numpy alone, and the pictures that they are asked about.

A network is one convolution, ReLU, one dense layer and softmax. Its convolution is random and its dense layer fitted
by least squares, which takes less than a second and is always the same. A network that is to take another range of
pixels is the same network with the range folded into its convolution, exactly: all conventions have one right answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]
Shape = tuple[int, int, int]

GRAY: Shape = (20, 24, 1)  # not square, so that height and width in the wrong order do not fit
COLOR: Shape = (20, 24, 3)
SQUARE_GRAY: Shape = (28, 28, 1)  # of [N, 784]: only a square's sides can be found
SQUARE_COLOR: Shape = (16, 16, 3)  # of [N, 768]

# In the order of a folder's names. Classes that differ by brightness alone are what a wrong range makes of each other,
# red and blue ones what a wrong order of channels does.
GRAY_CLASSES = ("bright bar", "bright disc", "dim bar", "dim disc", "nothing", "white")
COLOR_CLASSES = ("blue disc", "dim blue disc", "dim red disc", "nothing", "red disc", "white bar")
_INKS = {
    "dim": (0.4, 0.4, 0.4),
    "bright": (0.85, 0.85, 0.85),
    "white": (0.9, 0.9, 0.9),
    "dim red": (0.4, 0.08, 0.06),
    "dim blue": (0.06, 0.08, 0.4),
    "red": (0.85, 0.2, 0.15),
    "blue": (0.15, 0.2, 0.85),
}
_FILTERS, SIDE, STRIDE = 12, 3, 2
_IMAGES = 600  # that a network is fitted on
_RIDGE = 0.03
_SHARPNESS = 5.0  # of what is fitted to 0 and 1, before softmax
_SEEDS = {GRAY: 332, COLOR: 19, SQUARE_GRAY: 79, SQUARE_COLOR: 36}  # of six that every network below reads right


@dataclass(frozen=True)
class Normalization:
    """What a network takes for a pixel: ``(pixel / 255 - mean) / std``, one number or one a channel."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def of(self, pixels: Pixels) -> Floats:
        """Return uint8 [..., C] as the numbers that the network takes."""
        return (pixels / 255 - np.array(self.mean)) / np.array(self.std)


UNIT = Normalization()
SIGNED = Normalization((0.5,), (0.5,))  # -1 to 1
RAW = Normalization((0.0,), (1 / 255,))  # 0 to 255
MNIST = Normalization((0.1307,), (0.3081,))
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Network:
    """The weights: kernel [3, 3, C, F], stride 2, and its bias; dense [H * W * F, classes] and its bias.

    `padded`: as Keras pads for "same", else there is no padding.
    """

    shape: Shape
    labels: tuple[str, ...]
    kernel: Floats
    bias: Floats
    dense: Floats
    dense_bias: Floats
    padded: bool = False

    def logits(self, values: Floats) -> Floats:
        """Return the scores [N, classes] before softmax of what the network takes, [N, H, W, C]."""
        found = hidden(values, self.kernel, self.bias, padded=self.padded)
        return found.reshape(len(values), -1) @ self.dense + self.dense_bias

    def probabilities(self, values: Floats) -> Floats:
        """Return the probabilities [N, classes] of what the network takes, [N, H, W, C]."""
        return softmax(self.logits(values))

    def taking(self, other: Normalization) -> Network:
        """Return a network of 0..1 as one that takes pixels normalized otherwise; its answers are the same."""
        if self.padded and any(other.mean):
            raise ValueError("the zeros of a padding would have to move with the mean")
        mean, std = (np.broadcast_to(np.array(one), self.shape[2]) for one in (other.mean, other.std))
        bias = self.bias + (self.kernel * mean[:, None]).sum((0, 1, 2))
        return replace(self, kernel=self.kernel * std[:, None], bias=bias)

    def blue_first(self) -> Network:
        """Return the network that takes the channels in the order blue, green, red."""
        return replace(self, kernel=self.kernel[:, :, ::-1])


def hidden(values: Floats, kernel: Floats, bias: Floats, *, padded: bool) -> Floats:
    """Return what the dense layer is given, [N, H, W, F]."""
    if padded:  # sides of even length and a stride of 2: Keras pads below and on the right only
        values = np.pad(values, ((0, 0), (0, 1), (0, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(values, (SIDE, SIDE), axis=(1, 2))
    sums = np.einsum("nhwcyx,yxcf->nhwf", windows[:, ::STRIDE, ::STRIDE], kernel, optimize=True)
    return np.maximum(sums + bias, 0)


def softmax(logits: Floats) -> Floats:
    """Return probabilities [N, classes]."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@cache
def network(shape: Shape, *, taking: Normalization = UNIT, padded: bool = False) -> Network:
    """Return the network of pictures of `shape`, fitted on what it takes of some hundreds of drawn ones."""
    images, labels = drawn_set(shape, _IMAGES, seed=1)
    return fitted(taking.of(images), labels, classes(shape), padded=padded)


def fitted(values: Floats, labels: NDArray[np.int64], names: tuple[str, ...], *, padded: bool = False) -> Network:
    """Return a network of random filters whose dense layer tells `values` [N, H, W, C] apart: ridge regression."""
    rng = np.random.default_rng(7)
    height, width, channels = values.shape[1:]
    kernel = rng.normal(0, 0.4, (SIDE, SIDE, channels, _FILTERS))
    bias = rng.uniform(-0.6, 0.3, _FILTERS)
    inputs = hidden(values, kernel, bias, padded=padded).reshape(len(values), -1)
    targets = np.eye(len(names))[labels]
    center = inputs.mean(0)
    spread = inputs - center
    # The dual form: a system of as many equations as pictures, not of as many as columns.
    ridge = _RIDGE * len(values) * np.eye(len(values))
    dense = _SHARPNESS * spread.T @ np.linalg.solve(spread @ spread.T + ridge, targets)
    dense_bias = _SHARPNESS * targets.mean(0) - center @ dense
    return Network((height, width, channels), names, kernel, bias, dense, dense_bias, padded)


def classes(shape: Shape) -> tuple[str, ...]:
    """Return the names of the classes of pictures of `shape`."""
    return GRAY_CLASSES if shape[2] == 1 else COLOR_CLASSES


def pictures(shape: Shape) -> Pixels:
    """Return a picture of every class in their order, uint8 [N, H, W, C], as the cases are asked about them."""
    return drawn_set(shape, len(classes(shape)), seed=_SEEDS[shape])[0]


def drawn_set(shape: Shape, count: int, *, seed: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Return pictures uint8 [N, H, W, C] of all classes in turn, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(classes(shape))
    return np.stack([drawn(classes(shape)[label], shape, rng) for label in labels]), labels


def drawn(label: str, shape: Shape, rng: np.random.Generator) -> Pixels:
    """Return a picture of one class: an ink on a dark ground, somewhere, with noise."""
    height, width, channels = shape
    ink, _, form = label.rpartition(" ")
    color = np.array(_INKS.get(ink, _INKS["white"])) * rng.uniform(0.9, 1.1)
    ground = np.ones(3) * rng.uniform(0.02, 0.12)
    mask = _mask(form, (height, width), rng)[..., None]
    values = mask * np.maximum(color, ground) + (1 - mask) * ground
    values = values + rng.normal(0, 0.02, (height, width, 1))
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)[..., :channels]


def _mask(form: str, size: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return where the ink is: 0 or 1, [H, W]."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    if form == "disc":
        radius = rng.uniform(0.28, 0.36) * height
        at_y, at_x = height / 2 + rng.uniform(-2, 2), width / 2 + rng.uniform(-3, 3)
        return ((y - at_y) ** 2 + (x - at_x) ** 2 < radius**2).astype(float)
    if form == "bar":
        top, thick = height * rng.uniform(0.25, 0.5), height * rng.uniform(0.2, 0.3)
        return ((y >= top) & (y < top + thick)).astype(float)
    return np.full(size, float(form == "white"))


def usual(channels: int) -> tuple[Normalization, ...]:
    """Return the ranges that others use."""
    return (UNIT, SIGNED, RAW, MNIST if channels == 1 else IMAGENET)
