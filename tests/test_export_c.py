"""The C export: bit for bit what LiteRT's reference kernels compute, clean under sanitizers, or refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecnn.data import digits
from edgecnn.device.contract import Contract
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.export.c import KERNELS, to_c
from edgecnn.export.c.text import STACK_BYTES
from edgecnn.inspect import graph_of
from edgecnn.inspect.graph import Graph
from tests.conftest import RELEASED, ROOT, Edgecnn
from tests.tflite_files import NONE, RELU, RELU6, RELU_N1_TO_1, SAME, VALID, Net, to_bytes

NATIVE = ROOT / "edgecnn" / "native"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@dataclass(frozen=True)
class Machine:
    """A compiler, what it is told, what runs its programs, and which instructions prove that vectors are used."""

    compiler: str = "gcc"
    flags: tuple[str, ...] = ()
    runner: tuple[str, ...] = ()
    cpu_flags: tuple[str, ...] = ()  # of this machine's /proc/cpuinfo, where there is no runner

    @property
    def lacks(self) -> str:
        """What is missing to compile and run for it here; empty where nothing is."""
        programs = [program for program in (self.compiler, *self.runner[:1]) if shutil.which(program) is None]
        known = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
        return ", ".join([*programs, *(flag for flag in self.cpu_flags if flag not in known)])


MACHINES = {
    "portable": Machine(flags=("-DPORTABLE",)),
    "avx2": Machine(flags=("-mavx2",), cpu_flags=("avx2",)),
    "avx512vnni": Machine(flags=("-mavx512f", "-mavx512vnni"), cpu_flags=("avx512_vnni",)),
    "aarch64": Machine("aarch64-linux-gnu-gcc", ("-static",), ("qemu-aarch64-static",)),
    "aarch64 dotprod": Machine(
        "aarch64-linux-gnu-gcc",
        ("-static", "-march=armv8.2-a+dotprod"),
        ("qemu-aarch64-static", "-cpu", "max"),
    ),
    "armv6": Machine("arm-linux-gnueabihf-gcc", ("-static", "-march=armv6+fp", "-marm"), ("qemu-arm-static",)),
}

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not here: apt-get install gcc")
needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def reference(content: bytes, images: np.ndarray) -> np.ndarray:
    """Return LiteRT's scores int8 [N, classes] from its reference kernels."""
    model = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    model.allocate_tensors()
    given, made = model.get_input_details()[0]["index"], model.get_output_details()[0]["index"]
    scores = []
    for image in images:
        model.set_tensor(given, image[None])
        model.invoke()
        scores.append(model.get_tensor(made).ravel().copy())
    return np.array(scores)


def images_for(content: bytes, count: int, seed: int = 0) -> np.ndarray:
    """Return `count` images of noise for a model, the first all black and the second all white."""
    graph = graph_of(content)
    given = graph.tensors[graph.inputs[0]]
    noise = np.random.default_rng(seed).integers(0, 256, (count, *given.shape[1:]), dtype=np.uint8)
    noise[0], noise[1:2] = 0, 255
    return noise if given.dtype == "UINT8" else noise.view(np.int8)


