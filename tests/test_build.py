"""`edgecnn build`: libraries and programs that compute what the .tflite file does, or a reason in one line."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn import artifact
from edgecnn.native import TARGETS, golden
from edgecnn.native.targets import runners_of
from edgecnn.pipeline import build, export_c
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.tflite_files import NONE, Net, to_bytes

SEVEN = ROOT / "deploy" / "c" / "seven.pgm"
NATIVE = ROOT / "edgecnn" / "native"
CALLS = ("version", "input", "output", "label", "contract", "encode", "place", "predict", "probabilities")
FILES = {"libmodel.so", "model.c", "model.h", "predict"}
MOST_BYTES = {
    "native": 150_000,
    "aarch64": 80_000,
    "armv7": 56_000,
    "armv6": 56_000,
}  # native: three families of kernels

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc"),
    pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, edgecnn: Edgecnn) -> dict[str, Path]:
    """Return the folder built for each target whose compiler is here."""
    out = tmp_path_factory.mktemp("built")
    folders = {}
    for name, target in TARGETS.items():
        if any(map(shutil.which, target.compilers)):
            done = edgecnn("build", "edge35k", "--target", name, "--out", out)
            assert done.returncode == 0, done.stderr
            folders[name] = Path(done.stdout.splitlines()[-1]).parent
            assert folders[name] == out / "edge35k" / name
    return folders


def folder_of(built: dict[str, Path], target: str) -> Path:
    if target not in built:
        pytest.skip(f"not here: {TARGETS[target].compilers[0]} (apt-get install {TARGETS[target].package})")
    return built[target]


def output(*command: object, code: int = 0) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def as_p2(pgm: bytes) -> bytes:
    """Return a P5 of 28x28 as a P2, with comments where they may be."""
    rows = np.frombuffer(pgm[-784:], np.uint8).reshape(28, 28)
    lines = [" ".join(map(str, row)) + " # a row" for row in rows]
    return "\n".join(["P2 # plain", "28", "# width, height", "28 255", *lines, ""]).encode()


@pytest.mark.parametrize("target", TARGETS)
def test_the_program_reads_images_on_every_machine(target: str, built: dict[str, Path], tmp_path: Path) -> None:
    program = folder_of(built, target) / "predict"
    pgm = SEVEN.read_bytes()
    images = {"seven.pgm": pgm, "plain.pgm": as_p2(pgm), "seven.raw": pgm[-784:]}
    for name, content in images.items():
        (tmp_path / name).write_bytes(content)
    if (runners := runners_of(target)) is None:
        pytest.skip("no qemu-user here: apt-get install qemu-user-static")
    for runner in runners:
        rows = [line.split("\t") for line in output(*runner, program, *(tmp_path / n for n in images)).splitlines()]
        assert [row[0] for row in rows] == [str(tmp_path / name) for name in images]
        assert {tuple(row[1:]) for row in rows} == {("7", "0.999")}
        (tmp_path / "cut.pgm").write_bytes(pgm[:-1])
        assert "cut.pgm: is cut short; expected a PGM" in output(*runner, program, tmp_path / "cut.pgm", code=2)


@pytest.mark.parametrize("target", TARGETS)
def test_the_library_exports_its_api_and_needs_copies_alone(target: str, built: dict[str, Path]) -> None:
    library = folder_of(built, target) / "libmodel.so"
    symbols = [line.split() for line in output("nm", "-D", library).splitlines()]
    api = {f"model_{name}" for name in CALLS} | {"edgecnn_describe"}
    assert {symbol[-1] for symbol in symbols if symbol[-2] == "T"} == api
    assert {symbol[-1] for symbol in symbols if symbol[-2] == "U"} <= {"memcpy", "memmove", "memset", "getauxval"}
    assert {symbol[-2] for symbol in symbols} <= {"T", "U"}
    dynamic = output("readelf", "-d", library)
    assert "Library soname: [libmodel.so]" in dynamic
    assert "NEEDED" not in dynamic
    assert ".symtab" not in output("readelf", "-S", library), "it is stripped"
    assert library.stat().st_size < MOST_BYTES[target]


@pytest.mark.parametrize("target", TARGETS)
def test_the_program_needs_no_library(target: str, built: dict[str, Path]) -> None:
    program = folder_of(built, target) / "predict"
    assert "INTERP" not in output("readelf", "-l", program)
    assert "There is no dynamic section" in output("readelf", "-d", program)
    assert os.access(program, os.X_OK)
    assert program.stat().st_size < MOST_BYTES[target]


LOADS = """
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **arguments)
{
    static int32_t arena[1 << 16];
    static uint8_t pixels[784];
    signed char scores[10];
    void *library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    int (*predict)(const uint8_t *, void *, size_t, signed char *);
    const char *(*version)(void);
    if (!library)
        return puts(dlerror()), 1;
    *(void **)&predict = dlsym(library, "model_predict");
    *(void **)&version = dlsym(library, "model_version");
    return puts(version()), predict(pixels, arena, sizeof arena, scores);
}
"""


@pytest.mark.parametrize(
    ("target", "root"), [("aarch64", "/usr/aarch64-linux-gnu"), ("armv7", "/usr/arm-linux-gnueabihf")]
)
def test_a_program_of_its_machine_loads_the_library(
    target: str, root: str, built: dict[str, Path], tmp_path: Path
) -> None:
    """RTLD_NOW: every symbol must be found, in no other library than C's."""
    library, runners = folder_of(built, target) / "libmodel.so", runners_of(target)
    if runners is None:
        pytest.skip("no qemu-user here: apt-get install qemu-user-static")
    (tmp_path / "loads.c").write_text(LOADS)
    output(TARGETS[target].compilers[0], tmp_path / "loads.c", "-ldl", "-o", tmp_path / "loads")
    said = output(*runners[0][:1], "-L", root, tmp_path / "loads", library)
    assert said.strip() == artifact.read_record(RELEASED / "int8.tflite").sha256


