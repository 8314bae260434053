"""A model's C library as a runtime: chosen first when it belongs to the model, without numpy where that can be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from edgecnn.bench.footprint import flash_bytes
from edgecnn.device import ImageError, ModelError, Predictor, RuntimeMissingError
from edgecnn.device.commands import predict_files
from edgecnn.device.files import read_record
from edgecnn.device.predictor import decode_output, input_encoding
from edgecnn.device.preprocessing.canonical import centre_of_mass
from edgecnn.device.preprocessing.digit import canonical_levels
from edgecnn.device.preprocessing.plain import decode_plain
from edgecnn.device.quick import quick_reader, real_values, stored_pixels
from edgecnn.device.runtimes.library import Library, Quantized
from edgecnn.device.runtimes.loader import TensorSpec, load
from edgecnn.device.trust.decision import calibrated, read_decision, reasons_to_refuse, typicality
from edgecnn.device.trust.plain import judged, log_probabilities, read_plain_decision
from edgecnn.export.pyz import to_pyz
from edgecnn.native import golden
from edgecnn.pipeline import build
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.foreign.c_networks import Convention, converted

SEVEN, PHOTO = ROOT / "deploy" / "c" / "seven.pgm", ROOT / "deploy" / "seven.png"
NATIVE = ROOT / "edgecnn" / "native"
PIXELS = np.frombuffer(SEVEN.read_bytes()[-784:], np.uint8).reshape(28, 28)

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc"),
    pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(RELEASED / "int8.tflite", out=tmp_path_factory.mktemp("built"))


@pytest.fixture
def board(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder as it lies on a board: the model, its record, its C library, and predict.pyz."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "board"
    folder.mkdir()
    for path in (RELEASED / "int8.tflite", RELEASED / "int8.tflite.json", library):
        shutil.copy(path, folder)
    (folder / "predict.pyz").write_bytes(to_pyz())
    return folder


def without_packages(folder: Path, *arguments: object, code: int = 0) -> str:
    """Run predict.pyz in a Python that has its standard library and nothing else."""
    command = [sys.executable, "-I", "-S", folder / "predict.pyz", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def pictures(folder: Path) -> list[Path]:
    """Write the seven in every plain format, and black on white."""
    gray = Image.fromarray(PIXELS)
    clear = Image.merge("RGBA", [gray, gray, gray, Image.new("L", (28, 28), 255)])
    forms = {
        "gray.png": gray, "rgb.png": gray.convert("RGB"), "rgba.png": clear,
        "palette.png": gray.convert("RGB").quantize(256), "seven.pgm": gray, "paper.png": Image.fromarray(255 - PIXELS),
    }  # fmt: skip
    for name, picture in forms.items():
        picture.save(folder / name)
    (folder / "seven.raw").write_bytes(PIXELS.tobytes())
    return [*(folder / name for name in forms), folder / "seven.raw"]


def test_plain_pictures_are_read_without_numpy(board: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path)
    for arguments in (["--runtime", "c"], []):
        rows = [line.split("\t") for line in without_packages(board, *arguments, *images).splitlines()]
        assert rows == [[str(image), "7", "0.999"] for image in images]


def test_nothing_heavy_is_imported_where_it_is_installed(board: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, board / "predict.pyz"]
    for _ in range(2):  # the first time it is tried out in a child process
        done = subprocess.run([*command, "--json", SEVEN], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["runtime"] == "c"
    loaded = set(done.stderr.split())
    assert {"ctypes", "edgecnn.device.runtimes.library"} <= loaded
    assert not loaded & {"numpy", "PIL", "dataclasses", "subprocess", "hashlib", "ai_edge_litert"}


def test_any_other_picture_falls_through_to_numpy_and_pillow(board: Path, tmp_path: Path) -> None:
    Image.fromarray(np.roll(PIXELS, 6, axis=1)).save(tmp_path / "moved.png")
    lines = list(
        predict_files(
            [SEVEN, PHOTO, tmp_path / "moved.png"], model=board / "int8.tflite", runtime="c", threads=1, as_json=True
        )
    )
    assert [json.loads(line)["label"] for line in lines] == ["7"] * 3
    assert {json.loads(line)["runtime"] for line in lines} == {"c"}
    assert "run: pip install numpy pillow" in without_packages(board, PHOTO, code=2)
    assert (
        "gone.png: no such file"
        in subprocess.run(
            [sys.executable, board / "predict.pyz", "gone.png"], capture_output=True, text=True, check=False
        ).stderr
    )


def test_the_library_is_chosen_first_and_says_what_the_reference_kernels_say(board: Path) -> None:
    cases = np.frombuffer(golden.cases((RELEASED / "int8.tflite").read_bytes()), np.uint8).reshape(-1, 784 + 10)
    chosen, named = Predictor(board / "int8.tflite"), Predictor(board / "int8.tflite", runtime="litert")
    assert (chosen.model.runtime, named.model.runtime) == ("c", "litert")
    got = chosen.probabilities(cases[:, :784].reshape(-1, 28, 28, 1))
    assert np.array_equal(got, decode_output(cases[:, 784:].view(np.int8), named.output))
    assert chosen.labels == named.labels


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ink=arrays(np.uint8, (18, 16), elements=st.sampled_from([0, 0, 90, 255])), is_paper=st.booleans())
def test_the_short_way_says_what_the_long_one_does(board: Path, ink: np.ndarray, is_paper: bool) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[5:23, 6:22] = ink
    path = board / "digit.raw"
    path.write_bytes((255 - pixels if is_paper else pixels).tobytes())
    quick, predictor = quick_reader(board / "int8.tflite", None), Predictor(board / "int8.tflite")
    assert quick is not None
    said = quick(path)
    if said is None:
        assert canonical_levels(path.read_bytes()) is None
    else:
        values = vars(predictor.predict(path))
        assert said.keys() == values.keys()
        exact = ("label", "accepted", "reason")
        assert {name: said[name] for name in exact} == {name: values[name] for name in exact}
        assert said["probabilities"] == pytest.approx(values["probabilities"], abs=1e-4)
        assert said["probability"] == pytest.approx(values["probability"], abs=1e-4)
        assert said["timings_us"].keys() == values["timings_us"].keys()


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.uint8, (28, 28), elements=st.sampled_from([0, 0, 0, 60, 255])),
    st.lists(st.floats(0, 1, width=32), min_size=10, max_size=10),
)
def test_it_is_judged_alike_without_numpy(pixels: np.ndarray, shares: list[float]) -> None:
    total = sum(shares) or 1.0
    probabilities = np.array([[share / total for share in shares]], np.float32)
    for name in ("edge35k", "edge35k-sparse90", "edge4k"):
        path = RELEASED.with_name(name) / "int8.tflite"
        record = read_record(path)
        assert record["decision"]["layers"], "there is something to compare"
        decision = read_decision(record, classes=10, where=path)
        plain = read_plain_decision(record, classes=10, where=path)
        own = log_probabilities(pixels.tobytes(), plain.layers)
        assert own == pytest.approx(typicality(pixels[None], decision)[0].tolist(), abs=1e-4)
        labels = list("0123456789")
        got, reason = judged(pixels.tobytes(), probabilities[0].tolist(), labels, plain, digits=True)
        expected = calibrated(probabilities, decision)
        assert got == pytest.approx(expected[0].tolist(), abs=1e-6)
        if min(abs(value - plain.least_typicality) for value in own) > 1e-3 and len(set(got)) == len(got):
            assert reason == reasons_to_refuse(pixels[None], expected, labels, decision)[0]


@pytest.mark.parametrize("change", [{"floor": 0.7}, {"temperature": "warm"}, {"layers": [{}]}, {"layers": 5}], ids=repr)
def test_a_decision_that_is_none_is_refused_alike(change: dict[str, object]) -> None:
    path = RELEASED / "int8.tflite"
    record = read_record(path)
    record["decision"] = record["decision"] | change
    for read in (read_decision, read_plain_decision):
        with pytest.raises(ModelError, match=r"int8.tflite: decision in its record .*; copy the record again"):
            read(record, classes=10, where=path)
    record["decision"]["layers"] = read_record(path)["decision"]["layers"]
    cut = record["decision"]["layers"][1]
    record["decision"] |= {"floor": 0.0, "temperature": 1.0}
    cut["kernel"] = cut["kernel"][:-4]
    for read in (read_decision, read_plain_decision):
        with pytest.raises(ModelError, match="cannot be read"):
            read(record, classes=10, where=path)


def plainly_canonical(ink: np.ndarray) -> bool:
    """What `digit.canonical_levels` promises of one polarity, in numpy."""
    if not ink.any():
        return True
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    is_small = np.ptp(rows) < 20 and np.ptp(columns) < 20
    return bool(is_small and all(abs(middle - 14) <= 2.5 for middle in centre_of_mass(ink)))


@given(
    st.integers(0, 12), st.integers(0, 12), arrays(np.uint8, (16, 16), elements=st.sampled_from([0, 0, 0, 7, 255])),
    st.booleans(),
)  # fmt: skip
def test_what_is_canonical(top: int, left: int, ink: np.ndarray, is_paper: bool) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[top : top + 16, left : left + 16] = ink
    given_ = 255 - pixels if is_paper else pixels
    levels = canonical_levels(given_.tobytes())
    assert (levels is not None) == any(map(plainly_canonical, (given_, 255 - given_)))
    if levels is not None and plainly_canonical(pixels):
        assert levels == pixels.tobytes()


@given(st.floats(float(np.float32(1e-3)), 0.125, width=32), st.integers(-128, 127), st.sampled_from(["int8", "uint8"]))
@example(float(np.float32(1 / 255)), -128, "int8")
def test_pixels_and_scores_are_stored_as_the_predictor_does(scale: float, zero_point: int, dtype: str) -> None:
    zero_point += 128 if dtype == "uint8" else 0
    spec = TensorSpec("pixels", (1, 28, 28, 1), dtype, scale, zero_point)
    short = Quantized((1, 28, 28, 1), dtype, scale, zero_point)
    assert stored_pixels(short) == input_encoding(spec).tobytes()
    stored = np.arange(-128, 128).astype(np.int8)
    assert real_values(stored.tolist(), short) == decode_output(stored, spec).tolist()


def test_a_library_of_another_model_is_not_taken(board: Path) -> None:
    for suffix in (".tflite", ".tflite.json"):
        shutil.copy(RELEASED.with_name("edge35k-sparse90") / f"int8{suffix}", board)
    assert Predictor(board / "int8.tflite").model.runtime == "litert"
    with pytest.raises(ModelError, match=r"made from a model of sha256 .*int8.tflite is"):
        Predictor(board / "int8.tflite", runtime="c")
    assert quick_reader(board / "int8.tflite", None) is None


def test_no_library_is_named_with_what_makes_it(board: Path) -> None:
    (board / "libmodel.so").unlink()
    with pytest.raises(RuntimeMissingError, match=r"no libmodel.so beside it; make it: edgecnn build"):
        Predictor(board / "int8.tflite", runtime="c")
    with pytest.raises(RuntimeMissingError, match=r"runtime 'c' does not take it; expected a .tflite file"):
        Predictor(RELEASED / "int8.onnx", runtime="c")
    assert "no libmodel.so beside it" in without_packages(board, "--runtime", "c", SEVEN, code=2)


def test_a_model_that_differs_from_its_record_is_refused(board: Path) -> None:
    record = json.loads((board / "int8.tflite.json").read_text())
    (board / "int8.tflite.json").write_text(json.dumps(record | {"sha256": "0" * 64}))
    assert "its record says" in without_packages(board, SEVEN, code=2)
    with pytest.raises(ModelError, match="its record says"):
        Predictor(board / "int8.tflite")


def shared(folder: Path, code: str) -> Path:
    """Compile C into the board's libmodel.so."""
    source = folder / "own.c"
    source.write_text(code)
    subprocess.run(["gcc", "-shared", "-fPIC", source, "-o", folder / "libmodel.so"], check=True)
    return folder / "libmodel.so"


