"""Fitting: deterministic, resumable, best weights by validation, no state shared between fits."""

from pathlib import Path

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.config import Training
from edgecnn.data import DataSet, load
from edgecnn.errors import ArtifactError, GateError
from edgecnn.train import EarlyStopping, Fit, fit

TRAINING = Training(epochs=3, batch_size=64, learning_rate=2e-3, patience=0)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits", seed=0, validation_fraction=0.2)


def trained(
    data: DataSet, checkpoint: Path, training: Training = TRAINING, **options: object
) -> tuple[Fit, list[np.ndarray]]:
    _tf.seed_everything(0)
    model = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)
    pairs = [(split.images[:256], split.labels[:256]) for split in (data.train, data.validation)]
    result = fit(model, *pairs, training=training, seed=0, checkpoint=checkpoint, **options)  # type: ignore[arg-type]
    return result, model.get_weights()


class Interrupted(Exception):
    pass


def interrupt_in_epoch(number: int):
    def observe(done: int, total: int, metrics: dict[str, float]) -> None:
        if done == number * 4 + 2:  # 256 images, batches of 64: in the middle of the epoch
            raise Interrupted

    return observe


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_fit_interrupted_in_any_epoch_ends_the_same(data: DataSet, tmp_path: Path, epoch: int) -> None:
    whole, expected = trained(data, tmp_path / "whole.npz")
    with pytest.raises(Interrupted):
        trained(data, tmp_path / "cut.npz", observe=interrupt_in_epoch(epoch))
    steps = []
    resumed, got = trained(data, tmp_path / "cut.npz", observe=lambda done, total, metrics: steps.append(done))
    assert steps[0] == epoch * 4 + 1, "finished epochs are not trained again"
    assert resumed == whole
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_a_checkpoint_of_other_settings_is_not_used(data: DataSet, tmp_path: Path) -> None:
    trained(data, tmp_path / "c.npz")
    other = Training(epochs=1, batch_size=64, learning_rate=1e-4, patience=0)
    resumed, got = trained(data, tmp_path / "c.npz", other)
    fresh, expected = trained(data, tmp_path / "d.npz", other)
    assert resumed == fresh
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_says_what_to_do(data: DataSet, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"c.npz: damaged .*; remove it to train from the start"):
        trained(data, tmp_path / "c.npz")


def test_the_best_weights_are_restored(data: DataSet, tmp_path: Path) -> None:
    # A learning rate so high that the loss gets worse again.
    result, weights = trained(
        data, tmp_path / "c.npz", Training(epochs=4, batch_size=32, learning_rate=0.03, patience=0)
    )
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses))
    model = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)
    model.set_weights(weights)
    top1 = (_tf.predict(model, data.validation.images[:256]).argmax(axis=1) == data.validation.labels[:256]).mean()
    assert top1 == pytest.approx(result.history[result.best_epoch]["val_accuracy"])


def test_a_training_that_diverges_is_refused(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="was never a number; lower the learning rate"):
        trained(data, tmp_path / "c.npz", Training(epochs=2, batch_size=64, learning_rate=float("inf"), patience=0))


def test_two_fits_share_nothing(data: DataSet, tmp_path: Path) -> None:
    first, _ = trained(data, tmp_path / "a.npz")
    second, _ = trained(data, tmp_path / "b.npz", Training(epochs=1, batch_size=64, learning_rate=1e-5, patience=1))
    assert first.best_epoch == 2
    assert second.best_epoch == 0, "a worse fit keeps its own best epoch, not an earlier fit's"


def test_early_stopping_waits_for_the_first_epoch_that_counts() -> None:
    stopping = EarlyStopping(patience=2, first_epoch=3)
    assert [stopping.improved(epoch, loss) for epoch, loss in enumerate([0.1, 0.1, 0.1, 0.9, 0.95, 0.91])] == [
        False, False, False, True, False, False,
    ]  # fmt: skip
    assert [stopping.should_stop(epoch) for epoch in (3, 4, 5)] == [False, False, True]


def test_a_loss_that_is_not_a_number_is_never_the_best() -> None:
    assert not EarlyStopping(patience=1).improved(0, float("nan"))
