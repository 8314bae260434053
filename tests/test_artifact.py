"""Records, hashes and writes that leave nothing half done."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn import artifact
from edgecnn.artifact import Record, Run
from edgecnn.device.contract import Contract
from edgecnn.errors import ArtifactError, StorageError


def record(content: bytes, name: str, parents: dict[str, str] | None = None) -> Record:
    return Record(
        stage="export", recipe="baseline", scheme="int8", artifact=name, sha256=artifact.sha256(content),
        size_bytes=len(content), gzip_bytes=artifact.gzip_size(content), parents=parents or {}, parameters=1,
        nonzero_parameters=1, seed=0, settings={}, data={"name": "digits", "sha256": "0"},
        contract=Contract(shape=(8, 8, 1), labels=("a", "b")), metrics={},
    )  # fmt: skip


def keep(path: Path, content: bytes, parents: dict[str, str] | None = None) -> None:
    artifact.write_atomic(path, content)
    artifact.write_record(path, record(content, path.name, parents))


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    keep(tmp_path / "int8.tflite", b"model")
    assert artifact.checked(tmp_path / "int8.tflite").sha256 == artifact.sha256(b"model")
    assert (tmp_path / "int8.tflite.json").is_file()


def test_verify_finds_a_changed_artifact_a_changed_parent_and_a_missing_record(tmp_path: Path) -> None:
    keep(tmp_path / "train" / "model.keras", b"parent")
    parents = {"../train/model.keras": artifact.sha256(b"parent")}
    keep(tmp_path / "export" / "int8.tflite", b"child", parents)
    assert [problem for _, problem in artifact.verify(tmp_path)] == [None, None]

    (tmp_path / "export" / "int8.tflite").write_bytes(b"chILD")
    keep(tmp_path / "export" / "float32.tflite", b"other", parents)
    keep(tmp_path / "train" / "model.keras", b"PARENT")
    (tmp_path / "stray.onnx").write_bytes(b"x")
    problems = {path.name: problem or "" for path, problem in artifact.verify(tmp_path)}
    assert "its record says" in problems["int8.tflite"]
    assert "its parent ../train/model.keras" in problems["float32.tflite"]
    assert "no record" in problems["stray.onnx"]
    assert problems["model.keras"] == ""


def test_an_artifact_without_its_parent_nearby_is_fine(tmp_path: Path) -> None:
    keep(tmp_path / "int8.tflite", b"child", {"../train/model.keras": "abc"})
    assert [problem for _, problem in artifact.verify(tmp_path)] == [None]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 99}', '{"schema": 1, "sha256": "x"}'])
def test_a_damaged_record_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "int8.tflite").write_bytes(b"model")
    (tmp_path / "int8.tflite.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"int8.tflite.json: ") as caught:
        artifact.checked(tmp_path / "int8.tflite")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("sha256", 5), ("sha256", None), ("parents", [1]), ("parents", {"a": 1}), ("contract", 5), ("contract", {}),
     ("data", "mnist"), ("data", {}), ("data", {"name": ["a"], "sha256": "x"}), ("scheme", 7), ("metrics", None)],
)  # fmt: skip
def test_a_record_of_wrong_types_is_one_line(tmp_path: Path, key: str, value: object) -> None:
    keep(tmp_path / "int8.tflite", b"model")
    path = tmp_path / "int8.tflite.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(ArtifactError, match=r"int8.tflite.json: ") as caught:
        artifact.checked(tmp_path / "int8.tflite")
    assert "\n" not in str(caught.value)


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in (".int8.tflite.ab12_xyz", "int8.tflite", ".hidden", ".note.txt"):
        (tmp_path / name).write_text("x")
    with artifact.locked(Run(tmp_path)):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", ".note.txt", "int8.tflite"]


def test_an_old_record_never_stands_beside_a_new_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "int8.tflite"
    keep(path, b"old")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artifact, "write_record", killed)
    with pytest.raises(KeyboardInterrupt):
        artifact.keep(path, b"new", record(b"new", path.name))
    assert path.read_bytes() == b"new"
    assert not artifact.record_path(path).exists(), "incomplete, not a mismatch"


def test_a_refused_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    artifact.write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match=r"int8.tflite: cannot write 5000 bytes \(File too large\); free space"):
            artifact.write_atomic(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["int8.tflite"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(StorageError, match="No space left on device"):
            artifact.write_atomic(tmp_path / "sub" / "model.keras", os.urandom(200_000))
        assert list((tmp_path / "sub").iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_two_processes_cannot_work_in_one_run(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from edgecnn.artifact import Run, locked\n"
        f"with locked(Run(Path({str(tmp_path)!r}))): pass"
    )
    with artifact.locked(Run(tmp_path)):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "another edgecnn works there" in done.stderr
    subprocess.run([sys.executable, "-c", code], check=True)


def test_latest_run_is_the_one_finished_last(tmp_path: Path) -> None:
    for name, time in (("a", 3), ("b", 2), ("unfinished", 9)):
        opened = Run(tmp_path / name)
        artifact.write_atomic(opened.config, "")
        if name != "unfinished":
            artifact.write_atomic(opened.bench, "{}")
            os.utime(opened.bench, (time, time))
    assert artifact.latest_run(tmp_path) == Run(tmp_path / "a")
    assert artifact.latest_run(tmp_path / "none") is None


def test_gzip_size_does_not_depend_on_the_clock() -> None:
    assert artifact.gzip_size(b"a" * 1000) == artifact.gzip_size(b"a" * 1000) < 40


def test_host_does_not_name_the_machine() -> None:
    assert os.uname().nodename not in json.dumps(artifact.host())