KILLS = "#include <signal.h>\n__attribute__((constructor)) static void die(void) { raise(SIGILL); }"
EARLIER = "struct d { int abi; }; void edgecnn_describe(struct d *d) { d->abi = 1; }"
LATER = "struct d { int abi; }; void edgecnn_describe(struct d *d) { d->abi = 99; }"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (KILLS, "died of signal 4, illegal instruction"),
        ("int nothing;", "edgecnn_describe"),
        (EARLIER, "of version 1; expected 2; make it again: edgecnn build"),
        (LATER, "of version 99; expected 2"),
    ],
    ids=["dies", "no model", "earlier", "later"],
)
def test_a_library_that_does_not_work_is_a_line_and_not_the_end(code: str, reason: str, board: Path) -> None:
    shared(board, code)
    assert Predictor(board / "int8.tflite").model.runtime == "litert"
    with pytest.raises(RuntimeMissingError, match=rf"libmodel.so: does not work here \(.*{reason}"):
        Predictor(board / "int8.tflite", runtime="c")
    assert reason in examined(board)


def examined(folder: Path) -> str:
    command = [sys.executable, "-I", "-S", folder / "predict.pyz", "--doctor"]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("damage", ["empty", "text", "head", "half"])
def test_a_damaged_library_is_one_line(damage: str, board: Path) -> None:
    path = board / "libmodel.so"
    content = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"no library", "head": content[:40], "half": content[: len(content) // 2]}[damage]
    )
    line = without_packages(board, "--runtime", "c", SEVEN, code=2)
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert "libmodel.so" in line


