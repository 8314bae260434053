"""What the C export costs and whether it is exact, against its goals: python -m benchmarks.c [STEP ...].

Steps: sizes, instructions, agreement, latency; all, where none is named. Each writes its part of c.json and leaves the
others as they are. Latency wants a machine that does nothing else; the other steps do not care. What a step needs and
does not find (a compiler, an emulator, MNIST, an instruction of the processor) is left out, and said.
"""

from __future__ import annotations

import ctypes
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn import artifact
from edgecnn.bench.latency import Latency, measure_latency, percentiles, ratio_to
from edgecnn.data import mnist
from edgecnn.device import runtimes
from edgecnn.export.c import to_c

ROOT = Path(__file__).resolve().parents[1]
HARNESS = ROOT / "benchmarks" / "c_harness.c"
RESULT = Path(__file__).with_suffix(".json")
OPTIMIZED = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")
MODELS = {"dense": ("edge35k", "dense"), "sparse90": ("edge35k-sparse90", "auto")}  # released model, kernel
PEERS = (("float32.tflite", "litert"), ("int8.tflite", "litert"), ("float32.onnx", "ort"), ("int8.onnx", "ort"))
TURNS, SECONDS = 9, 0.3
VNNI_PRODUCTS = 64  # of one instruction
FEW, MANY = 2, 12  # inferences, whose difference is counted


@dataclass(frozen=True)
class Machine:
    """A compiler, its flags for a family of instructions, and what runs that: an emulator, or a processor's flags."""

    compiler: str
    flags: tuple[str, ...]
    cpu_flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()

    def lacks(self, *programs: str) -> str:
        """Return what is not here; empty where nothing is missing."""
        known = Path("/proc/cpuinfo").read_text().split()
        needed = (self.compiler, *self.emulator[:1], *programs)
        absent = [program for program in needed if shutil.which(program) is None]
        return ", ".join([*absent, *(flag for flag in self.cpu_flags if flag not in known)])


FAMILIES = {
    "portable": Machine("gcc", ("-DPORTABLE",)),
    "avx2": Machine("gcc", ("-mavx2",), ("avx2",)),
    "avx512vnni": Machine("gcc", ("-mavx512f", "-mavx512vnni"), ("avx512_vnni",)),
}
A72, A76 = (("qemu-aarch64-static", "-cpu", cpu) for cpu in ("cortex-a72", "cortex-a76"))
EMULATED = {
    "aarch64": Machine("aarch64-linux-gnu-gcc", ("-static",), emulator=A72),
    "aarch64 dotprod": Machine("aarch64-linux-gnu-gcc", ("-static", "-march=armv8.2-a+dotprod"), emulator=A76),
}
THUMB = Machine("arm-none-eabi-gcc", ("-std=c99", "-Os", "-mthumb", "-mcpu=cortex-m4"))


def main(asked: Sequence[str]) -> int:
    """Run the steps, write c.json, print the goals; exit code 1 when one is missed, 2 for an unknown step."""
    if unknown := [step for step in asked if step not in STEPS]:
        print(f"step: {unknown[0]!r} is unknown; expected one of: {', '.join(STEPS)}", file=sys.stderr)
        return 2
    found: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            write_model(model, Path(folder) / model)
        for step in asked or STEPS:
            found[step] = STEPS[step](Path(folder))
    found["goals"] = goals(found)
    order = [*STEPS, "goals"]
    artifact.write_atomic(RESULT, json.dumps({key: found[key] for key in order if key in found}, indent=1) + "\n")
    for goal in found["goals"]:
        print(f"{'met' if goal['is_met'] else 'MISSED':<7} {goal['what']}: {goal['got']:,.5g}; goal {goal['goal']}")
    return int(not all(goal["is_met"] for goal in found["goals"]))


def write_model(model: str, folder: Path) -> None:
    """Write model.h and model.c of one of `MODELS`."""
    name, kernel = MODELS[model]
    folder.mkdir()
    for file, text in to_c(released(model).read_bytes(), kernel=kernel, where=name).items():
        (folder / file).write_text(text)


def released(model: str) -> Path:
    """Return the .tflite file that a model in C is made from."""
    return ROOT / "models" / MODELS[model][0] / "int8.tflite"


def compiled(folder: Path, machine: Machine, *more: str) -> Path:
    """Return the harness compiled with the model in `folder`."""
    program = folder / "harness"
    sources = [str(HARNESS), str(folder / "model.c")]
    run([machine.compiler, *OPTIMIZED, *machine.flags, *more, "-I", str(folder), *sources, "-o", str(program)])
    return program


