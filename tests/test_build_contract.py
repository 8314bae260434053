"""The program in C obeys the input contract: it shows what LiteRT and Python show, or says in a line why not."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn import artifact
from edgecnn.data import digits
from edgecnn.device import Predictor
from edgecnn.device.contract import FEATURES, Contract
from edgecnn.device.preprocessing.canonical import canonical
from edgecnn.export.c import to_c
from edgecnn.native import compiled, golden
from edgecnn.pipeline import build
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.foreign.c_networks import Convention, converted
from tests.test_export_c_contract import CASES, LABELS, by_litert, features, pictures_of

NATIVE = ROOT / "edgecnn" / "native"
FOREIGN = Path(os.environ.get("EDGECNN_DATA", "")) / "models"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc")
needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
needs_foreign = pytest.mark.skipif(not FOREIGN.is_dir(), reason="no models made by others here: set EDGECNN_DATA")


def program_of(folder: Path, content: bytes, contract: Contract | None, name: str = "model") -> Path:
    """Return the program of a model in a folder, tried on golden vectors."""
    dispatch = artifact.for_the_board("c/dispatch.c").read_text()
    texts = to_c(content, contract=contract, name=name)
    made = compiled(texts, dispatch, target="native", cases=golden.cases(content))
    assert made.notes == ["golden vectors agree on this machine"]
    path = folder / "predict"
    path.write_bytes(made.program)
    path.chmod(0o755)
    return path


def ran(program: Path, *files: Path, code: int = 0) -> tuple[list[list[str]], str]:
    """Return the fields of each line, and what was complained of."""
    done = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return [line.split("\t") for line in done.stdout.splitlines()], done.stderr


def netpbm(picture: np.ndarray) -> bytes:
    """Return a picture uint8 [H, W, C] as PGM or PPM."""
    height, width, channels = picture.shape
    return f"P{5 if channels == 1 else 6} # made here\n{width} {height}\n255\n".encode() + picture.tobytes()


@pytest.mark.parametrize(
    "name", ["blue first", "mean and std", "uint8 logits far apart", "flat", "no axis of channels"]
)
def test_it_shows_what_litert_says_of_the_makers_pixels(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    content, pictures = converted(case.made), pictures_of(case.made.shape)
    program = program_of(tmp_path, content, case.contract, name="digit")
    files = [tmp_path / f"{number}.pnm" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        file.write_bytes(netpbm(picture))
    rows, complaints = ran(program, *files)
    expected = by_litert(content, case, pictures)
    real = (expected.scores.astype(np.float64) - expected.zero_point) * expected.scale
    powers = np.exp(real - real.max(axis=1, keepdims=True))
    shown = powers / powers.sum(axis=1, keepdims=True) if case.made.gives == "logits" else real
    assert [row[1] for row in rows] == [LABELS[n] for n in shown.argmax(axis=1)]
    assert [float(row[2]) for row in rows] == pytest.approx(shown.max(axis=1), abs=0.0006)
    assert complaints == "", "nothing is assumed"


def test_files_of_another_kind_are_one_line(tmp_path: Path) -> None:
    case = CASES["color"]
    program, (picture, *_) = program_of(tmp_path, converted(case.made), case.contract), pictures_of(case.made.shape)
    ppm = netpbm(picture)
    wrong = {
        netpbm(picture[..., :1]): "is gray, and the model's pictures are in color",
        ppm.replace(b"P6", b"P3"): "is neither a PPM (P6) nor the pixels alone",
        ppm.replace(b"10 12", b"12 10"): "is of another size than the model's",
        ppm.replace(b"\n255", b"\n65535"): "has another maximum than 255",
        ppm[:-1]: "is cut short",
        b"": "is neither a PPM (P6) nor the pixels alone",
    }
    for content, reason in wrong.items():
        (tmp_path / "a.ppm").write_bytes(content)
        _, complaint = ran(program, tmp_path / "a.ppm", code=2)
        assert (
            complaint == f"error: {tmp_path / 'a.ppm'}: {reason}; expected a PPM (P6), or RGB pixels alone, of 10x12\n"
        )
    (tmp_path / "a.ppm").write_bytes(picture.tobytes())
    ran(program, tmp_path / "a.ppm")
    assert ran(program, code=2)[1] == "usage: predict FILE ...: a PPM (P6), or RGB pixels alone, of 10x12\n"


def test_who_gives_blue_first_is_told(tmp_path: Path) -> None:
    case = CASES["blue first"]
    program = program_of(tmp_path, converted(case.made), case.contract)
    assert "RGB pixels alone, of 10x12; the network is given blue first" in ran(program, code=2)[1]


def test_colors_are_not_read_as_gray(tmp_path: Path) -> None:
    program = program_of(tmp_path, converted(Convention()), CASES["batch 1"].contract)
    (tmp_path / "a.ppm").write_bytes(netpbm(np.zeros((12, 10, 3), np.uint8)))
    _, complaint = ran(program, tmp_path / "a.ppm", code=2)
    assert "is in color, and the model's pictures are gray; expected a PGM, or pixels alone, of 10x12" in complaint


def test_what_is_assumed_is_said_once_on_every_run(tmp_path: Path) -> None:
    program = program_of(tmp_path, converted(Convention()), None)
    for number in range(2):
        (tmp_path / f"{number}.pgm").write_bytes(netpbm(pictures_of((12, 10, 1))[number]))
    rows, complaint = ran(program, tmp_path / "0.pgm", tmp_path / "1.pgm")
    assert len(rows) == 2
    assert complaint.startswith("warning: assumed: range 0..1 (--input-range), ")
    assert complaint.count("\n") == 1


def test_scores_that_are_no_probabilities_are_not_shown_as_such(tmp_path: Path) -> None:
    made = Convention(gives="logits", sharpness=10.0)
    program = program_of(tmp_path, converted(made), replace(CASES["batch 1"].contract))
    (tmp_path / "a.pgm").write_bytes(netpbm(pictures_of(made.shape)[3]))
    _, complaint = ran(program, tmp_path / "a.pgm", code=2)
    assert "a.pgm: has scores that are no probabilities; export the model again with --logits" in complaint


def test_what_takes_no_picture_is_given_its_own_bytes(tmp_path: Path) -> None:
    content = features()
    contract = Contract(shape=(6, 5, 2), labels=tuple("abcd"), layout=FEATURES)
    program = program_of(tmp_path, content, contract)
    case = np.frombuffer(golden.cases(content, count=3), np.int8).reshape(3, 64)[2]
    (tmp_path / "values.raw").write_bytes(case[:60].tobytes())
    ((_, label, shown),), complaint = ran(program, tmp_path / "values.raw")
    assert label == "abcd"[int(case[60:].argmax())]
    assert float(shown) == pytest.approx((int(case[60:].max()) + 128) / 256, abs=0.0006)
    assert complaint == ""
    (tmp_path / "values.raw").write_bytes(bytes(61))
    _, complaint = ran(program, tmp_path / "values.raw", code=2)
    assert complaint.endswith("; expected the input alone, as the model stores it: 6x5x2 bytes\n")


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the released model, its record, and what is built of it."""
    if not RELEASED.is_dir():
        pytest.skip("models/edge35k is not released yet")
    folder = tmp_path_factory.mktemp("released")
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(RELEASED / name, folder)
    build(folder / "int8.tflite", out=folder)
    return folder


