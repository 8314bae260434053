"""Pruning, clustering and QAT: structure reached and kept into the .tflite, wrappers gone, bad input refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, zoo
from edgecnn.compress.cluster import cluster
from edgecnn.compress.prune import global_sparsities, prune
from edgecnn.compress.qat import is_quantization_aware, quantize_aware, without_wrappers
from edgecnn.compress.structured import importance, prune_structured, shrink
from edgecnn.config.settings import Clustering, Pruning, Training
from edgecnn.data import DataSet, load
from edgecnn.device.contract import unit
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.export.tflite import to_tflite
from tests.conftest import stored_kernels
from tests.contracts import taking

EPOCHS = Training(epochs=2, batch_size=64, learning_rate=1e-3, patience=0)


@pytest.fixture(scope="module")
def data() -> DataSet:
    return load("digits", validation_fraction=0.2)


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
    wrapped, _ = quantize_aware(pruned, calibration_inputs=unit(data.train.images[:50]), fit=plain_fit(data, 1))
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
    one, other = (_tf.predict(model, data.test.images, taking(data.test.images)) for model in (plain, wrapped))
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.97


def test_qat_starts_from_calibrated_ranges(pruned: Any, data: DataSet) -> None:
    wrapped, _ = quantize_aware(pruned, calibration_inputs=unit(data.train.images[:50]), fit=lambda model: None)
    ranges = {w.name: float(w.numpy()) for w in wrapped.weights if "post_activation" in w.name}
    conv = _tf.keras.Model(pruned.inputs, pruned.layers[0].output)(data.train.images[:50].astype(np.float32) / 255)
    assert ranges["quant_conv1/post_activation_max:0"] == pytest.approx(float(np.max(conv)))
    assert ranges["quant_conv1/post_activation_min:0"] == 0


def test_qat_does_not_depend_on_what_the_process_did_before(pruned: Any, data: DataSet) -> None:
    one, other = (
        quantize_aware(pruned, calibration_inputs=unit(data.train.images[:20]), fit=lambda model: None)[0]
        for _ in range(2)
    )
    assert _tf.save_model(one, suffix=".h5") == _tf.save_model(other, suffix=".h5")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_no_code_from_a_model_file_is_run(tmp_path: Path, suffix: str) -> None:
    layers = [_tf.keras.layers.Input((4,), name="x"), _tf.keras.layers.Lambda(lambda x: x * 2, name="l")]
    path = tmp_path / f"lambda{suffix}"
    path.write_bytes(_tf.save_model(_tf.keras.Sequential(layers, name="m"), suffix=suffix))
    with pytest.raises(ArtifactError, match=r"tf_keras cannot read it .*[Ll]ambda"):
        _tf.load_model(path)


def sequential(*layers: Any) -> Any:
    return _tf.keras.Sequential([_tf.keras.layers.Input((28, 28, 1), name="pixels"), *layers], name="tiny")


@pytest.fixture(scope="module")
def tiny() -> Any:
    """Return a network of all kinds of layer that filters are cut through; 8 and 12 filters, 16 units."""
    _tf.seed_everything(1)
    k = _tf.keras.layers
    model = sequential(
        k.Conv2D(8, 5, strides=2, activation="relu", name="conv1"),
        k.MaxPooling2D(2, name="pool2"),
        k.Conv2D(12, 3, use_bias=False, name="conv3"),
        k.BatchNormalization(name="norm4"),
        k.ReLU(name="relu5"),
        k.Flatten(name="flatten"),
        k.Dense(16, activation="relu", name="dense6"),
        k.Dropout(0.5, name="dropout7"),
        k.Dense(10, activation="softmax", name="scores"),
    )
    rng = np.random.default_rng(0)
    norm = model.get_layer("norm4")
    norm.set_weights([rng.uniform(0.5, 1.5, 12), rng.normal(size=12), rng.normal(size=12), rng.uniform(0.5, 1.5, 12)])
    return model


def pruning_of(method: str, sparsity: float, *, rounds: int = 1) -> Pruning:
    return Pruning(
        initial_sparsity=0.0, final_sparsity=sparsity, ramp_epochs=1, frequency=1, training=EPOCHS,
        method=method, rounds=rounds,
    )  # fmt: skip


def pruned_by(method: str, sparsity: float, model: Any, data: DataSet, *, rounds: int = 1) -> Any:
    pruning = pruning_of(method, sparsity, rounds=rounds)
    return prune(model, pruning=pruning, steps_per_epoch=4, fit=plain_fit(data, 2))[0]


def never(model: Any, **options: Any) -> None:
    pytest.fail("it was trained")


def int8_kernels(model: Any, data: DataSet, *, qat: bool) -> list[np.ndarray]:
    images = data.train.images[:50]
    return stored_kernels(
        to_tflite(model, scheme="int8", representative_dataset=unit(images), quantization_aware=qat)
    )  # fmt: skip


def test_global_pruning_takes_more_where_there_is_more_to_spare(model: Any, data: DataSet) -> None:
    wanted = global_sparsities(kernels(model), 0.9)
    sparse = kernels(pruned_by("global", 0.9, model, data))
    assert sum((k == 0).sum() for k in sparse.values()) == pytest.approx(0.9 * 34_824, rel=0.01)
    assert max(wanted.values()) - min(wanted.values()) > 0.1
    for name, kernel in sparse.items():
        assert np.mean(kernel == 0) == pytest.approx(wanted[name], abs=0.01), name


def test_a_global_threshold_leaves_no_kernel_empty() -> None:
    rng = np.random.default_rng(0)
    weights = {"faint": rng.normal(size=(10, 10)) * 1e-9, "loud": rng.normal(size=(100, 10)), "gone": np.zeros((5, 5))}
    shares = global_sparsities(weights, 0.99)
    assert all(share < 1 for share in shares.values())
    assert sum(share * weights[name].size for name, share in shares.items()) == pytest.approx(0.99 * 1125, abs=2)


def test_rounds_prune_further_and_train_each_time(model: Any, data: DataSet) -> None:
    seen = []

    def fit(wrapped: Any, **options: Any) -> int:
        plain_fit(data, 2)(wrapped, **options)
        seen.append(float(np.mean(kernels(wrapped)["dense6/kernel"] == 0)))
        return len(seen)

    sparse, fitted = prune(model, pruning=pruning_of("magnitude", 0.91, rounds=2), steps_per_epoch=4, fit=fit)
    assert fitted == 2, "what the last fit returned"
    assert seen == pytest.approx([0.7, 0.91], abs=0.01)
    assert np.mean(kernels(sparse)["conv1/kernel"] == 0) == pytest.approx(0.91, abs=0.01)


@pytest.mark.parametrize("qat", [False, True])
def test_two_of_four_neighbours_are_zero_in_the_tflite_file(model: Any, data: DataSet, qat: bool) -> None:
    sparse = pruned_by("2:4", 0.5, model, data)
    if qat:
        sparse, _ = quantize_aware(sparse, calibration_inputs=unit(data.train.images[:50]), fit=plain_fit(data, 1))
    conv1, *others = int8_kernels(sparse, data, qat=qat)
    assert np.mean(conv1 == 0) < 0.05, "a single input channel has no neighbours"
    assert len(others) == 4
    for kernel in others:
        assert np.count_nonzero(kernel.reshape(-1, 4), axis=1).max() <= 2


@pytest.mark.parametrize("qat", [False, True])
def test_blocks_of_four_inputs_are_zero_in_the_tflite_file(model: Any, data: DataSet, qat: bool) -> None:
    sparse = pruned_by("block", 0.75, model, data)
    if qat:
        sparse, _ = quantize_aware(sparse, calibration_inputs=unit(data.train.images[:50]), fit=plain_fit(data, 1))
    *convolutions, dense, scores = int8_kernels(sparse, data, qat=qat)
    for kernel in (dense, scores):
        empty = ~kernel.reshape(-1, 4).any(axis=1)
        assert empty.mean() == pytest.approx(0.75, abs=0.02)
    assert all(np.mean(kernel == 0) < 0.05 for kernel in convolutions), "convolutions keep all their weights"


def test_removing_filters_without_influence_changes_no_output(tiny: Any, data: DataSet) -> None:
    """Three of conv1's filters, four of conv3's and five units never answer, or nobody listens."""
    model, rng = _tf.clone(tiny), np.random.default_rng(2)
    conv1, norm, dense = (model.get_layer(name) for name in ("conv1", "norm4", "dense6"))
    idle = {name: rng.permutation(width) for name, width in (("conv1", 8), ("conv3", 12), ("dense6", 16))}
    kernel, bias = conv1.get_weights()
    bias[idle["conv1"][:3]] = -1000  # ReLU makes it zero
    conv1.set_weights([kernel, bias])
    gamma, beta, mean, variance = norm.get_weights()
    gamma[idle["conv3"][:4]], beta[idle["conv3"][:4]] = 0, -1
    norm.set_weights([gamma, beta, mean, variance])
    scores = model.get_layer("scores")
    kernel, bias = scores.get_weights()
    kernel[idle["dense6"][:5]] = 0
    scores.set_weights([kernel, bias])

    images = data.test.images  # a unit that is silent on some images only must not be taken for idle
    small = shrink(model, widths={"conv1": 5, "conv3": 8, "dense6": 11}, calibration_inputs=unit(images))
    assert [layer.kernel.shape[-1] for layer in small.layers if hasattr(layer, "kernel")] == [5, 8, 11, 10]
    difference = np.abs(_tf.predict(small, images, taking(images)) - _tf.predict(model, images, taking(images))).max()
    assert difference < 1e-5, "as much as sums in another order differ"
    assert dense.kernel.shape[-1] == 16, "the parent is left alone"
    for name, count in (("conv1", 3), ("conv3", 4), ("dense6", 5)):
        assert not importance(model, unit(images))[name][idle[name][:count]].any(), name


def test_structured_pruning_makes_a_smaller_dense_model(model: Any, data: DataSet) -> None:
    options = {"calibration_inputs": unit(data.train.images[:50]), "fit": plain_fit(data, 1)}
    small, _ = prune_structured(model, pruning=pruning_of("structured", 0.75, rounds=2), **options)
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    assert [k.shape[-1] for k in kernels(small).values()] == [8, 8, 8, 25, 10]
    parameters, nonzero = _tf.weight_counts(small)
    assert parameters == nonzero == 8 * 82 + 8 * 73 + 8 * 73 + 25 * 33 + 10 * 26
    assert [layer.kernel.shape[-1] for layer in model.layers if hasattr(layer, "kernel")] == [32, 32, 32, 100, 10]

    wrapped, _ = quantize_aware(small, **options)
    content = to_tflite(wrapped, scheme="int8", quantization_aware=True)
    dense = to_tflite(model, scheme="int8", representative_dataset=unit(data.train.images[:50]))
    assert len(content) < 0.3 * len(dense)
    assert [len(kernel) for kernel in stored_kernels(content)] == [8, 8, 8, 25, 10]


def test_structured_pruning_refuses_what_it_cannot_do_before_it_trains(tiny: Any, model: Any, data: DataSet) -> None:
    images, k = data.train.images[:5], _tf.keras.layers
    depthwise = sequential(k.DepthwiseConv2D(3, name="deep"), k.Flatten(name="f"), k.Dense(10, name="scores"))
    functional = _tf.keras.Model(model.inputs, model.outputs)
    for network, sparsity, message in (
        (
            tiny,
            0.95,
            "prune structured: conv1 would keep 0 of its 8 filters or units at sparsity 0.95; needs at least 1",
        ),
        (depthwise, 0.5, "prune structured: layer deep is a DepthwiseConv2D; expected plain Conv2D, Dense,"),
        (functional, 0.5, "prune structured: got a Functional model; expected a Sequential one"),
    ):
        pruning = pruning_of("structured", sparsity)
        with pytest.raises(ConfigError, match=message):
            prune_structured(network, pruning=pruning, calibration_inputs=unit(images), fit=never)
    for widths in ({"conv1": 0}, {"conv1": 9}, {"scores": 5}):
        with pytest.raises(ConfigError, match=r"expected 1 up to what is there: conv1 8, conv3 12, dense6 16$"):
            shrink(tiny, widths=widths, calibration_inputs=unit(images))


def clustered(model: Any, data: DataSet, clusters: int) -> Any:
    return cluster(model, clustering=Clustering(clusters=clusters, training=EPOCHS), fit=plain_fit(data, 1))[0]


@pytest.mark.parametrize("clusters", [4, 16])
def test_every_kernel_is_left_with_so_many_values(model: Any, data: DataSet, clusters: int) -> None:
    result = clustered(model, data, clusters)
    assert [type(layer) for layer in result.layers] == [type(layer) for layer in model.layers]
    for name, kernel in kernels(result).items():
        assert len(np.unique(kernel)) <= clusters, name
    assert all(len(np.unique(kernel)) > 16 for kernel in kernels(model).values()), "the parent is left alone"


def test_clusters_live_through_qat_in_the_tflite_file(model: Any, data: DataSet) -> None:
    wrapped, _ = quantize_aware(
        clustered(model, data, 16), calibration_inputs=unit(data.train.images[:50]), fit=plain_fit(data, 1),
        preserve="clusters",
    )  # fmt: skip
    assert _tf.weight_counts(wrapped)[0] == 35_030
    for kernel in int8_kernels(wrapped, data, qat=True):
        assert len(np.unique(kernel)) <= 16


def test_clusters_and_zeros_live_through_qat_in_the_tflite_file(pruned: Any, data: DataSet, tmp_path: Path) -> None:
    parent = clustered(pruned, data, 8)
    before = kernels(parent)
    for name, kernel in kernels(pruned).items():
        assert not before[name][kernel == 0].any(), name
        assert len(np.unique(before[name])) <= 8, name
    options = {"calibration_inputs": unit(data.train.images[:50]), "fit": plain_fit(data, 1)}
    wrapped, _ = quantize_aware(parent, preserve="clusters", **options)
    for name, kernel in kernels(wrapped).items():
        assert not kernel[before[name] == 0].any(), name
        assert not np.array_equal(kernel, before[name]), "it was trained"
    (tmp_path / "model.h5").write_bytes(_tf.save_model(wrapped, suffix=".h5"))
    for kernel in int8_kernels(_tf.load_model(tmp_path / "model.h5"), data, qat=True):
        assert len(np.unique(kernel)) <= 8
        assert np.mean(kernel == 0) >= 0.74


def test_qat_without_care_for_clusters_loses_them(model: Any, data: DataSet) -> None:
    parent = clustered(model, data, 16)
    wrapped, _ = quantize_aware(parent, calibration_inputs=unit(data.train.images[:50]), fit=plain_fit(data, 1))
    assert all(len(np.unique(kernel)) > 16 for kernel in int8_kernels(wrapped, data, qat=True))


def test_behind_batch_normalization_every_filter_keeps_its_clusters(tiny: Any, data: DataSet) -> None:
    parent = clustered(pruned_by("magnitude", 0.5, tiny, data), data, 4)
    options = {"calibration_inputs": unit(data.train.images[:50]), "fit": plain_fit(data, 1)}
    wrapped, _ = quantize_aware(parent, preserve="clusters", **options)
    conv1, conv3, dense, scores = int8_kernels(wrapped, data, qat=True)
    for kernel in (*conv1, *conv3, dense, scores):
        assert len(np.unique(kernel)) <= 4
    assert np.mean(conv3 == 0) >= 0.49


def test_clustering_refuses_zeros_without_room_for_them(pruned: Any) -> None:
    expected = "cluster: 2 clusters, one of them zero, for the .* nonzero weights of conv1; needs at least 3 clusters"
    with pytest.raises(ConfigError, match=expected):
        cluster(pruned, clustering=Clustering(clusters=2, training=EPOCHS), fit=never)


def test_what_tfmot_cannot_do_is_one_line_before_training(data: DataSet) -> None:
    k = _tf.keras.layers
    model = sequential(k.Flatten(name="f"), k.PReLU(name="p"), k.Dense(10, activation="softmax", name="scores"))
    expected = (
        r"^quantize qat: tfmot cannot train this model for int8 \(Layer .*PReLU.* is not supported.*--method ptq$"
    )
    for preserve in ("zeros", "clusters"):
        with pytest.raises(ConfigError, match=expected):
            quantize_aware(model, calibration_inputs=unit(data.train.images[:5]), fit=never, preserve=preserve)
    with pytest.raises(ConfigError, match="preserve: 'sign' is unknown; expected one of: clusters, zeros"):
        quantize_aware(model, calibration_inputs=unit(data.train.images[:5]), fit=never, preserve="sign")