def test_the_doctor_tells_of_the_library(board: Path) -> None:
    said = without_packages(board, "--doctor")
    assert "works, for the model of sha256" in said
    assert "ready for 28x28 PGM, PNG and .raw files in MNIST's shape; for all others run: pip install numpy" in said
    (board / "libmodel.so").unlink()
    assert f"no libmodel.so in {board}; made of a model by edgecnn build" in examined(board)


def test_the_library_alone_is_a_model(board: Path) -> None:
    for name in ("int8.tflite", "int8.tflite.json"):
        (board / name).unlink()
    assert without_packages(board, SEVEN).split("\t")[1] == "7"
    predictor = Predictor(board / "libmodel.so")
    assert predictor.labels == list("0123456789")
    assert predictor.predict(PHOTO).label == "7"
    with pytest.raises(ModelError, match=r"got .so; expected a .tflite or .onnx file"):
        Predictor(board / "libmodel.so", runtime="litert")


def test_what_the_library_says_of_itself(library: Path) -> None:
    loaded, tflite = Library(library), load(RELEASED / "int8.tflite", runtime="litert")
    assert loaded.version == json.loads((RELEASED / "int8.tflite.json").read_text())["sha256"]
    for own, theirs in ((loaded.input, tflite.inputs[0]), (loaded.output, tflite.outputs[0])):
        assert own == (theirs.shape, theirs.dtype, pytest.approx(theirs.scale), theirs.zero_point)
    assert f"MODEL_ARENA_BYTES {loaded.arena_bytes}\n" in library.with_name("model.h").read_text()
    decision = read_record(RELEASED / "int8.tflite")["decision"]
    assert loaded.calibration == (decision["temperature"], decision["floor"])
    contract = loaded.contract()
    assert (contract.shape, contract.picture, contract.labels) == ((28, 28, 1), "digit", tuple("0123456789"))
    assert (contract.input.dtype, contract.output.dtype, contract.assumed) == ("uint8", "int8", ())


