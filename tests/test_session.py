"""Measuring in processes of their own: foreign models, several inputs, runtimes that die."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecnn import pipeline
from edgecnn.bench import subject
from edgecnn.bench.session import Effort, Setting, measure
from edgecnn.bench.subject import RefusedError, Subject, SubjectError
from edgecnn.config import configure
from edgecnn.device.contract import unit
from edgecnn.device.resolution import NOTHING_SAID
from edgecnn.pipeline.contracts import of_file_to_measure
from tests.conftest import ROOT, Edgecnn

LOOK = Setting(Effort(runs=5, seconds=0.01, turns=2, warm_up_s=0.05, starts=1, rounds=3))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of small models of other kinds."""
    from edgecnn._tf import keras, tf
    from edgecnn.export.tflite import to_tflite

    layers, folder = keras.layers, tmp_path_factory.mktemp("foreign")

    def classifier(shape: tuple[int, ...]) -> Any:
        pixels = layers.Input(shape, name="x")
        return keras.Model(pixels, layers.Dense(4, name="d")(layers.Flatten(name="f")(pixels)), name="m")

    calibration = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    colour = to_tflite(classifier((16, 16, 3)), scheme="int8", representative_dataset=unit(calibration))
    (folder / "colour.tflite").write_bytes(colour)
    (folder / "spectrogram.tflite").write_bytes(to_tflite(classifier((49, 10, 1)), scheme="float32"))
    (folder / "vector.tflite").write_bytes(to_tflite(classifier((640,)), scheme="dynamic"))

    pixels = layers.Input((28, 28, 1), name="x")
    logits = keras.Model(pixels, layers.Dense(10, name="d")(layers.Flatten(name="f")(pixels)), name="logits")
    (folder / "logits.tflite").write_bytes(to_tflite(logits, scheme="float32"))
    of_four = tf.function(lambda x: logits(x)).get_concrete_function(tf.TensorSpec((4, 28, 28, 1)))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([of_four], logits)
    (folder / "batch4.tflite").write_bytes(converter.convert())

    given = layers.Input((8, 8, 1), name="x")
    both = [layers.Flatten(name="a")(given), layers.GlobalAveragePooling2D(name="b")(given)]
    (folder / "two_outputs.tflite").write_bytes(to_tflite(keras.Model(given, both, name="two"), scheme="float32"))

    import tf2onnx

    flexible = keras.Sequential(
        [layers.Input((None, None, 1), name="x"), layers.GlobalAveragePooling2D(name="g")], name="s"
    )
    signature = (tf.TensorSpec((1, None, None, 1), tf.float32, name="x"),)
    converted, _ = tf2onnx.convert.from_keras(flexible, input_signature=signature, opset=17)
    (folder / "open.onnx").write_bytes(converted.SerializeToString())
    fixed, _ = tf2onnx.convert.from_keras(
        keras.Model(given, both[1]), input_signature=(tf.TensorSpec((1, 8, 8, 1), tf.float32, name="x"),), opset=17
    )
    (folder / "fixed.onnx").write_bytes(fixed.SerializeToString())
    (folder / "batch.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(given, both)).convert())
    # The kernel does not fit on the 1x1 that LiteRT takes for what is open.
    convolution = [layers.Input((None, None, 3), name="x"), layers.Conv2D(2, 3, name="c"), *flexible.layers[-1:]]
    opened = tf.lite.TFLiteConverter.from_keras_model(keras.Sequential(convolution, name="o")).convert()
    (folder / "open.tflite").write_bytes(opened)
    return folder


def measured(pairs: list[tuple[Path, str]], observe: Any = lambda done, total: None, **options: Any) -> Any:
    """Measure models under the contracts that are known of them."""
    contracts = {model: of_file_to_measure(model, None, NOTHING_SAID) for model, _ in pairs}
    return measure(pairs, LOOK, contracts=contracts, observe=observe, **options)


@pytest.mark.parametrize("file", ["colour.tflite", "spectrogram.tflite", "vector.tflite", "two_outputs.tflite"])
def test_a_foreign_model_is_timed_and_not_classified(foreign: Path, file: str) -> None:
    images = np.zeros((3, 28, 28, 1), np.uint8)
    (got,) = measured([(foreign / file, "litert")], images=images, classes=10)
    assert got.error is None
    assert got.probabilities is None
    assert got.end_to_end == []
    assert [r.runs >= 5 for r in got.rounds] == [True] * 3
    assert got.cold_start_ms
    assert got.peak_rss_bytes


def test_models_take_turns_and_all_are_observed(quick_run: Path) -> None:
    pairs = [(quick_run / "export/baseline/int8.tflite", "litert"), (quick_run / "export/baseline/int8.onnx", "ort")]
    seen = []
    images = np.zeros((3, 28, 28, 1), np.uint8)
    got = measured(pairs, images=images, classes=10, observe=lambda *place: seen.append(place))
    steps = 2 * (1 + 3 * (2 + 1))  # for each model: prepare, then three rounds of two turns and their end
    assert seen == [(i, steps) for i in range(steps + 1)]
    for measurement in got:
        assert measurement.error is None
        assert measurement.probabilities is not None
        assert measurement.probabilities.shape == (3, 10)
        assert len(measurement.turns) == 6
        assert [r.runs for r in measurement.rounds] == [
            sum(t.runs for t in measurement.turns[i : i + 2]) for i in (0, 2, 4)
        ]
        assert len(measurement.end_to_end) == 3


KILL = "os.kill(os.getpid(), signal.SIGILL)"


@pytest.mark.parametrize(
    ("stub", "error"),
    [
        (f"import os, signal; {KILL}", "ort does not work here (importing it died of signal 4, illegal instruction"),
        (f"import os, signal\ndef __getattr__(name): {KILL}", "died of signal 4, Illegal instruction"),
    ],
    ids=["when it is imported", "when it is used"],
)
def test_a_runtime_that_dies_is_a_row_and_the_rest_goes_on(
    quick_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: str, error: str
) -> None:
    (tmp_path / "onnxruntime.py").write_text(stub)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # where it is kept which runtimes work
    pairs = [(quick_run / "export/baseline/int8.onnx", "ort"), (quick_run / "export/baseline/int8.tflite", "litert")]
    dead, alive = measured(pairs, images=None, classes=0)
    assert dead.error is not None
    assert error in dead.error
    assert dead.rounds == []
    assert alive.error is None
    assert len(alive.rounds) == 3


def test_a_runtime_that_hangs_is_a_row_too(quick_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "onnxruntime.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.setattr(subject, "START_TIMEOUT_S", 3)
    pairs = [(quick_run / "export/baseline/int8.onnx", "ort")]
    (hung,) = measured(pairs, images=None, classes=0)
    assert hung.error == "no answer in 3 s"


def test_a_classifier_without_softmax_is_read_and_one_of_four_images_timed(foreign: Path) -> None:
    images = np.zeros((3, 28, 28, 1), np.uint8)
    pairs = [(foreign / "logits.tflite", "litert"), (foreign / "batch4.tflite", "litert")]
    logits, batch4 = measured(pairs, images=images, classes=10)
    assert (logits.error, batch4.error) == (None, None)
    assert len(logits.rounds) == len(batch4.rounds) == 3
    assert logits.probabilities is not None
    assert np.allclose(logits.probabilities.sum(axis=1), 1)
    assert len(logits.end_to_end) == 3
    assert batch4.probabilities is None


def test_what_is_assumed_of_a_foreign_model_is_in_its_row(foreign: Path, tmp_path: Path) -> None:
    data = pipeline.load_data(configure(data="digits"))
    result = pipeline.bench([foreign / "logits.tflite"], data=data, out=tmp_path / "b.json", setting=LOOK)
    (row,) = result["results"]
    assert 0 <= row["top1"] <= 1
    assert row["p50_us"] > 0
    assert row["assumed"] == ["range 0..1"]
    assert "say --input-range" in row["note"]


@pytest.mark.parametrize(
    ("file", "runtime", "channels", "declared"),
    [("open.onnx", "ort", 1, r"x is \[1, -1, -1, 1\]"), ("open.tflite", "litert", 3, r"\S+ is \[-1, -1, -1, 3\]")],
)
def test_an_open_size_needs_a_shape(foreign: Path, file: str, runtime: str, channels: int, declared: str) -> None:
    with Subject(foreign / file, runtime, shape=[1, 12, 9, channels]) as subject:
        assert subject.inputs[0]["shape"] == [1, 12, 9, channels]
        assert subject.ask("turn", runs=3, seconds=0.0)["runs"] == 3
    with pytest.raises(SubjectError, match=rf"{file}: input {declared}; pass --shape"):
        Subject(foreign / file, runtime)
    for shape in ([1, 12, 9], [1, 12, 9, channels + 1], [1, 0, 9, channels]):
        with pytest.raises(
            SubjectError, match=r"--shape is \[1, .*; expected \[.*-1, -1, .*; pass such a --shape"
        ) as caught:
            Subject(foreign / file, runtime, shape=shape)
        assert f"{file}: --shape is {shape}; " in str(caught.value)


@pytest.mark.parametrize(
    ("file", "runtime", "declared"),
    [("vector.tflite", "litert", r"\S+ is \[1, 640\]"), ("fixed.onnx", "ort", r"x is \[1, 8, 8, 1\]")],
)
@pytest.mark.parametrize("shape", [[1, 640], [1, 8, 8, 1], [2, 640], [1, 9, 9, 1]])
def test_a_shape_for_fixed_sizes_is_refused(
    foreign: Path, file: str, runtime: str, declared: str, shape: list[int]
) -> None:
    expected = rf"{file}: --shape is \{shape}; expected none: input {declared}, all sizes fixed; leave --shape out$"
    with pytest.raises(SubjectError, match=expected):
        Subject(foreign / file, runtime, shape=shape)


def test_an_open_batch_needs_no_shape_and_takes_one(foreign: Path) -> None:
    with Subject(foreign / "batch.tflite", "litert") as subject:
        assert subject.inputs[0]["shape"] == [-1, 8, 8, 1]
        assert subject.ask("turn", runs=3, seconds=0.0)["runs"] == 3
    with Subject(foreign / "batch.tflite", "litert", shape=[5, 8, 8, 1]) as subject:
        assert subject.inputs[0]["shape"] == [5, 8, 8, 1]
        assert [output["shape"][0] for output in subject.outputs] == [5, 5]


def test_a_subject_can_be_pinned(quick_run: Path) -> None:
    with Subject(quick_run / "export/baseline/int8.tflite", "litert", pin=[0]) as subject:
        assert subject.ask("turn", runs=3, seconds=0.0)["runs"] == 3


def test_a_command_that_fails_does_not_end_the_worker(foreign: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.zeros((1, 28, 28, 1), np.uint8))
    with Subject(foreign / "vector.tflite", "litert") as subject:
        with pytest.raises(RefusedError, match=r"\[1, 28, 28, 1\]; expected \[640\]"):
            subject.ask("classify", images=str(tmp_path / "images.npy"), out=str(tmp_path / "out.npy"))
        assert subject.ask("turn", runs=2, seconds=0.0)["runs"] == 2


def test_bench_measures_foreign_models_and_says_why_not_more(edgecnn: Edgecnn, foreign: Path, tmp_path: Path) -> None:
    done = edgecnn("bench", "--quick", foreign, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "open.onnx (ort): " in done.stdout
    assert "open.tflite (litert): " in done.stdout
    assert "pass --shape" in done.stdout
    assert "vector.tflite" in done.stdout
    refused = edgecnn("bench", "--quick", "--data", "digits", foreign / "vector.tflite", cwd=tmp_path)
    assert refused.returncode == 2
    assert "input is [1, 640], digits has [28, 28, 1] and 10 classes" in refused.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--pin", "999"], 2, "--pin: core 999 is not there; expected some of: 0"),
        (["--pin", "one"], 2, "--pin: got 'one'; expected whole numbers"),
        (["--runtime", "cuda"], 2, "runtime: 'cuda' is unknown; expected one of: c, litert, mnn, ncnn, "),
        (["--runtime", "ort"], 2, "bench: no model here is for ort"),
        (["--quick", "--thorough"], 2, "give one of them"),
        (["--baseline", "best"], 2, "baseline: 'best' is unknown; expected one of: int8.tflite"),
        (["--json", "."], 2, ".: cannot write there (Is a directory); choose another file"),
        (["--budget", "top1_min"], 2, "--budget: got 'top1_min'; expected NAME=NUMBER"),
        (["notes.txt"], 2, "bench notes.txt: got .txt; expected a .tflite or .onnx file"),
        (["--check", "gone.toml"], 2, "gone.toml: cannot read"),
    ],
)
def test_bad_bench_options_are_one_line(
    edgecnn: Edgecnn, quick_run: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    model = quick_run / "export" / "baseline" / "int8.tflite"
    quick = [] if "--thorough" in options else ["--quick"]
    done = edgecnn("bench", model, *quick, *options, cwd=tmp_path)
    assert done.returncode == code
    assert [line for line in done.stderr.splitlines() if message in line]
    assert "Traceback" not in done.stderr


def test_a_broken_budget_exits_1_after_the_table(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    (tmp_path / "budget.toml").write_text("[budget]\nsize_bytes_max = 50_000\n")
    files = [quick_run / "export" / "baseline" / f"{name}.tflite" for name in ("int8", "float32")]
    done = edgecnn("bench", "--quick", *files, "--check", tmp_path / "budget.toml", cwd=tmp_path)
    assert done.returncode == 1
    assert "budget: 1 broken: float32.tflite (litert): size_bytes is" in done.stderr
    assert "int8.tflite" in done.stdout
    kept = edgecnn("bench", "--quick", files[0], "--check", tmp_path / "budget.toml", cwd=tmp_path)
    assert kept.returncode == 0, kept.stderr


def test_models_of_one_name_are_told_apart(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    files = [quick_run / "export" / recipe / "int8.tflite" for recipe in ("baseline", "pruned80")]
    done = edgecnn("bench", "--quick", *files, "--json", tmp_path / "b.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "b.json").read_text())["results"]
    assert [row["artifact"] for row in rows] == ["baseline/int8.tflite", "pruned80/int8.tflite"]
    refused = edgecnn("bench", "--quick", *files, "--baseline", "int8.tflite", cwd=tmp_path)
    assert refused.returncode == 2
    assert (
        "int8.tflite names 2 artifacts; expected one of: baseline/int8.tflite, pruned80/int8.tflite" in refused.stderr
    )
