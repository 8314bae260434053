"""Fitting: deterministic, resumable, best weights by validation, no state shared between fits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.config.settings import Augmentation, Distillation, Training
from edgecnn.data import DataSet, load
from edgecnn.errors import ArtifactError, ConfigError, GateError
from edgecnn.train import EarlyStopping, Fit, Lesson, Lessons, fit, lesson_bytes, make_lesson
from edgecnn.train.augmentation import augmented
from edgecnn.train.fit import _settled_after
from edgecnn.train.objective import accuracy, distillation_loss, smoothed, with_teacher
from tests.contracts import taking

TRAINING = Training(epochs=3, batch_size=64, learning_rate=2e-3, patience=0)
DISTORTED = Augmentation(rotate_deg=10.0, scale=0.1, shear=0.1, shift_px=2.0, elastic_px=1.0, elastic_grid=5)
ALL_EARS, HALF_LISTENING = (Distillation(weight=weight, temperature=1.0) for weight in (1.0, 0.5))
UNMOVED = Augmentation(rotate_deg=0.0, scale=0.0, shear=0.0, shift_px=0.0, elastic_px=0.0, elastic_grid=5)
STRONG = replace(
    TRAINING, warmup_epochs=0.5, schedule="cosine", weight_decay=1e-4, label_smoothing=0.05, average_decay=0.9,
    dropout=0.2, augmentation=DISTORTED,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits", validation_fraction=0.2)


def trained(
    data: DataSet, checkpoint: Path, training: Training = TRAINING, **options: object
) -> tuple[Fit, list[np.ndarray]]:
    _tf.seed_everything(0)
    model = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)
    pairs = [(split.images[:256], split.labels[:256]) for split in (data.train, data.validation)]
    taken = taking(pairs[0][0])
    result = fit(model, *pairs, contract=taken, training=training, seed=0, checkpoint=checkpoint, **options)  # type: ignore[arg-type]
    return result, model.get_weights()


def test_images_in_a_mapped_file_train_the_same_network(data: DataSet, tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "images", np.uint8, "w+", shape=data.train.images.shape)
    mapped[:] = data.train.images
    in_file = replace(data, train=replace(data.train, images=mapped))
    expected, got = (trained(one, tmp_path / f"{n}.npz", STRONG) for n, one in enumerate((data, in_file)))
    assert got[0] == expected[0]
    assert all(np.array_equal(a, b) for a, b in zip(expected[1], got[1], strict=True))


class Interrupted(Exception):
    pass


def interrupt_in_epoch(number: int):
    def observe(done: int, total: int, metrics: dict[str, float]) -> None:
        if done == number * 4 + 2:  # 256 images, batches of 64: in the middle of the epoch
            raise Interrupted

    return observe


@pytest.mark.parametrize(("epoch", "training"), [(0, TRAINING), (1, STRONG), (2, TRAINING)])
def test_a_fit_interrupted_in_any_epoch_ends_the_same(
    data: DataSet, tmp_path: Path, epoch: int, training: Training
) -> None:
    whole, expected = trained(data, tmp_path / "whole.npz", training)
    with pytest.raises(Interrupted):
        trained(data, tmp_path / "cut.npz", training, observe=interrupt_in_epoch(epoch))
    steps = []
    resumed, got = trained(
        data, tmp_path / "cut.npz", training, observe=lambda done, total, metrics: steps.append(done)
    )
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
    # A learning rate so high that the loss does not just fall.
    result, weights = trained(
        data, tmp_path / "c.npz", Training(epochs=4, batch_size=32, learning_rate=0.01, patience=0)
    )
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses))
    model = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)
    model.set_weights(weights)
    top1 = (
        _tf.predict(model, data.validation.images[:256], taking(data.validation.images[:256])).argmax(axis=1)
        == data.validation.labels[:256]
    ).mean()
    assert top1 == pytest.approx(result.history[result.best_epoch]["val_accuracy"])


def test_a_training_that_diverges_is_refused(data: DataSet, tmp_path: Path) -> None:
    """After two epochs of forty, and also where there is only one."""
    for epochs, file in ((40, "a.npz"), (1, "b.npz")):
        wild = Training(epochs=epochs, batch_size=64, learning_rate=float("inf"), patience=0)
        with pytest.raises(
            GateError, match=r"fit: diverged: at epoch 1 the loss was no number .*; lower the learning rate \(it is inf"
        ):
            trained(data, tmp_path / file, wild)


def test_a_training_that_learns_nothing_is_stopped_early_with_the_likely_cause(data: DataSet, tmp_path: Path) -> None:
    epochs: list[int] = []
    idle = Training(epochs=40, batch_size=64, learning_rate=0.0, patience=0)
    for _ in range(2):  # asked again it goes on from the checkpoint, and is refused again
        with pytest.raises(
            GateError,
            match=r"fit: dead: top-1 never left chance level in 3 epochs \(.*10.0% by guessing\); raise the learning",
        ):
            trained(data, tmp_path / "c.npz", idle, observe=lambda done, total, metrics: epochs.append(done // 4))
    assert max(epochs) == 3


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


def test_what_is_kept_is_the_average_of_the_weights(data: DataSet, tmp_path: Path) -> None:
    _, plain = trained(data, tmp_path / "a.npz", replace(TRAINING, epochs=1))
    _, averaged = trained(data, tmp_path / "b.npz", replace(TRAINING, epochs=1, average_decay=0.99))
    _tf.seed_everything(0)
    start = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10).get_weights()
    moved = [sum(float(np.abs(w - s).sum()) for w, s in zip(end, start, strict=True)) for end in (plain, averaged)]
    assert 0 < moved[1] < 0.2 * moved[0], "four steps into an average over a hundred"
    _, twice = trained(data, tmp_path / "c.npz", replace(TRAINING, epochs=2, average_decay=0.99))
    again = sum(float(np.abs(w - s).sum()) for w, s in zip(twice, averaged, strict=True))
    assert again < 0.2 * moved[0], "the second epoch begins at the first one's average"


def test_nothing_is_distorted_by_an_augmentation_of_zero(data: DataSet) -> None:
    images = data.train.images[:16].astype(np.float32) / 255
    seed = _tf.tf.constant([3, 4], _tf.tf.int64)
    assert np.allclose(augmented(images, augmentation=UNMOVED, seed=seed), images, atol=1e-5)


def test_the_same_seed_distorts_the_same_way_and_another_otherwise(data: DataSet) -> None:
    images = data.train.images[:16].astype(np.float32) / 255
    once, again, other = (
        augmented(images, augmentation=DISTORTED, seed=_tf.tf.constant(seed, _tf.tf.int64)).numpy()
        for seed in ([3, 4], [3, 4], [3, 5])
    )
    assert (once == again).all()
    assert (once != other).any()
    assert once.shape == images.shape
    assert 0 <= once.min() <= once.max() <= 1
    assert np.abs(once.sum() / images.sum() - 1) < 0.25, "a distorted digit keeps its ink, nearly"


def test_graded_distortions_leave_some_images_nearly_as_they_were(data: DataSet) -> None:
    images = np.repeat(data.train.images[:1], 400, axis=0).astype(np.float32) / 255
    seed = _tf.tf.constant([3, 4], _tf.tf.int64)
    plain, graded = (
        np.abs(augmented(images, augmentation=replace(DISTORTED, graded=graded), seed=seed).numpy() - images).sum(
            axis=(1, 2, 3)
        )
        for graded in (False, True)
    )
    assert graded.mean() < 0.8 * plain.mean()
    assert graded.min() < 0.2 * plain.min()
    assert graded.max() > 0.5 * plain.max()


def test_half_of_the_images_are_mirrored(data: DataSet) -> None:
    images = np.repeat(data.train.images[:1], 400, axis=0).astype(np.float32) / 255
    seen = augmented(images, augmentation=replace(UNMOVED, mirror=True), seed=_tf.tf.constant([1, 2], _tf.tf.int64))
    turned = [np.allclose(one, images[0, :, ::-1], atol=1e-5) for one in seen.numpy()]
    kept = [np.allclose(one, images[0], atol=1e-5) for one in seen.numpy()]
    assert [a != b for a, b in zip(turned, kept, strict=True)] == [True] * 400
    assert 160 <= sum(turned) <= 240


def test_a_shift_moves_the_ink_by_as_much_as_is_allowed() -> None:
    image = np.zeros((64, 28, 28, 1), np.float32)
    image[:, 14, 14] = 1
    shifted = augmented(image, augmentation=replace(UNMOVED, shift_px=3.0), seed=_tf.tf.constant([1, 2], _tf.tf.int64))
    rows, columns = (np.nonzero(shifted.numpy()[..., 0])[axis] for axis in (1, 2))
    for places in (rows, columns):
        assert places.min() >= 14 - 4
        assert places.max() <= 14 + 4
        assert places.max() - places.min() >= 4


def test_distillation_is_as_published() -> None:
    """By hand for one image: T = 2 softens logits by half, and the soft part counts T^2 times."""
    hard, taught, said = np.array([[0.0, 1.0]]), np.array([[0.2, 0.8]]), np.array([[0.4, 0.6]])

    def softened(p: np.ndarray) -> np.ndarray:
        return np.sqrt(p) / np.sqrt(p).sum()

    soft = -(softened(taught) * np.log(softened(said))).sum()
    expected = 0.3 * -np.log(0.6) + 0.7 * 4 * soft
    both = with_teacher(_tf.tf.constant(hard, _tf.tf.float32), _tf.tf.constant(taught, _tf.tf.float32))
    said = _tf.tf.constant(said, _tf.tf.float32)
    got = distillation_loss(Distillation(weight=0.7, temperature=2.0))(both, said)
    assert float(got[0]) == pytest.approx(expected, rel=1e-4)
    assert float(accuracy(both, said)[0]) == 1


def test_smoothed_labels_add_up_to_one() -> None:
    targets = smoothed(np.array([2]), classes=4, smoothing=0.2).numpy()
    assert targets.sum() == pytest.approx(1)
    assert targets[0].tolist() == pytest.approx([0.05, 0.05, 0.85, 0.05])


def always(label: int, classes: int) -> Callable[..., object]:
    """Return a teacher that sees one class everywhere."""
    return lambda images, training: _tf.tf.one_hot(_tf.tf.fill([_tf.tf.shape(images)[0]], label), classes)


def taught(teachers: list[Callable[..., object]], images: np.ndarray, **options: object) -> Lesson:
    """Return the lesson of teachers that take pixels as 0..1."""
    contracts = [taking(images)] * len(teachers)
    return make_lesson(teachers, images, contracts=contracts, **options)  # type: ignore[arg-type]


def lessons(folder: Path, data: DataSet, teacher: Callable[..., object], *, images: int = 256) -> Lessons:
    """Return two views of the first training images with the answers of `teacher`."""
    paths = tuple(folder / f"{view}.npz" for view in range(2))
    for view, path in enumerate(paths):
        lesson = taught([teacher], data.train.images[:images], augmentation=DISTORTED, view=view)
        path.write_bytes(lesson_bytes(lesson, identity="made for a test"))
    return Lessons(paths, "made for a test")


def test_a_teacher_is_listened_to(data: DataSet, tmp_path: Path) -> None:
    taught = {"lessons": lessons(tmp_path, data, always(0, 10)), "distillation": ALL_EARS}
    # Two epochs: what learns nothing of the labels is refused after the third.
    result, _ = trained(data, tmp_path / "c.npz", replace(TRAINING, epochs=2), **taught)
    zeros = float((data.validation.labels[:256] == 0).mean())
    assert result.history[-1]["val_accuracy"] == pytest.approx(zeros), "its teacher sees zeros everywhere"


def test_a_fit_of_lessons_interrupted_ends_the_same(data: DataSet, tmp_path: Path) -> None:
    taught = {"lessons": lessons(tmp_path, data, always(0, 10)), "distillation": HALF_LISTENING}
    two_epochs = replace(TRAINING, epochs=2)
    whole, expected = trained(data, tmp_path / "whole.npz", two_epochs, **taught)
    with pytest.raises(Interrupted):
        trained(data, tmp_path / "cut.npz", two_epochs, **taught, observe=interrupt_in_epoch(1))
    resumed, got = trained(data, tmp_path / "cut.npz", two_epochs, **taught)
    assert resumed == whole
    assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


@pytest.mark.parametrize(
    ("classes", "images", "message"),
    [
        (7, 256, "the teacher answers with 7 classes, the network with 10; give a teacher of the same data set"),
        (10, 100, r"the lessons are of images \[100, 28, 28, 1\], the training images \[256, 28, 28, 1\]"),
    ],
)
def test_lessons_of_another_data_set_are_refused(
    data: DataSet, tmp_path: Path, classes: int, images: int, message: str
) -> None:
    taught = {"lessons": lessons(tmp_path, data, always(0, classes), images=images), "distillation": ALL_EARS}
    with pytest.raises(ConfigError, match=message):
        trained(data, tmp_path / "c.npz", **taught)


def test_a_lesson_holds_the_mean_of_the_answers_to_what_it_shows(data: DataSet) -> None:
    images = data.train.images[:600]  # more than a batch
    lesson = taught([always(0, 10), always(3, 10)], images, augmentation=DISTORTED, view=0)
    assert lesson.images.shape == images.shape
    assert lesson.images.dtype == np.uint8
    assert (lesson.answers[:, [0, 3]] == 0.5).all()
    again, other = (taught([always(0, 10)], images, augmentation=DISTORTED, view=view) for view in (0, 1))
    assert np.array_equal(lesson.images, again.images), "a view is the same whoever answers"
    assert not np.array_equal(lesson.images, other.images)
    assert np.array_equal(taught([always(0, 10)], images, augmentation=UNMOVED, view=0).images, images)


def test_a_lesson_that_is_damaged_or_of_another_teacher_is_refused(data: DataSet, tmp_path: Path) -> None:
    made = lessons(tmp_path, data, always(0, 10))
    with pytest.raises(ArtifactError, match=r"0.npz: made by another teacher or of other images; remove its folder"):
        Lessons(made.paths, "of another")[0]
    content = made.paths[0].read_bytes()
    made.paths[0].write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    with pytest.raises(ArtifactError, match=r"0.npz: damaged .*; remove it to make it again"):
        made[0]


def test_a_training_that_overfits_is_stopped_and_keeps_its_best_weights(data: DataSet, tmp_path: Path) -> None:
    """Forty images with wrong labels can be learned by heart, which says nothing of others."""
    _tf.seed_everything(0)
    model = zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)
    few = data.train.images[:40], (data.train.labels[:40] + np.arange(40)) % 10
    training = Training(epochs=60, batch_size=20, learning_rate=3e-3, patience=0, dropout=0.0)
    validation = data.validation.images[:64], data.validation.labels[:64]
    result = fit(
        model, few, validation, contract=taking(few[0]), training=training, seed=0, checkpoint=tmp_path / "c.npz"
    )
    assert result.stopped is not None
    assert result.stopped.startswith("overfits: after epoch")
    assert len(result.history) < 60
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses))


def test_a_network_with_batch_normalization_is_not_judged_before_its_averages_are_those_of_the_images() -> None:
    shape = {"input_shape": (28, 28, 1), "classes": 10}
    assert _settled_after(zoo.build("edge25k", **shape), steps=36) == 13, "0.99 ** (36 * 13) is below 1 %"
    assert _settled_after(zoo.build("edge25k", **shape), steps=500) == 1
    assert _settled_after(zoo.build("edge35k", **shape), steps=36) == 0
