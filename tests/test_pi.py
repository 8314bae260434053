"""An emulated Raspberry Pi 4 (`make pi`): the bundle runs there as on the workstation. Its times say nothing."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.device import Predictor
from edgecnn.pipeline.places import emulator_root
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.drawing import LABELS, PAPERS, photo, write

PI = emulator_root()
LACKS = [tool for tool in ("proot", "qemu-aarch64-static") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.skipif(not (PI / ".made-from").is_file(), reason=f"no emulated Raspberry Pi in {PI}; run: make pi"),
    pytest.mark.skipif(bool(LACKS), reason=f"{' and '.join(LACKS)} not installed; run: make pi (as root)"),
]
RUNTIMES = {"litert": "tflite", "ort": "onnx"}


@pytest.fixture(scope="module")
def boards(edgecnn: Edgecnn, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the bundles of the released model by runtime, with photos beside them."""
    out = tmp_path_factory.mktemp("boards")
    folders = {}
    for runtime, form in RUNTIMES.items():
        done = edgecnn("export", RELEASED, "--format", "bundle", "--model-format", form, "--out", out)
        assert done.returncode == 0, done.stderr
        folders[runtime] = Path(done.stdout.strip().removesuffix(".tar.gz"))
        for paper in ("ruled", "lit", "noisy"):
            Image.fromarray(on_paper("two", paper)).save(folders[runtime] / f"{paper}.jpg", quality=90)
    return folders


def on_paper(name: str, paper: str) -> np.ndarray:
    return photo(write(name, PAPERS[paper](480, 400), left=90, top=120, size=220, pen=18))


def on_board(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run predict.pyz in the Pi, in `folder`."""
    command = [ROOT / "deploy/pi/run.sh", PI, folder, "python3", "predict.pyz", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_self_test_passes(boards: dict[str, Path], runtime: str) -> None:
    done = on_board(boards[runtime], "--self-test")
    assert done.returncode == 0, done.stderr
    assert f" in {runtime}: " in done.stdout
    assert done.stdout.splitlines()[-1] == "computes what the workstation computed"


def test_a_model_changed_behind_the_sums_fails_the_self_test(boards: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(boards["litert"], tmp_path / "board")
    model = bytearray((folder / "int8.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "int8.tflite").write_bytes(model)
    done = on_board(folder, "--self-test")
    assert done.returncode == 2
    assert "int8.tflite: sha256 is" in done.stderr


@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no aarch64 compiler; run: make machines")
def test_the_model_in_c_needs_no_packages(edgecnn: Edgecnn, tmp_path: Path) -> None:
    done = edgecnn("export", RELEASED, "--format", "bundle", "--target", "aarch64", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().removesuffix(".tar.gz"))
    tested = on_board(folder, "--self-test")
    assert (tested.returncode, " in c: " in tested.stdout) == (0, True), tested.stderr
    alone = on_board(folder, "selftest.raw", PI_PYTHONPATH="/nowhere")
    assert (alone.returncode, "numpy is not installed" in alone.stderr) == (2, True)
    program = subprocess.run(
        [ROOT / "deploy/pi/run.sh", PI, folder, "./predict", "selftest.raw"], capture_output=True, text=True, check=True
    )
    assert program.stdout.split("\t")[1] == "7"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_photos_are_read_as_on_the_workstation(boards: dict[str, Path], runtime: str) -> None:
    folder = boards[runtime]
    photos = ["ruled.jpg", "lit.jpg", "noisy.jpg"]
    done = on_board(folder, "--json", *photos)
    assert done.returncode == 0, done.stderr
    predictor = Predictor(folder / f"int8.{RUNTIMES[runtime]}")
    for name, line in zip(photos, done.stdout.splitlines(), strict=True):
        there, here = json.loads(line), predictor.predict(folder / name)
        assert (there["runtime"], there["label"]) == (runtime, LABELS["two"])
        assert (here.label, here.accepted) == (there["label"], there["accepted"])
        assert np.allclose(there["probabilities"], here.probabilities, atol=0.1)


def test_steps_and_boxes_are_drawn(boards: dict[str, Path]) -> None:
    folder = boards["litert"]
    done = on_board(folder, "--segment", "--json", "--show", "seen.png", "ruled.jpg")
    assert [digit["label"] for digit in json.loads(done.stdout)["digits"]] == [LABELS["two"]], done.stderr
    assert on_board(folder, "--show", "steps.png", "ruled.jpg").returncode == 0
    with Image.open(folder / "seen.png") as boxes, Image.open(folder / "steps.png") as steps:
        assert boxes.size == (400, 480)
        assert steps.width > 400


def test_the_doctor_knows_the_board(boards: dict[str, Path]) -> None:
    done = on_board(boards["litert"], "--doctor")
    assert done.returncode == 0, done.stderr
    report = {line[:23].strip(): line[23:] for line in done.stdout.splitlines()}
    assert report["board"] == "Raspberry Pi 4 Model B Rev 1.1"
    assert "aarch64" in report["CPU"]
    assert "litert" in report["verdict"]
    assert "ort" in report["verdict"]


def test_without_a_runtime_it_says_what_to_install(boards: dict[str, Path]) -> None:
    done = on_board(boards["litert"], "selftest.png", PI_PYTHONPATH="/nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install" in done.stderr
    assert on_board(boards["litert"], "--doctor", PI_PYTHONPATH="/nowhere").returncode == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a readable image"), (b"GIF", "not a readable image"), (None, "no such file")],
    ids=["empty", "no image", "missing"],
)
def test_bad_input_is_one_line(boards: dict[str, Path], content: bytes | None, message: str) -> None:
    if content is not None:
        (boards["litert"] / "bad.png").write_bytes(content)
    done = on_board(boards["litert"], "bad.png" if content is not None else "gone.png")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_bench_gives_all_but_times(edgecnn: Edgecnn, tmp_path: Path) -> None:
    """On the embedded digits: 360 images are soon read, even here."""
    out = tmp_path / "bench.json"
    done = edgecnn("bench", RELEASED / "int8.tflite", "--data", "digits", "--device", "pi-emulator", "--json", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    row = result["results"][0]
    assert (result["conditions"]["device"], row["runtime"]) == ("pi-emulator", "litert")
    assert row["top1"] > 0.9
    assert row["size_bytes"] == (RELEASED / "int8.tflite").stat().st_size
    times = ("p50_us", "p99_us", "ratio_to_baseline", "end_to_end_p50_us", "cold_start_ms", "peak_rss_bytes")
    assert all(row[name] is None for name in times)
    assert "not clean: emulated: no times are measured" in done.stdout
