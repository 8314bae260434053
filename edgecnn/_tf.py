"""The only door to tensorflow, tf_keras and tensorflow_model_optimization.

Importing this module sets `TF_USE_LEGACY_KERAS` (tfmot needs Keras 2), silences TensorFlow's start-up lines and
makes every operation deterministic, so that the same seed gives the same bytes.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.contract import BGR, LOGITS, NCHW, NHWC, Contract, softmax, unit
from edgecnn.device.runtimes.quiet import quiet
from edgecnn.errors import ArtifactError

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with quiet():
    import tensorflow as tf
    import tensorflow_model_optimization as tfmot
    import tf_keras as keras
    from tensorflow.lite.python import schema_py_generated as tflite_schema
    from tensorflow.lite.python.convert import mlir_quantize
    from tf_keras.src.saving.serialization_lib import SafeModeScope

tf.get_logger().setLevel("ERROR")
tf.autograph.set_verbosity(0)
tf.config.experimental.enable_op_determinism()
# Dropout then draws from a generator that can be set, so that an epoch's randomness depends on (seed, epoch)
# alone and a resumed training repeats it; the legacy generator's state lives in a kernel and cannot be saved.
keras.backend.experimental.enable_tf_random_generator()

__all__ = [
    "clone",
    "is_wrapper_state",
    "keras",
    "load_model",
    "mlir_quantize",
    "network_input",
    "predict",
    "quiet",
    "save_model",
    "seed_everything",
    "tf",
    "tflite_schema",
    "tfmot",
    "unit_tensor",
    "weight_counts",
]


_UNIT = unit(np.arange(256, dtype=np.uint8))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow."""
    keras.utils.set_random_seed(seed)


def save_model(model: Any, *, suffix: str) -> bytes:
    """Return the model's file content (`.keras` or `.h5`), without optimizer, the same bytes for the same model."""
    with tempfile.TemporaryDirectory() as folder, quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
        path = Path(folder) / f"model{suffix}"
        if suffix == ".h5":
            model.save(path, include_optimizer=False)
            return path.read_bytes()
        clone(model).save(path)  # a clone is not compiled, so there is no optimizer to save
        return _without_dates(path.read_bytes())


def clone(model: Any) -> Any:
    """Return a new, uncompiled model with the layers and weights of `model`, sharing nothing with it."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def load_model(path: Path) -> Any:
    """Return the Keras model in `path`, uncompiled; raises `ArtifactError` when it is damaged or no model.

    The archive's checksums are tested before anything is read, and no code from the file is run.
    """
    _check_container(path)
    if (version := keras_version(path)).startswith("3"):
        raise ArtifactError(
            f"{path}: saved by Keras {version}; expected a file of Keras 2 (tf_keras); save it as .tflite, or with "
            f"TF_USE_LEGACY_KERAS=1"
        )
    try:
        # The scope, not only the argument: load_model's safe_mode does not reach HDF5 files.
        with SafeModeScope(safe_mode=True), tfmot.quantization.keras.quantize_scope(), quiet():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # tf_keras raises almost anything for a file it cannot read
        raise ArtifactError(
            f"{path}: tf_keras cannot read it ({_first_line(error)}); give a Keras image classifier"
        ) from None


def keras_version(path: Path) -> str:
    """Return the version of Keras that saved a .keras or .h5 file, as it says; "" where it says none."""
    import h5py  # type: ignore[import-untyped]

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
        with h5py.File(path, "r") as file:
            said = file.attrs.get("keras_version", "")
            return said.decode() if isinstance(said, bytes) else str(said)
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile):
        return ""


def predict(model: Any, images: NDArray[np.uint8], contract: Contract, *, batch_size: int = 512) -> NDArray[np.float32]:
    """Return the class probabilities [N, classes] of images uint8 [N, H, W, C], given as the `contract` says."""
    parts = [
        model(contract.network_input(images[i : i + batch_size]), training=False).numpy()
        for i in range(0, len(images), batch_size)
    ]
    scores = np.concatenate(parts).astype(np.float32)
    return softmax(scores) if contract.scores == LOGITS else scores


def unit_tensor(pixels: Any) -> Any:
    """Return a tensor of pixels 0..255 as 0..1, float32: the very numbers of `contract.unit`."""
    return tf.gather(_UNIT, tf.cast(pixels, tf.int32))


def network_input(values: Any, contract: Contract) -> Any:
    """Return a tensor of pixels as 0..1 [N, H, W, C], red first, as what a network of this contract takes."""
    if not contract.is_unit:
        values = (values - tf.constant(contract.ordered(contract.mean))) / tf.constant(contract.ordered(contract.std))
    if contract.channels == BGR:
        values = values[..., ::-1]
    if contract.layout == NCHW:
        values = tf.transpose(values, (0, 3, 1, 2))
    return values if contract.layout in (NHWC, NCHW) else tf.reshape(values, (-1, *contract.tensor_shape))


def weight_counts(model: Any) -> tuple[int, int]:
    """Return (parameters, nonzero parameters) of the layers; what tfmot's wrappers keep is left out."""
    values = [w.numpy() for w in model.weights if not is_wrapper_state(w.name)]
    return sum(v.size for v in values), sum(int(np.count_nonzero(v)) for v in values)


def is_wrapper_state(name: str) -> bool:
    """Return whether a weight is tfmot's (range, mask, step counter) rather than the layer's own."""
    return name.split(":")[0].endswith(("_min", "_max", "/mask", "/threshold", "_step"))


def _without_dates(archive: bytes) -> bytes:
    """Return a .keras archive with its time stamps and save date taken out."""
    result = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive)) as source,
        zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == "metadata.json":
                content = json.dumps({**json.loads(content), "date_saved": "1980-01-01@00:00:00"}).encode()
            target.writestr(zipfile.ZipInfo(name), content)
    return result.getvalue()


def _check_container(path: Path) -> None:
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file; give a .keras or .h5 model")
    if path.suffix not in (".keras", ".h5"):
        raise ArtifactError(f"{path}: got a {path.suffix or 'nameless'} file; expected a .keras or .h5 model")
    if path.suffix == ".h5":
        if not path.read_bytes().startswith(b"\x89HDF\r\n\x1a\n"):
            raise ArtifactError(f"{path}: not an HDF5 file, or damaged; restore it or train again")
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            missing = {"config.json", "model.weights.h5"} - set(archive.namelist())
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise ArtifactError(f"{path}: not a .keras archive, or cut off ({error}); restore it or train again") from None
    if damaged or missing:
        found = f"{damaged} is damaged" if damaged else f"{', '.join(sorted(missing))} missing"
        raise ArtifactError(f"{path}: {found}; expected a complete .keras archive; restore it or train again")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
