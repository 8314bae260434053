"""Draw the pictures of tests/cases and record what Keras says of them: python -m tests.make_cases.

Run it again when models/edge35k is released anew; review the difference like code.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from edgecnn import _tf, artifact
from edgecnn.device.preprocessing import to_mnist
from tests.drawing import STROKES, draw

CASES = Path(__file__).parent / "cases"
MODEL = Path(__file__).parents[1] / "models" / "edge35k" / "model.keras"
TOLERANCE = {"float32": 1e-4, "int8": 0.1}


def main() -> None:
    model = _tf.load_model(MODEL)
    for name, strokes in STROKES.items():
        folder = CASES / name
        folder.mkdir(parents=True, exist_ok=True)
        draw(strokes).save(folder / "input.png", optimize=True)
        pixels = to_mnist(np.asarray(Image.open(folder / "input.png").convert("L")))[None, :, :, None]
        probabilities = _tf.predict(model, pixels)[0]
        case = {
            "label": str(int(probabilities.argmax())),
            "pixels_sha256": artifact.sha256(pixels.tobytes()),
            "probabilities": [round(float(p), 7) for p in probabilities],
            "tolerance": TOLERANCE,
        }
        (folder / "case.json").write_text(json.dumps(case, indent=1) + "\n")
        print(f"{name:<6} {case['label']} {max(probabilities):.4f}")


if __name__ == "__main__":
    main()
