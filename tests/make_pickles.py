"""Write tests/pickles with the pandas that is installed (it is no dependency): python tests/make_pickles.py."""

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path(__file__).with_name("pickles")
PIXELS = np.arange(40, dtype=np.uint8).reshape(10, 4)
LABELS = np.arange(10) % 2


def main() -> None:
    columns = pd.DataFrame(PIXELS, columns=[f"pixel{i}" for i in range(4)])
    columns.insert(0, "target", LABELS)
    cells = pd.DataFrame({"image": [row.reshape(2, 2) for row in PIXELS], "label": [f"class {i}" for i in LABELS]})
    categories = columns.astype({"target": "category"})
    frames = {"columns": columns, "cells": cells, "categories": categories}
    FOLDER.mkdir(exist_ok=True)
    for name, frame in frames.items():
        frame.to_pickle(FOLDER / f"{name}-pandas{pd.__version__}.pkl")
    pd.to_pickle(
        {"images": PIXELS, "labels": pd.Series(LABELS)}, FOLDER / f"dict-pandas{pd.__version__}.pkl", protocol=2
    )


if __name__ == "__main__":
    main()
