"""The input contract in C: pictures are encoded, and scores shown, as Python does and as LiteRT's own numbers say."""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.device import contract as contracts
from edgecnn.device.contract import BGR, FEATURES, FLAT, HW, LOGITS, NCHW, RGB, Contract, Quantized
from edgecnn.device.trust.decision import Decision, calibrated, step_weights, weighted
from edgecnn.errors import ArtifactError
from edgecnn.export.c import to_c
from tests.conftest import RELEASED
from tests.foreign.c_networks import CLASSES, Convention, converted
from tests.tflite_files import NONE, Net, to_bytes

LABELS = tuple(f"class {number}" for number in range(CLASSES))
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc")


@dataclass(frozen=True)
class Case:
    """A network made elsewhere, and what its maker says of it."""

    made: Convention
    contract: Contract


def case(made: Convention, **said: Any) -> Case:
    return Case(made, Contract(shape=made.shape, labels=LABELS, **said))


COLOR = (12, 10, 3)
CASES = {
    "uint8 in and out, open batch": case(Convention()),
    "int8 in, uint8 out": case(Convention(given="int8")),
    "uint8 in, int8 logits": case(Convention(gives="logits", made="int8"), scores=LOGITS),
    "uint8 logits far apart": case(Convention(gives="logits", sharpness=300.0), scores=LOGITS),
    "-1..1": case(Convention(low=-1.0, given="int8"), mean=(0.5,), std=(0.5,)),
    "raw pixels": case(Convention(high=255.0, given="int8"), mean=(0.0,), std=(1 / 255,)),
    "color": case(Convention(shape=COLOR), channels=RGB),
    "blue first": case(Convention(shape=COLOR, given="int8", made="int8"), channels=BGR),
    "mean and std": case(Convention(shape=COLOR, low=-2.1, high=2.6), channels=RGB, **IMAGENET),
    "mean and std, blue first": case(Convention(shape=COLOR, low=-2.1, high=2.6), channels=BGR, **IMAGENET),
    "no axis of channels": case(Convention(layout="HW", made="int8"), layout=HW),
    "flat": case(Convention(layout="flat"), layout=FLAT),
    "flat, color": case(Convention(layout="flat", shape=COLOR), layout=FLAT, channels=RGB),
    "batch 1": case(Convention(open_sizes=())),
    "an open batch whose size is computed": case(Convention(computes_sizes=True)),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def known(request: pytest.FixtureRequest) -> tuple[Case, bytes]:
    found = CASES[request.param]
    return found, converted(found.made)


@dataclass(frozen=True)
class Scored:
    """What LiteRT stores for pictures, and how: scores [N, classes] with scale and zero point."""

    scores: np.ndarray
    scale: float
    zero_point: int


def by_litert(content: bytes, case: Case, pictures: np.ndarray) -> Scored:
    """Return the scores of pictures uint8 [N, H, W, C], encoded here from what the maker says."""
    model = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    model.allocate_tensors()
    given, made = model.get_input_details()[0], model.get_output_details()[0]
    said = case.contract
    levels = pictures[..., ::-1] if said.channels == BGR else pictures
    values = (levels / 255 - np.array(said.mean)) / np.array(said.std)  # said in the network's order
    scale, zero_point = given["quantization"]
    limits = np.iinfo(given["dtype"])
    stored = np.clip(np.rint(values / scale) + zero_point, limits.min, limits.max).astype(given["dtype"])
    scores = []
    for one in stored:
        model.set_tensor(given["index"], one.reshape(given["shape"]))
        model.invoke()
        scores.append(model.get_tensor(made["index"])[0].copy())
    return Scored(np.array(scores), *made["quantization"])


def shared(folder: Path, texts: dict[str, str], name: str = "model") -> ctypes.CDLL:
    """Return the model's C as a library."""
    for file, text in texts.items():
        (folder / file).write_text(text)
    strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-shared", "-fPIC")
    command = ["gcc", *strict, folder / "model.c", "-o", folder / f"{name}.so"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / f"{name}.so"))