def test_nothing_in_what_is_built_for_armv6_is_newer(built: dict[str, Path]) -> None:
    for file in ("libmodel.so", "predict"):
        assert "Tag_CPU_arch: v6\n" in output("readelf", "-A", folder_of(built, "armv6") / file)


def test_what_is_built_has_records(built: dict[str, Path], edgecnn: Edgecnn) -> None:
    folder = built["native"]
    assert {path.name for path in folder.iterdir() if path.suffix != ".json"} == FILES
    record = artifact.read_record(folder / "libmodel.so")
    assert set(record.parents) == {"model.h", "model.c"}
    assert "gcc" in record.settings["compiler"]
    assert edgecnn("verify", folder).returncode == 0


def test_the_same_model_gives_the_same_bytes(built: dict[str, Path], tmp_path: Path) -> None:
    build(RELEASED / "int8.tflite", out=tmp_path)
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (built["native"] / file).read_bytes(), file


def test_a_folder_with_a_model_in_c_is_built(built: dict[str, Path], edgecnn: Edgecnn, tmp_path: Path) -> None:
    export_c(RELEASED / "int8.tflite", out=tmp_path / "mine" / "c", name="digit", kernel="auto")
    done = edgecnn("build", tmp_path / "mine" / "c", "--out", tmp_path / "out")
    assert "golden vectors agree on this machine" in done.stderr
    library = Path(done.stdout.splitlines()[-1])
    assert library == tmp_path / "out" / "mine" / "native" / "libmodel.so"
    assert "digit_predict" in output("nm", "-D", library)
    assert output(library.with_name("predict"), SEVEN).split("\t")[1:] == ["7", "0.999\n"]
    assert edgecnn("verify", tmp_path).returncode == 0


