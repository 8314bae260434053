"""--camera: what is said where there is none; frames from a video where OpenCV is installed. No camera is needed."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgecnn.device import DeviceError
from edgecnn.device.camera import frames
from tests.conftest import RELEASED, ROOT

needs_opencv = pytest.mark.skipif(find_spec("cv2") is None, reason="needs pip install opencv-python-headless, 150 MB")
pytestmark = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def predict(*arguments: object, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the predictor, with the modules in `path` before all others."""
    search = ":".join(map(str, filter(None, (path, ROOT))))
    command = [sys.executable, "-m", "edgecnn.device", "--model", RELEASED / "int8.tflite", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": search, "HOME": "/nowhere"},
        timeout=120,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, ""), done
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.skipif(find_spec("cv2") is not None or find_spec("picamera2") is not None, reason="there is a library")
def test_without_a_library_the_packages_are_named() -> None:
    line = refused(predict("--camera"))
    assert "neither picamera2 nor OpenCV is installed" in line
    assert "apt install python3-picamera2, or: pip install opencv-python-headless" in line


def test_a_library_that_does_not_work_is_one_line(tmp_path: Path) -> None:
    """As where picamera2 was installed for another Python than libcamera's bindings."""
    (tmp_path / "picamera2.py").write_text("import libcamera_that_is_not_there")
    line = refused(predict("--camera", path=tmp_path))
    assert line.startswith(
        "error: --camera 0: picamera2 cannot open it (No module named 'libcamera_that_is_not_there')"
    )


@needs_opencv
def test_a_camera_that_is_not_there_is_one_line() -> None:
    for where in ("77", "/dev/video77"):
        line = refused(predict("--camera", where))
        assert line.startswith(f"error: --camera {where}: no camera there (no /dev/video77); this machine has ")
    assert "(OpenCV cannot open /dev/null)" in refused(predict("--camera", "/dev/null"))
    assert "(OpenCV cannot open gone.avi)" in refused(predict("--camera", "gone.avi"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Return a video of a seven, of nothing, and of the seven again, 5, 3 and 4 frames."""
    import cv2

    seven = np.asarray(Image.open(ROOT / "deploy" / "seven.png"))
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, seven.shape[::-1])
    for picture in [seven] * 5 + [np.full_like(seven, 230)] * 3 + [seven] * 4:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


@needs_opencv
def test_a_line_comes_when_the_answer_changes(video: Path, tmp_path: Path) -> None:
    done = predict("--camera", video, "--show", tmp_path / "seen")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["frame-0", "7"],
        ["frame-5", "-"],
        ["frame-8", "7"],
    ]
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["camera.steps.png"]


@needs_opencv
def test_json_comes_for_every_frame(video: Path) -> None:
    values = [json.loads(line) for line in predict("--camera", video, "--json").stdout.splitlines()]
    assert [value["image"] for value in values] == [f"frame-{number}" for number in range(12)]
    assert [value["accepted"] for value in values] == [True] * 5 + [False] * 3 + [True] * 4
    assert {value["label"] for value in values if value["accepted"]} == {"7"}
    assert values[5]["reason"] == "no ink on the paper"


@needs_opencv
def test_it_ends_when_it_is_asked_to(video: Path) -> None:
    import signal

    from edgecnn.device.commands import watch_camera
    from edgecnn.device.stop import Stop

    stop = Stop()
    options = {"model": RELEASED / "int8.tflite", "runtime": None, "threads": 1, "as_json": True, "show": None}
    lines = watch_camera(str(video), stop=stop, **options)
    next(lines)
    stop.ask(signal.SIGTERM, None)
    assert list(lines) == []
    assert stop.exit_code == 0


@needs_opencv
def test_frames_are_gray_pictures(video: Path) -> None:
    with frames(str(video)) as found:
        first = next(found)
    assert (first.dtype, first.ndim) == (np.uint8, 2)
    with pytest.raises(DeviceError, match="no camera there"), frames("77"):
        pass
