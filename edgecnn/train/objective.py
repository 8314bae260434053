"""What a network is trained towards: smoothed labels, and a teacher's answers where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgecnn._tf import keras, tf
from edgecnn.config.settings import Distillation


def smoothed(labels: Any, *, classes: int, smoothing: float) -> Any:
    """Return targets float32 [B, classes] for int labels [B]: 1 - smoothing on the label, the rest spread over all.

    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7.
    """
    return tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes


def with_teacher(targets: Any, answers: Any) -> Any:
    """Return [B, 2, classes]: the targets and the teacher's probabilities, as `distillation_loss` takes them."""
    return tf.stack([targets, answers], axis=1)


def distillation_loss(distillation: Distillation, *, from_logits: bool = False) -> Callable[[Any, Any], Any]:
    """Return the loss of G. Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).

    (1 - weight) x cross-entropy with the targets + weight x T^2 x cross-entropy with the teacher, both softened by T.
    Probabilities serve as logits: their logarithm differs from these by a constant, which softmax takes out.
    """
    weight, temperature = distillation.weight, distillation.temperature

    def loss(true: Any, predicted: Any) -> Any:
        if from_logits:
            predicted = tf.nn.softmax(predicted)
        hard = keras.losses.categorical_crossentropy(true[:, 0], predicted)
        soft = keras.losses.categorical_crossentropy(
            _softened(true[:, 1], temperature), _softened(predicted, temperature)
        )
        return (1 - weight) * hard + weight * temperature**2 * soft

    return loss


def accuracy(true: Any, predicted: Any) -> Any:
    """Return whether the largest probability is on the label of [B, 2, classes]; the teacher does not count."""
    return keras.metrics.categorical_accuracy(true[:, 0], predicted)


def _softened(probabilities: Any, temperature: float) -> Any:
    return tf.nn.softmax(tf.math.log(tf.maximum(probabilities, 1e-7)) / temperature)
