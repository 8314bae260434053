"""The numbers that TensorFlow Lite prepares for its integer kernels, computed as it computes them.

Sources: QuantizeMultiplier, PreprocessSoftmaxScaling and CalculateInputRadius of
tensorflow/lite/kernels/internal/quantization_util.cc; CalculateActivationRangeQuantized of kernel_util.cc;
QuantizedMeanOrSum of internal/reference/reduce.h.
"""

from __future__ import annotations

import math

import numpy as np

_ACTIVATIONS = {0: (None, None), 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # none, ReLU, ReLU -1 to 1, ReLU6
_SOFTMAX_INTEGER_BITS = 5
_LEAST_DIFFERENCE = -(2**15)  # what the C holds; no two values of 8 bits are as far apart


def multiplier(real: float) -> tuple[int, int]:
    """Return (m, shift) so that real = m / 2^31 * 2^shift, m of 31 bits; (0, 0) for what is smaller than that."""
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = _rounded(fraction * 2**31)
    if fixed == 2**31:
        fixed, shift = fixed // 2, shift + 1
    return (0, 0) if shift < -31 else (fixed, shift)


def activation_range(activation: int, scale: np.float32, zero_point: int) -> tuple[int, int] | None:
    """Return the least and largest int8 output of a fused activation, by its number; None for one not known."""
    if activation not in _ACTIVATIONS:
        return None
    low, high = (
        None if bound is None else zero_point + _rounded(float(np.float32(bound) / scale))
        for bound in _ACTIVATIONS[activation]
    )
    return max(-128, -128 if low is None else low), min(127, 127 if high is None else high)


def softmax(beta: float, scale: float) -> tuple[int, int, int]:
    """Return (multiplier, shift) from a difference of inputs to Q5.26, and the least difference that counts."""
    bits = _SOFTMAX_INTEGER_BITS
    m, shift = multiplier(min(beta * scale * 2 ** (31 - bits), 2**31 - 1.0))
    least = -math.floor((2**bits - 1) * 2 ** (31 - bits) / 2**shift)
    return m, shift, max(least, _LEAST_DIFFERENCE)


def mean(real: float, count: int) -> tuple[int, int]:
    """Return (m, shift) that bring the sum of `count` values to the scale of their mean; `real` is between the scales.

    As many bits of 1 / count are kept as there is room for: m is cut to an integer, not rounded.
    """
    m, shift = multiplier(real)
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (m << more) // count, shift - more


def _rounded(x: float) -> int:
    """Return x to the nearest integer, halves away from zero, as C's round does."""
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)
