"""Draw the pictures of tests/cases and record what Keras says of them: python -m tests.make_cases.

Run it again when models/edge35k is released anew; review the difference like code.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from edgecnn import _tf, artifact
from edgecnn.device.preprocessing import to_mnist

CASES = Path(__file__).parent / "cases"
MODEL = Path(__file__).parents[1] / "models" / "edge35k" / "model.keras"
TOLERANCE = {"float32": 1e-4, "int8": 0.1}
# Pen strokes in a square of 100: one list of points each.
STROKES = {
    "zero": [[(50, 12), (30, 24), (24, 50), (30, 76), (50, 88), (70, 76), (76, 50), (70, 24), (50, 12)]],
    "one": [[(44, 22), (54, 12), (52, 88)]],
    "two": [[(28, 28), (40, 14), (62, 16), (70, 32), (58, 54), (26, 86), (76, 84)]],
    "four": [[(34, 14), (26, 54), (74, 52)], [(62, 14), (60, 90)]],
    "seven": [[(24, 16), (76, 14), (58, 50), (48, 90)]],
}


def draw(strokes: list[list[tuple[int, int]]]) -> Image.Image:
    """Return dark pen on light paper, a little blurred."""
    paper = Image.new("L", (140, 140), 235)
    pen = ImageDraw.Draw(paper)
    for stroke in strokes:
        points = [(x + 20, y + 20) for x, y in stroke]
        pen.line(points, fill=30, width=9, joint="curve")
        for x, y in points:
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=30)
    return paper.filter(ImageFilter.GaussianBlur(1))


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
