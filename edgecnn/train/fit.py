"""Fit a Keras classifier: seeded, resumable after a kill, best weights by validation loss.

Everything random in an epoch (order of the images, their distortion, dropout) is a function of (seed, epoch), and a
checkpoint after each epoch holds weights, optimizer state and the early-stopping state. A fit that was killed and
started again therefore ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import keras, network_input, predict, tf, unit_tensor
from edgecnn.artifact import library_versions, write_atomic
from edgecnn.config.settings import Distillation, Training
from edgecnn.curves import Verdict, verdict
from edgecnn.device.contract import LOGITS, Contract
from edgecnn.errors import ArtifactError, ConfigError, GateError
from edgecnn.train.augmentation import augmented
from edgecnn.train.lessons import Lesson, Lessons
from edgecnn.train.objective import accuracy, distillation_loss, smoothed, with_teacher

# Called with (steps done, steps in all, metrics so far); for progress bars.
Observer = Callable[[int, int, dict[str, float]], None]


@dataclass
class EarlyStopping:
    """The best epoch so far and how long ago it was; made afresh for every fit, saved in its checkpoints.

    Reusing one for several fits is a known trap: the best epoch of an earlier model is remembered, and the
    next model gets its first epoch's weights "restored".
    """

    patience: int
    first_epoch: int = 0  # earlier epochs do not compete (a pruning ramp has not reached its sparsity yet)
    best_loss: float = float("inf")
    best_epoch: int = -1

    def improved(self, epoch: int, loss: float) -> bool:
        """Note `loss` of `epoch`; return whether it is the best that counts."""
        if epoch < self.first_epoch or not loss < self.best_loss:
            return False
        self.best_loss, self.best_epoch = loss, epoch
        return True

    def should_stop(self, epoch: int) -> bool:
        """Return whether `patience` epochs have passed without a better one."""
        return self.patience > 0 and epoch - max(self.best_epoch, self.first_epoch - 1) >= self.patience


@dataclass
class Fit:
    """How a fit went: one entry an epoch (loss, accuracy, val_loss, val_accuracy), which epoch was kept, the verdict.

    `stopped` says why it ended before its last epoch, when that was for more than patience.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped: str | None = None
    verdict: Verdict | None = None


def fit(
    model: Any,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    contract: Contract,
    training: Training,
    seed: int,
    checkpoint: Path,
    first_epoch: int = 0,
    lessons: Lessons | None = None,
    distillation: Distillation | None = None,
    callbacks: Sequence[Any] = (),
    observe: Observer = lambda done, total, metrics: None,
) -> Fit:
    """Train `model` in place and leave it with its best weights by validation loss.

    Images are uint8 [N, H, W, C], given to the network as the `contract` says, labels int64 [N]. Epochs before
    `first_epoch` do not compete for the best.
    With `lessons`, of the same images in the same order, the epochs take their views in turn and learn from the
    teacher's answers as the `distillation` says. A `checkpoint` of the same settings is continued from; the file is the
    caller's to remove once the result is safe. Raises `GateError` when the loss stops being a number, or nothing is
    learned in the first epochs, saying the likely cause. A fit that overfits is stopped, and keeps its best weights.
    """
    if lessons is not None:
        _check_lessons(lessons[0], model, train[0])
    steps = -(-len(train[0]) // training.batch_size)
    _set_dropout(model, training.dropout)
    _compile(model, training, steps, distillation, contract)
    stopping = EarlyStopping(training.patience, first_epoch)
    result = Fit()
    taught = [distillation and asdict(distillation), lessons and [lessons.identity, len(lessons)]]
    identity = _identity(model, [asdict(training), *taught, seed, first_epoch], train[0])
    best = _resume(model, checkpoint, identity, stopping, result)
    progress = _Progress(steps, training.epochs, observe)
    settled = _settled_after(model, steps)
    for epoch in range(len(result.history), training.epochs):
        # Of a checkpoint too: what was refused is not made good by asking again.
        judged = _judged(result.history, stopping, model, training)
        if epoch >= settled or judged.word == "diverged":
            _refuse_useless(judged)
            if result.history and stopping.should_stop(epoch - 1):
                break
            if judged.hopeless:
                result.stopped = str(judged)
                break
        _reseed(model, seed, epoch)
        order = np.random.default_rng((seed, epoch)).permutation(len(train[0]))
        lesson = lessons[epoch % len(lessons)] if lessons else None
        batches = _batches(*train, order, model, contract, training, (seed, epoch), lesson)
        progress.begin(epoch)
        fitted = model.fit(batches, epochs=epoch + 1, initial_epoch=epoch, verbose=0, callbacks=[*callbacks, progress])
        row = {key: float(values[0]) for key, values in fitted.history.items()}
        loss, top1 = _evaluate(model, *validation, contract)
        result.history.append({**row, "val_loss": loss, "val_accuracy": top1})
        if stopping.improved(epoch, loss):
            best = model.get_weights()
        _save(model, checkpoint, identity, stopping, result, best)
        progress.end(result.history[-1])
    result.verdict = _judged(result.history, stopping, model, training)
    _refuse_useless(result.verdict)
    progress.finish()
    if best is None:  # an epoch or two that were no numbers, too few to be refused above
        raise GateError(f"fit: {result.verdict}")
    model.set_weights(best)
    result.best_epoch = stopping.best_epoch
    return result


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]
    """Counts steps over all epochs for the observer."""

    def __init__(self, steps: int, epochs: int, observe: Observer) -> None:
        super().__init__()
        self._steps, self._total, self._observe = steps, steps * epochs, observe
        self._done = 0
        self._metrics: dict[str, float] = {}

    def begin(self, epoch: int) -> None:
        self._done = epoch * self._steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._done += 1
        if self._done < self._total:  # the last step is reported with its epoch's metrics
            self._observe(self._done, self._total, self._metrics)

    def end(self, metrics: dict[str, float]) -> None:
        self._metrics = metrics
        self._observe(self._done, self._total, metrics)

    def finish(self) -> None:
        """Report all steps as done, also those that early stopping left out."""
        self._observe(self._total, self._total, self._metrics)