def run(command: Sequence[str]) -> str:
    """Return what a command that must succeed printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def version_of(program: str) -> str:
    """Return the first line that a program prints of its version."""
    return run([program, "--version"]).splitlines()[0]


def sizes(folder: Path) -> dict[str, Any]:
    """Return flash (code and constants, Thumb-2, -Os) and arena of each model, in bytes."""
    rows: dict[str, Any] = {
        model: {"made_from": artifact.sha256(released(model).read_bytes()), "arena_bytes": arena_bytes(folder / model)}
        for model in MODELS
    }
    if missing := THUMB.lacks("arm-none-eabi-size"):
        return {"left_out": f"flash: {missing} is not here", "models": rows}
    for model, row in rows.items():
        built = folder / model / "model.o"
        run([THUMB.compiler, *THUMB.flags, "-c", str(folder / model / "model.c"), "-o", str(built)])
        text, data = map(int, run(["arm-none-eabi-size", str(built)]).splitlines()[1].split()[:2])
        row["flash_bytes"] = text + data
    return {"compiler": version_of(THUMB.compiler), "flags": " ".join(THUMB.flags), "models": rows}


def arena_bytes(folder: Path) -> int:
    """Return the arena's size that a header states."""
    found = re.search(r"_ARENA_BYTES (\d+)", (folder / "model.h").read_text())
    assert found is not None
    return int(found[1])


def instructions(folder: Path) -> dict[str, Any]:
    """Return the instructions of one inference, by valgrind for AVX2 and by qemu for AArch64 without dot product."""
    counters: dict[str, tuple[Machine, str, Callable[[Path, int], int]]] = {
        "avx2": (FAMILIES["avx2"], "valgrind", by_valgrind),
        "aarch64": (EMULATED["aarch64"], A72[0], by_qemu),
    }
    found: dict[str, Any] = {"flags": " ".join(OPTIMIZED)}
    for family, (machine, tool, count) in counters.items():
        if missing := machine.lacks(tool):
            found[family] = {"left_out": f"{missing} is not here"}
            continue
        each = {}
        for model in MODELS:
            program = compiled(folder / model, machine)
            each[model] = (count(program, MANY) - count(program, FEW)) // (MANY - FEW)
        versions = {"compiler": version_of(machine.compiler), "counted_by": version_of(tool)}
        found[family] = {**versions, **each, "ratio": each["dense"] / each["sparse90"]}
    return found


