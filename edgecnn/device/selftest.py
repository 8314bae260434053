"""``predict.pyz --self-test``: is the bundle whole, and does this board compute what the workstation computed?

The picture of a bundle, `selftest.png`, is brought into the model's size and compared with `selftest.raw`, what it
became on the workstation; the scores of those pixels, and of their turned and mirrored copies, with those in
`selftest.json`. The bundle of a model that takes no pictures has arrays of its own input instead, `selftest.npy`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn.device.digest import sha256
from edgecnn.device.errors import DeviceError, DifferenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.device.predictor import Predictor

SUMS, IMAGE, PIXELS, EXPECTED = "SHA256SUMS", "selftest.png", "selftest.raw", "selftest.json"
INPUTS = "selftest.npy"  # of a model that takes no pictures
PIXEL_TOLERANCE = 2  # levels of 255: one rounding in each of two steps
_LINE = re.compile(rb"([0-9a-f]{64})  ([\w.-]+)")  # as sha256sum writes them; no folders


def self_test(folder: Path, *, runtime: str | None = None, threads: int = 1) -> Iterator[str]:
    """Yield a line for each thing that is as it should be in the bundle `folder`, and a verdict.

    Raises `DeviceError`, naming the file, for one that is missing or was changed, and `DifferenceError`, saying by how
    much, when pixels or scores are not those of the workstation.
    """
    count = check_sums(folder)
    yield f"{count} files are as {SUMS} says"
    # Heavy imports wait until the files are known to be whole.
    from edgecnn.device.predictor import Predictor

    expected = _expected(folder)
    predictor = Predictor(folder / expected["model"], runtime=runtime, threads=threads)
    if predictor.contract.is_picture:
        yield _check_pixels(folder, predictor)
        given = views(_pixels(folder, predictor))
    else:
        given = _inputs(folder)
    yield _check_scores(folder, predictor, expected, given)
    yield "computes what the workstation computed"


def check_sums(folder: Path) -> int:
    """Hash every file that `SHA256SUMS` names; return how many; raises `DeviceError` naming the first that differs."""
    try:
        content = (folder / SUMS).read_bytes()
    except OSError as error:
        raise DeviceError(
            f"{folder / SUMS}: cannot read ({error.strerror}); expected a bundle; make one: "
            f"edgecnn export --format bundle"
        ) from None
    count = 0
    for name, expected in sums_of(content, where=folder / SUMS):
        _check_sum(folder / name, expected)
        count += 1
    return count


def sums_of(content: bytes, *, where: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the sha256 of each line of a `SHA256SUMS`; raises `DeviceError` at what was damaged in it."""
    *lines, rest = content.split(b"\n")
    if rest or not lines:
        raise DeviceError(f"{where}: it does not end in a line break; it was damaged: copy the bundle again")
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise DeviceError(f"{where}: line {number} is no checksum; it was damaged: copy the bundle again")
        yield match[2].decode(), match[1].decode()


def _check_sum(path: Path, expected: str) -> None:
    try:
        got = sha256(path.read_bytes())
    except OSError as error:
        raise DeviceError(
            f"{path}: {SUMS} names it, and it cannot be read ({error.strerror}); copy the bundle again"
        ) from None
    if got != expected:
        raise DeviceError(
            f"{path}: sha256 is {got[:12]}…, {SUMS} says {expected[:12]}…; one of the two was changed or damaged: "
            f"copy the bundle again"
        )


def views(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image uint8 [H, W] or [H, W, 3] in its turned and mirrored copies, [N, H, W, C], itself first.

    A square has eight, another image four. A network is sure of a digit that stands as it should, and rounding hardly
    shows there; of the copies it is not. Of a color image each channel is another copy, for the picture may be gray.
    """
    import numpy as np

    quarters = (0, 1, 2, 3) if pixels.shape[0] == pixels.shape[1] else (0, 2)
    copies = np.stack([np.rot90(side, turns) for side in (pixels, pixels[:, ::-1]) for turns in quarters])
    if copies.ndim == 3:
        return copies[..., None]
    return np.stack([np.roll(copies[..., channel], -channel, axis=0) for channel in range(copies.shape[3])], axis=-1)


def _expected(folder: Path) -> dict[str, Any]:
    """Return what `selftest.json` says; a bundle that is whole but holds something else was not made by export."""
    import numpy as np

    try:
        values = json.loads((folder / EXPECTED).read_text())
        texts = {name: str(values[name]) for name in ("model", "runtime")}
        scores = np.asarray(values["scores"], np.float32)
        return {**texts, "tolerance": float(values["tolerance"]), "scores": scores}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeviceError(
            f"{folder / EXPECTED}: no expected scores there ({error!r:.80}); export the bundle again"
        ) from None


def _check_pixels(folder: Path, predictor: Predictor) -> str:
    import numpy as np

    got = predictor.see(folder / IMAGE).astype(int)
    difference = int(np.abs(got - _pixels(folder, predictor)).max())
    size = "x".join(map(str, got.shape))
    if difference > PIXEL_TOLERANCE:
        raise DifferenceError(
            f"{folder / IMAGE}: its {size} pixels differ by up to {difference} of 255 from the workstation's, "
            f"tolerance {PIXEL_TOLERANCE}; Pillow or numpy computes something else here: install requirements.txt"
        )
    return f"{IMAGE}: {size} pixels, largest difference {difference} of 255, tolerance {PIXEL_TOLERANCE}"


def _check_scores(folder: Path, predictor: Predictor, expected: dict[str, Any], given: NDArray[Any]) -> str:
    import numpy as np

    got = predictor.probabilities(given)
    wanted = expected["scores"]
    if wanted.shape != got.shape:
        raise DeviceError(
            f"{folder / EXPECTED}: scores {list(wanted.shape)}; expected {list(got.shape)}, an image a row; "
            f"export the bundle again"
        )
    differences = np.abs(got - wanted).max(axis=1)
    worst, tolerance = int(differences.argmax()), expected["tolerance"]
    said = f"largest difference of a score {differences[worst]:.2g}, tolerance {tolerance:g}"
    where = f"{expected['model']} in {predictor.model.runtime}"
    if not differences[worst] <= tolerance:
        labels = [predictor.labels[int(scores[worst].argmax())] for scores in (got, wanted)]
        raise DifferenceError(
            f"{where}: {said}; image {worst + 1} of {len(got)} reads {labels[0]}, on the workstation, in "
            f"{expected['runtime']}, {labels[1]}; "
            f"do not use it on this board: try another --runtime, or the versions of requirements.txt"
        )
    return f"{where}: {len(got)} images, {said}"


def _inputs(folder: Path) -> NDArray[Any]:
    from edgecnn.device.predictor import read_array

    return read_array(folder / INPUTS)


def _pixels(folder: Path, predictor: Predictor) -> NDArray[np.uint8]:
    from edgecnn.device.preprocessing.sight import pixels_of

    return pixels_of((folder / PIXELS).read_bytes(), predictor.shape, where=f"{folder / PIXELS}")
