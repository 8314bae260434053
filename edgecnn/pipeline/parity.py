"""Whether the measured models say what their Keras parent says, and on which test images they do not."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record
from edgecnn.device.contract import Contract

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.bench.session import Measurement
    from edgecnn.data import DataSet

KEYS = ("parity_reference", "top1_agreement", "max_abs_error", "disagreeing")
_SAVED = 10  # images a row, the first ones
_KERAS = (".keras", ".h5")


@dataclass(frozen=True)
class Reference:
    """What a model is compared with: its name, and its class probabilities float32 [N, classes]."""

    name: str
    probabilities: NDArray[np.float32]


class References:
    """Chooses what each measured model is compared with.

    Its Keras parent, where `keras` asks for it, TensorFlow is installed and the parent lies where the record says;
    else another float32 export of the same parent; for a model without a record, the baseline of the session if that
    has none either. Never the model itself: that would agree whatever it says. A Keras model is run once.
    """

    def __init__(
        self,
        measured: Sequence[Measurement],
        records: dict[Path, Record | None],
        data: DataSet,
        baseline: Measurement | None,
        *,
        keras: bool,
    ) -> None:
        self._measured, self._records, self._data, self._baseline = measured, records, data, baseline
        self._keras = keras and extras.installed("train")
        self._of_parent: dict[Path, Reference] = {}

    def of(self, m: Measurement) -> Reference | None:
        """Return the reference for one measured model; None when there is nothing of its kind."""
        record = self._records[m.model]
        parent = None if record is None or not self._keras else _keras_parent(m.model, record)
        if parent is not None and record is not None:
            if parent not in self._of_parent:
                self._of_parent[parent] = self._run(parent, record.contract)
            return self._of_parent[parent]
        found = next((other for other in self._measured if self._may_stand_for(m, other)), None)
        if found is None or found.probabilities is None:
            return None
        return Reference(f"{found.model.name} ({found.runtime})", found.probabilities)

    def _run(self, parent: Path, contract: Contract) -> Reference:
        from edgecnn import _tf

        return Reference(parent.name, _tf.predict(_tf.load_model(parent), self._data.test.images, contract))

    def _may_stand_for(self, m: Measurement, other: Measurement) -> bool:
        """Return whether `other` is what `m` can be compared with where there is no Keras parent."""
        if other is m or other.probabilities is None:
            return False
        own, theirs = self._records[m.model], self._records[other.model]
        if own is None or theirs is None:
            return own is theirs and other is self._baseline
        return theirs.scheme == "float32" and theirs.parents == own.parents


def parity_of(m: Measurement, reference: Reference | None) -> dict[str, Any]:
    """Return the row's figures of `KEYS`; null where there is nothing to compare."""
    from edgecnn.bench.parity import compare

    if reference is None or m.probabilities is None or m.probabilities.shape != reference.probabilities.shape:
        return dict.fromkeys(KEYS)
    parity = compare(reference.probabilities, m.probabilities)
    disagreeing = [
        {
            "image": image,
            "reference": int(reference.probabilities[image].argmax()),
            "predicted": int(m.probabilities[image].argmax()),
        }
        for image in parity.disagreeing
    ]
    values = (reference.name, parity.top1_agreement, parity.max_abs_error, disagreeing[:_SAVED])
    return dict(zip(KEYS, values, strict=True))


def save_disagreeing(rows: Sequence[dict[str, Any]], data: DataSet | None, folder: Path) -> None:
    """Write the first images on which a row disagrees with its reference as PNG; what was there before goes.

    ``FOLDER/export-baseline-int8.tflite-litert/00321-reference9-got4.png`` is test image 321.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        for one in row["disagreeing"] or ():
            assert data is not None
            where = folder / f"{row['artifact'].replace('/', '-')}-{row['runtime']}"
            name = f"{one['image']:05d}-reference{one['reference']}-got{one['predicted']}.png"
            artifact.write_atomic(where / name, _png(data.test.images[one["image"]]))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image uint8 [H, W, 1] or [H, W, 3] as a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(content, "PNG")
    return content.getvalue()


def _keras_parent(model: Path, record: Record) -> Path | None:
    """Return the Keras file that `model` was exported from, if it lies where the record says with those bytes."""
    for name, expected in record.parents.items():
        parent = (model.parent / name).resolve()
        if parent.suffix in _KERAS and parent.is_file() and artifact.sha256(parent.read_bytes()) == expected:
            return parent
    return None
