"""The predictor on the command line, the same for `edgecnn predict` and `predict.pyz`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from edgecnn.device.predictor import Predictor


def predict_files(
    images: Sequence[Path], *, model: Path, runtime: str | None, threads: int, as_json: bool
) -> Iterator[str]:
    """Yield a line an image: ``digit.png  7  0.998``, or JSON with all probabilities.

    Images are predicted one by one, so that a bad one stops the rest but loses none before it.
    """
    predictor = Predictor(model, runtime=runtime, threads=threads)
    for image in images:
        prediction = predictor.predict(image)
        if as_json:
            yield json.dumps({"image": str(image), "runtime": predictor.model.runtime, **asdict(prediction)})
        else:
            # A name may hold a tab or a newline; a row must stay a row.
            name = str(image).translate({9: "\\t", 10: "\\n", 13: "\\r"})
            yield f"{name}\t{prediction.label}\t{prediction.probability:.3f}"