def by_c(library: ctypes.CDLL, header: str, pictures: np.ndarray, scores: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and probabilities of pictures uint8 [N, H, W, C], encoded and placed by the C."""
    values = {name: int(value) for name, value in re.findall(r"#define MODEL_(\w+) (\d+)\n", header)}
    signed = "typedef int8_t model_pixel" in header
    library.model_encode.restype = ctypes.c_int8 if signed else ctypes.c_uint8
    arena = (ctypes.c_uint32 * (values["ARENA_BYTES"] // 4 + 1))()
    found, shown = [], []
    for picture in pictures:
        stored = np.zeros(picture.size, np.int8 if signed else np.uint8)
        for (row, column, channel), pixel in np.ndenumerate(picture):
            stored[library.model_place(row, column, channel)] = library.model_encode(ctypes.c_uint8(pixel), channel)
        made, probabilities = np.zeros(values["SCORES"], scores), np.zeros(values["SCORES"], np.float32)
        places = [array.ctypes.data_as(ctypes.c_void_p) for array in (stored, made, probabilities)]
        assert library.model_predict(places[0], arena, ctypes.c_size_t(ctypes.sizeof(arena)), places[1]) == 0
        library.model_probabilities(places[1], places[2])
        found.append(made)
        shown.append(probabilities)
    return np.array(found), np.array(shown)


def pictures_of(shape: tuple[int, ...], count: int = 6) -> np.ndarray:
    pictures = np.random.default_rng(3).integers(0, 256, (count, *shape)).astype(np.uint8)
    pictures[0], pictures[1], pictures[2] = 0, 255, pictures[2] // 8
    return pictures


def test_pictures_and_scores_are_what_the_maker_says(known: tuple[Case, bytes], tmp_path: Path) -> None:
    case, content = known
    pictures = pictures_of(case.made.shape)
    expected = by_litert(content, case, pictures)
    texts = to_c(content, contract=case.contract)
    scores, shown = by_c(shared(tmp_path, texts), texts["model.h"], pictures, expected.scores.dtype)
    assert np.array_equal(scores, expected.scores)
    real = (expected.scores.astype(np.float64) - expected.zero_point) * expected.scale
    powers = np.exp(real - real.max(axis=1, keepdims=True))
    right = powers / powers.sum(axis=1, keepdims=True) if case.made.gives == "logits" else real
    assert shown == pytest.approx(right, abs=1e-6)
    assert len({tuple(row) for row in scores.tolist()}) > 2, "the pictures are not all the same to it"


@pytest.mark.parametrize("calibration", [(1.0456, 6.1e-05), (0.06, 0.0), (2.5, 0.002)])
def test_python_and_c_show_the_same_floats(
    known: tuple[Case, bytes], calibration: tuple[float, float], tmp_path: Path
) -> None:
    case, content = known
    pictures = pictures_of(case.made.shape)
    texts = to_c(content, contract=case.contract, calibration=calibration)
    expected = by_litert(content, case, pictures)
    _, shown = by_c(shared(tmp_path, texts), texts["model.h"], pictures, expected.scores.dtype)
    temperature, floor = calibration
    spec = Quantized(expected.scores.dtype.name, expected.scale, expected.zero_point)
    steps = step_weights(spec, scores=case.contract.scores, temperature=temperature, floor=floor)
    assert steps is not None
    assert np.array_equal(weighted(steps, expected.scores), shown)


specs = st.builds(
    Quantized, dtype=st.just("int8"), scale=st.floats(1e-4, 20.0), zero_point=st.integers(-128, 127)
) | st.builds(Quantized, dtype=st.just("uint8"), scale=st.floats(1e-4, 20.0), zero_point=st.integers(0, 255))
rows = st.lists(st.lists(st.integers(0, 255), min_size=4, max_size=4), min_size=1, max_size=5)


@given(specs, rows, st.floats(0.05, 5.0))
def test_weights_of_logits_are_their_softmax(spec: Quantized, rows: list[list[int]], temperature: float) -> None:
    """However far they lie from the largest that the type could store."""
    raw = (np.array(rows) + np.iinfo(spec.dtype).min).astype(spec.dtype)
    steps = step_weights(spec, scores=LOGITS, temperature=temperature, floor=0.0)
    assert steps is not None
    logits = (raw.astype(np.float64) - spec.zero_point) * spec.scale / temperature
    assert weighted(steps, raw) == pytest.approx(contracts.softmax(logits), abs=1e-6)


@given(rows, st.floats(0.05, 5.0), st.sampled_from([0.0, 6e-05, 0.002]), st.sampled_from(["int8", "uint8"]))
def test_weights_of_probabilities_are_what_calibration_computes(
    rows: list[list[int]], temperature: float, floor: float, dtype: str
) -> None:
    raw = (np.array(rows) + np.iinfo(dtype).min).astype(dtype)
    spec = Quantized(dtype, 1 / 256, int(np.iinfo(dtype).min))
    steps = step_weights(spec, scores="probabilities", temperature=temperature, floor=floor)
    if steps is None:
        assert (temperature, floor) == (1.0, 0.0)
        return
    own = weighted(steps, raw)
    assert np.isfinite(own).all()
    expected = calibrated(contracts.real_values(raw, spec), Decision(temperature=temperature, floor=floor))
    if raw.astype(int).max() > np.iinfo(dtype).min:  # else there is nothing to divide
        assert own == pytest.approx(expected, abs=1e-5)


def test_there_is_no_table_where_none_is_needed_or_fits() -> None:
    plain = Quantized("int8", 1 / 256, -128)
    assert step_weights(plain, scores="probabilities", temperature=1.0, floor=0.0) is None
    for dtype in ("int16", "float32"):
        assert step_weights(replace(plain, dtype=dtype), scores=LOGITS, temperature=2.0, floor=0.0) is None


def test_the_header_says_it_in_words() -> None:
    made = converted(CASES["mean and std, blue first"].made)
    known = replace(CASES["mean and std, blue first"].contract, sources={"range": "option", "channels": "assumed"})
    header = to_c(made, contract=known, calibration=(1.5, 0.001))["model.h"]
    words = " ".join(header.replace("\n *", " ").split())
    for said in (
        "takes: a picture, 12 pixels high, 10 wide, blue, green, red (blue first): 12x10x3",
        "(pixel / 255 - 0.485,0.456,0.406) / 0.229,0.224,0.225",
        "calibrated: temperature 1.5, floor 0.001",
        "assumed: channels BGR",
        '#define MODEL_COLORS "BGR"',
        '#define MODEL_ASSUMED \\ "channels BGR (--channels)"',
    ):
        assert said in words, said


def test_where_nobody_says_it_all_of_it_is_assumed() -> None:
    header = to_c(converted(Convention(shape=COLOR)))["model.h"]
    assert "assumed: all of this: nothing is known of it, for nobody said it" in header
    assert "range 0..1 (--input-range)" in header
    assert "--logits" in header
    assert "#define MODEL_TAKES_PICTURES 1" in header


def features() -> bytes:
    """Return a network of 6x5x2 values that are no picture."""
    net = Net((1, 6, 5, 2), dtype="INT8")
    return to_bytes(net.graph(net.softmax(net.dense(net.reshape(net.input, (1, 60)), 4, activation=NONE))))


def test_what_takes_no_picture_has_no_pixels() -> None:
    texts = to_c(features(), contract=Contract(shape=(6, 5, 2), labels=tuple("abcd"), layout=FEATURES))
    assert "takes: no picture but 6x5x2 values" in texts["model.h"]
    assert "#define MODEL_TAKES_PICTURES 0" in texts["model.h"]
    assert not {"model_encode", "model_place"} & set(re.findall(r"\w+", texts["model.h"] + texts["model.c"]))


def test_a_program_reads_the_contract_out_of_the_c() -> None:
    known = CASES["blue first"].contract
    source = to_c(converted(CASES["blue first"].made), contract=known, calibration=(1.25, 0.0))["model.c"]
    body = source[source.index("model_contract(void)") :]
    told = json.loads("".join(json.loads(part) for part in re.findall(r'".*"', body[: body.index("}\n\n")])))
    assert told["input_shape"] == [1, 12, 10, 3]
    assert (told["temperature"], told["floor"]) == (1.25, 0.0)
    read = contracts.from_dict({**told["contract"], "labels": list(known.labels)})
    assert replace(read, input=known.input, output=known.output) == known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": NCHW}, r"input is \[12, 10, 3\]; its contract says \[3, 12, 10\]; say another --layout"),
        ({"labels": tuple("abc")}, r"5 scores; its contract has 3 labels; say --labels"),
        ({"picture": "digit"}, r"input is \[12, 10, 3\]; digits are \[28, 28, 1\]; say --picture stretch"),
    ],
)
def test_a_contract_that_does_not_fit_is_one_line(change: dict[str, Any], message: str) -> None:
    known = replace(CASES["color"].contract, **change)
    with pytest.raises(ArtifactError, match=message) as caught:
        to_c(converted(CASES["color"].made), contract=known, where="it.tflite")
    assert "\n" not in str(caught.value)


def test_another_open_size_than_the_batch_is_refused_with_what_helps() -> None:
    with pytest.raises(ArtifactError, match=r"input: got 1 of UINT8 \[-1, -1, -1, 1\]; .*keras.Input\(\(96, 96, 3\)\)"):
        to_c(converted(Convention(open_sizes=(0, 1, 2))))


def test_an_int8_file_is_not_told_to_become_one() -> None:
    for content in (converted(Convention(open_sizes=(0, 1, 2))), converted(Convention(given="int8", open_sizes=(1,)))):
        with pytest.raises(ArtifactError) as caught:
            to_c(content)
        assert "--scheme int8" not in str(caught.value)


def test_what_is_not_called_is_left_out_by_the_linker(tmp_path: Path) -> None:
    """A program on a microcontroller that asks for scores alone gets no tables of what it does not call."""
    texts = to_c(converted(CASES["mean and std"].made), contract=CASES["mean and std"].contract, calibration=(2.0, 0.0))
    assert "weights[256]" in texts["model.c"] and "stored[3][256]" in texts["model.c"]
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    (tmp_path / "main.c").write_text(
        '#include "model.h"\n'
        "static uint32_t arena[MODEL_ARENA_BYTES];\nstatic model_pixel pixels[360];\nstatic model_score scores[5];\n"
        "int main(void) { return model_predict(pixels, arena, sizeof arena, scores); }\n"
    )
    sections = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
    sources = (tmp_path / "main.c", tmp_path / "model.c")
    subprocess.run(["gcc", "-Os", *sections, *sources, "-o", tmp_path / "program"], check=True)
    listed = subprocess.run(["nm", tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1].partition(".")[0] for line in listed.splitlines()}
    assert "model_predict" in names
    assert not {"model_probabilities", "model_encode", "model_contract", "weights", "stored"} & names


@pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
def test_pixels_that_stay_as_they_are_need_no_table() -> None:
    texts = to_c((RELEASED / "int8.tflite").read_bytes())
    assert "return (model_pixel)(pixel);" in texts["model.c"]
    raw = to_c(converted(Convention(high=255.0, given="int8")), contract=CASES["raw pixels"].contract)["model.c"]
    assert "stored[256]" in raw or "return (model_pixel)(pixel - 128);" in raw
