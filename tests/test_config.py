"""Recipes, the settings of the stages, and the configurations that are made of them."""

from dataclasses import replace
from typing import Any

import pytest

from edgecnn.config import configure
from edgecnn.config.recipes import RECIPES
from edgecnn.config.settings import Clustering, Pruning, Training
from edgecnn.errors import ConfigError


def test_seed_recipe_is_that_of_its_source() -> None:
    training = RECIPES["seed"].training
    assert (training.learning_rate, training.batch_size) == (0.001, 128)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"data": "cifar"},
            "data: 'cifar' is unknown; expected one of: a path, digits, fashion-mnist, mnist, two-digits",
        ),
        ({"recipe": "best"}, "recipe: 'best' is unknown; expected one of: improved, page, quick, seed, small"),
        ({"epochs": 0}, "epochs: 0; expected at least 1"),
        ({"sparsity": 1.0}, r"pruning.final_sparsity: 1.0; expected a fraction in \[0, 1\)"),
        ({"sparsity": float("nan")}, "pruning.final_sparsity: nan; expected"),
        ({"seed": -1}, "seed: -1; expected 0 to 4294967295"),
        ({"seed": 2**32}, "seed: 4294967296; expected 0 to 4294967295"),
        ({"max_drop_pp": float("nan")}, "max-drop: nan; expected at least 0"),
        ({"calibration": "kl"}, "calibration: 'kl' is unknown; expected one of: minmax, mse, percentile"),
        ({"calibration_images": 0}, "calibration-images: 0; expected at least 1"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_expected(asked: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configure(**asked)  # type: ignore[arg-type]


EPOCHS = Training(epochs=3, batch_size=32, learning_rate=1e-3, patience=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer: 'sgd' is unknown; expected one of: adadelta, adam"),
        (
            {"initializer": "zeros"},
            "initializer: 'zeros' is unknown; expected one of: glorot_normal, glorot_uniform, he",
        ),
        ({"optimizer": "adadelta", "weight_decay": 0.1}, "weight_decay: 0.1 with adadelta; expected adam"),
    ],
)
def test_an_optimizer_or_initializer_that_is_not_there_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(EPOCHS, **values)


PLAIN = {"initial_sparsity": 0.0, "final_sparsity": 0.5, "ramp_epochs": 1, "frequency": 10, "training": EPOCHS}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"method": "l0"},
            "pruning.method: 'l0' is unknown; expected one of: 2:4, block, global, magnitude, structured",
        ),
        ({"rounds": 0}, "pruning.rounds: 0; expected at least 1"),
        ({"final_sparsity": -0.1}, r"pruning.final_sparsity: -0.1; expected a fraction in \[0, 1\)"),
        ({"initial_sparsity": 0.6}, "pruning.initial_sparsity: 0.6; expected at most pruning.final_sparsity, 0.5"),
        ({"ramp_epochs": 0}, "pruning.ramp_epochs: 0; expected 1 to 2"),
        ({"ramp_epochs": 3}, "pruning.ramp_epochs: 3; expected 1 to 2"),
        ({"method": "2:4", "final_sparsity": 0.6}, "2:4 with sparsity 0.6 in 1 rounds; expected 0.5 in 1 round"),
        ({"method": "2:4", "rounds": 2}, "leave --sparsity and --rounds out"),
    ],
)
def test_a_pruning_that_cannot_be_is_refused(asked: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Pruning(**{**PLAIN, **asked})  # type: ignore[arg-type]


def test_every_round_of_pruning_takes_the_same_share_of_what_is_left() -> None:
    pruning = Pruning(**{**PLAIN, "final_sparsity": 0.875, "rounds": 3})  # type: ignore[arg-type]
    assert [pruning.sparsity_after(done) for done in range(4)] == pytest.approx([0, 0.5, 0.75, 0.875])
    assert pruning.sparsity_after(3) == 0.875


@pytest.mark.parametrize("clusters", [1, 256])
def test_clusters_must_be_int8_values(clusters: int) -> None:
    with pytest.raises(ConfigError, match=f"clusters: {clusters}; expected 2 to 255"):
        Clustering(clusters=clusters, training=EPOCHS)


def test_a_ramp_as_long_as_the_training_is_refused() -> None:
    training = Training(epochs=4, batch_size=8, learning_rate=0.1, patience=0)
    with pytest.raises(ConfigError, match="ramp_epochs: 4; expected 1 to 3"):
        Pruning(initial_sparsity=0.0, final_sparsity=0.5, ramp_epochs=4, frequency=1, training=training)


def test_a_network_that_learns_clothes_has_batch_norm_and_one_that_learns_digits_has_none() -> None:
    clothes, digits = (configure(data=data, recipe="strong") for data in ("fashion-mnist", "mnist"))
    assert (clothes.training.batch_norm, digits.training.batch_norm) == (True, False)
    assert replace(clothes.training, batch_norm=False) == digits.training


def test_a_teacher_of_clothes_sees_them_mirrored_and_one_of_digits_does_not() -> None:
    for recipe in ("strong", "strong-bn"):
        clothes, digits = (configure(data=data, recipe=recipe).teacher for data in ("fashion-mnist", "mnist"))
        assert clothes is not None
        assert digits is not None
        assert clothes.training.augmentation is not None
        assert digits.training.augmentation is not None
        assert (clothes.training.augmentation.mirror, clothes.augmentation.elastic_px) == (True, 0)
        assert (digits.augmentation.mirror, digits.training.augmentation.mirror) == (False, False)
    assert configure(data="fashion-mnist", recipe="seed").training == configure(data="mnist", recipe="seed").training