def test_a_library_of_a_model_made_elsewhere_has_its_types_and_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = Convention(layout="HW", given="int8")
    (tmp_path / "net.tflite").write_bytes(converted(made))
    build(tmp_path / "net.tflite", out=tmp_path)
    model, reference = load(tmp_path / "net.tflite", runtime="c"), converted(made)
    assert (model.inputs[0].shape, model.inputs[0].dtype) == ((1, 12, 10), "int8")
    assert (model.outputs[0].shape, model.outputs[0].dtype) == ((1, 5), "uint8")
    assert model.contract is not None and "range 0..1" in model.contract.assumed
    assert model.calibration == (1.0, 0.0)
    cases = np.frombuffer(golden.cases(reference, count=6), np.uint8).reshape(6, 120 + 5)
    for case in cases:
        (scores,) = model.invoke([case[:120].view(np.int8).reshape(1, 12, 10)])
        assert scores.tobytes() == case[120:].tobytes()


def test_it_is_tried_once_until_it_is_built_anew(board: Path) -> None:
    without_packages(board, SEVEN)
    cache = board.parent / "cache" / "edgecnn" / "runtimes.json"
    kept = cache.read_text()
    without_packages(board, SEVEN)
    assert cache.read_text() == kept
    shared(board, KILLS)
    assert "illegal instruction" in without_packages(board, "--runtime", "c", SEVEN, code=2)


