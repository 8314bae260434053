"""The predictor on the command line, the same for `edgecnn predict` and `predict.pyz`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecnn.device.errors import DeviceError
from edgecnn.device.predictor import PlacedPrediction, Prediction, Predictor
from edgecnn.device.preprocessing.sight import Source
from edgecnn.device.resolution import NOTHING_SAID, Said
from edgecnn.device.stop import Stop

NOTHING = "-"  # in place of a label, where no digit is seen
Warn = Callable[[str], None]


def predict_files(
    images: Sequence[Path],
    *,
    model: Path,
    runtime: str | None,
    threads: int,
    as_json: bool,
    segment: bool = False,
    show: Path | None = None,
    stats: Path | None = None,
    said: Said = NOTHING_SAID,
    warn: Warn = lambda line: None,
) -> Iterator[str]:
    """Yield a line an image: ``digit.png  7  0.998``, or JSON with all probabilities; `segment`: a line a digit.

    A line of what is not to be trusted ends in ``rejected: `` and the reason. Images are predicted one by one, so that
    a bad one stops the rest but loses none before it. `show` is a folder, or a .png for a single image, for a picture
    of what was seen. `stats` is a file of counts to add to; `warn` is called with a line for each that is not as in
    training.
    """
    if show is not None and show.suffix.lower() == ".png" and len(images) > 1:
        raise DeviceError(f"--show: {show} for {len(images)} images; expected a folder; leave .png out")
    with _started(model, runtime=runtime, threads=threads, said=said, stats=stats, warn=warn) as predictor:
        for image in images:
            yield from _lines(predictor, image, as_json=as_json, segment=segment, show=show)


def watch_folder(
    folder: Path,
    *,
    model: Path,
    runtime: str | None,
    threads: int,
    as_json: bool,
    segment: bool,
    show: Path | None,
    stop: Stop,
    stats: Path | None = None,
    said: Said = NOTHING_SAID,
    warn: Warn = lambda line: None,
) -> Iterator[str | DeviceError]:
    """Yield the lines of `predict_files` for what is and arrives in `folder`; a bad file's error stops nothing."""
    from edgecnn.device.watch import watch

    drawn = None if show is None else show.parent if show.suffix.lower() == ".png" else show
    if drawn is not None and drawn.resolve() == folder.resolve():
        raise DeviceError(f"--show: {show} is where --watch looks for pictures; give another folder")
    with _started(model, runtime=runtime, threads=threads, said=said, stats=stats, warn=warn) as predictor:
        read = partial(_lines, predictor, as_json=as_json, segment=segment, show=show)
        for path, line in watch(folder, read, wait=stop.wait):
            is_for_machines = as_json and isinstance(line, DeviceError)
            yield json.dumps({"image": str(path), "error": str(line)}) if is_for_machines else line


def watch_camera(
    camera: str,
    *,
    model: Path,
    runtime: str | None,
    threads: int,
    as_json: bool,
    show: Path | None,
    stop: Stop,
    stats: Path | None = None,
    said: Said = NOTHING_SAID,
    warn: Warn = lambda line: None,
) -> Iterator[str]:
    """Yield a line when the answer to a camera's frames changes, or JSON for every frame, until `stop` is asked for.

    A frame that is not to be trusted is answered by `NOTHING` and the reason. `show` gets the picture of the last line.
    """
    from edgecnn.device.camera import frames

    last = None
    with ExitStack() as stack:
        started = _started(model, runtime=runtime, threads=threads, said=said, stats=stats, warn=warn)
        predictor = stack.enter_context(started)
        found = stack.enter_context(frames(camera, in_color=predictor.shape[2] == 3))
        for number, frame in enumerate(found):
            answer, line = _frame(predictor, number, frame, as_json)
            if as_json or answer != last:
                if show is not None and answer != NOTHING:
                    _draw_steps(predictor, frame, Path("camera"), answer, show)
                yield line
            last = answer
            if stop.wait(0):
                return


def serve_predictions(
    address: str,
    *,
    model: Path,
    runtime: str | None,
    threads: int,
    say: Warn,
    stats: Path | None,
    warn: Warn,
    said: Said = NOTHING_SAID,
) -> int:
    """Answer requests at `address` until told to end; return the exit code. `say` gets the lines to print."""
    from edgecnn.device.server.server import serve

    with _started(model, runtime=runtime, threads=threads, said=said, stats=stats, warn=warn) as predictor:
        return serve(predictor, address, say=say)


