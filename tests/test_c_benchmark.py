"""The benchmark of the C export: what it counts and judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import c
from tests.conftest import RELEASED, ROOT

needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def test_goals_are_judged_by_what_was_found_and_by_nothing_else() -> None:
    found = {
        "sizes": {"models": {"dense": {"arena_bytes": 8193, "flash_bytes": 40960}}},
        "instructions": {"avx2": {"ratio": 2.5}, "aarch64": {"left_out": "qemu is not here"}},
        "agreement": {"images": 10, "dense": {"avx2": 1}},
        "latency": {
            "roofline_us": 5.0,
            "results": {
                "dense avx512vnni": {"p50_us": 10.5, "ratio": 0.2},
                "dense avx512vnni ctypes": {"p50_us": 12.0, "ratio": 0.25},
            },
        },
    }
    judged = {goal["what"]: goal["is_met"] for goal in c.goals(found)}
    assert judged == {
        "flash of the dense model, bytes": True,
        "arena of the dense model, bytes": False,
        "instructions, dense to sparse90, avx2": True,
        "images on which dense avx2 differs from LiteRT's reference": False,
        "dense avx512vnni in C, µs": True,
        "dense avx512vnni in C, times the roofline": False,
        "dense avx512vnni through ctypes, times faster than the fastest peer": False,
    }


def test_an_unknown_step_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert c.main(["speed"]) == 2
    assert "'speed' is unknown; expected one of: sizes, instructions, agreement, latency" in capsys.readouterr().err


@needs_released
def test_instructions_are_those_of_an_inference(tmp_path: Path) -> None:
    """Twice as many inferences need twice as many instructions, whatever it takes to start."""
    machine = c.EMULATED["aarch64"]
    if missing := machine.lacks():
        pytest.skip(f"not here: {missing}")
    c.write_model("sparse90", tmp_path / "model")
    program = c.compiled(tmp_path / "model", machine)
    one, two, three = (c.by_qemu(program, inferences) for inferences in (1, 2, 3))
    assert two - one == pytest.approx(three - two, rel=0.01)
    assert c.macs() / 64 < two - one


def test_the_page_states_what_was_recorded() -> None:
    found, page = json.loads(c.RESULT.read_text()), (ROOT / "deploy" / "README.md").read_text()
    avx2, aarch64 = (found["instructions"][family]["ratio"] for family in ("avx2", "aarch64"))
    dense, sparse = (found["sizes"]["models"][model]["flash_bytes"] / 1000 for model in ("dense", "sparse90"))
    words = " ".join(page.split())
    assert f"needs {avx2:.1f} times fewer instructions than the dense one with AVX2 and {aarch64:.1f} times" in words
    assert f"{sparse:.1f} KB of flash on a Cortex-M4 instead of {dense:.1f}" in words
