"""The recipes as data: how a run trains, prunes, clusters and quantizes unless single values are given."""

from __future__ import annotations

import dataclasses

from edgecnn.config.settings import Augmentation, Clustering, Distillation, Pruning, Recipe, Teacher, Training

# Recipes of an architecture that has a page: trained as that page did; or for its epochs in its batches, but as we find
# better. Whatever comes after is as in `seed`.
PAGE, IMPROVED = "page", "improved"

_DISTORTED = Augmentation(rotate_deg=12.0, scale=0.15, shear=0.2, shift_px=2.0, elastic_px=1.2, elastic_grid=6)
# A small network has no capacity to spare for what is rare: its images are mostly near to those that were written.
GRADED = dataclasses.replace(_DISTORTED, graded=True)
# Clothes are photographed upright, and face either way. What a small network reads worse in training than in validation
# is too much for it: its own are moved a little, and not mirrored.
_WORN = Augmentation(
    rotate_deg=5.0, scale=0.1, shear=0.0, shift_px=2.0, elastic_px=0.0, elastic_grid=2, graded=True, mirror=True
)
_NUDGED = Augmentation(rotate_deg=2.0, scale=0.05, shear=0.0, shift_px=1.0, elastic_px=0.0, elastic_grid=2, graded=True)
# Two networks of the zoo's vgg4, on distorted images. Labels are not smoothed: a teacher of smoothed ones tells less
# about the classes that it did not choose (R. Müller et al., "When Does Label Smoothing Help?", 2019).
_TEACHER = Teacher(
    arch="vgg4",
    members=2,
    training=Training(
        epochs=24,
        batch_size=128,
        learning_rate=2e-3,
        patience=0,
        warmup_epochs=1.0,
        schedule="cosine",
        weight_decay=0.01,
        average_decay=0.998,
        augmentation=_DISTORTED,
    ),
    views=24,
    augmentation=GRADED,
    distillation=Distillation(weight=0.9, temperature=3.0),
)

# What a teacher says of distorted images, and the average of the weights along a cosine.
_STRONG = Recipe(
    training=Training(
        epochs=100,
        batch_size=128,
        learning_rate=3e-3,
        patience=0,
        warmup_epochs=1.0,
        schedule="cosine",
        average_decay=0.998,
        dropout=0.0,
    ),
    pruning=Pruning(
        initial_sparsity=0.0,
        final_sparsity=0.8,
        ramp_epochs=12,
        frequency=100,
        method="global",
        training=Training(
            epochs=40,
            batch_size=128,
            learning_rate=2e-3,
            patience=0,
            warmup_epochs=1.0,
            schedule="cosine",
            dropout=0.0,
        ),
    ),
    clustering=Clustering(
        clusters=16,
        training=Training(epochs=5, batch_size=128, learning_rate=1e-4, patience=0, schedule="cosine", dropout=0.0),
    ),
    qat=Training(epochs=5, batch_size=128, learning_rate=1e-4, patience=0, schedule="cosine", dropout=0.0),
    validation_fraction=0.1,
    teacher=_TEACHER,
)

RECIPES = {
    # seeds.md E as its page had it (Adam 0.001, batch 128, dropout 0.5 in the architecture), but with the best
    # epoch chosen on validation. Thirty epochs at most: with its ten the validation loss is still falling.
    "seed": Recipe(
        training=Training(epochs=30, batch_size=128, learning_rate=1e-3, patience=8),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=4,
            frequency=50,
            training=Training(epochs=10, batch_size=128, learning_rate=1e-3, patience=4),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=3, batch_size=128, learning_rate=1e-4, patience=2)),
        qat=Training(epochs=3, batch_size=128, learning_rate=1e-4, patience=2),
        validation_fraction=0.1,
    ),
    "strong": _STRONG,
    # `strong` for networks with batch normalization, which stand a higher learning rate and need fewer epochs with it.
    "strong-bn": dataclasses.replace(
        _STRONG, training=dataclasses.replace(_STRONG.training, epochs=80, learning_rate=1e-2)
    ),
    # `seed` for sets of a thousand images or so: smaller batches and more epochs give enough steps.
    "small": Recipe(
        training=Training(epochs=40, batch_size=32, learning_rate=1e-3, patience=10),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=10,
            frequency=10,
            training=Training(epochs=25, batch_size=32, learning_rate=1e-3, patience=8),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=8, batch_size=32, learning_rate=1e-4, patience=4)),
        qat=Training(epochs=8, batch_size=32, learning_rate=1e-4, patience=4),
        validation_fraction=0.2,  # of so few images a tenth would make one mistake weigh 0.7 pp
        max_drop_pp=2.0,  # as large a difference is noise on so few
    ),
    # The whole chain in half a minute on a small set: to see that it works, not for a model worth keeping.
    "quick": Recipe(
        training=Training(epochs=6, batch_size=32, learning_rate=2e-3, patience=0),
        pruning=Pruning(
            initial_sparsity=0.0,
            final_sparsity=0.8,
            ramp_epochs=2,
            frequency=10,
            training=Training(epochs=5, batch_size=32, learning_rate=1e-3, patience=0),
        ),
        clustering=Clustering(clusters=16, training=Training(epochs=1, batch_size=32, learning_rate=1e-4, patience=0)),
        qat=Training(epochs=1, batch_size=32, learning_rate=1e-4, patience=0),
        validation_fraction=0.2,
        max_drop_pp=10.0,
    ),
}
"""The recipes by name (README has their table), each a frozen dataclass of settings: what `configure` starts from."""


def suited(recipe: Recipe, data: str) -> Recipe:
    """Return a recipe with the distortions that suit a data set, where they are not those of handwriting.

    Clothes are more than a small network can learn, digits are not: with batch normalization it learns more of them.
    """
    if data != "fashion-mnist" or recipe.teacher is None:
        return recipe
    taught = dataclasses.replace(recipe.teacher.training, augmentation=_WORN)
    teacher = dataclasses.replace(recipe.teacher, training=taught, augmentation=_NUDGED)
    training = dataclasses.replace(recipe.training, batch_norm=True)
    return dataclasses.replace(recipe, training=training, teacher=teacher)