def digits_in_many_forms() -> list[np.ndarray]:
    """Return digits in MNIST's shape, some dozens: as they are, moved a little, fainter, and each turned over."""
    images = digits.read()[1].images[::30, ..., 0][:12]
    moved = [np.roll(image, (1, -1), (0, 1)) for image in images]
    fainter = [image // 3 for image in images]
    own = [*images, *moved, *fainter]
    return [*own, *(255 - image for image in own)]


def test_python_and_the_program_show_the_same_of_the_released_model(released: Path, tmp_path: Path) -> None:
    """To the digit that is printed; and to the last bit what the library gives for scores that are the same."""
    pictures = [p for p in digits_in_many_forms() if canonical(p) is not None]
    assert len(pictures) >= 48
    files = [tmp_path / f"{number}.pgm" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        file.write_bytes(netpbm(picture[..., None]))
    rows, _ = ran(released / "predict", *files)
    by_library, by_runtime = (Predictor(released / "int8.tflite", runtime=runtime) for runtime in ("c", "litert"))
    library = ctypes.CDLL(str(released / "libmodel.so"))
    same = 0
    for (_, label, shown), file in zip(rows, files, strict=True):
        own = by_library.predict(file)
        assert (label, shown) == (own.label, f"{own.probability:.3f}")
        pixels = by_library.see(file).reshape(1, 28, 28, 1)
        stored = [p.model.invoke([p.encode(pixels)])[0] for p in (by_library, by_runtime)]
        probabilities = np.zeros(10, np.float32)
        places = [array.ctypes.data_as(ctypes.c_void_p) for array in (stored[0], probabilities)]
        library.model_probabilities(*places)
        assert own.probabilities == tuple(probabilities.tolist())
        if np.array_equal(*stored):
            same += 1
            assert by_runtime.predict(file).probabilities == own.probabilities
    assert same > len(files) / 2


def test_a_digit_in_another_place_or_none_is_refused(released: Path, tmp_path: Path) -> None:
    digit = digits.read()[1].images[0, ..., 0]
    refused = {
        "is no digit as MNIST has them; expected ink on nothing but paper": [
            np.roll(digit, 5, axis=1), 255 - np.roll(digit, 5, axis=0), np.maximum(digit, 1), digit // 2 + 60
        ],
        "no ink on the paper": [np.full((28, 28), level, np.uint8) for level in (0, 90, 255)],
    }  # fmt: skip
    for reason, pictures in refused.items():
        for picture in pictures:
            (tmp_path / "a.pgm").write_bytes(netpbm(picture[..., None]))
            rows, complaint = ran(released / "predict", tmp_path / "a.pgm", code=2)
            assert rows == []
            assert complaint.startswith(f"error: {tmp_path / 'a.pgm'}: {reason}")
            assert complaint.count("\n") == 1
    assert "predict.pyz finds the digit in any picture" in complaint or reason == "no ink on the paper"


HARNESS = """
#define MODEL_TAKES_DIGITS 1
#include <stdio.h>
#include "digit.h"

int main(void)
{
    uint8_t pixels[DIGIT_PIXELS];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        const char *wrong = become_mnist(pixels);
        putchar(wrong ? wrong[0] : '-');
        fwrite(pixels, 1, sizeof pixels, stdout);
    }
    return 0;
}
"""


def compiled_harness(folder: Path, text: str) -> Path:
    (folder / "harness.c").write_text(text)
    strict = (
        "-std=gnu99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    )
    command = ["gcc", *strict, "-I", NATIVE, "-I", folder, folder / "harness.c", "-o", folder / "harness"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert done.returncode == 0, done.stderr
    return folder / "harness"


@pytest.fixture(scope="module")
def mnist_check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_harness(tmp_path_factory.mktemp("digit"), HARNESS)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 12), st.integers(0, 12), arrays(np.uint8, (16, 16), elements=st.sampled_from([0, 0, 0, 7, 255])),
    st.booleans(), st.sampled_from([0, 0, 0, 1]),
)  # fmt: skip
def test_what_is_a_digit_of_mnist_is_decided_as_in_python(
    mnist_check: Path, top: int, left: int, ink: np.ndarray, is_paper: bool, gray: int
) -> None:
    pixels = np.full((28, 28), gray, np.uint8)
    pixels[top : top + 16, left : left + 16] = np.maximum(ink, gray)
    picture = 255 - pixels if is_paper else pixels
    said = subprocess.run([mnist_check], input=picture.tobytes(), capture_output=True, check=True).stdout
    digit = canonical(picture)
    if picture.max() == picture.min():
        assert said[:1] == b"n", "no ink"
    elif digit is None:
        assert said[:1] == b"i", "is no digit"
    else:
        assert said == b"-" + digit.tobytes()


READS = """
#include <stdio.h>
#include <stdlib.h>
#define MODEL_HEIGHT 3
#define MODEL_WIDTH 4
enum { PIXELS = 12 * MODEL_CHANNELS };
#include "image.h"

/* Per case its length, 4 bytes, then the content, given in memory of just that size. */
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


@pytest.fixture(scope="module", params=["gray", "color", "features"])
def image_reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return what is read, and a program over native/image.h that ends at the first step out of its memory."""
    channels, takes_pictures = {"gray": (1, 1), "color": (3, 1), "features": (2, 0)}[request.param]
    said = f"#define MODEL_CHANNELS {channels}\n#define MODEL_TAKES_PICTURES {takes_pictures}\n"
    return request.param, compiled_harness(tmp_path_factory.mktemp(request.param), said + READS)


words = st.sampled_from([b"P5", b"P2", b"P6", b" ", b"\n", b"#", b"# a\n", b"4", b"3", b"255", b"256", b"-1", b"9" * 9])
almost = st.lists(words | st.binary(max_size=14), max_size=24).map(b"".join)
written = st.lists(st.integers(0, 256), min_size=11, max_size=13).map(
    lambda values: b"P2 4 3 255\n" + b" ".join(str(value).encode() for value in values)
)
binary = st.builds(
    lambda kind, body: kind + b" 4 3 255\n" + body, st.sampled_from([b"P5", b"P6"]), st.binary(min_size=10, max_size=38)
)


def expected_pixels(kind: str, content: bytes) -> bytes | None:
    """Return the pixels of what is in order: the pixels alone, or a header as `binary` writes it and enough behind."""
    count = {"gray": 12, "color": 36, "features": 24}[kind]
    if len(content) == count:
        return content
    header = {"gray": b"P5 4 3 255\n", "color": b"P6 4 3 255\n", "features": b"none"}[kind]
    body = content.removeprefix(header)
    return body[:count] if body != content and len(body) >= count else None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(almost | written | binary | st.binary(max_size=40), min_size=60, max_size=200))
def test_any_bytes_are_pixels_or_a_reason(image_reader: tuple[str, Path], cases: list[bytes]) -> None:
    kind, program = image_reader
    packed = b"".join(len(case).to_bytes(4, sys.byteorder) + case for case in cases)
    done = subprocess.run([program], input=packed, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = done.stdout.decode().splitlines()
    assert len(answers) == len(cases)
    for case, answer in zip(cases, answers, strict=True):
        if (pixels := expected_pixels(kind, case)) is not None:
            assert answer.split() == [str(level) for level in pixels]


PRINTS = """
#define main of_the_program
#include "predict.c"
#undef main

int main(void)
{
    float value;
    while (read(0, &value, sizeof value) == sizeof value) {
        print_real(value);
        print(TO_PRINT, "\\n");
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def printer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that prints float32 numbers as the program in C does."""
    folder = tmp_path_factory.mktemp("printer")
    for file, text in to_c(features()).items():
        (folder / file).write_text(text)
    (folder / "about.h").write_text('#include "model.h"\nenum { PIXELS = 60 };\n')
    return compiled_harness(folder, f'#include "model.c"\n{PRINTS}')


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.floats(-2, 2, width=32) | st.integers(0, 4096).map(lambda n: n / 2048), min_size=200, max_size=400))
def test_three_digits_are_rounded_as_python_rounds_them(printer: Path, values: list[float]) -> None:
    stored = np.array(values, np.float32)
    said = subprocess.run([printer], input=stored.tobytes(), capture_output=True, text=False, check=True).stdout
    assert said.decode().split() == [f"{float(value) + 0.0:.3f}" for value in stored]


