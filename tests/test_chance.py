"""Balanced accuracy, its bootstrap interval, and what is chance."""

import time

import numpy as np
import pytest

from edgecnn.bench.chance import balanced_accuracy, chance_level, never_predicted


def labels_of(*counts: int) -> np.ndarray:
    """Return so many labels of each class, 0, 1, ..."""
    return np.repeat(np.arange(len(counts)), counts)


def test_a_constant_answer_is_chance_however_many_images_have_it() -> None:
    labels = labels_of(94, 6)
    for answer in (0, 1):
        found = balanced_accuracy(np.full(100, answer), labels, classes=2)
        assert (found.balanced_top1, found.at_chance) == (0.5, True)


@pytest.mark.parametrize("counts", [(1,) * 10, (5, 5), (1, 9), (10,), (0, 10), (2, 0, 8)])
def test_a_perfect_reading_of_ten_images_is_no_chance(counts: tuple[int, ...]) -> None:
    labels = labels_of(*counts)
    found = balanced_accuracy(labels, labels, classes=10)
    assert (found.balanced_low, found.balanced_top1, found.balanced_high, found.at_chance) == (1.0, 1.0, 1.0, False)


def test_guesses_and_shuffled_labels_are_chance() -> None:
    rng = np.random.default_rng(0)
    labels = labels_of(*[200] * 10)
    guessed = rng.integers(0, 10, len(labels))
    assert balanced_accuracy(guessed, labels, classes=10).at_chance
    assert balanced_accuracy(labels, rng.permutation(labels), classes=10).at_chance


def test_below_chance_is_chance_too() -> None:
    """Labels in another order: the network reads every image, and is right about none."""
    labels = labels_of(*[50] * 4)
    found = balanced_accuracy((labels + 1) % 4, labels, classes=4)
    assert (found.balanced_high, found.at_chance) == (0.0, True)


def test_as_much_as_first_weights_read_is_chance_and_some_more_is_not() -> None:
    """13.97 % of 6,000 images, of which a guess reads 10: an interval of 1/classes alone would let it pass."""
    labels = labels_of(*[600] * 10)
    for right, at_chance in ((84, True), (150, False)):
        predicted = np.concatenate([[c] * right + [(c + 1) % 10] * (600 - right) for c in range(10)])
        found = balanced_accuracy(predicted, labels, classes=10)
        assert found.balanced_low > 0.1
        assert found.at_chance is at_chance


@pytest.mark.parametrize(("classes", "level"), [(2, 0.525), (10, 0.145), (100, 0.015)])
def test_chance_level_depends_on_the_number_of_classes(classes: int, level: float) -> None:
    assert chance_level(classes) == pytest.approx(level)


def test_classes_without_images_do_not_count() -> None:
    """Of three classes in ten a constant answer reads a third, which is far above 1/10 and still knows nothing."""
    labels = labels_of(40, 0, 0, 40, 0, 0, 0, 0, 0, 40)
    found = balanced_accuracy(np.full(120, 3), labels, classes=10)
    assert found.balanced_top1 == pytest.approx(1 / 3)
    assert found.at_chance
    assert not balanced_accuracy(labels, labels, classes=10).at_chance


def test_one_class_alone_shows_what_is_wrong() -> None:
    assert balanced_accuracy(np.full(5, 2), np.full(5, 3), classes=10).at_chance


def test_the_interval_is_that_of_resampled_images() -> None:
    """Against images drawn one by one, with their predictions."""
    rng = np.random.default_rng(1)
    labels = labels_of(5, 40, 150, 300)
    predicted = np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, 4, len(labels)))
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, len(labels), len(labels))
        right = predicted[rows] == labels[rows]
        drawn.append(np.mean([right[labels[rows] == c].mean() for c in np.unique(labels[rows])]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    found = balanced_accuracy(predicted, labels, classes=4)
    assert found.balanced_top1 == pytest.approx(np.mean([(predicted == labels)[labels == c].mean() for c in range(4)]))
    assert (found.balanced_low, found.balanced_high) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))
    assert found == balanced_accuracy(predicted, labels, classes=4)


def test_ten_thousand_images_of_a_hundred_classes_take_no_time() -> None:
    labels = np.random.default_rng(2).integers(0, 100, 10_000)
    begun = time.process_time()
    balanced_accuracy(labels[::-1], labels, classes=100)
    assert time.process_time() - begun < 1


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="0 images"):
        balanced_accuracy(np.zeros(0, np.int64), np.zeros(0, np.int64), classes=2)


def test_classes_that_are_never_predicted() -> None:
    labels, predicted = np.array([0, 0, 2, 3, 5]), np.array([0, 4, 0, 3, 0])
    assert never_predicted(predicted, labels, classes=6) == [2, 5]
    assert never_predicted(labels, labels, classes=6) == []
