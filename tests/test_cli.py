"""The command line: what it prints, where, its exit codes, and one line for every bad input."""

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn import artifact
from edgecnn.cli import app, choose
from tests.conftest import RELEASED, ROOT, Edgecnn, idx_bytes, write_idx_set

SEVEN = ROOT / "deploy" / "seven.png"
needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def refused(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Return the one line that a refused command printed."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


@pytest.mark.parametrize("command", [c.callback.__name__ for c in app.registered_commands if c.callback])
def test_every_command_has_help(edgecnn: Edgecnn, command: str) -> None:
    done = edgecnn(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: edgecnn {command}") or f"edgecnn {command}" in done.stdout


def test_version(edgecnn: Edgecnn) -> None:
    from edgecnn import __version__

    assert edgecnn("--version").stdout.strip() == f"edgecnn {__version__}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--data", "cifar"],
            "data: 'cifar' is unknown; expected one of: a path, digits, fashion-mnist, mnist, two-digits",
        ),
        (["run", "--arch", "resnet"], "arch: 'resnet' is unknown; expected one of: classes100, conv2, conv2pool"),
        (["run", "--arch", "edge4k", "--recipe", "page"], "recipe page: arch edge4k has no page"),
        (["compare", "--arch", "edge4k"], "--arch: got 'edge4k'; expected two architectures or more"),
        (["run", "--recipe", "best"], "recipe: 'best' is unknown; expected one of: improved, page, quick"),
        (["run", "--sparsity", "1.5"], "pruning.final_sparsity: 1.5; expected a fraction in [0, 1)"),
        (["train", "--epochs", "0"], "epochs: 0; expected at least 1"),
        (
            ["export", "--format", "coreml"],
            "format: 'coreml' is unknown; expected one of: bundle, c, onnx, pyz, tflite",
        ),
        (["export", "--format", "onnx", "--scheme", "float16"], "expected one of: float32, int8"),
        (["export", "--dynamic-batch"], "--dynamic-batch is for --format onnx"),
        (["export", "--scheme", "int16x8", "--keep-float", "auto"], "--keep-float is for --scheme int8"),
        (
            ["export", "--scheme", "float16", "--calibration", "mse"],
            "--calibration: does not apply here, float16 has no",
        ),
        (["sensitivity", "--format", "ncnn"], "format: 'ncnn' is unknown; expected one of: onnx, tflite"),
        (["run", "--calibration", "kl"], "calibration: 'kl' is unknown; expected one of: minmax, mse, percentile"),
        (["export", "gone.keras"], "gone.keras: cannot read (No such file or directory)"),
        (["train", "--seed", "5000000000"], "seed: 5000000000; expected 0 to 4294967295"),
        (["verify", "x" * 300], "File name too long"),
        (["prune"], "runs: no trained run; start one: edgecnn train"),
        (["prune", "gone"], "gone: no run there"),
        (["quantize", "--method", "magic"], "method: 'magic' is unknown; expected one of: ptq, qat"),
        (["release"], "runs: no complete run; start one: edgecnn run"),
        (["verify", "gone"], "gone: no such folder"),
        (["verify", "."], ".: no artifact in it"),
        (["bench", "gone.tflite"], "gone.tflite: cannot read"),
        (["bench", "."], "bench: no .tflite or .onnx file in ."),
        (["inspect", "gone.onnx"], "gone.onnx: cannot read"),
        (["predict", "--model", "gone.tflite", "gone.png"], "gone.tflite: cannot read"),
        (
            ["predict", "--model", "edge0k", "gone.png"],
            "edge0k: no such path, and no released model; expected a path or",
        ),
        (["export", "edge0k"], "edge0k: no such path, and no released model"),
        (["bench", "edge0k"], "edge0k: no such path, and no released model"),
        (["predict", "--model", "model.pt", "gone.png"], "model.pt: got .pt; expected a .tflite or .onnx file"),
    ],
)
def test_bad_arguments_are_one_line(edgecnn: Edgecnn, tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(edgecnn(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == [], "nothing is half-written"


def test_an_unknown_option_names_the_near_ones(edgecnn: Edgecnn) -> None:
    done = edgecnn("run", "--datta", "digits")
    assert done.returncode == 2
    assert "--data" in done.stderr


@pytest.mark.parametrize("command", ["run", "train"])
@pytest.mark.parametrize("damage", ["empty", "magic", "truncated", "swapped", "checksum", "label"])
def test_bad_mnist_files_are_one_line(edgecnn: Edgecnn, tmp_path: Path, command: str, damage: str) -> None:
    folder = tmp_path / "mnist"
    write_idx_set(folder)
    images, labels = folder / "train-images-idx3-ubyte.gz", folder / "train-labels-idx1-ubyte.gz"
    match damage:
        case "empty":
            images.write_bytes(gzip.compress(b""))
        case "magic":
            images.write_bytes(gzip.compress(idx_bytes(np.zeros((2, 28, 28)), 2052)))
        case "truncated":
            images.write_bytes(images.read_bytes()[:-20])
        case "swapped":
            images.write_bytes(labels.read_bytes())
        case "label":
            labels.write_bytes(gzip.compress(idx_bytes(np.full(20, 11), 2049)))
    expected = {
        "empty": "expected an idx header", "magic": "magic 2052 (idx of 4 dimensions); expected 2051",
        "truncated": "not a complete gzip file", "swapped": "magic 2049 (labels)",
        "checksum": "expected 6bbc9ace898e44ae57da46a324031adb", "label": "expected 6bbc",
    }[damage]  # fmt: skip
    done = edgecnn(command, "--data", "mnist", "--data-dir", folder, "--out", tmp_path / "run")
    assert expected in refused(done)
    assert not (tmp_path / "run").exists()


def test_no_network_and_no_data_is_one_line(edgecnn: Edgecnn, tmp_path: Path) -> None:
    # A proxy that refuses connections stands for a machine without a network.
    nowhere = {"https_proxy": "http://127.0.0.1:9", "XDG_CACHE_HOME": str(tmp_path), "EDGECNN_DATA": str(tmp_path)}
    line = refused(edgecnn("train", "--data", "mnist", "--out", tmp_path / "run", **nowhere))
    assert "--data-dir; --data digits needs none" in line
    assert str(tmp_path / "edgecnn" / "mnist") in line


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.argv[1:] = ['train', '--out', 'run']\n"
        "from edgecnn.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    line = refused(done)
    assert line == ("error: train: tensorflow not installed; needs the extra train; run: pip install 'edgecnn[train]'")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_runtime_is_named(tmp_path: Path, quick_run: Path) -> None:
    code = (
        "import sys; sys.modules['ai_edge_litert'] = None\n"
        f"sys.argv[1:] = ['predict', '--model', {str(quick_run / 'export/baseline/int8.tflite')!r}, {str(SEVEN)!r}]\n"
        "from edgecnn.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "no runtime for it is installed; run: pip install ai-edge-litert or tflite-runtime" in refused(done)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(edgecnn: Edgecnn, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        command = ("train", "--recipe", "quick", "--epochs", "1", "--out", small / "run")
        assert "No space left on device" in refused(edgecnn(*command))
        assert not [p for p in small.rglob("*") if p.name.startswith(".") or p.name == "record.json"]
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        assert edgecnn(*command).returncode == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_predict_prints_a_line_an_image(edgecnn: Edgecnn, quick_run: Path) -> None:
    model = quick_run / "export" / "baseline" / "int8.tflite"
    done = edgecnn("predict", "--model", model, SEVEN, SEVEN)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == [str(SEVEN)] * 2
    assert 0 <= float(rows[0][2]) <= 1


def test_predict_json_is_for_machines(edgecnn: Edgecnn, quick_run: Path) -> None:
    done = edgecnn("predict", "--json", "--model", quick_run / "export" / "baseline" / "int8.onnx", SEVEN)
    value = json.loads(done.stdout)
    assert value["image"] == str(SEVEN)
    assert value["runtime"] == "ort"
    assert value["label"] == str(int(np.argmax(value["probabilities"])))
    assert value["probability"] == max(value["probabilities"])


def test_a_bad_image_stops_but_what_came_before_is_kept(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    model = quick_run / "export" / "baseline" / "int8.tflite"
    done = edgecnn("predict", "--model", model, SEVEN, tmp_path / "bad.png")
    assert "bad.png: not a readable image" in refused(done)
    assert done.stdout.startswith(str(SEVEN))


@pytest.mark.parametrize(
    ("command", "suffix"),
    [
        *((command, suffix) for command in ("predict", "bench", "inspect") for suffix in (".tflite", ".onnx")),
        ("inspect", ".keras"),
        ("export", ".keras"),
    ],
)
def test_a_truncated_model_is_one_line(
    edgecnn: Edgecnn, quick_run: Path, tmp_path: Path, command: str, suffix: str
) -> None:
    source = quick_run / ("train/model.keras" if suffix == ".keras" else f"export/baseline/int8{suffix}")
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(source.read_bytes()[:30_000])
    more = {"predict": ["--model", path, SEVEN], "export": [path, "--data", "digits"]}.get(command, [path])
    assert str(path) in refused(edgecnn(command, *more, cwd=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_model_for_other_images_is_refused_and_one_without_softmax_assumed(edgecnn: Edgecnn, tmp_path: Path) -> None:
    from edgecnn._tf import keras, save_model
    from edgecnn.export.tflite import to_tflite

    layers = [
        keras.layers.Input((8, 8, 1), name="pixels"),
        keras.layers.Flatten(name="f"),
        keras.layers.Dense(10, name="d"),
    ]
    model = keras.Sequential(layers, name="other")
    (tmp_path / "other.keras").write_bytes(save_model(model, suffix=".keras"))
    (tmp_path / "other.tflite").write_bytes(to_tflite(model, scheme="float32"))
    exported = edgecnn("export", tmp_path / "other.keras", "--data", "digits", cwd=tmp_path)
    assert "input is [8, 8, 1]; expected [28, 28, 1]" in refused(exported)
    predicted = edgecnn("predict", "--json", "--model", tmp_path / "other.tflite", SEVEN)
    assert "warning: " in predicted.stderr and "--input-range" in predicted.stderr
    said = json.loads(predicted.stdout)
    assert (said["assumed"], said["accepted"]) == (["range 0..1"], False)
    assert sum(said["probabilities"]) == pytest.approx(1), "softmax of its logits"


def test_a_model_that_differs_from_its_record_is_refused_everywhere(
    edgecnn: Edgecnn, quick_run: Path, tmp_path: Path
) -> None:
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(quick_run / "export" / "baseline" / name, tmp_path)
    model = tmp_path / "int8.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    for arguments in (["predict", "--model", model, SEVEN], ["bench", model], ["inspect", model], ["verify", tmp_path]):
        assert "its record says" in refused(edgecnn(*arguments, cwd=tmp_path)), arguments


def test_verify_counts_what_is_whole(edgecnn: Edgecnn, quick_run: Path) -> None:
    done = edgecnn("verify", quick_run)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "15 artifacts, all as their records say"


def test_inspect_shows_layers_and_sums(edgecnn: Edgecnn, quick_run: Path) -> None:
    done = edgecnn("inspect", quick_run / "export" / "baseline" / "int8.tflite")
    assert done.returncode == 0, done.stderr
    assert "CONV_2D" in done.stdout
    total = next(line.split() for line in done.stdout.splitlines() if line.strip().startswith("total"))
    assert total[1] == "35,030"
    assert total[4] == "1,677,288"
    assert "float32.tflite over 100 training images" in done.stdout


def test_export_says_what_it_took_and_prints_the_path_last(edgecnn: Edgecnn, quick_run: Path) -> None:
    done = edgecnn("export", quick_run, "--format", "onnx", "--scheme", "float32")
    assert f"exporting baseline of run {quick_run}" in done.stderr
    assert done.stdout.splitlines()[-1] == str(quick_run / "export" / "baseline" / "float32.onnx")


def test_export_of_a_recipe_that_is_not_there_lists_those_that_are(edgecnn: Edgecnn, quick_run: Path) -> None:
    line = refused(edgecnn("export", quick_run, "--recipe", "pruned99"))
    assert "recipe: 'pruned99' is unknown; expected one of: baseline, pruned80, pruned80-qat" in line


def test_export_of_a_model_file_needs_its_data_named(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    shutil.copy(quick_run / "train" / "model.keras", tmp_path / "mine.keras")
    assert "pass --data digits|mnist" in refused(edgecnn("export", "mine.keras", cwd=tmp_path))
    done = edgecnn("export", "mine.keras", "--scheme", "float16", "--data", "digits", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "export/mine/float16.tflite"
    assert edgecnn("verify", tmp_path / "export").returncode == 0


def test_export_of_the_predictor(edgecnn: Edgecnn, tmp_path: Path) -> None:
    done = edgecnn("export", "--format", "pyz", "--out", tmp_path)
    assert done.stdout.strip() == str(tmp_path / "predict.pyz")
    refused_pyz = subprocess.run(
        [sys.executable, tmp_path / "predict.pyz", SEVEN], capture_output=True, text=True, check=False
    )
    assert "holds none; expected exactly one .tflite or .onnx there" in refused(refused_pyz)


def test_the_on_device_script_runs_beside_pyz_and_model(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    edgecnn("export", "--format", "pyz", "--out", tmp_path)
    for file in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(quick_run / "export" / "baseline" / file, tmp_path)
    shutil.copy(ROOT / "deploy" / "predict.py", tmp_path)

    def script(*images: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, tmp_path / "predict.py", *map(str, images)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = script(SEVEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith(" ms")
    assert "gone.png: no such file" in refused(script(tmp_path / "gone.png"))
    assert script().returncode == 2
    assert "edgecnn is not installed; needs predict.pyz" in refused(
        subprocess.run(
            [sys.executable, "-I", "-S", shutil.copy(ROOT / "deploy" / "predict.py", tmp_path.parent), SEVEN],
            capture_output=True, text=True, check=False,
        )
    )  # fmt: skip


@pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
@pytest.mark.parametrize("place", ["checkout", "wheel"])
def test_the_on_device_script_runs_where_it_lies(tmp_path: Path, place: str) -> None:
    """In a checkout models/ and deploy/ lie beside the package; in a wheel, inside of it."""
    package = tmp_path / "edgecnn"
    shutil.copytree(ROOT / "edgecnn" / "device", package / "device", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "edgecnn" / "__init__.py", package)
    beside = tmp_path if place == "checkout" else package
    shutil.copytree(RELEASED, beside / "models" / "edge35k")
    (beside / "deploy").mkdir()
    script = shutil.copy(ROOT / "deploy" / "predict.py", beside / "deploy")

    def run(image: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": "" if place == "checkout" else str(tmp_path)}
        command = [sys.executable, script, image]
        return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)

    done = run(SEVEN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\t")[:2] == [str(SEVEN), "7"]
    assert "gone.png: no such file" in refused(run(tmp_path / "gone.png"))
    shutil.rmtree(beside / "models")
    assert "models/edge35k/int8.tflite: cannot read" in refused(run(SEVEN))


def test_options_that_do_not_apply_are_refused(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    assert "--out: does not apply here" in refused(edgecnn("export", quick_run, "--out", "mine", cwd=tmp_path))
    for command in ("export", "bench"):
        given = refused(edgecnn(command, quick_run, "--data", "mnist", cwd=tmp_path))
        assert "--data: got mnist; the run has its own, digits; leave it out" in given
    model = quick_run / "train" / "model.keras"
    assert "--recipe: does not apply here" in refused(edgecnn("export", model, "--recipe", "pruned80", cwd=tmp_path))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"seed = 1"])
def test_a_damaged_config_is_one_line(edgecnn: Edgecnn, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    for command in ("prune", "quantize"):
        assert "config.toml: " in refused(edgecnn(command, tmp_path))


def test_a_name_that_breaks_lines_stays_in_its_row(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    name = tmp_path / "a\tb\nc ✓.png"
    shutil.copy(SEVEN, name)
    model = quick_run / "export" / "baseline" / "int8.tflite"
    done = edgecnn("predict", "--model", model, name, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert len(done.stdout.split("\t")) == 3


@needs_released
def test_right_after_installation_the_released_model_works(edgecnn: Edgecnn, tmp_path: Path) -> None:
    """In a folder with no run, and without MNIST."""
    offline = {"https_proxy": "http://127.0.0.1:9", "HOME": str(tmp_path / "home"), "EDGECNN_DATA": str(tmp_path)}
    predicted = edgecnn("predict", SEVEN, cwd=tmp_path)
    assert predicted.stdout.split("\t")[1] == "7"
    assert "models/edge35k/int8.tflite" in predicted.stderr

    exported = edgecnn("export", "--format", "tflite", cwd=tmp_path)
    assert exported.stdout.splitlines()[-1] == "export/edge35k/int8.tflite"
    assert "released edge35k" in exported.stderr
    assert (tmp_path / "export/edge35k/int8.tflite").read_bytes() == (RELEASED / "int8.tflite").read_bytes()
    assert edgecnn("verify", tmp_path / "export").returncode == 0

    measured = edgecnn("bench", cwd=tmp_path, **offline)
    assert measured.returncode == 0, measured.stderr
    assert "accuracy is not measured: mnist: " in measured.stderr
    result = json.loads((tmp_path / "edgecnn-bench.json").read_text())
    assert {row["artifact"] for row in result["results"]} == {
        "float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx",
    }  # fmt: skip
    assert all(row["top1"] is None and row["p50_us"] > 0 for row in result["results"])


@needs_released
def test_a_released_model_is_taken_by_its_name(edgecnn: Edgecnn, tmp_path: Path) -> None:
    predicted = edgecnn("predict", "--model", "edge35k", "--runtime", "ort", SEVEN, cwd=tmp_path)
    assert predicted.stdout.split("\t")[1] == "7"
    assert "models/edge35k/int8.onnx" in predicted.stderr
    exported = edgecnn("export", "edge35k", "--format", "onnx", "--scheme", "float32", cwd=tmp_path)
    assert exported.stdout.splitlines()[-1] == "export/edge35k/float32.onnx"
    assert "copying the released edge35k, float32.onnx" in exported.stderr.splitlines()[0]
    listed = edgecnn("models", cwd=tmp_path)
    assert all(name in listed.stdout for name in artifact.released_models())


def test_what_is_there_goes_before_a_released_model_of_that_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose.path_of(Path("edge35k")) == artifact.released_models()["edge35k"]
    Path("edge35k").mkdir()
    assert choose.path_of(Path("edge35k")) == Path("edge35k")


@needs_released
def test_a_model_is_measured_once_however_often_it_is_named() -> None:
    whole, files = choose.bench_targets([Path("edge35k"), RELEASED / "int8.onnx", RELEASED])
    assert whole is None
    assert sorted(path.name for path in files) == ["float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite"]


def test_an_image_of_any_size_is_taken(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    Image.open(SEVEN).resize((900, 1100)).convert("RGB").save(tmp_path / "big.jpg", quality=80)
    done = edgecnn("predict", "--model", quick_run / "export" / "baseline" / "int8.tflite", tmp_path / "big.jpg", SEVEN)
    big, small = (line.split("\t")[1] for line in done.stdout.splitlines())
    assert big == small