@needs_foreign
@pytest.mark.parametrize(
    "name",
    ["mlperf_tiny_resnet8_int8", "mlperf_tiny_dscnn_int8", "tflite_micro_person_detect_int8",
     "tflite_micro_micro_speech_int8"],
)  # fmt: skip
def test_published_files_are_built_and_exact(name: str, tmp_path: Path, edgecnn: Edgecnn) -> None:
    done = edgecnn("build", FOREIGN / f"{name}.tflite", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "golden vectors agree on this machine" in done.stderr
    assert "Traceback" not in done.stderr


@needs_foreign
def test_mlperf_tinys_network_of_raw_pixels_reads_gray_pictures(tmp_path: Path) -> None:
    """Its input has scale 1 and zero point -128. Of 127 LiteRT's kernels disagree: XNNPACK says 8, the reference 2."""
    content = (FOREIGN / "mlperf_tiny_resnet8_int8.tflite").read_bytes()
    raw = Contract(shape=(32, 32, 3), labels=tuple("0123456789"), channels="RGB", std=(1 / 255,))
    program = program_of(tmp_path, content, raw)
    files = [tmp_path / f"{level}.ppm" for level in (0, 60, 120, 127)]
    for file in files:
        file.write_bytes(netpbm(np.full((32, 32, 3), int(file.stem), np.uint8)))
    assert [row[1] for row in ran(program, *files)[0]] == ["0", "3", "0", "2"]
