#!/usr/bin/env python3
"""The on-device inference script: copy it to the board with predict.pyz and one model, read it, change it.

    edgecnn export edge35k --format bundle         # this script, its model, and predict.pyz, the code below the surface
    scp -r export/edge35k-int8-tflite pi@raspberrypi:board
    ssh pi@raspberrypi python3 board/predict.py photo.png

Where it lies, in a checkout or in an installed edgecnn, it takes the released model: python deploy/predict.py photo.png

The board needs Python 3.11, numpy, Pillow and one runtime: pip install -r requirements.txt
"""

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = HERE / "predict.pyz"  # a zip file on the path is a package folder to Python
MODEL = HERE / "int8.tflite"
if not CODE.exists() and not MODEL.exists():  # not copied yet: what both are made of lies above
    MODEL = HERE.parent / "models" / "edge35k" / "int8.tflite"
    if (HERE.parent / "edgecnn").is_dir():  # a checkout; what is installed Python finds itself
        CODE = HERE.parent
sys.path.insert(0, str(CODE))


def main(images: list[str]) -> int:
    """Print one line per image: its name, the class, the probability and how long it took."""
    if not images:
        print(f"usage: {Path(__file__).name} IMAGE...", file=sys.stderr)
        return 2
    try:
        from edgecnn.device import DeviceError, Predictor

        predictor = Predictor(MODEL)
        for image in images:
            started = time.perf_counter()
            prediction = predictor.predict(image)
            took_ms = (time.perf_counter() - started) * 1000
            doubt = "" if prediction.accepted else f"\trejected: {prediction.reason}"
            print(f"{image}\t{prediction.label}\t{prediction.probability:.3f}\t{took_ms:.1f} ms{doubt}")
    except ModuleNotFoundError as error:
        needs = "predict.pyz beside this script (edgecnn export --format pyz), numpy, pillow and ai-edge-litert"
        print(f"error: {error.name} is not installed; needs {needs}", file=sys.stderr)
        return 2
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
