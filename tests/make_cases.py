"""Draw the pictures of tests/cases and record what Keras says of them: python -m tests.make_cases.

case.json holds the picture's label and the answers of edge35k, others.json those of the other released Keras models.
Run it again when a model is released; review the difference like code.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn import artifact
from edgecnn.device.preprocessing.mnist import to_mnist
from tests.contracts import taking
from tests.drawing import STROKES, draw

CASES = Path(__file__).parent / "cases"
FIRST = ("edge35k", "model.keras")
TOLERANCE = {"float32": 1e-4, "int8": 0.1}


def keras_models(folder: Path) -> list[Path]:
    """Return the Keras models of a released one: its own and, where there is one, that trained for int8."""
    return [path for path in (folder / "model.keras", folder / artifact.RELEASED_QAT) if path.exists()]


def reference(case: Path, model: str, keras: str) -> list[float] | None:
    """Return the probabilities that a released model's Keras file gave for a case, or None if it was not asked."""
    if (model, keras) == FIRST:
        return json.loads((case / "case.json").read_text())["probabilities"]
    others = case / "others.json"
    return json.loads(others.read_text()).get(model, {}).get(keras) if others.exists() else None


def main() -> None:
    from edgecnn import _tf

    found = {
        name: {path.name: _tf.load_model(path) for path in keras_models(folder)}
        for name, folder in artifact.released_models().items()
    }
    for name, strokes in STROKES.items():
        folder = CASES / name
        folder.mkdir(parents=True, exist_ok=True)
        draw(strokes).save(folder / "input.png", optimize=True)
        pixels = to_mnist(np.asarray(Image.open(folder / "input.png").convert("L")))[None, :, :, None]
        answers = {
            model: {
                file: [round(float(p), 7) for p in _tf.predict(keras, pixels, taking(pixels))[0]]
                for file, keras in files.items()
            }
            for model, files in found.items()
        }
        first = answers[FIRST[0]].pop(FIRST[1])
        case = {
            "label": str(int(np.argmax(first))),
            "pixels_sha256": artifact.sha256(pixels.tobytes()),
            "probabilities": first,
            "tolerance": TOLERANCE,
        }
        (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
        if others := {model: files for model, files in answers.items() if files}:
            (folder / "others.json").write_text(json.dumps(others, indent=1) + "\n")
        print(f"{name:<6} {case['label']} {max(first):.4f}")


if __name__ == "__main__":
    main()
