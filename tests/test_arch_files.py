"""A user's own architecture: from Keras files without running code from them, from Python that the user names."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import _tf, artifact, pipeline, zoo
from edgecnn._tf import keras
from edgecnn.artifact import Run
from edgecnn.cli import choose
from edgecnn.compress.fold import without_batch_norm
from edgecnn.compress.prune import prune
from edgecnn.compress.qat import simulated
from edgecnn.config.settings import Pruning, Training
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.export.onnx import to_onnx
from edgecnn.export.tflite import to_tflite
from tests.conftest import Edgecnn

# Residual and normalized behind its activations, as many write it: tfmot cannot train that for int8.
CODE = """
import tf_keras as keras


def build(shape, classes):
    k = keras.layers
    pixels = k.Input(shape)
    x = k.Conv2D(8, 5, strides=2, activation="relu")(pixels)
    x = k.BatchNormalization()(x)
    y = k.Conv2D(8, 3, padding="same", use_bias=False)(x)
    y = k.BatchNormalization()(y)
    x = k.PReLU(shared_axes=[1, 2])(k.Add()([x, y]))
    x = k.GlobalAveragePooling2D()(k.MaxPooling2D(2)(x))
    return keras.Model(pixels, k.Dense(classes, activation="softmax")(x))
"""


def colour_model(*, shape: tuple[int, int, int] = (20, 24, 3), classes: int = 5) -> Any:
    k = keras.layers
    pixels = k.Input(shape, name="image")
    x = k.Conv2D(8, 3, padding="same", use_bias=False, name="a")(pixels)
    x = k.ReLU(name="c")(k.BatchNormalization(name="b")(x))
    y = k.Conv2D(8, 3, padding="same", use_bias=False, name="d")(x)
    x = k.ReLU(name="g")(k.Add(name="f")([x, k.BatchNormalization(name="e")(y)]))
    x = k.GlobalAveragePooling2D(name="h")(x)
    return keras.Model(pixels, k.Dense(classes, activation="softmax", name="i")(x))


def saved(model: Any, path: Path) -> str:
    path.write_bytes(_tf.save_model(model, suffix=path.suffix))
    return str(path)


def code(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_of_a_keras_file_the_layers_are_taken_and_the_weights_drawn_anew(tmp_path: Path, suffix: str) -> None:
    model = colour_model()
    path = saved(model, tmp_path / f"net{suffix}")
    _tf.seed_everything(3)
    built = zoo.build(path, input_shape=(20, 24, 3), classes=5)
    assert [layer.name for layer in built.layers] == [layer.name for layer in model.layers]
    assert not np.array_equal(built.get_layer("d").kernel, model.get_layer("d").kernel)
    _tf.seed_everything(3)
    again = zoo.build(path, input_shape=(20, 24, 3), classes=5)
    assert all(np.array_equal(a, b) for a, b in zip(built.get_weights(), again.get_weights(), strict=True))


def test_a_python_file_builds_for_the_images_and_classes_of_the_data(tmp_path: Path) -> None:
    path = code(tmp_path / "net.py", CODE)
    first, second = (zoo.build(path, input_shape=(30, 20, 3), classes=4) for _ in range(2))
    assert first.input_shape == (None, 30, 20, 3)
    assert first.output_shape == (None, 4)
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


BUILD = "import tf_keras as keras\nk = keras.layers\ndef build(shape, classes):\n    "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", r"net.py: no function build in it; define build\(shape, classes\)"),
        ("def build(shape:", r"net.py, line 1: SyntaxError: .*; correct the file"),
        ("\n\nraise SystemError('no')", r"net.py, line 3: SystemError: no; correct the file"),
        (BUILD + "return shape[7]", r"net.py, line 4: IndexError: .*; correct the file"),
        (BUILD + "return None", r"net.py: got builtins.NoneType; expected a model of tf_keras"),
        (
            BUILD + "return keras.Sequential([k.Input(shape), k.Flatten(), k.Dense(classes)])",
            r"net.py: its scores are no probabilities; end it in a softmax",
        ),
        (
            BUILD + "return keras.Sequential([k.Input(shape), k.Flatten(), k.Dense(3, 'softmax')])",
            r"net.py: puts out 3 scores; the data set has 10 classes",
        ),
        (
            BUILD + "return keras.Sequential([k.Input((32, 32, 3)), k.Flatten(), k.Dense(10, 'softmax')])",
            r"net.py: takes images of 32x32x3; the data set's are 28x28x1",
        ),
        (
            BUILD
            + "return keras.Sequential([k.Input(shape), k.Lambda(lambda x: x), k.Flatten(), k.Dense(10, 'softmax')])",
            r"net.py: layer lambda is a Lambda, which holds code of its own",
        ),
        (BUILD + "return keras.Sequential([k.Flatten(), k.Dense(10)])", r"net.py: expected a model with one input"),
    ],
)
def test_code_that_builds_no_classifier_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        zoo.build(code(tmp_path / "net.py", text), input_shape=(28, 28, 1), classes=10)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_code_inside_a_keras_file_is_not_run(tmp_path: Path, suffix: str) -> None:
    trap, path = str(tmp_path / "trap"), tmp_path / f"net{suffix}"
    steps = [keras.layers.Input((28, 28, 1)), keras.layers.Lambda(lambda x: [os.mkdir(trap), x][1])]  # noqa: PTH102
    keras.Sequential(steps).save(path)
    Path(trap).rmdir()
    with pytest.raises(ArtifactError, match="tf_keras cannot read it"):
        zoo.build(str(path), input_shape=(28, 28, 1), classes=10)
    assert not Path(trap).exists()


def test_a_colour_network_goes_through_the_whole_toolkit() -> None:
    """Folded, pruned, prepared for int8, and the same answers in TFLite and ONNX."""
    from ai_edge_litert.interpreter import Interpreter
    from onnxruntime import InferenceSession

    rng = np.random.default_rng(0)
    folded = without_batch_norm(colour_model())
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    once = Training(epochs=2, batch_size=8, learning_rate=1e-3, patience=0)
    pruning = Pruning(initial_sparsity=0.0, final_sparsity=0.5, ramp_epochs=1, frequency=1, training=once)
    images, labels = rng.integers(0, 256, (16, 20, 24, 3), np.uint8), np.arange(16) % 5

    def fit(model: Any, callbacks: Any = (), **options: Any) -> None:
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(images / np.float32(255), labels, epochs=2, batch_size=4, verbose=0, callbacks=list(callbacks))

    sparse, _ = prune(folded, pruning=pruning, steps_per_epoch=4, fit=fit)
    assert np.mean(sparse.get_layer("d").kernel.numpy() == 0) == pytest.approx(0.5, abs=0.01)
    assert simulated(sparse).output_shape == (None, 5)
    expected = _tf.predict(sparse, images[:1])
    interpreter = Interpreter(model_content=to_tflite(sparse, scheme="float32"))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images[:1] / np.float32(255))
    interpreter.invoke()
    session = InferenceSession(to_onnx(sparse, scheme="float32"))
    answers = (
        interpreter.get_tensor(interpreter.get_output_details()[0]["index"]),
        session.run(None, {"pixels": images[:1] / np.float32(255)})[0],
    )
    assert all(np.allclose(answer, expected, atol=1e-5) for answer in answers)


def added_by_an_operator(pixels: Any) -> Any:
    k = keras.layers
    x = k.ReLU()(k.BatchNormalization()(k.Conv2D(1, 3, padding="same")(pixels)))
    return k.Flatten()(x + pixels)


def nested(pixels: Any) -> Any:
    k = keras.layers
    return k.Flatten()(keras.Sequential([k.Input((28, 28, 1)), k.Conv2D(4, 3), k.BatchNormalization()])(pixels))


def joined(pixels: Any) -> Any:
    k = keras.layers
    x = k.Activation("relu")(k.BatchNormalization()(k.Conv2D(4, 3, padding="same", use_bias=False)(pixels)))
    return k.GlobalMaxPooling2D()(k.ZeroPadding2D()(k.Concatenate()([x, k.Conv2D(4, 1)(pixels)])))


@pytest.mark.parametrize(
    ("body", "left", "refused"),
    [
        (added_by_an_operator, 1, r"tf.__operators__.add"),
        (nested, 0, "a keras Model inside another keras Model"),
        (joined, 0, None),
    ],
)
def test_functional_models_of_other_kinds_are_taken_too(body: Any, left: int, refused: str | None) -> None:
    """Where batch normalization cannot be folded it stays; what tfmot cannot train for int8 is one line."""
    _tf.seed_everything(0)
    pixels = keras.layers.Input((28, 28, 1))
    model = keras.Model(pixels, keras.layers.Dense(10, activation="softmax")(body(pixels)))
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), np.uint8)
    folded = without_batch_norm(model)
    assert sum(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers) == left
    assert np.allclose(_tf.predict(folded, images), _tf.predict(model, images), atol=1e-5)
    assert to_tflite(folded, scheme="int8", representative_dataset=images)
    if refused is None:
        assert simulated(folded).output_shape == (None, 10)
    else:
        with pytest.raises(ConfigError, match=rf"quantize qat: tfmot cannot train this model for int8 \(.*{refused}"):
            simulated(folded)


def test_a_run_trains_it_and_notices_when_the_file_changes(tmp_path: Path) -> None:
    path, root = Path(code(tmp_path / "net.py", CODE)), tmp_path / "run"
    options: dict[str, Any] = {"data": "digits", "recipe": "quick", "epochs": 1}
    config = choose.settings(str(path), **options)
    assert choose.run_directory(config).name.startswith("digits-net-quick-")
    with pipeline.begin(config, root) as work:
        record = artifact.checked(pipeline.train(work))
    assert record.settings["arch_sha256"] == artifact.sha256(CODE.encode())
    path.write_text(CODE.replace("Conv2D(8, 5", "Conv2D(9, 5"))
    with (
        pytest.raises(ConfigError, match=r"holds a run with other settings \(arch_sha256"),
        pipeline.begin(choose.settings(str(path), **options), root),
    ):
        pytest.fail("it went on")
    with (
        pipeline.begin(config, tmp_path / "other") as work,
        pytest.raises(ArtifactError, match=r"net.py: changed since the run began; restore it"),
    ):
        pipeline.train(work)
    path.unlink()  # what is trained does not need it any more
    with pipeline.reopen(Run(root), max_drop_pp=100, allow_chance=True) as work:
        reason = pipeline.why_not_quantized(work, "baseline")
        exported = pipeline.export(work, recipe="baseline", target=pipeline.Target("tflite", "int8"))
    assert artifact.checked(exported).labels == [str(digit) for digit in range(10)]
    assert reason is not None
    assert "BatchNormalization is not supported" in reason


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, edgecnn: Edgecnn) -> None:
    done = edgecnn("train", "--arch", tmp_path / "none.keras", "--out", tmp_path / "run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none.keras: cannot read (No such file or directory)" in done.stderr
    assert not (tmp_path / "run").exists()