def compiled(texts: dict[str, str], folder: Path, *flags: str, compiler: str = "gcc") -> Path:
    """Compile the golden harness with a model into `folder`; return the program."""
    folder.mkdir(exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_text(text)
    program = folder / "golden"
    sources = [ROOT / "tests" / "golden.c", folder / "model.c"]
    command = [compiler, *STRICT, *flags, "-I", folder, *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


def assert_golden(program: Path, images: np.ndarray, scores: np.ndarray, *runner: str) -> None:
    cases = program.with_name("cases")
    cases.write_bytes(b"".join(i.tobytes() + s.tobytes() for i, s in zip(images, scores, strict=True)))
    done = subprocess.run([*runner, program, cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def assert_exact(
    content: bytes,
    folder: Path,
    *,
    kernels: Sequence[str] = ("dense", "sparse"),
    count: int = 8,
    machine: str = "portable",
    optimized: Sequence[str] = SANITIZED,
) -> None:
    """Compare C and LiteRT on some images of noise."""
    images = images_for(content, count)
    scores = reference(content, images)
    on = MACHINES[machine]
    flags = (*optimized, *on.flags)
    for kernel in kernels:
        program = compiled(to_c(content, kernel=kernel), folder, *flags, compiler=on.compiler)
        assert_golden(program, images, scores, *on.runner)


Build = Callable[[Net, int], int]
LAYERS: dict[str, Build] = {
    "conv": lambda net, x: net.conv(x, 5, (3, 3)),
    "conv without activation": lambda net, x: net.conv(x, 40, (1, 1), activation=NONE),
    "conv, strides, same": lambda net, x: net.conv(x, 7, (3, 2), stride=(2, 3), padding=SAME, activation=RELU6),
    "conv, one scale": lambda net, x: net.conv(x, 33, (2, 5), padding=SAME, per_channel=False, activation=NONE),
    "conv, pooled": lambda net, x: net.pool(net.conv(x, 6, (2, 2)), "MAX", (2, 2), stride=(2, 2)),
    "conv, pooled in threes": lambda net, x: net.pool(net.conv(x, 6, (2, 2)), "MAX", (3, 3), stride=(2, 2)),
    "conv, pooled, same": lambda net, x: net.pool(net.conv(x, 6, (1, 1)), "MAX", (2, 2), stride=(2, 2), padding=SAME),
    "depthwise": lambda net, x: net.conv(x, 3, (3, 3), padding=SAME, depthwise=True, activation=NONE),
    "depthwise, two a channel": lambda net, x: net.conv(x, 6, (2, 3), stride=(2, 2), depthwise=True),
    "dense": lambda net, x: net.dense(x, 13, activation=NONE),
    "dense, one scale": lambda net, x: net.dense(x, 40, per_channel=False, bias=False, activation=RELU_N1_TO_1),
    "max pool": lambda net, x: net.pool(x, "MAX", (3, 2), stride=(2, 1), padding=SAME, activation=RELU),
    "average pool": lambda net, x: net.pool(x, "AVERAGE", (3, 3), stride=(2, 2), padding=SAME),
    "average pool, valid": lambda net, x: net.pool(x, "AVERAGE", (9, 11), stride=(1, 1), padding=VALID),
    "mean": lambda net, x: net.mean(x),
    "mean, dimensions kept, rescaled": lambda net, x: net.mean(x, axes=(-2, 1), keep_dims=True, scale=0.0017),
    "mean along a row": lambda net, x: net.mean(net.reshape(x, (1, 99, 3)), axes=(1,), scale=0.0009),
    "quantize": lambda net, x: net.quantize(x),
    "to uint8": lambda net, x: net.to_uint8(net.dense(x, 7, activation=NONE)),
    "to uint8, rescaled": lambda net, x: net.to_uint8(net.dense(x, 7, activation=NONE), scale=0.9, zero_point=77),
    "softmax of uint8": lambda net, x: net.softmax(net.to_uint8(net.dense(x, 11, activation=NONE))),
    "softmax": lambda net, x: net.softmax(net.dense(x, 11, activation=NONE)),
    "softmax, scores close together": lambda net, x: net.softmax(
        net.quantize(net.reshape(x, (1, 297)), scale=1e-6)
    ),
    "softmax, flat": lambda net, x: net.softmax(net.quantize(net.reshape(x, (1, 297)), scale=0.003), beta=0.5),
    "reshape": lambda net, x: net.conv(net.reshape(x, (1, 11, 9, 3)), 4, (3, 3), padding=VALID),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_exact(name: str, tmp_path: Path) -> None:
    net = Net((1, 9, 11, 3), seed=sorted(LAYERS).index(name))
    assert_exact(to_bytes(net.graph(LAYERS[name](net, net.start()))), tmp_path)


def test_int8_pixels_are_taken_as_they_are(tmp_path: Path) -> None:
    net = Net((1, 6, 6, 1), dtype="INT8")
    assert_exact(to_bytes(net.graph(net.conv(net.input, 4, (3, 3)))), tmp_path)


def test_a_sum_of_branches_is_exact(tmp_path: Path) -> None:
    net = Net((1, 9, 11, 3))
    pixels = net.start()
    wide, narrow = net.conv(pixels, 4, (3, 3), padding=SAME), net.conv(pixels, 4, (1, 1), activation=NONE)
    summed = net.add(wide, narrow, activation=RELU)
    assert_exact(to_bytes(net.graph(net.add(net.conv(summed, 4, (5, 5), padding=SAME), summed))), tmp_path)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_convolutions_are_exact(tmp_path: Path, data: st.DataObject) -> None:
    """Shapes, strides, padding, zeros and what follows, drawn at random; two in a row, so that layouts meet."""
    side = st.integers(5, 14)
    net = Net((1, data.draw(side), data.draw(side), data.draw(st.integers(1, 5))), seed=data.draw(st.integers(0, 99)))
    x = net.start()
    for filters in (data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9))):
        height, width = net.tensors[x].shape[1:3]
        window = data.draw(st.integers(1, min(4, height))), data.draw(st.integers(1, min(4, width)))
        stride = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        padding, zeros = data.draw(st.sampled_from([SAME, VALID])), data.draw(st.sampled_from([0.0, 0.5, 0.9, 1.0]))
        x = net.conv(
            x, filters, window, stride=stride, padding=padding, zeros=zeros, activation=data.draw(st.integers(0, 3))
        )
        if min(net.tensors[x].shape[1:3]) > 1 and data.draw(st.booleans()):
            x = net.pool(x, "MAX", (2, 2), stride=(2, 2))
    if data.draw(st.booleans()):
        x = net.dense(net.reshape(x, (1, prod(net.tensors[x].shape))), 10, zeros=0.5, activation=NONE)
    machine = data.draw(st.sampled_from([name for name, m in MACHINES.items() if m.compiler == "gcc" and not m.lacks]))
    assert_exact(to_bytes(net.graph(x)), tmp_path, kernels=("auto", "dense", "sparse"), count=4, machine=machine)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_means_are_exact(tmp_path: Path, data: st.DataObject) -> None:
    """Shapes and scales drawn at random: a mean's multiplier is divided by its number of positions, and cut."""
    side = st.integers(1, 24)
    net = Net((1, data.draw(side), data.draw(side), data.draw(st.integers(1, 9))), seed=data.draw(st.integers(0, 99)))
    scale, zero_point = data.draw(st.floats(1e-5, 0.2)), data.draw(st.integers(-128, 127))
    made = data.draw(st.sampled_from([{}, {"scale": scale, "zero_point": zero_point}]))
    x = net.mean(net.start(), keep_dims=data.draw(st.booleans()), **made)
    assert_exact(to_bytes(net.graph(x)), tmp_path, kernels=("auto",), count=16)


def resnet8(zeros: float = 0.0) -> bytes:
    """Return a network of the structure of MLPerf Tiny's ResNet-8: 32x32x3, three stacks with a shortcut each."""
    net = Net((1, 32, 32, 3), seed=8)
    x = net.conv(net.start(), 16, (3, 3), padding=SAME, zeros=zeros)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.conv(x, filters, (3, 3), stride=(stride, stride), padding=SAME, zeros=zeros)
        y = net.conv(y, filters, (3, 3), padding=SAME, activation=NONE, zeros=zeros)
        short = (
            x if stride == 1 else net.conv(x, filters, (1, 1), stride=(stride, stride), padding=SAME, activation=NONE)
        )
        x = net.add(short, y, activation=RELU)
    x = net.pool(x, "AVERAGE", (8, 8), stride=(8, 8))
    return to_bytes(net.graph(net.softmax(net.dense(net.reshape(x, (1, 64)), 10, activation=NONE))))


def ds_cnn() -> bytes:
    """Return a network of the structure of MLPerf Tiny's DS-CNN: 49x10x1, four depthwise separable convolutions."""
    net = Net((1, 490), seed=9)
    x = net.conv(net.reshape(net.start(), (1, 49, 10, 1)), 64, (10, 4), stride=(2, 2), padding=SAME)
    for _ in range(4):
        x = net.conv(net.conv(x, 64, (3, 3), padding=SAME, depthwise=True), 64, (1, 1), padding=SAME)
    x = net.pool(x, "AVERAGE", (25, 5), stride=(25, 5))
    return to_bytes(net.graph(net.softmax(net.dense(net.reshape(x, (1, 64)), 12, activation=NONE))))


@pytest.mark.parametrize(
    "content", [resnet8(), resnet8(zeros=0.9), ds_cnn()], ids=["resnet8", "resnet8 sparse", "ds-cnn"]
)
def test_networks_of_mlperf_tiny_are_exact(content: bytes, tmp_path: Path) -> None:
    assert_exact(content, tmp_path, kernels=("auto",), count=4)


def odd_widths() -> bytes:
    """Return a network whose numbers of filters, windows and inputs are no multiples of what vectors hold."""
    net = Net((1, 13, 11, 3), seed=1)
    x = net.pool(net.conv(net.start(), 37, (3, 2), activation=NONE), "MAX", (2, 2), stride=(2, 2))
    x = net.conv(x, 18, (2, 2), padding=SAME, zeros=0.9)
    x = net.dense(net.reshape(x, (1, prod(net.tensors[x].shape))), 75)
    return to_bytes(net.graph(net.dense(x, 5, activation=NONE)))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("content", [odd_widths(), resnet8()], ids=["odd widths", "resnet8"])
def test_every_machine_computes_the_same(content: bytes, machine: str, tmp_path: Path) -> None:
    if missing := MACHINES[machine].lacks:
        pytest.skip(f"not here: {missing} (Debian: qemu-user-static, gcc-aarch64-linux-gnu, gcc-arm-linux-gnueabihf)")
    assert_exact(content, tmp_path, machine=machine, count=3, optimized=("-O3",))


def everything() -> bytes:
    """Return a network that has every kernel, each with whole vectors and what is left of them."""
    net = Net((1, 15, 14, 3), seed=7)
    x = net.pool(net.conv(net.start(), 37, (4, 3), zeros=0.8), "MAX", (2, 2), stride=(2, 2))
    y = net.conv(net.conv(x, 37, (3, 3), padding=SAME, depthwise=True), 18, (1, 1), zeros=0.6)
    x = net.add(y, net.conv(x, 18, (3, 2), padding=SAME, zeros=0.9, activation=NONE))
    x = net.pool(net.pool(x, "AVERAGE", (2, 2), stride=(1, 1)), "MAX", (2, 1), stride=(1, 1))
    x = net.conv(net.quantize(x, scale=0.03), 41, (2, 2), stride=(1, 2), zeros=0.7)
    return to_bytes(net.graph(net.softmax(net.dense(net.mean(x, scale=0.01), 11, zeros=0.5, activation=NONE))))


@pytest.mark.parametrize("machine", MACHINES)
def test_every_kernel_is_clean_under_sanitizers(machine: str, tmp_path: Path) -> None:
    """AddressSanitizer and UBSan; emulated, UBSan alone, which ends the program."""
    on = MACHINES[machine]
    if on.lacks:
        pytest.skip(f"not here: {on.lacks}")
    trapping = ("-O1", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error")
    assert_exact(everything(), tmp_path, machine=machine, count=6, optimized=trapping if on.runner else SANITIZED)


@pytest.mark.parametrize(
    ("machine", "instruction"),
    [("avx512vnni", "vpdpbusd"), ("avx2", "vpmaddubsw"), ("aarch64", "sadalp"), ("aarch64 dotprod", "sdot")],
)
def test_vector_instructions_are_used_where_they_may_be(machine: str, instruction: str, tmp_path: Path) -> None:
    on = MACHINES[machine]
    if shutil.which(on.compiler) is None:
        pytest.skip(f"{on.compiler} is not here")
    for file, text in to_c(odd_widths(), kernel="dense").items():
        (tmp_path / file).write_text(text)
    flags = [flag for flag in on.flags if flag != "-static"]
    command = [on.compiler, *STRICT, *flags, "-O3", "-S", tmp_path / "model.c", "-o", "-"]
    assert instruction in subprocess.run(command, capture_output=True, text=True, check=True).stdout


@needs_released
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_released_model_is_exact_on_test_images(kernel: str, mnist_test: tuple, tmp_path: Path) -> None:
    content, images = (RELEASED / "int8.tflite").read_bytes(), mnist_test[0][::50]
    assert_golden(compiled(to_c(content, kernel=kernel), tmp_path, "-O2"), images, reference(content, images))


@needs_released
@pytest.mark.parametrize("name", sorted(path.parent.name for path in RELEASED.parent.glob("*/int8.tflite")))
def test_every_released_model_is_exact_on_digits(name: str, tmp_path: Path) -> None:
    content, images = (RELEASED.parent / name / "int8.tflite").read_bytes(), digits.read()[1].images[::4]
    assert_golden(compiled(to_c(content), tmp_path, *SANITIZED), images, reference(content, images))


@needs_released
def test_the_same_parent_gives_the_same_bytes_and_a_small_arena() -> None:
    content = (RELEASED / "int8.tflite").read_bytes()
    texts = to_c(content, name="edge35k")
    assert texts == to_c(content, name="edge35k")
    arena = next(line for line in texts["model.h"].splitlines() if "ARENA_BYTES" in line)
    assert int(arena.split()[-1]) <= 8 * 1024
    assert "edge35k_predict" in texts["model.h"]


@needs_released
def test_nothing_changes_but_arena_and_scores(tmp_path: Path) -> None:
    """No allocation and no variables: the object has no writable data, and needs memcpy, memmove and memset alone."""
    object_file = tmp_path / "model.o"
    for file, text in to_c((RELEASED / "int8.tflite").read_bytes()).items():
        (tmp_path / file).write_text(text)
    # Not for a shared library, where a constant that holds an address is relocated and so counts as data.
    flags = ("-Os", "-fno-pie")
    subprocess.run(["gcc", *STRICT, *flags, "-c", tmp_path / "model.c", "-o", object_file], check=True)
    listed = subprocess.run(["nm", object_file], capture_output=True, text=True, check=True).stdout.splitlines()
    kinds = {line.split()[-1]: line.split()[-2] for line in listed}
    assert {name for name, kind in kinds.items() if kind == "U"} <= {"memcpy", "memmove", "memset"}
    assert not {name for name, kind in kinds.items() if kind in "bBdDC"}


@needs_released
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["edge35k", "edge35k-sparse90"])
def test_the_stack_that_is_stated_is_enough(name: str, machine: str, tmp_path: Path) -> None:
    """The frames of the longest chain of calls, as the compiler tells."""
    on = MACHINES[machine]
    if shutil.which(on.compiler) is None:
        pytest.skip(f"{on.compiler} is not here")
    for file, text in to_c((RELEASED.parent / name / "int8.tflite").read_bytes()).items():
        (tmp_path / file).write_text(text)
    for optimized in ("-Os", "-O2"):
        flags = (*STRICT, *on.flags, optimized, "-fcallgraph-info=su", "-c", "-o", tmp_path / "model.o")
        subprocess.run([on.compiler, *flags, tmp_path / "model.c"], check=True)
        assert 0 < deepest((tmp_path / "model.ci").read_text(), "model_predict") < STACK_BYTES


def deepest(call_graph: str, function: str) -> int:
    """Return the bytes of stack that a function and what it calls take at most; what is of the library takes none."""
    kinds = r"\((?:static|dynamic,bounded)\)"  # what else there is depends on the input
    sizes = re.findall(rf'node: {{ title: "([^"]*)" label: "[^"]*n(\d+) bytes {kinds}" }}', call_graph)
    assert len(sizes) == call_graph.count(" bytes ("), "no frame depends on the input"
    frames = {name: int(size) for name, size in sizes}
    calls = re.findall(r'edge: { sourcename: "([^"]*)" targetname: "([^"]*)"', call_graph)

    def below(name: str) -> int:
        return frames.get(name, 0) + max((below(to) for source, to in calls if source == name), default=0)

    return next(below(name) for name in frames if name.split(":")[-1] == function)


DIGITS = Contract(shape=(28, 28, 1), labels=tuple("0123456789"), picture="digit")


@needs_released
def test_the_example_reads_pgm_files_and_refuses_others(tmp_path: Path) -> None:
    for file, text in to_c((RELEASED / "int8.tflite").read_bytes(), contract=DIGITS).items():
        (tmp_path / file).write_text(text)
    shutil.copytree(ROOT / "deploy" / "c", tmp_path / "deploy")
    settings = (f"MODEL={tmp_path}", f"NATIVE={NATIVE}", "CFLAGS=-Werror -pedantic -fsanitize=address,undefined")
    subprocess.run(["make", "-C", tmp_path / "deploy", *settings], capture_output=True, check=True)
    predict, pgm = tmp_path / "deploy" / "predict", (tmp_path / "deploy" / "seven.pgm").read_bytes()
    turned_over = pgm[:-784] + bytes(255 - level for level in pgm[-784:])
    for content in (pgm, pgm.replace(b"P5\n", b"P5 # made by hand\n"), turned_over):
        (tmp_path / "seven.pgm").write_bytes(content)
        done = subprocess.run([predict, tmp_path / "seven.pgm"], capture_output=True, text=True, check=True)
        assert done.stdout.split("\t")[1:] == ["7", "0.996\n"]
    for content in (
        b"",
        b"P5",
        pgm[:-1],
        b"P6" + pgm[2:],
        pgm.replace(b"28 28", b"28 27"),
        pgm.replace(b"255", b"254"),
    ):
        (tmp_path / "bad.pgm").write_bytes(content)
        done = subprocess.run([predict, tmp_path / "bad.pgm"], capture_output=True, text=True, check=False)
        assert done.returncode == 2, content[:10]
        assert "expected a PGM, or pixels alone, of 28x28" in done.stderr
    (tmp_path / "moved.pgm").write_bytes(pgm[:-784] + pgm[-784 + 8 :] + pgm[-784 : -784 + 8])
    done = subprocess.run([predict, tmp_path / "moved.pgm"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is no digit as MNIST has them" in done.stderr


def refused(net: Net, output: int, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        to_c(to_bytes(net.graph(output)), where="export c: it.tflite")
    assert "\n" not in str(caught.value)


def test_an_operator_without_a_kernel_is_named_with_its_layer() -> None:
    net = Net((1, 4, 4, 1))
    x = net.add_operator("TANH", (net.start(),), net.activation((1, 4, 4, 1)))
    refused(net, x, r"export c: it.tflite: layer 2, tensor2 \(TANH\): no kernel; expected one of CONV_2D, ")


def test_options_that_are_not_computed_are_refused() -> None:
    net = Net((1, 8, 8, 1))
    x = net.conv(net.start(), 2, (3, 3), dilationHFactor=2, dilationWFactor=2)
    refused(net, x, r"layer 2, .* \(CONV_2D\): dilation 2x2; expected 1x1")


def test_weights_out_of_the_range_of_the_format_are_refused() -> None:
    net = Net((1, 8, 8, 1))
    x = net.conv(net.start(), 2, (3, 3))
    net.tensors[net.operators[-1].inputs[1]].data[0, 0, 0, 0] = -128
    refused(net, x, r"layer 2, .* \(CONV_2D\): weights of -128; expected -127 to 127")


def test_shapes_left_open_are_refused() -> None:
    net = Net((1, 4, 4, 1))
    x = net.activation((1, -1, 4, 1))
    refused(
        net,
        net.add_operator("QUANTIZE", (net.input,), x),
        r"output: got 1 of INT8 \[1, -1, 4, 1\]; expected .* all sizes",
    )


def test_a_float_layer_in_between_is_refused() -> None:
    net = Net((1, 4, 4, 1))
    middle = net.add_operator("RESHAPE", (net.start(),), net.tensor((1, 16), "FLOAT32"))
    output = net.add_operator("RESHAPE", (middle,), net.activation((1, 16)))
    refused(net, output, r"layer 2, .* \(RESHAPE\): tensor2 is FLOAT32 with 0 scales; expected UINT8 or INT8")


@pytest.mark.parametrize(("axes", "named"), [((1,), "[1]"), ((2, 1, -1), "[1, 2, 3]")])
def test_a_mean_over_channels_or_along_one_side_is_refused(axes: tuple[int, ...], named: str) -> None:
    net = Net((1, 4, 5, 6))
    x = net.mean(net.start(), axes=axes, keep_dims=True)
    refused(net, x, rf"\(MEAN\): a mean over axes {re.escape(named)} of \[1, 4, 5, 6\]; expected one over height")


@needs_released
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "Edge"}, "name: got 'Edge'; expected small letters"),
        ({"kernel": "fast"}, "kernel: 'fast' is unknown; expected one of: auto, dense, sparse"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        to_c((RELEASED / "int8.tflite").read_bytes(), **options)


def test_a_graph_is_read_as_it_was_written() -> None:
    net = Net((1, 6, 6, 2))
    graph = net.graph(net.conv(net.start(), 3, (3, 3), padding=SAME))
    assert_same(graph_of(to_bytes(graph)), graph)


def assert_same(one: Graph, other: Graph) -> None:
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)
    for a, b in zip(one.tensors, other.tensors, strict=True):
        assert (a.name, a.shape, a.dtype) == (b.name, b.shape, b.dtype)
        assert all(np.array_equal(getattr(a, key), getattr(b, key)) for key in ("scale", "zero_point", "data"))
    for p, q in zip(one.operators, other.operators, strict=True):
        assert (p.kind, p.inputs, p.outputs) == (q.kind, q.inputs, q.outputs)
        assert q.options.items() <= p.options.items()


@needs_released
def test_the_command_writes_records_and_refuses_before_it_writes(edgecnn: Edgecnn, tmp_path: Path) -> None:
    model = RELEASED / "int8.tflite"
    done = edgecnn("export", model, "--format", "c", "--name", "digit", "--out", tmp_path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    assert path == tmp_path / "edge35k" / "c" / "model.c"
    assert "digit_predict" in path.read_text()
    assert "edgecnn export --format c --name digit --kernel auto" in path.with_name("model.h").read_text()
    assert edgecnn("verify", tmp_path).returncode == 0

    wrong = edgecnn("export", RELEASED / "float32.tflite", "--format", "c", "--out", tmp_path / "f", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "input: got 1 of FLOAT32 [1, 28, 28, 1]" in wrong.stderr
    assert not (tmp_path / "f").exists()
