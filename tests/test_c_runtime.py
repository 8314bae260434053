"""A model's C library as a runtime: chosen first when it belongs to the model."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from edgecnn.bench.footprint import flash_bytes
from edgecnn.device import ImageError, ModelError, Predictor, RuntimeMissingError
from edgecnn.device.commands import predict_files
from edgecnn.device.contract import real_values
from edgecnn.device.files import read_record
from edgecnn.device.runtimes.library import Library
from edgecnn.device.runtimes.loader import load
from edgecnn.device.trust.decision import read_decision
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


def predicted(folder: Path, *arguments: object, code: int = 0, python: tuple[str, ...] = ("-I",)) -> str:
    """Run predict.pyz, by itself; return what it prints, of a failure on stderr."""
    command = [sys.executable, *python, folder / "predict.pyz", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout if code == 0 else done.stderr


def without_packages(folder: Path, *arguments: object) -> str:
    """Run predict.pyz in a Python that has its standard library and nothing else; return what it complains of."""
    return predicted(folder, *arguments, code=2, python=("-I", "-S"))


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


def test_pictures_of_every_plain_format_are_read_alike(board: Path, tmp_path: Path) -> None:
    images = pictures(tmp_path)
    for arguments in (["--runtime", "c"], []):
        rows = [line.split("\t") for line in predicted(board, *arguments, *images).splitlines()]
        assert rows == [[str(image), "7", "0.999"] for image in images]


def test_without_numpy_it_says_what_to_install(board: Path) -> None:
    for image in (SEVEN, PHOTO):
        assert without_packages(board, image) == "error: numpy is not installed; run: pip install numpy pillow\n"


def test_a_picture_of_any_kind_is_read_by_it(board: Path, tmp_path: Path) -> None:
    Image.fromarray(np.roll(PIXELS, 6, axis=1)).save(tmp_path / "moved.png")
    lines = list(
        predict_files(
            [SEVEN, PHOTO, tmp_path / "moved.png"], model=board / "int8.tflite", runtime="c", threads=1, as_json=True
        )
    )
    assert [json.loads(line)["label"] for line in lines] == ["7"] * 3
    assert {json.loads(line)["runtime"] for line in lines} == {"c"}
    assert "gone.png: no such file" in predicted(board, "gone.png", code=2)


def test_the_library_is_chosen_first_and_says_what_the_reference_kernels_say(board: Path) -> None:
    cases = np.frombuffer(golden.cases((RELEASED / "int8.tflite").read_bytes()), np.uint8).reshape(-1, 784 + 10)
    chosen, named = Predictor(board / "int8.tflite"), Predictor(board / "int8.tflite", runtime="litert")
    assert (chosen.model.runtime, named.model.runtime) == ("c", "litert")
    got = chosen.probabilities(cases[:, :784].reshape(-1, 28, 28, 1))
    assert np.array_equal(got, real_values(cases[:, 784:].view(np.int8), named.contract.output))
    assert chosen.labels == named.labels


@pytest.mark.parametrize("change", [{"floor": 0.7}, {"temperature": "warm"}, {"layers": [{}]}, {"layers": 5}], ids=repr)
def test_a_decision_that_is_none_is_refused(change: dict[str, object]) -> None:
    path = RELEASED / "int8.tflite"
    record = read_record(path)
    record["decision"] = record["decision"] | change
    with pytest.raises(ModelError, match=r"int8.tflite: decision in its record .*; copy the record again"):
        read_decision(record, classes=10, where=path)
    record["decision"]["layers"] = read_record(path)["decision"]["layers"]
    cut = record["decision"]["layers"][1]
    record["decision"] |= {"floor": 0.0, "temperature": 1.0}
    cut["kernel"] = cut["kernel"][:-4]
    with pytest.raises(ModelError, match="cannot be read"):
        read_decision(record, classes=10, where=path)


def test_a_library_of_another_model_is_not_taken(board: Path) -> None:
    for suffix in (".tflite", ".tflite.json"):
        shutil.copy(RELEASED.with_name("edge35k-sparse90") / f"int8{suffix}", board)
    assert Predictor(board / "int8.tflite").model.runtime == "litert"
    with pytest.raises(ModelError, match=r"made from a model of sha256 .*int8.tflite is"):
        Predictor(board / "int8.tflite", runtime="c")


def test_no_library_is_named_with_what_makes_it(board: Path) -> None:
    (board / "libmodel.so").unlink()
    with pytest.raises(RuntimeMissingError, match=r"no libmodel.so beside it; make it: edgecnn build"):
        Predictor(board / "int8.tflite", runtime="c")
    with pytest.raises(RuntimeMissingError, match=r"runtime 'c' does not take it; expected a .tflite file"):
        Predictor(RELEASED / "int8.onnx", runtime="c")
    assert "no libmodel.so beside it" in predicted(board, "--runtime", "c", SEVEN, code=2)


def test_a_model_that_differs_from_its_record_is_refused(board: Path) -> None:
    record = json.loads((board / "int8.tflite.json").read_text())
    (board / "int8.tflite.json").write_text(json.dumps(record | {"sha256": "0" * 64}))
    assert "its record says" in predicted(board, SEVEN, code=2)
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
    line = predicted(board, "--runtime", "c", SEVEN, code=2)
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    assert "libmodel.so" in line


def test_the_doctor_tells_of_the_library(board: Path) -> None:
    said = predicted(board, "--doctor")
    assert "works, for the model of sha256" in said
    assert "ready: c, litert" in said
    lacking = examined(board)
    assert "works, for the model of sha256" in lacking
    assert "not ready; run: pip install numpy pillow" in lacking
    (board / "libmodel.so").unlink()
    assert f"no libmodel.so in {board}; made of a model by edgecnn build" in examined(board)


def test_the_library_alone_is_a_model(board: Path) -> None:
    for name in ("int8.tflite", "int8.tflite.json"):
        (board / name).unlink()
    assert predicted(board, SEVEN).split("\t")[1] == "7"
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
    assert model.contract is not None
    assert (model.contract.is_unit, model.contract.sources["range"]) == (True, "quantization")
    assert model.calibration == (1.0, 0.0)
    cases = np.frombuffer(golden.cases(reference, count=6), np.uint8).reshape(6, 120 + 5)
    for case in cases:
        (scores,) = model.invoke([case[:120].view(np.int8).reshape(1, 12, 10)])
        assert scores.tobytes() == case[120:].tobytes()


def test_it_is_tried_once_until_it_is_built_anew(board: Path) -> None:
    predicted(board, SEVEN)
    cache = board.parent / "cache" / "edgecnn" / "runtimes.json"
    kept = cache.read_text()
    predicted(board, SEVEN)
    assert cache.read_text() == kept
    shared(board, KILLS)
    assert "illegal instruction" in predicted(board, "--runtime", "c", SEVEN, code=2)


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
def test_any_bytes_are_the_pixels_that_pillow_reads_or_a_reason_in_c(image_reader: Path, cases: list[bytes]) -> None:
    packed = b"".join(len(case).to_bytes(4, sys.byteorder) + case for case in cases)
    done = subprocess.run([image_reader], input=packed, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers, strict=True):
        if len(case) == 12:
            assert answer.split() == [str(byte) for byte in case], "pixels alone"
        elif set(answer) <= set("0123456789 "):
            assert answer.split() == [str(level) for level in np.asarray(Image.open(io.BytesIO(case))).ravel()]


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
