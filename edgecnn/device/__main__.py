"""``python3 predict.pyz --model int8.tflite digit.png``, or ``python -m edgecnn.device`` in an installed package."""

import sys

from edgecnn.device.command_line import main, model_beside

if __name__ == "__main__":
    sys.exit(main(find_model=model_beside))
