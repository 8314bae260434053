"""``predict.pyz --camera``: pictures from a camera, by picamera2 (Raspberry Pi OS) or by OpenCV (USB, V4L2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import DeviceError, RuntimeMissingError
from edgecnn.device.runtimes.quiet import quiet

Frame = NDArray[np.uint8]
WIDTH, HEIGHT = 640, 480
_INSTALL = "run: sudo apt install python3-picamera2, or: pip install opencv-python-headless"


@contextmanager
def frames(where: str, *, in_color: bool = False) -> Iterator[Iterator[Frame]]:
    """Open camera `where` and give its frames, uint8 [H, W], for as long as the block runs; RGB [H, W, 3] `in_color`.

    `where` is a number, a device (``/dev/video0``), or a video that OpenCV can open, whose frames end. Raises
    `RuntimeMissingError` when neither picamera2 nor OpenCV is installed, `DeviceError` when there is no such camera,
    and when it gives no frame any more.
    """
    if where.isdecimal() and find_spec("picamera2") is not None:
        with _picamera2(int(where), in_color) as found:
            yield found
    elif find_spec("cv2") is not None:
        with _opencv(where, in_color) as found:
            yield found
    else:
        raise RuntimeMissingError(f"--camera: neither picamera2 nor OpenCV is installed for this Python; {_INSTALL}")


@contextmanager
def _picamera2(number: int, in_color: bool) -> Iterator[Iterator[Frame]]:
    os.environ.setdefault("LIBCAMERA_LOG_LEVELS", "ERROR")
    try:
        from picamera2 import Picamera2

        cameras = Picamera2.global_camera_info()
        if number >= len(cameras):
            raise DeviceError(_absent(str(number), f"picamera2 knows {len(cameras)}"))
        camera = Picamera2(number)
        stored = "BGR888" if in_color else "YUV420"  # by the order in a word of memory: the bytes are R, G, B
        camera.configure(camera.create_video_configuration(main={"format": stored, "size": (WIDTH, HEIGHT)}))
        camera.start()
    except DeviceError:
        raise
    except Exception as error:  # libcamera and its bindings raise almost anything
        raise DeviceError(f"--camera {number}: picamera2 cannot open it ({_one_line(error)}); {_INSTALL}") from None
    try:
        yield _of_picamera2(camera)
    finally:
        camera.stop()
        camera.close()


def _of_picamera2(camera: Any) -> Iterator[Frame]:
    while True:
        planes = camera.capture_array("main")  # RGB; or Y over U and V; rows padded on the right
        yield np.ascontiguousarray(planes[:HEIGHT, :WIDTH])


@contextmanager
def _opencv(where: str, in_color: bool) -> Iterator[Iterator[Frame]]:
    device = f"/dev/video{where}" if where.isdecimal() else where
    is_device = device.startswith("/dev/")
    if is_device and not Path(device).exists():
        raise DeviceError(_absent(where, f"no {device}"))
    try:
        import cv2

        with quiet():
            opened = cv2.VideoCapture(device, cv2.CAP_V4L2 if is_device else cv2.CAP_ANY)
    except Exception as error:  # a broken installation, too
        raise DeviceError(f"--camera {where}: OpenCV cannot open it ({_one_line(error)}); {_INSTALL}") from None
    try:
        if not opened.isOpened():
            raise DeviceError(_absent(where, f"OpenCV cannot open {device}"))
        yield _of_opencv(opened, where if is_device else None, in_color)
    finally:
        opened.release()


def _of_opencv(opened: Any, camera: str | None, in_color: bool) -> Iterator[Frame]:
    """Yield frames until a video ends; a camera has no end."""
    import cv2

    while True:
        has_frame, frame = opened.read()
        if not has_frame and camera is None:
            return
        if not has_frame:
            raise DeviceError(f"--camera {camera}: it gives no frame any more; plug it in again and start again")
        if frame.ndim == 3:
            frame = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB if in_color else cv2.COLOR_BGR2GRAY)
        yield np.ascontiguousarray(frame, np.uint8)


def _absent(where: str, why: str) -> str:
    devices = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "no /dev/video*"
    return f"--camera {where}: no camera there ({why}); this machine has {devices}; plug one in or give another"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