def _frame(predictor: Predictor, number: int, frame: NDArray[np.uint8], as_json: bool) -> tuple[str, str]:
    """Return the answer to a frame, and the line that says it."""
    name, prediction = f"frame-{number}", predictor.predict(frame)
    answer = prediction.label if prediction.accepted else NOTHING
    if as_json or prediction.accepted:
        return answer, _line(predictor, name, prediction, as_json)
    return answer, f"{name}\t{NOTHING}\t{prediction.reason}"


@contextmanager
def _started(
    model: Path, *, runtime: str | None, threads: int, said: Said, stats: Path | None, warn: Warn
) -> Iterator[Predictor]:
    """Give a predictor, which counts what it predicts where there is a file for that; it is written at the end."""
    options: dict[str, Any] = {"runtime": runtime, "threads": threads, "said": said, "warn": warn}
    if stats is None:
        yield Predictor(model, **options)
        return
    from edgecnn.device.trust.stats import stats_of

    counted = stats_of(model, stats, warn=warn)
    try:
        yield Predictor(model, watch=counted.add, **options)
    finally:
        counted.save()


def _lines(predictor: Predictor, image: Path, *, as_json: bool, segment: bool, show: Path | None) -> Iterator[str]:
    return (_page if segment else _digit)(predictor, image, as_json, show)


def _digit(predictor: Predictor, image: Path, as_json: bool, show: Path | None) -> Iterator[str]:
    prediction = predictor.predict(image)
    if show is not None:
        refused = f", rejected: {prediction.reason}" if prediction.reason else ""
        answer = f"{prediction.label}, probability {prediction.probability:.3f}{refused}"
        _draw_steps(predictor, image, image, answer, show)
    yield _line(predictor, str(image), prediction, as_json)


def _line(predictor: Predictor, image: str, prediction: Prediction, as_json: bool) -> str:
    """Return what is printed of a prediction."""
    if as_json:
        return json.dumps({"image": image, "runtime": predictor.model.runtime, **asdict(prediction)})
    return f"{_one_field(image)}\t{_told(prediction)}"


def _draw_steps(predictor: Predictor, source: Source, name: Path, answer: str, show: Path) -> None:
    from edgecnn.device.preprocessing import show as drawing

    drawing.save(drawing.contact_sheet(predictor.steps(source), f"{name.name}: {answer}"), drawing.place(show, name))


def _page(predictor: Predictor, image: Path, as_json: bool, show: Path | None) -> Iterator[str]:
    from edgecnn.device.preprocessing.pictures import read_gray
    from edgecnn.device.preprocessing.segment import find_digits

    predictor.check_reads_digits("--segment")
    gray = read_gray(image)
    page = find_digits(gray)
    digits = predictor.read(page)
    if show is not None:
        from edgecnn.device.preprocessing import show as drawing

        drawing.save(drawing.boxed_page(gray, page, [digit.prediction for digit in digits]), drawing.place(show, image))
    if as_json:
        found = [{"row": digit.row, "box": digit.box, **asdict(digit.prediction)} for digit in digits]
        yield json.dumps(
            {"image": str(image), "runtime": predictor.model.runtime, "rows": rows_of_labels(digits), "digits": found}
        )
    else:
        for digit in digits:
            box = "\t".join(map(str, digit.box))
            yield f"{_one_field(str(image))}\t{digit.row}\t{box}\t{_told(digit.prediction)}"


def _told(prediction: Prediction) -> str:
    """Return label and probability as fields of a row, and a third that says why if it is not to be trusted."""
    refused = "" if prediction.accepted else f"\trejected: {prediction.reason}"
    return f"{prediction.label}\t{prediction.probability:.3f}{refused}"


def rows_of_labels(digits: Sequence[PlacedPrediction]) -> list[list[str]]:
    """Return the labels row by row."""
    count = 1 + max((digit.row for digit in digits), default=-1)
    return [[digit.prediction.label for digit in digits if digit.row == row] for row in range(count)]


def _one_field(image: str) -> str:
    """Return a name that may hold a tab or a newline so that a row stays a row."""
    return image.translate({9: "\\t", 10: "\\n", 13: "\\r"})
