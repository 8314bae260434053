"""The bundle: complete, the same bytes each time, replaced only as a whole; its self-test finds what is wrong."""

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecnn import artifact
from edgecnn.archives import checksums, to_tar, to_tar_gz
from edgecnn.device.errors import DeviceError, DifferenceError
from edgecnn.device.selftest import self_test, views
from edgecnn.errors import ArtifactError, StorageError
from edgecnn.pipeline import bundle_files, export_bundle
from edgecnn.pipeline.deploying import read_bundle
from tests.conftest import RELEASED, ROOT, Edgecnn

pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
MODELS = ["int8.tflite", "float32.tflite", "int8.onnx", "float32.onnx"]
FILES = [
    "README.md", "SHA256SUMS", "int8.tflite", "int8.tflite.json", "labels.txt", "predict.py", "predict.pyz",
    "requirements.txt", "selftest.json", "selftest.png", "selftest.raw",
]  # fmt: skip
VERDICT = "computes what the workstation computed"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle's folder, its archive beside it; read it, never write to it."""
    return export_bundle(RELEASED / "int8.tflite", out=tmp_path_factory.mktemp("bundle"), name="edge35k")[0]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bundle, tmp_path / "board")


def run(folder: Path, *arguments: object, python: tuple[str, ...] = ("-I",)) -> subprocess.CompletedProcess[str]:
    """Run the bundle's program as on a board: without this checkout."""
    command = [sys.executable, *python, folder / "predict.pyz", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=False)


def packed_last(name: str) -> tuple[bool, str]:
    """Return the key of the order in an archive: by name, the checksums at the end."""
    return name == "SHA256SUMS", name


def seal(folder: Path) -> None:
    """Write checksums of what the folder holds now."""
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"}
    (folder / "SHA256SUMS").write_text(checksums(files))


def test_a_bundle_holds_all_that_a_board_needs(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == FILES
    assert (bundle / "int8.tflite").read_bytes() == (RELEASED / "int8.tflite").read_bytes()
    assert (bundle / "labels.txt").read_text().split() == list("0123456789")
    requirements = (bundle / "requirements.txt").read_text()
    assert all(f"{package}==" in requirements for package in ("numpy", "pillow", "ai-edge-litert", "tflite-runtime"))
    assert (bundle / "predict.pyz").stat().st_mode & 0o777 == 0o755


def test_sha256sum_reads_the_checksums(bundle: Path) -> None:
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=bundle, capture_output=True, check=True)
    assert done.stdout.count(b": OK") == len(FILES) - 1


def test_the_archive_holds_the_folder_and_nobodys_name_or_time(bundle: Path, tmp_path: Path) -> None:
    archive = bundle.with_name("edge35k.tar.gz")
    assert archive.read_bytes()[4:8] == bytes(4), "gzip's time"
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        tar.extractall(tmp_path, filter="data")
    assert [member.name for member in members] == [
        "edge35k",
        *(f"edge35k/{name}" for name in sorted(FILES, key=packed_last)),
    ]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}
    for name in FILES:
        assert (tmp_path / "edge35k" / name).read_bytes() == (bundle / name).read_bytes()
        assert (tmp_path / "edge35k" / name).stat().st_mode == (bundle / name).stat().st_mode


def test_the_same_inputs_give_the_same_bytes_in_another_process(edgecnn: Edgecnn, tmp_path: Path) -> None:
    for out in ("a", "b"):
        done = edgecnn("export", "edge35k", "--format", "bundle", "--out", tmp_path / out, TZ=f"UTC{len(out)}")
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == str(tmp_path / out / "edge35k-int8-tflite.tar.gz")
    packed = [(tmp_path / out / "edge35k-int8-tflite.tar.gz").read_bytes() for out in ("a", "b")]
    assert packed[0] == packed[1]


@pytest.mark.parametrize("model", MODELS)
def test_a_bundle_proves_itself_without_this_checkout(model: str, tmp_path: Path) -> None:
    folder, _ = export_bundle(RELEASED / model, out=tmp_path, name="b")
    done = run(folder, "--self-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == VERDICT
    assert "8 images, largest difference of a score 0, tolerance" in done.stdout, "the same machine and runtime"
    assert run(folder, ROOT / "deploy" / "seven.png").stdout.split("\t")[1] == "7"
    script = [sys.executable, "-I", folder / "predict.py", ROOT / "deploy" / "seven.png"]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout.split("\t")[1].startswith("7")


def test_the_command_on_the_workstation_tests_a_bundle_too(edgecnn: Edgecnn, bundle: Path) -> None:
    assert edgecnn("predict", "--self-test", bundle).stdout.splitlines()[-1] == VERDICT
    lost = edgecnn("predict", "--self-test")
    assert lost.returncode == 2
    assert "expected a bundle; make one: edgecnn export --format bundle" in lost.stderr


@pytest.mark.parametrize("name", [name for name in FILES if name != "predict.pyz"])
def test_a_flipped_bit_in_any_file_is_found_and_named(name: str, copy: Path) -> None:
    path = copy / name
    whole, rng = path.read_bytes(), np.random.default_rng(len(name))
    for bit in [0, 8 * len(whole) - 1, *rng.integers(0, 8 * len(whole), 40)]:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(DeviceError, match=name) as caught:
            list(self_test(copy))
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)