def _settled_after(model: Any, steps: int) -> int:
    """Return after how many epochs of so many `steps` the averages of batch normalization are those of the images.

    They begin at 0 and 1, and what is left of that after n steps is momentum^n. Until it is 1 % validation images are
    read worse than the network can, and say neither that it overfits nor that it is dead.
    """
    momenta = [layer.momentum for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return max((ceil(log(0.01) / log(momentum) / steps) for momentum in momenta if 0 < momentum < 1), default=0)


def _judged(history: list[dict[str, float]], stopping: EarlyStopping, model: Any, training: Training) -> Verdict:
    """Return what the curves say so far."""
    return verdict(
        history,
        classes=model.output_shape[-1],
        best_epoch=stopping.best_epoch,
        learning_rate=training.learning_rate,
        initializer=training.initializer,
    )


def _refuse_useless(judged: Verdict) -> None:
    """Raise `GateError` when nothing that is worth keeping will come of a training."""
    if judged.hopeless and judged.word in ("dead", "diverged"):
        raise GateError(f"fit: {judged}")


def _compile(model: Any, training: Training, steps: int, distillation: Distillation | None, contract: Contract) -> None:
    # At the end of each `Model.fit`, which here is an epoch, Keras puts the average in the place of the weights.
    averaging = {"use_ema": True, "ema_momentum": training.average_decay} if training.average_decay else {}
    rate = _learning_rate(training, steps)
    if training.optimizer == "adadelta":
        optimizer = keras.optimizers.Adadelta(rate, **averaging)
    elif training.weight_decay:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=training.weight_decay, **averaging)
    else:
        optimizer = keras.optimizers.Adam(rate, **averaging)
    from_logits = contract.scores == LOGITS
    if distillation is not None:
        model.compile(
            optimizer=optimizer, loss=distillation_loss(distillation, from_logits=from_logits), metrics=[accuracy]
        )
    else:
        losses = keras.losses
        kind = losses.CategoricalCrossentropy if training.label_smoothing else losses.SparseCategoricalCrossentropy
        model.compile(optimizer=optimizer, loss=kind(from_logits=from_logits), metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)  # its variables exist before a checkpoint sets them