def by_valgrind(program: Path, inferences: int) -> int:
    """Return the instructions that a program needs for so many inferences."""
    out = program.with_name("callgrind.out")
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", str(program), "count", str(inferences)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def by_qemu(program: Path, inferences: int) -> int:
    """Return the instructions that a program needs, of which qemu writes a line each; a cortex-a72 runs them."""
    options = ["-singlestep", "-d", "exec,nochain", "-D", "/dev/stdout"]
    command = [*A72, *options, str(program), "count", str(inferences)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        count = sum(line.startswith(b"Trace") for line in running.stdout)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {running.returncode}")
    return count


def agreement(folder: Path) -> dict[str, Any]:
    """Return on how many of MNIST's test images C in each family differs from LiteRT's reference kernels."""
    if (data_dir := mnist.find()) is None:
        return {"left_out": "MNIST is not here: set EDGECNN_DATA"}
    images = mnist.read(data_dir=data_dir)[1].images
    file = folder / "images"
    file.write_bytes(images.tobytes())
    all_machines = FAMILIES | EMULATED
    usable = {family: machine for family, machine in all_machines.items() if not machine.lacks()}
    found: dict[str, Any] = {"images": len(images), "left_out": sorted(all_machines.keys() - usable.keys())}
    for model in MODELS:
        expected = reference(released(model), images)
        found[model] = {}
        for family, machine in usable.items():
            program = compiled(folder / model, machine)
            command = [*machine.emulator, str(program), "scores", str(file)]
            made = subprocess.run(command, capture_output=True, check=True).stdout
            got = np.frombuffer(made, np.int8).reshape(expected.shape)
            found[model][family] = int((got != expected).any(axis=1).sum())
    return found


def reference(model: Path, images: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return the scores int8 [N, classes] of LiteRT's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    scores = []
    for image in images:
        interpreter.set_tensor(given, image[None])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(made).ravel().copy())
    return np.array(scores)


def latency(folder: Path) -> dict[str, Any]:
    """Return p50 of C, in C and called through ctypes, and of the runtimes called from Python, turn by turn.

    One thread, batch 1. A ratio is the median over the turns: of C's p50 to that of the fastest peer.
    """
    usable = {family: machine for family, machine in FAMILIES.items() if not machine.lacks()}
    calls = {f"{model} {family} ctypes": c_call(folder / model, machine) for model, family, machine in pairs(usable)}
    programs = {f"{model} {family}": copied(folder / model, machine) for model, family, machine in pairs(usable)}
    peers = {f"{file} {runtime}": peer_call(file, runtime) for file, runtime in PEERS}
    turns: dict[str, list[Latency]] = {name: [] for name in (*programs, *calls, *peers)}
    for _ in range(TURNS):
        for name, program in programs.items():
            turns[name].append(percentiles([int(ns) for ns in run([str(program), "time", "20000"]).split()]))
        for name, call in (*calls.items(), *peers.items()):
            turns[name].append(measure_latency(call, runs=1000, seconds=SECONDS))
    fastest = min(peers, key=lambda name: median(each.p50_us for each in turns[name]))
    rows = {
        name: {"p50_us": median(each.p50_us for each in own), "ratio": ratio_to(own, turns[fastest])}
        for name, own in turns.items()
    }
    conditions = {"host": artifact.host(), "versions": artifact.library_versions(), "flags": " ".join(OPTIMIZED)}
    return {"conditions": conditions, "fastest_peer": fastest, **roofline(folder), "results": rows}


def pairs(usable: dict[str, Machine]) -> Iterable[tuple[str, str, Machine]]:
    """Return each model with each family that runs here."""
    return ((model, family, machine) for model in MODELS for family, machine in usable.items())


def copied(folder: Path, machine: Machine) -> Path:
    """Return the harness of a model and family under a name of its own."""
    return compiled(folder, machine).rename(folder / f"harness{'_'.join(machine.flags)}")


def c_call(folder: Path, machine: Machine) -> Callable[[], object]:
    """Return one inference in C, called through ctypes with what can be prepared prepared."""
    library = folder / f"model{'_'.join(machine.flags)}.so"
    run([machine.compiler, *OPTIMIZED, *machine.flags, "-fPIC", "-shared", str(folder / "model.c"), "-o", str(library)])
    predict = ctypes.CDLL(str(library)).model_predict
    size = arena_bytes(folder)
    arena, scores = (ctypes.c_uint32 * (size // 4 + 1))(), (ctypes.c_int8 * 10)()
    pixels = ctypes.create_string_buffer(bytes(i * 37 % 251 for i in range(28 * 28)))
    bytes_of_arena = ctypes.c_size_t(size)
    return lambda: predict(pixels, arena, bytes_of_arena, scores)


def peer_call(file: str, runtime: str) -> Callable[[], object]:
    """Return one inference of a released file in a runtime, one thread."""
    loaded = runtimes.load(ROOT / "models" / "edge35k" / file, runtime=runtime, threads=1)
    given = loaded.inputs[0]
    values = np.arange(28 * 28) * 37 % 251
    image = (values / (1 if given.dtype == "uint8" else 255)).astype(given.dtype).reshape(1, 28, 28, 1)
    return lambda: loaded.invoke([image])


def roofline(folder: Path) -> dict[str, float]:
    """Return the least time that the dense model's products can take with VNNI, at the pace that is measured here."""
    machine = FAMILIES["avx512vnni"]
    if machine.lacks():
        return {}
    program = folder / "roofline"
    source = str(HARNESS.with_name("c_roofline.c"))
    run([machine.compiler, "-std=c99", "-O2", *machine.flags, source, "-o", str(program)])
    each_ns = min(float(run([str(program)])) for _ in range(3))
    return {"vpdpbusd_ns": each_ns, "roofline_us": macs() / VNNI_PRODUCTS * each_ns / 1000}


def macs() -> int:
    """Return the multiplications of one inference of the dense model."""
    from edgecnn.inspect import inspect_file

    return sum(layer.macs or 0 for layer in inspect_file(released("dense")))


def goals(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the goals that can be judged, each with what was reached."""
    made: list[dict[str, Any]] = []

    def judge(what: str, got: float | None, *, most: float | None = None, least: float | None = None) -> None:
        if got is not None:
            is_met = got <= most if most is not None else least is not None and got >= least
            goal = f"at most {most:,}" if most is not None else f"at least {least}"
            made.append({"what": what, "got": got, "goal": goal, "is_met": is_met})

    models = found.get("sizes", {}).get("models", {})
    judge("flash of the dense model, bytes", models.get("dense", {}).get("flash_bytes"), most=40 * 1024)
    judge("flash of the sparse90 model, bytes", models.get("sparse90", {}).get("flash_bytes"), most=12 * 1024)
    for model, row in models.items():
        judge(f"arena of the {model} model, bytes", row["arena_bytes"], most=8 * 1024)
    for family in ("avx2", "aarch64"):
        counted = found.get("instructions", {}).get(family, {})
        judge(f"instructions, dense to sparse90, {family}", counted.get("ratio"), least=2.5)
    for model in MODELS:
        for family, differing in found.get("agreement", {}).get(model, {}).items():
            judge(f"images on which {model} {family} differs from LiteRT's reference", differing, most=0)
    timed = found.get("latency", {})
    rows = timed.get("results", {})
    vnni = rows.get("dense avx512vnni", {}).get("p50_us")
    judge("dense avx512vnni in C, µs", vnni, most=11)
    if vnni and "roofline_us" in timed:
        judge("dense avx512vnni in C, times the roofline", vnni / timed["roofline_us"], most=2)
    for family, least in (("avx512vnni", 4.5), ("avx2", 2.5)):
        if row := rows.get(f"dense {family} ctypes"):
            judge(f"dense {family} through ctypes, times faster than the fastest peer", 1 / row["ratio"], least=least)
    return made


STEPS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "sizes": sizes,
    "instructions": instructions,
    "agreement": agreement,
    "latency": latency,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
