"""The verdict that learning curves get: the word, the reason and the knob."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.config.settings import Training
from edgecnn.curves import verdict
from edgecnn.data import DataSet, load
from edgecnn.errors import GateError
from edgecnn.train import Fit, fit
from tests.contracts import taking

NAN = float("nan")


def epochs(
    losses: Sequence[float], val_losses: Sequence[float], top1: float = 0.98, val_top1: float | None = None
) -> list[dict[str, float]]:
    pairs = zip(losses, val_losses, strict=True)
    unseen = top1 if val_top1 is None else val_top1
    return [{"loss": a, "accuracy": top1, "val_loss": b, "val_accuracy": unseen} for a, b in pairs]


@pytest.mark.parametrize(
    ("history", "word"),
    [
        (epochs([2.3, 2.3, 2.3], [2.3, 2.3, 2.3], top1=0.11), "dead"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], top1=0.14), "dead"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], top1=0.15), "underfits"),
        (epochs([2.3, 2.25, 2.2], [2.2, 2.15, 2.1], top1=0.14), "unfinished"),  # slow, but it falls
        (epochs([2.9, 2.31, 2.3], [2.3, 2.3, 2.3], top1=0.11), "dead"),
        (epochs([NAN] * 3, [NAN] * 3), "diverged"),
        (epochs([0.5, 0.3, NAN], [0.3, 0.2, NAN]), "diverged"),
        (epochs([0.5, 0.3, 0.2], [0.3, float("inf"), 0.2]), "diverged"),
        (epochs([0.5, NAN], [0.3, 0.2], top1=0.11), "diverged"),
        (epochs([0.5, 0.3, 0.2, 0.1], [0.3, 0.2, 0.25, 0.3]), "overfits"),
        (epochs([0.5, 0.3, 0.2, 0.1], [0.3, 0.2, 0.2, 0.2], val_top1=0.8), "overfits"),
        (epochs([0.5, 0.4, 0.35, 0.3], [0.3, 0.2, 0.15, 0.1]), "unfinished"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.89, 0.89], top1=0.7), "underfits"),
        (epochs([0.3, 0.2, 0.15, 0.14], [0.2, 0.1, 0.101, 0.099]), "fits"),
        (epochs([0.5, 0.1], [0.3, 0.1]), "short"),
        (epochs([2.3], [2.3], top1=0.1), "short"),
        ([], "short"),
    ],
)
def test_curves_get_a_plain_verdict(history: list[dict[str, float]], word: str) -> None:
    judged = verdict(history, classes=10)
    assert judged.word == word
    assert str(judged).startswith(f"{word}: ")
    assert judged.sentence().endswith(".")
    assert bool(judged.knob) == (word not in ("fits", "short"))


@pytest.mark.parametrize(("top1", "word"), [(0.52, "dead"), (0.53, "underfits"), (0.72, "underfits")])
def test_chance_depends_on_the_number_of_classes(top1: float, word: str) -> None:
    assert verdict(epochs([0.6, 0.6, 0.6], [0.6, 0.6, 0.6], top1=top1), classes=2).word == word


def test_what_reads_at_chance_is_dead_however_many_it_gets_right() -> None:
    """94 of 100 images are of one class, which is all that it answers."""
    history = epochs([0.25, 0.23, 0.23], [0.23, 0.23, 0.23], top1=0.94)
    assert verdict(history, classes=2).word == "fits"
    judged = verdict(history, classes=2, at_chance=True)
    assert (judged.word, judged.hopeless) == ("dead", True)
    assert "chance level after 3 epochs (94.0% at best, 50.0% by guessing)" in judged.shows


def test_what_reads_at_chance_never_fits() -> None:
    """The training loss still falls, so that it is not dead yet."""
    history = epochs([0.3, 0.25, 0.22], [0.23, 0.22, 0.22], top1=0.94)
    assert verdict(history, classes=2).word == "fits"
    assert verdict(history, classes=2, at_chance=True).word == "underfits"


def test_what_shows_on_the_training_images_alone_is_not_dead() -> None:
    by_heart = epochs([0.5, 0.4, 0.4], [2.3, 2.3, 2.3], top1=0.94, val_top1=0.1)
    judged = verdict(by_heart, classes=10, at_chance=True)
    assert judged.word == "unfinished"
    assert "chance level" in judged.shows


def test_few_right_of_many_classes_is_learning_where_balanced_accuracy_says_so() -> None:
    history = epochs([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], top1=0.04)
    assert verdict(history, classes=100).word == "dead"
    assert verdict(history, classes=100, at_chance=False).word == "underfits"


@pytest.mark.parametrize(
    ("losses", "validation_losses", "hopeless"),
    [
        ([9, 8, 7, 6, 5, 4, 3, 2], [5, 3, 4, 5, 6, 7, 8, 9], True),
        ([9, 8, 7, 6, 5, 4, 3, 2], [5, 3, 3.1, 3.1, 3.2, 3.1, 3.2, 3.1], False),  # level, not climbing
        ([9, 8, 7, 6, 5, 4, 3, 2], [5, 4.5, 4, 3, 4, 5, 6, 7], False),  # too short to give up
        ([2, 2, 2, 2, 2, 2, 2, 2], [5, 3, 4, 5, 6, 7, 8, 9], False),  # the training loss does not fall either
        ([9, 8, 7, 6, 5, 4, 3, 2], [9, 8, 7, 6, 5, 4, 3, 2], False),
    ],
)
def test_overfitting_is_hopeless_after_six_epochs_behind_the_best(
    losses: list[float], validation_losses: list[float], hopeless: bool
) -> None:
    judged = verdict(epochs(losses, validation_losses, top1=0.9), classes=10)
    assert judged.hopeless is hopeless
    assert judged.word == "overfits" or not hopeless


def test_epochs_before_those_that_count_are_not_the_best() -> None:
    """While a pruning ramp rises, the loss does too."""
    history = epochs([0.1, 0.1, 0.05, 0.04, 0.03], [0.1, 0.5, 0.4, 0.39, 0.39])
    assert verdict(history, classes=10).word == "overfits"
    assert verdict(history, classes=10, best_epoch=3).word == "fits"
    assert verdict(history, classes=10, best_epoch=-1).word == "short"


def test_a_hundred_classes_that_died_are_named_with_rate_and_initializer() -> None:
    """he_uniform with a learning rate of 0.01: 1 % for twenty epochs."""
    judged = verdict(
        epochs([5.1, *[4.605] * 19], [4.606] * 20, top1=0.0103, val_top1=0.0098), classes=100, learning_rate=0.01,
        initializer="he_uniform",
    )  # fmt: skip
    assert (judged.word, judged.hopeless) == ("dead", True)
    assert judged.shows == "top-1 never left chance level in 20 epochs (1.0% at best, 1.0% by guessing)"
    assert judged.knob.startswith("lower the learning rate (it is 0.01), then the initializers (now he_uniform)")


def test_what_is_learned_by_heart_is_named_as_overfitting() -> None:
    """94 % of the training images, 63 % of the others, whether the validation loss climbs or only stays."""
    losses = list(np.linspace(3.0, 0.2, 20))
    for behind in ([1.6] * 12, list(np.linspace(1.6, 2.6, 12))):
        history = epochs(losses, [*np.linspace(3.0, 1.5, 8), *behind], top1=0.94, val_top1=0.63)
        judged = verdict(history, classes=100, learning_rate=1e-3)
        assert judged.word == "overfits"
        assert "it reads 94.0% of the images it trains on and 63.0% of the others" in judged.shows
        assert "dropout" in judged.knob


def test_a_gap_while_it_still_learns_is_no_overfitting() -> None:
    """In the first epochs the moving averages of batch normalization lag behind what training sees."""
    for validation_losses in ([2.2, 1.9, 1.7], [2.28, 2.26, 2.23]):
        judged = verdict(epochs([2.0, 1.5, 1.2], validation_losses, top1=0.5, val_top1=0.25), classes=10)
        assert judged.word == "unfinished"
    nothing_yet = verdict(epochs([2.0, 1.5, 1.2], [2.3, 2.31, 2.31], top1=0.72, val_top1=0.14), classes=10)
    assert nothing_yet.word == "unfinished"
    assert "batch normalization" in nothing_yet.knob


@pytest.fixture(scope="module")
def pairs() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a hundred classes of 28x28 pixels made of two digits, to train on and to validate with."""
    data = load("digits", validation_fraction=0.2)
    return two_digits(data, 600, seed=0), two_digits(data, 300, seed=1)