def test_every_flipped_bit_of_the_checksums_is_found(copy: Path) -> None:
    path = copy / "SHA256SUMS"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        with pytest.raises(DeviceError, match="SHA256SUMS"):
            list(self_test(copy))


def test_a_flipped_bit_in_the_program_is_found_by_the_program(copy: Path) -> None:
    path = copy / "predict.pyz"
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    # From the end of __main__.py, without which nothing is found at all, to the list of what the zip file holds.
    for bit in rng.integers(8 * whole.index(b"edgecnn/"), 8 * whole.index(b"PK\1\2"), 12):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        done = run(copy, "--self-test")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"error: {path}: SHA256SUMS says another sha256" in done.stderr
        assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=copy, capture_output=True, check=False).returncode


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("predict.pyz", "SHA256SUMS")])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    done = run(copy, "--self-test")
    assert done.returncode == 2
    assert f"{name}: SHA256SUMS names it, and it cannot be read" in done.stderr


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"not a checksum\n", b"\xff\xfe\n", b"0" * 64 + b"  ../../etc/passwd\n"]
)
def test_checksums_that_are_none_are_refused(content: bytes, copy: Path) -> None:
    (copy / "SHA256SUMS").write_bytes(content)
    with pytest.raises(DeviceError, match=r"SHA256SUMS: .*copy the bundle again"):
        list(self_test(copy))
    with pytest.raises(ArtifactError, match=r"SHA256SUMS: .* again"):
        read_bundle(copy)


def test_other_scores_are_a_difference_that_is_told(copy: Path) -> None:
    """Another model of the same name: whole, and not what the workstation computed with."""
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(ROOT / "models" / "edge1k" / name, copy)
    seal(copy)
    done = run(copy, "--self-test")
    assert done.returncode == 1
    assert VERDICT not in done.stdout
    for said in ("largest difference of a score", "tolerance 0.1", "reads", "on the workstation, in litert"):
        assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_other_pixels_are_a_difference_that_is_told(copy: Path) -> None:
    pixels = bytearray((copy / "selftest.raw").read_bytes())
    pixels[14 * 28 + 14] ^= 0x80
    (copy / "selftest.raw").write_bytes(pixels)
    seal(copy)
    with pytest.raises(DifferenceError, match="differ by up to 128 of 255 from the workstation's, tolerance 2"):
        list(self_test(copy))


@pytest.mark.parametrize(
    "change",
    [
        {"scores": [[0.1] * 10]},
        {"scores": "many"},
        {"tolerance": None},
        {"model": "gone.tflite"},
        {"scores": [[1], [2, 3]]},
    ],
)
def test_expected_scores_that_are_none_are_one_line(change: dict[str, object], copy: Path) -> None:
    expected = json.loads((copy / "selftest.json").read_text())
    (copy / "selftest.json").write_text(json.dumps(expected | change))
    seal(copy)
    with pytest.raises(DeviceError) as caught:
        list(self_test(copy))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_scores_that_are_no_numbers_never_pass(copy: Path) -> None:
    expected = json.loads((copy / "selftest.json").read_text())
    expected["scores"][3][3] = float("nan")
    (copy / "selftest.json").write_text(json.dumps(expected))
    seal(copy)
    with pytest.raises(DifferenceError):
        list(self_test(copy))


def test_the_copies_are_eight_and_the_first_is_the_image() -> None:
    image = np.arange(784, dtype=np.uint32).astype(np.uint8).reshape(28, 28)
    eight = views(image)
    assert eight.shape == (8, 28, 28, 1)
    assert np.array_equal(eight[0, :, :, 0], image)
    assert len({view.tobytes() for view in eight}) == 8