def test_a_model_that_takes_int8_pixels_is_built(tmp_path: Path) -> None:
    net = Net((1, 6, 5, 1), dtype="INT8")
    content = to_bytes(net.graph(net.softmax(net.dense(net.reshape(net.input, (1, 30)), 4, activation=NONE))))
    (tmp_path / "small.tflite").write_bytes(content)
    said: list[str] = []
    build(tmp_path / "small.tflite", out=tmp_path / "out", say=said.append)
    assert "typedef int8_t model_pixel;" in (tmp_path / "out" / "model.h").read_text()
    assert said[0] == "golden vectors agree on this machine"
    (tmp_path / "a.pgm").write_bytes(b"P5 5 6 255\n" + bytes(range(30)))
    file, label, probability = output(tmp_path / "out" / "predict", tmp_path / "a.pgm").split("\t")
    assert (file, len(label)) == (str(tmp_path / "a.pgm"), 1)
    assert 0 < float(probability) <= 1
    assert not list((tmp_path / "out").glob("*.json")), "no record without that of the model"


def refused(edgecnn: Edgecnn, folder: Path, *arguments: object, code: int = 2, **environment: str) -> str:
    """Return the line with which a build is refused; nothing may be left of it."""
    before = sorted(folder.rglob("*"))
    done = edgecnn("build", *arguments, cwd=folder, **environment)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before, "nothing is half-written"
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["edge35k", "--target", "mips"], "target: 'mips' is unknown; expected one of: aarch64, armv6, armv7, native"),
        (["edge35k", "--cc", "no-such-cc"], "build --cc: 'no-such-cc' is no program here"),
        (["edge0k"], "edge0k: no such path, and no released model"),
        (["gone.tflite"], "gone.tflite: cannot read (No such file or directory)"),
        ([RELEASED / "model.keras"], "got .keras; expected an int8 .tflite file, or a folder with model.c"),
        ([RELEASED / "float32.tflite"], "input: got 1 of FLOAT32 [1, 28, 28, 1]"),
        (["edge35k", "--recipe", "pruned80"], "--recipe: does not apply here, a model file has one"),
        (["edge35k", "--name", "Seven"], "name: got 'Seven'; expected small letters"),
        (["edge35k", "--cc", "false"], "false refuses it (exit 1); try another --cc"),
    ],
)
def test_bad_input_is_one_line(edgecnn: Edgecnn, tmp_path: Path, arguments: list[object], message: str) -> None:
    assert message in refused(edgecnn, tmp_path, *arguments)


def test_a_missing_compiler_is_named_with_its_package(edgecnn: Edgecnn, tmp_path: Path) -> None:
    for target, package in {"native": "gcc libc6-dev", "armv6": "gcc-arm-linux-gnueabihf"}.items():
        line = refused(edgecnn, tmp_path, "edge35k", "--target", target, PATH=str(tmp_path))
        assert line.endswith(f"is not installed; run: apt-get install {package}")


