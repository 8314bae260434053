"""Fit a Keras classifier: seeded, resumable after a kill, best weights by validation loss.

Everything random in an epoch (order of the images, dropout) is a function of (seed, epoch), and a checkpoint after
each epoch holds weights, optimizer state and the early-stopping state. A fit that was killed and started again
therefore ends with the same bytes as one that was not.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn._tf import keras, tf
from edgecnn.artifact import library_versions, write_atomic
from edgecnn.config import Training
from edgecnn.errors import ArtifactError, GateError

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
    """How a fit went: one entry an epoch (loss, accuracy, val_loss, val_accuracy) and which epoch was kept."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1


def fit(
    model: Any,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    validation: tuple[NDArray[np.uint8], NDArray[np.int64]],
    *,
    training: Training,
    seed: int,
    checkpoint: Path,
    first_epoch: int = 0,
    callbacks: Sequence[Any] = (),
    observe: Observer = lambda done, total, metrics: None,
) -> Fit:
    """Train `model` in place and leave it with its best weights by validation loss.

    Images are uint8 [N, H, W, C], labels int64 [N]. Epochs before `first_epoch` do not compete for the best. A
    `checkpoint` of the same settings is continued from; the file is the caller's to remove once the result is safe.
    Raises `GateError` when the validation loss is never a number.
    """
    _compile(model, training.learning_rate)
    stopping = EarlyStopping(training.patience, first_epoch)
    result = Fit()
    identity = _identity(model, training, seed, first_epoch, train[0])
    best = _resume(model, checkpoint, identity, stopping, result)
    steps = -(-len(train[0]) // training.batch_size)
    progress = _Progress(steps, training.epochs, observe)
    for epoch in range(len(result.history), training.epochs):
        if result.history and stopping.should_stop(epoch - 1):
            break
        _reseed(model, seed, epoch)
        order = np.random.default_rng((seed, epoch)).permutation(len(train[0]))
        batches = _batches(train[0][order], train[1][order], training.batch_size)
        progress.begin(epoch)
        fitted = model.fit(batches, epochs=epoch + 1, initial_epoch=epoch, verbose=0, callbacks=[*callbacks, progress])
        loss, accuracy = model.evaluate(_batches(*validation, 512), verbose=0)
        row = {key: float(values[0]) for key, values in fitted.history.items()}
        result.history.append({**row, "val_loss": float(loss), "val_accuracy": float(accuracy)})
        if stopping.improved(epoch, loss):
            best = model.get_weights()
        _save(model, checkpoint, identity, stopping, result, best)
        progress.end(result.history[-1])
    progress.finish()
    if best is None:
        raise GateError(
            f"fit: the validation loss of {len(result.history)} epochs was never a number; "
            f"lower the learning rate (it was {training.learning_rate})"
        )
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

    def finish(self) -> None:
        """Report all steps as done, also those that early stopping left out."""
        self._observe(self._total, self._total, self._metrics)


def _compile(model: Any, learning_rate: float) -> None:
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.optimizer.build(model.trainable_variables)  # its variables exist before a checkpoint sets them


def _batches(images: NDArray[np.uint8], labels: NDArray[np.int64], size: int) -> Any:
    scaled = lambda x, y: (tf.cast(x, tf.float32) / 255.0, y)  # noqa: E731
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(size).map(scaled).prefetch(2)


def _reseed(model: Any, seed: int, epoch: int) -> None:
    for number, layer in enumerate(model._flatten_layers()):
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
        if generator is not None:
            entropy = np.random.SeedSequence((seed, epoch, number)).generate_state(1, np.uint32)
            generator.reset_from_seed(int(entropy[0]))


def _identity(model: Any, training: Training, seed: int, first_epoch: int, images: NDArray[np.uint8]) -> str:
    """Return a digest of all that a checkpoint must share with the fit that continues it."""
    digest = hashlib.sha256(json.dumps([asdict(training), seed, first_epoch, library_versions()]).encode())
    for array in (images, *model.get_weights()):
        digest.update(np.ascontiguousarray(array).tobytes())
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