def _learning_rate(training: Training, steps: int) -> Any:
    """Return the learning rate, or the schedule of it by step, which the optimizer counts and a checkpoint holds."""
    if training.schedule == "constant":
        return training.learning_rate
    warmup = round(training.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else training.learning_rate,
        training.epochs * steps - warmup,
        warmup_target=training.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def _check_lessons(lesson: Lesson, model: Any, images: NDArray[np.uint8]) -> None:
    if lesson.answers.shape[1] != model.output_shape[-1]:
        raise ConfigError(
            f"fit: the teacher answers with {lesson.answers.shape[1]} classes, the network with "
            f"{model.output_shape[-1]}; give a teacher of the same data set"
        )
    if lesson.images.shape != images.shape:
        raise ConfigError(
            f"fit: the lessons are of images {list(lesson.images.shape)}, the training images {list(images.shape)}; "
            f"give a teacher of the same data set"
        )


def _set_dropout(model: Any, rate: float | None) -> None:
    for layer in model._flatten_layers():
        if rate is not None and isinstance(layer, keras.layers.Dropout):
            layer.rate = rate


def _batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    order: NDArray[np.int64],
    model: Any,
    contract: Contract,
    training: Training,
    seed: tuple[int, int],
    lesson: Lesson | None,
) -> Any:
    """Return batches of (the network's inputs, labels or targets), in `order`.

    Images are those of the lesson, or distorted as (seed, epoch, number of the batch) says.
    """
    classes = model.output_shape[-1]
    base = int(np.random.SeedSequence((*seed, 0xA06)).generate_state(1, np.uint32)[0])

    def prepared(number: Any, pixels: Any, truth: Any, *answers: Any) -> tuple[Any, Any]:
        x = unit_tensor(pixels)
        if training.augmentation is not None:
            x = augmented(x, augmentation=training.augmentation, seed=tf.stack([tf.constant(base, tf.int64), number]))
        x = network_input(x, contract)
        if not answers and not training.label_smoothing:
            return x, truth
        targets = smoothed(truth, classes=classes, smoothing=training.label_smoothing)
        return x, with_teacher(targets, *answers) if answers else targets

    if lesson is None and isinstance(images, np.memmap):
        rows = _fetched(images, labels, order, training.batch_size)
    else:
        columns = (images, labels) if lesson is None else (lesson.images, labels, lesson.answers)
        shuffled = tf.data.Dataset.from_tensor_slices(tuple(column[order] for column in columns))
        rows = shuffled.batch(training.batch_size)
    numbered = rows.enumerate()
    flat = numbered.map(lambda number, row: prepared(number, *row), num_parallel_calls=2, deterministic=True)
    return flat.prefetch(2)


def _fetched(images: NDArray[np.uint8], labels: NDArray[np.int64], order: NDArray[np.int64], size: int) -> Any:
    """Return batches of images that are larger than memory: each is read from its file when its turn comes."""

    def fetched(rows: Any) -> tuple[Any, Any]:
        pixels = tf.numpy_function(lambda chosen: np.asarray(images[chosen]), [rows], tf.uint8)
        return tf.ensure_shape(pixels, (None, *images.shape[1:])), tf.gather(labels, rows)

    return tf.data.Dataset.from_tensor_slices(order).batch(size).map(fetched)


def _evaluate(
    model: Any, images: NDArray[np.uint8], labels: NDArray[np.int64], contract: Contract
) -> tuple[float, float]:
    """Return the cross-entropy with the plain labels, and top-1."""
    probabilities = predict(model, images, contract).astype(np.float64)
    own = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, 1e-7)).mean()), float((probabilities.argmax(axis=1) == labels).mean())


def _reseed(model: Any, seed: int, epoch: int) -> None:
    for number, layer in enumerate(model._flatten_layers()):
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
        if generator is not None:
            entropy = np.random.SeedSequence((seed, epoch, number)).generate_state(1, np.uint32)
            generator.reset_from_seed(int(entropy[0]))


def _identity(model: Any, settings: list[Any], images: NDArray[np.uint8]) -> str:
    """Return a digest of all that a checkpoint must share with the fit that continues it."""
    digest = hashlib.sha256(json.dumps([*settings, library_versions()]).encode())
    for array in (images, *model.get_weights()):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _save(
    model: Any, checkpoint: Path, identity: str, stopping: EarlyStopping, result: Fit, best: list[Any] | None
) -> None:
    arrays = {f"weight{i}": w for i, w in enumerate(model.get_weights())}
    arrays |= {f"optimizer{i}": v.numpy() for i, v in enumerate(model.optimizer.variables)}
    arrays |= {f"best{i}": w for i, w in enumerate(best or [])}
    state = {"identity": identity, "stopping": asdict(stopping), "history": result.history}
    buffer = io.BytesIO()
    np.savez(buffer, state=np.array(json.dumps(state)), **arrays)
    write_atomic(checkpoint, buffer.getvalue())


def _resume(
    model: Any, checkpoint: Path, identity: str, stopping: EarlyStopping, result: Fit
) -> list[NDArray[Any]] | None:
    """Set model, stopping and result to what `checkpoint` holds; return the best weights so far."""
    if not checkpoint.exists():
        return None
    try:
        with np.load(io.BytesIO(checkpoint.read_bytes())) as saved:
            state = json.loads(str(saved["state"]))
            groups = {
                kind: [saved[f"{kind}{i}"] for i in range(sum(name.startswith(kind) for name in saved.files))]
                for kind in ("weight", "optimizer", "best")
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{checkpoint}: damaged ({error}); remove it to train from the start") from None
    if state["identity"] != identity:
        return None  # left by a fit of other data, settings or libraries: nothing of it can be used
    model.set_weights(groups["weight"])
    for variable, value in zip(model.optimizer.variables, groups["optimizer"], strict=True):
        variable.assign(value)
    vars(stopping).update(state["stopping"])
    result.history = state["history"]
    return groups["best"] or None
