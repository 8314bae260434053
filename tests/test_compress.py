"""Pruning and QAT: sparsity reached, zeros kept, wrappers gone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.compress.prune import prune
from edgecnn.compress.qat import is_quantization_aware, quantize_aware, without_wrappers
from edgecnn.config import Pruning, Training
from edgecnn.data import DataSet, load
from edgecnn.errors import ArtifactError

EPOCHS = Training(epochs=2, batch_size=64, learning_rate=1e-3, patience=0)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits", seed=0, validation_fraction=0.2)


@pytest.fixture(scope="module")
def model() -> Any:
    _tf.seed_everything(0)
    return zoo.build("edge35k", input_shape=(28, 28, 1), classes=10)


def plain_fit(data: DataSet, epochs: int):
    def fit(model: Any, callbacks: Any = (), first_epoch: int = 0) -> int:
        model.compile(optimizer=_tf.keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
        pixels = data.train.images[:256].astype(np.float32) / 255
        model.fit(
            pixels,
            data.train.labels[:256],
            batch_size=64,
            epochs=epochs,
            callbacks=list(callbacks),
            verbose=0,
        )
        return first_epoch

    return fit


def kernels(model: Any) -> dict[str, np.ndarray]:
    # A wrapped layer's kernel is named like the plain one's: conv1/kernel:0.
    return {w.name.split(":")[0]: w.numpy() for w in model.weights if w.name.endswith("/kernel:0")}


@pytest.fixture(scope="module")
def pruned(model: Any, data: DataSet) -> Any:
    pruning = Pruning(initial_sparsity=0.0, final_sparsity=0.75, ramp_epochs=1, frequency=100, training=EPOCHS)
    sparse, first_epoch = prune(model, pruning=pruning, steps_per_epoch=4, fit=plain_fit(data, 2))
    assert first_epoch == 1, "only epochs behind the ramp compete"
    return sparse


def test_every_kernel_reaches_its_sparsity(model: Any, pruned: Any) -> None:
    for name, kernel in kernels(pruned).items():
        assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.01), name
    assert all(np.count_nonzero(k) == k.size for k in kernels(model).values()), "the parent is left alone"


def test_a_pruned_model_is_a_plain_model(model: Any, pruned: Any) -> None:
    assert [type(layer) for layer in pruned.layers] == [type(layer) for layer in model.layers]
    parameters, nonzero = _tf.weight_counts(pruned)
    assert parameters == 35_030
    assert nonzero < 0.27 * parameters


def test_qat_keeps_the_zeros(pruned: Any, data: DataSet) -> None:
    wrapped, _ = quantize_aware(pruned, calibration_images=data.train.images[:50], fit=plain_fit(data, 1))
    assert is_quantization_aware(wrapped)
    assert not is_quantization_aware(pruned)
    assert _tf.weight_counts(wrapped)[0] == 35_030
    before, after = kernels(pruned), kernels(wrapped)
    assert before.keys() == after.keys()
    for name in before:
        assert not after[name][before[name] == 0].any(), name
        assert not np.array_equal(before[name], after[name]), "it was trained"


def test_weights_found_by_qat_work_without_its_wrappers(quick_run: Path, data: DataSet) -> None:
    wrapped = _tf.load_model(quick_run / "compress" / "pruned80-qat" / "model.h5")
    plain = without_wrappers(wrapped)
    assert not is_quantization_aware(plain)
    assert _tf.weight_counts(plain) == _tf.weight_counts(wrapped)
    one, other = (_tf.predict(model, data.test.images) for model in (plain, wrapped))
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.97


def test_qat_starts_from_calibrated_ranges(pruned: Any, data: DataSet) -> None:
    wrapped, _ = quantize_aware(pruned, calibration_images=data.train.images[:50], fit=lambda model: None)
    ranges = {w.name: float(w.numpy()) for w in wrapped.weights if "post_activation" in w.name}
    conv = _tf.keras.Model(pruned.inputs, pruned.layers[0].output)(data.train.images[:50].astype(np.float32) / 255)
    assert ranges["quant_conv1/post_activation_max:0"] == pytest.approx(float(np.max(conv)))
    assert ranges["quant_conv1/post_activation_min:0"] == 0


def test_qat_does_not_depend_on_what_the_process_did_before(pruned: Any, data: DataSet) -> None:
    one, other = (
        quantize_aware(pruned, calibration_images=data.train.images[:20], fit=lambda model: None)[0] for _ in range(2)
    )
    assert _tf.save_model(one, suffix=".h5") == _tf.save_model(other, suffix=".h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_no_code_from_a_model_file_is_run(tmp_path: Path, suffix: str) -> None:
    layers = [_tf.keras.layers.Input((4,), name="x"), _tf.keras.layers.Lambda(lambda x: x * 2, name="l")]
    path = tmp_path / f"lambda{suffix}"
    path.write_bytes(_tf.save_model(_tf.keras.Sequential(layers, name="m"), suffix=suffix))
    with pytest.raises(ArtifactError, match=r"tf_keras cannot read it .*[Ll]ambda"):
        _tf.load_model(path)