def two_digits(data: DataSet, number: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    split = data.validation if seed else data.train
    left, right = np.random.default_rng(seed).integers(0, len(split), (2, number))
    images = np.concatenate([split.images[left][:, :, ::2], split.images[right][:, :, ::2]], axis=2)
    return images, split.labels[left] * 10 + split.labels[right]


def trained(pairs: tuple, checkpoint: Path, training: Training) -> Fit:
    _tf.seed_everything(0)
    shape = (28, 28, 1)
    model = zoo.build("classes100", input_shape=shape, classes=100, initializer=training.initializer)
    return fit(model, *pairs, contract=taking(pairs[0][0]), training=training, seed=0, checkpoint=checkpoint)


def test_a_real_training_at_too_high_a_rate_dies_and_is_stopped(pairs: tuple, tmp_path: Path) -> None:
    """So few images give so few steps that 0.01 does not kill it; three times as much does."""
    page = zoo.PAGES["classes100"].training
    assert page is not None
    wild = replace(page, learning_rate=0.03, initializer="he_uniform", batch_size=16)
    with pytest.raises(GateError, match=r"fit: dead: .*1.0% by guessing\); lower the learning rate \(it is 0.03\)"):
        trained(pairs, tmp_path / "c.npz", wild)


def test_a_real_training_of_too_few_images_overfits(pairs: tuple, tmp_path: Path) -> None:
    page = zoo.PAGES["classes100"].training
    assert page is not None
    result = trained(pairs, tmp_path / "c.npz", replace(page, epochs=10, batch_size=16))
    assert result.verdict is not None
    assert result.verdict.word == "overfits", result.history