def test_a_former_bundle_is_replaced_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    folder, _ = export_bundle(RELEASED / "float32.tflite", out=tmp_path, name="b")
    again, _ = export_bundle(RELEASED / "int8.tflite", out=tmp_path, name="b")
    assert again == folder
    assert sorted(path.name for path in folder.iterdir()) == FILES
    (folder / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(ArtifactError, match=r"b: is there, and holds photo.jpg, which is of no bundle; move it away"):
        export_bundle(RELEASED / "int8.onnx", out=tmp_path, name="b")
    assert (folder / "photo.jpg").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b.tar.gz"]


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("mine")
    with pytest.raises(ArtifactError, match=r"b: is there, and is no folder"):
        export_bundle(RELEASED / "int8.tflite", out=tmp_path, name="b")
    assert (tmp_path / "b").read_text() == "mine"


def test_without_numpy_the_files_are_checked_and_the_packages_named(bundle: Path) -> None:
    done = run(bundle, "--self-test", python=("-I", "-S"))
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["10 files are as SHA256SUMS says"]
    assert done.stderr == "error: numpy is not installed; run: pip install numpy pillow\n"


def test_a_disk_that_refuses_leaves_the_former_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = export_bundle(RELEASED / "int8.tflite", out=tmp_path, name="b")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename: Callable[[Path, Path], Path] = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if target == folder and ".old" not in self.name:
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        export_bundle(RELEASED / "float32.tflite", out=tmp_path, name="b")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b.tar.gz"]


def test_a_c_library_beside_the_model_comes_along(tmp_path: Path) -> None:
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(RELEASED / name, tmp_path)
    parent = hashlib.sha256((tmp_path / "int8.tflite").read_bytes()).hexdigest()
    content = b"\x7fELF of some kind, of " + parent.encode()
    (tmp_path / "libmodel.so").write_bytes(content)
    files = bundle_files(tmp_path / "int8.tflite", name="b")
    assert files["libmodel.so"] == content
    assert f"{hashlib.sha256(files['libmodel.so']).hexdigest()}  libmodel.so\n".encode() in files["SHA256SUMS"]
    (tmp_path / "libmodel.so").write_bytes(content[:-1])
    assert "libmodel.so" not in bundle_files(tmp_path / "int8.tflite", name="b"), "it is another model's"


def test_a_model_without_its_record_is_refused(edgecnn: Edgecnn, tmp_path: Path) -> None:
    shutil.copy(RELEASED / "int8.tflite", tmp_path / "mine.tflite")
    done = edgecnn("export", "mine.tflite", "--format", "bundle", cwd=tmp_path)
    assert done.returncode == 2
    assert "mine.tflite: no record mine.tflite.json beside it" in done.stderr
    shutil.copy(RELEASED / "float32.tflite.json", tmp_path / "mine.tflite.json")
    assert "its record says" in edgecnn("export", "mine.tflite", "--format", "bundle", cwd=tmp_path).stderr
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model-format", "pt"], "format: 'pt' is unknown"),
        (["--format", "onnx", "--model-format", "onnx"], "--model-format: does not apply here, it is for"),
        (["--scheme", "int3"], "scheme for tflite: 'int3' is unknown"),
        (["--kernel", "dense"], "--kernel: does not apply here"),
        (["--recipe", "pruned80"], "--recipe: does not apply here, the released model has its own"),
        ([str(RELEASED / "int8.tflite"), "--model-format", "onnx"], "--model-format: does not apply here"),
        ([str(RELEASED / "int8.tflite"), "--max-drop", "1"], "--max-drop: does not apply here"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    edgecnn: Edgecnn, arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = edgecnn("export", "--format", "bundle", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_bundle_asks_for_its_runtime(edgecnn: Edgecnn, tmp_path: Path) -> None:
    done = edgecnn(
        "export", "edge35k", "--format", "bundle", "--model-format", "onnx", "--scheme", "float32", cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "export/edge35k-float32-onnx.tar.gz"
    folder = tmp_path / "export" / "edge35k-float32-onnx"
    requirements = (folder / "requirements.txt").read_text()
    assert "onnxruntime==" in requirements
    assert "litert" not in requirements
    assert 'MODEL = HERE / "float32.onnx"' in (folder / "predict.py").read_text()


def test_a_run_is_bundled_and_stays_as_it_was(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    command = ["export", quick_run, "--format", "bundle", "--recipe", "pruned80-qat", "--out", tmp_path]
    done = edgecnn(*command)
    assert done.returncode == 0, done.stderr
    name = f"{quick_run.name}-pruned80-qat-int8-tflite"
    assert done.stdout.splitlines()[-1] == str(tmp_path / f"{name}.tar.gz")
    exported = quick_run / "export" / "pruned80-qat" / "int8.tflite"
    assert (tmp_path / name / "int8.tflite").read_bytes() == exported.read_bytes()
    assert run(tmp_path / name, "--self-test").returncode == 0
    assert artifact.checked(exported)


def test_a_name_that_a_shell_would_have_quoted_is_made_plain(tmp_path: Path) -> None:
    folder, archive = export_bundle(RELEASED / "int8.tflite", out=tmp_path, name="my model; rm -rf ~ ü")
    assert folder.name == "my-model-rm--rf"
    assert archive.name == "my-model-rm--rf.tar.gz"
    for name in ("int8.tflite", "int8.tflite.json"):
        shutil.copy(RELEASED / name, tmp_path / f"a {name}")
    with pytest.raises(ArtifactError, match="rename it and its record"):
        export_bundle(tmp_path / "a int8.tflite", out=tmp_path, name="b")


def test_an_archive_is_a_gzip_of_what_tar_reads() -> None:
    files = {"a": b"1", "b": b"#!/bin/sh\n"}
    packed = to_tar_gz(files, folder="n" * 120)
    assert gzip.decompress(packed)[257:262] == b"ustar"
    assert packed == to_tar_gz(files, folder="n" * 120)
    with tarfile.open(fileobj=io.BytesIO(to_tar(files))) as tar:
        assert [(member.name, member.mode, member.mtime) for member in tar] == [("a", 0o644, 0), ("b", 0o755, 0)]
