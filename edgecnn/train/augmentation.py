"""Random small distortions of training images: an affine map and an elastic one, drawn anew for every batch.

Both are one map from output to input positions, so that an image is interpolated once (bilinear). The elastic part is
a coarse grid of random displacements, interpolated to all pixels: the smooth field of P. Y. Simard et al., "Best
Practices for Convolutional Neural Networks Applied to Visual Document Analysis" (2003), without its wide blur.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecnn._tf import tf
from edgecnn.config.settings import Augmentation


def augmented(images: Any, *, augmentation: Augmentation, seed: Any) -> Any:
    """Return distorted copies of a batch: float32 [B, H, W, C] in, the same out; outside an image is 0.

    `seed` is an int [2] tensor; the same seed gives the same distortions.
    """
    height, width = images.shape[1:3]
    rows, columns = _positions(tf.shape(images)[0], height, width, augmentation, seed)
    return _sampled(images, rows, columns)


def _positions(batch: Any, height: int, width: int, augmentation: Augmentation, seed: Any) -> tuple[Any, Any]:
    """Return where each output pixel looks in its image: rows and columns, float32 [B, H, W]."""
    most = tf.abs(_uniform((batch, 1), seed, 2)) if augmentation.graded else tf.ones((batch, 1))
    draws = _uniform((batch, 6), seed, 0) * most
    angle = draws[:, 0] * (augmentation.rotate_deg * np.pi / 180)
    scale_y, scale_x = (1 + draws[:, i] * augmentation.scale for i in (1, 2))
    shear = draws[:, 3] * augmentation.shear
    shift_y, shift_x = (draws[:, i] * augmentation.shift_px for i in (4, 5))
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    y, x = y.astype(np.float32), x.astype(np.float32)
    sine, cosine = _each(tf.sin(angle)), _each(tf.cos(angle))
    rows = (cosine * y + sine * x) * _each(scale_y) + _each(shift_y) + (height - 1) / 2
    columns = (cosine * x - sine * y) * _each(scale_x) + _each(shear) * y + _each(shift_x) + (width - 1) / 2
    if augmentation.elastic_px:
        grid = (batch, augmentation.elastic_grid, augmentation.elastic_grid, 2)
        coarse = _uniform(grid, seed, 1) * most[..., None, None]
        field = tf.image.resize(coarse * augmentation.elastic_px, (height, width), "bicubic")
        rows, columns = rows + field[..., 0], columns + field[..., 1]
    if augmentation.mirror:
        turned = _uniform((batch,), seed, 3) < 0
        columns = tf.where(_each(turned), width - 1 - columns, columns)
    return rows, columns


def _sampled(images: Any, rows: Any, columns: Any) -> Any:
    """Return the images at these positions, bilinear between pixels, 0 outside."""
    height, width = images.shape[1:3]
    # One pixel of border stands for everything outside; positions are kept within it.
    padded = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]])
    rows = tf.clip_by_value(rows + 1, 0.0, height + 0.999)
    columns = tf.clip_by_value(columns + 1, 0.0, width + 0.999)
    top, left = tf.floor(rows), tf.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    first = tf.cast(top, tf.int32) * (width + 2) + tf.cast(left, tf.int32)
    flat = tf.reshape(padded, [-1, (height + 2) * (width + 2), images.shape[3]])
    corner = [tf.gather(flat, first + step, batch_dims=1) for step in (0, 1, width + 2, width + 3)]
    upper = corner[0] + (corner[1] - corner[0]) * right
    lower = corner[2] + (corner[3] - corner[2]) * right
    return upper + (lower - upper) * down


def _uniform(shape: tuple[Any, ...], seed: Any, stream: int) -> Any:
    """Return float32 values in [-1, 1); each `stream` of a seed is independent of the others."""
    return tf.random.stateless_uniform(shape, tf.stack([seed[0] + stream // 2, seed[1] * 2 + stream % 2]), minval=-1.0)


def _each(values: Any) -> Any:
    """Return [B] as [B, 1, 1]."""
    return values[:, None, None]