def test_without_qemu_it_says_that_nothing_was_run(edgecnn: Edgecnn, tmp_path: Path) -> None:
    compiler = shutil.which("aarch64-linux-gnu-gcc")
    if compiler is None:
        pytest.skip("aarch64-linux-gnu-gcc is not here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "aarch64-linux-gnu-gcc").symlink_to(compiler)
    done = edgecnn("build", "--target", "aarch64", "edge35k", "--out", tmp_path, PATH=str(tmp_path / "bin"))
    assert "golden vectors were not run: no qemu-aarch64 here; run: apt-get install qemu-user-static" in done.stderr
    assert Path(done.stdout.splitlines()[-1]).exists()


def test_a_compiler_without_the_intrinsics_gets_portable_c(edgecnn: Edgecnn, tmp_path: Path) -> None:
    for header in ("immintrin.h", "arm_neon.h"):
        (tmp_path / header).write_text("#error this compiler has no intrinsics\n")
    done = edgecnn("build", "edge35k", "--cc", f"gcc -isystem {tmp_path}", "--out", tmp_path)
    assert "error: #error this compiler has no intrinsics" in done.stderr
    assert "golden vectors agree on this machine" in done.stderr
    assert "without the kernels for avx2: gcc cannot compile them" in done.stderr or platform.machine() != "x86_64"
    kernels = artifact.read_record(Path(done.stdout.splitlines()[-1])).settings["kernels"]
    assert kernels in ("baseline", "baseline (portable C)")


def test_other_scores_than_the_parents_are_refused(edgecnn: Edgecnn, tmp_path: Path) -> None:
    path = export_c(RELEASED / "int8.tflite", out=tmp_path / "c", name="model", kernel="auto")
    text = path.read_text()
    values = text.index("{", text.index("_weights[")) + 1
    changed = text[:values] + text[values:].replace(" 1,", " 99,", 5)
    assert changed != text
    artifact.keep(path, changed.encode(), replaced(artifact.read_record(path), changed.encode()))
    line = refused(edgecnn, tmp_path, tmp_path / "c", code=1)
    assert "golden vectors: other scores than expected; nothing is written" in line
    path.write_text(text)
    assert "its record says" in refused(edgecnn, tmp_path, tmp_path / "c")


def test_c_of_an_earlier_version_is_to_be_exported_again(edgecnn: Edgecnn, tmp_path: Path) -> None:
    path = export_c(RELEASED / "int8.tflite", out=tmp_path / "c", name="model", kernel="auto")
    header = path.with_name("model.h")
    text = header.read_text().replace("const char *model_contract(void);\n", "").encode()
    artifact.keep(header, text, replaced(artifact.read_record(header), text))
    line = refused(edgecnn, tmp_path, tmp_path / "c")
    assert "are of an earlier edgecnn" in line and "export them again: edgecnn export --format c" in line


def replaced(record: artifact.Record, content: bytes) -> artifact.Record:
    return artifact.Record(**{**vars(record), "sha256": artifact.sha256(content), "size_bytes": len(content)})


def test_a_folder_of_another_model_is_not_written_over(
    edgecnn: Edgecnn, tmp_path: Path, built: dict[str, Path]
) -> None:
    shutil.copytree(built["native"], tmp_path / "edge35k-sparse90" / "native")
    line = refused(edgecnn, tmp_path, RELEASED.with_name("edge35k-sparse90"), "--out", tmp_path)
    assert "model.c: is there, exported from another model; choose another --out" in line


def test_golden_vectors_are_images_and_what_litert_says_of_them() -> None:
    content = (RELEASED / "int8.tflite").read_bytes()
    cases = np.frombuffer(golden.cases(content), np.uint8).reshape(golden.COUNT, 784 + 10)
    assert golden.cases(content) == cases.tobytes(), "always the same"
    assert (cases[0, :784] == 0).all()
    assert (cases[1, :784] == 255).all()
    assert len({image.tobytes() for image in cases[:, :784]}) == golden.COUNT
    assert len(np.unique(cases[:, 784:].view(np.int8).argmax(axis=1))) > 2, "they are not all of one class"


@pytest.fixture(scope="module")
def division(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Return Arm's division compiled for this machine: it is plain C."""
    library = tmp_path_factory.mktemp("division") / "division.so"
    sanitized = ("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    flags = ("-D__arm__", "-O2", "-shared", "-fPIC", *sanitized)
    subprocess.run(["gcc", *flags, NATIVE / "division.c", "-o", library], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.__aeabi_uidivmod.restype = loaded.__aeabi_idivmod.restype = ctypes.c_uint64
    return loaded


edges = st.sampled_from([1, 2, 3, 255, 2**31 - 1, 2**31, 2**32 - 1])


@given(st.integers(0, 2**32 - 1) | edges, st.integers(1, 2**32 - 1) | edges | st.integers(1, 300))
def test_arms_division_is_exact(division: ctypes.CDLL, number: int, by: int) -> None:
    both = division.__aeabi_uidivmod(ctypes.c_uint32(number), ctypes.c_uint32(by))
    assert (both & 0xFFFFFFFF, both >> 32) == divmod(number, by)
    n, b = (ctypes.c_int32(value).value for value in (number, by))
    both = division.__aeabi_idivmod(ctypes.c_int32(n), ctypes.c_int32(b))
    quotient = abs(n) // abs(b) * (1 if (n < 0) == (b < 0) else -1)
    assert both & 0xFFFFFFFF == quotient & 0xFFFFFFFF
    assert both >> 32 == (n - quotient * b) & 0xFFFFFFFF
