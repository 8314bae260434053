"""Which runtimes work here: found out in a child process, kept, and told by --doctor."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn.device import RuntimeMissingError
from edgecnn.device.runtimes import doctor, ladder
from edgecnn.device.runtimes.loader import RUNTIMES, pick
from edgecnn.export.pyz import to_pyz

BROKEN = {
    "dies": ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "died of signal 4, illegal instruction"),
    "misses a symbol": ("raise ImportError('/lib/libc.so.6: version GLIBC_2.38 not found')", "GLIBC_2.38 not found"),
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put_module(folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module before all others, for this process and its children."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Return the reason for which tflite-runtime, found as a module, does not work."""
    code, reason = BROKEN[request.param]
    put_module(tmp_path / "site", "broken_runtime", code, monkeypatch)
    rung = ladder.Rung("broken_runtime", "tflite-runtime", ".tflite")
    monkeypatch.setattr(ladder, "LADDER", {"tflite-runtime": rung})
    return reason


@pytest.mark.parametrize("broken", BROKEN, indirect=True)
def test_a_runtime_that_does_not_work_is_a_line_and_not_the_end(broken: str, tmp_path: Path) -> None:
    finding = ladder.works("tflite-runtime")
    assert not finding.works
    assert broken in finding.reason
    with pytest.raises(RuntimeMissingError, match=r"tflite-runtime does not work here .*; run predict.pyz --doctor"):
        pick(tmp_path / "a.tflite", "tflite-runtime")
    lines, can_start = doctor.examine()
    assert not can_start
    assert any("runtime tflite-runtime" in line and broken in line for line in lines)


def test_what_was_found_is_kept_until_the_installation_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"open({str(tmp_path / 'imports')!r}, 'a').write('x')"
    put_module(tmp_path / "site", "counted_runtime", code, monkeypatch)
    monkeypatch.setattr(ladder, "LADDER", {"ort": ladder.Rung("counted_runtime", "onnxruntime", ".onnx")})
    assert ladder.works("ort") == ladder.works("ort")
    assert (tmp_path / "imports").read_text() == "x"
    (tmp_path / "site" / "counted_runtime.py").write_text(code + "\n\n")
    ladder.works("ort")
    assert (tmp_path / "imports").read_text() == "xx"


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', "{"])
def test_a_damaged_cache_is_made_anew(content: str) -> None:
    ladder.cache_file().parent.mkdir(parents=True)
    ladder.cache_file().write_text(content)
    name = ladder.installed()[0]
    assert ladder.works(name).works
    assert ladder.works(name).version
    assert any(kept.get("works") for kept in json.loads(ladder.cache_file().read_text()).values() if kept != 1)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert ladder.works(ladder.installed()[0]).works


def test_the_ladder_and_the_loaders_name_the_same_runtimes() -> None:
    assert list(RUNTIMES) == list(ladder.LADDER)


def test_the_doctor_needs_nothing_but_python(tmp_path: Path) -> None:
    """A Python without site-packages: no numpy, no runtime."""
    (tmp_path / "predict.pyz").write_bytes(to_pyz())
    command = [sys.executable, "-I", "-S", tmp_path / "predict.pyz", "--doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    for expected in ("CPU features", "glibc", "pip install numpy", "pip install ai-edge-litert", "not ready"):
        assert expected in done.stdout