FUZZ = """
#include <stdio.h>
#define MODEL_HEIGHT 3
#define MODEL_WIDTH 4
#define MODEL_CHANNELS 1
#define MODEL_TAKES_PICTURES 1
enum { PIXELS = 12 };
#include "image.h"

/* FILE: per case its length, 4 bytes, then the content, given in memory of just that size. */
int main(void)
{
    uint8_t pixels[PIXELS];
    uint32_t bytes;
    while (fread(&bytes, sizeof bytes, 1, stdin) == 1) {
        uint8_t *content = malloc(bytes ? bytes : 1);
        if (fread(content, 1, bytes, stdin) != bytes)
            return 3;
        const char *wrong = read_image(content, bytes, pixels);
        free(content);
        for (int i = 0; i < PIXELS && !wrong; i++)
            printf("%d ", pixels[i]);
        puts(wrong ? wrong : "");
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def image_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program over native/image.h that ends at the first read or write outside of what it was given."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "fuzz.c").write_text(FUZZ.replace("<stdio.h>", "<stdio.h>\n#include <stdlib.h>"))
    strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-fsanitize=address,undefined")
    command = ["gcc", *strict, "-fno-sanitize-recover=all", "-I", NATIVE, folder / "fuzz.c", "-o", folder / "fuzz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert done.returncode == 0, done.stderr
    return folder / "fuzz"


words = st.sampled_from([b"P5", b"P2", b" ", b"\n", b"#", b"# a\n", b"4", b"3", b"255", b"256", b"0", b"-1", b"9" * 9])
almost = st.lists(words | st.binary(max_size=14), max_size=24).map(b"".join)
bodies = st.lists(st.integers(0, 256), min_size=11, max_size=13)
plain = bodies.map(lambda values: b"P2 4 3 255\n" + b" ".join(str(value).encode() for value in values))
binary = st.binary(min_size=10, max_size=14).map(lambda body: b"P5 4 3 255\n" + body)


@settings(max_examples=15, deadline=None)
@given(st.lists(almost | plain | binary | st.binary(max_size=40), min_size=60, max_size=200))
def test_any_bytes_are_pixels_or_a_reason_in_c_as_in_python(image_reader: Path, cases: list[bytes]) -> None:
    packed = b"".join(len(case).to_bytes(4, sys.byteorder) + case for case in cases)
    done = subprocess.run([image_reader], input=packed, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers, strict=True):
        if len(case) == 12:
            assert answer.split() == [str(byte) for byte in case], "pixels alone"
        elif (found := decode_plain(case)) is not None and found[:2] == (4, 3):
            assert answer.split() == [str(byte) for byte in found[2]]


suffixes = st.sampled_from([".png", ".pgm", ".raw", ".jpg"])
starts = st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"P5 28 28 255\n", b"P2 28 28 255\n", b"GIF89a", b"\xff\xd8\xff"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=starts, body=st.binary(max_size=900), suffix=suffixes)
def test_any_file_is_predicted_or_one_error(board: Path, start: bytes, body: bytes, suffix: str) -> None:
    path = board / f"any{suffix}"
    path.write_bytes(start + body)
    try:
        (line,) = predict_files([path], model=board / "int8.tflite", runtime="c", threads=1, as_json=False)
        assert line.startswith(f"{path}\t")
    except ImageError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(0, 255), st.integers(0, 400))
def test_a_damaged_png_is_read_or_refused_as_pillow_does(board: Path, place: int, value: int, cut: int) -> None:
    Image.fromarray(PIXELS).save(board / "whole.png")
    content = bytearray((board / "whole.png").read_bytes())
    content[place % len(content)] = value
    path = board / "damaged.png"
    path.write_bytes(content[: max(9, len(content) - cut)] if cut < 60 else content)
    try:
        (line,) = predict_files([path], model=board / "int8.tflite", runtime="c", threads=1, as_json=False)
        assert line.startswith(f"{path}\t")
    except ImageError as error:
        assert "\n" not in str(error)


def benched(edgecnn: Edgecnn, folder: Path, *arguments: object, **environment: str) -> list[dict[str, Any]]:
    options = ("--quick", "--rounds", "1", "--json", folder / "out.json")
    done = edgecnn("bench", *arguments, *options, cwd=folder, **environment)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads((folder / "out.json").read_text())["results"]
    return rows


def test_bench_measures_the_library_beside_a_model_or_one_made_for_it(
    edgecnn: Edgecnn, board: Path, tmp_path: Path
) -> None:
    (board / "int8.tflite.json").unlink()  # without a record there is no data set, and latency alone is measured
    (own,) = benched(edgecnn, board, "int8.tflite", "--runtime", "c", PATH=str(tmp_path))
    library = Library(board / "libmodel.so")
    assert (own["runtime"], own["error"], own["arena_bytes"]) == ("c", None, library.arena_bytes)
    assert own["p50_us"] > 0
    assert own["runtime_installed_bytes"] == (board / "libmodel.so").stat().st_size
    assert 34_000 < own["flash_bytes"] < own["runtime_installed_bytes"], "at least the weights"

    (board / "libmodel.so").unlink()
    shutil.copy(RELEASED / "float32.tflite", board)
    rows = benched(edgecnn, board, "int8.tflite", "float32.tflite", "--runtime", "c,litert")
    found = {(row["artifact"], row["runtime"]): row for row in rows}
    made, refused = found["int8.tflite", "c"], found["float32.tflite", "c"]
    assert made["arena_bytes"] == own["arena_bytes"]
    assert abs(made["flash_bytes"] - own["flash_bytes"]) < 3_000, "without a record: no labels, no calibration"
    assert "input: got 1 of FLOAT32" in refused["error"]
    assert found["int8.tflite", "litert"]["flash_bytes"] is None
    assert not (board / "libmodel.so").exists(), "it was made in a folder that is gone"

    done = edgecnn("bench", "int8.tflite", "--runtime", "c", cwd=board, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "run: apt-get install gcc libc6-dev" in done.stderr


def test_flash_is_code_and_constants(library: Path) -> None:
    listed = subprocess.run(["size", "-A", library], capture_output=True, text=True, check=True).stdout
    sizes = {row[0]: int(row[1]) for line in listed.splitlines() if len(row := line.split()) == 3 and row[1].isdigit()}
    known = sum(size for name, size in sizes.items() if name.startswith((".text", ".rodata", ".data")))
    assert known <= flash_bytes(library) < known + 6_000, "and what unwinds the stack"
