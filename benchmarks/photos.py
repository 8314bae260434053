"""Read handwriting that is not MNIST's, against the goals: python -m benchmarks.photos. It needs EDGECNN_DATA.

The pictures are for development only, and nothing was trained on them. Counts are given for two halves, by whether a
file's place in labels.csv is even or odd: mistakes were studied in the even half and on the pages; the count of the
odd half was seen too when constants were chosen, so it is no test of them.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn import artifact
from edgecnn.device import PlacedPrediction, Predictor

ROOT = Path(__file__).resolve().parents[1]
RESULT = Path(__file__).with_suffix(".json")
MODEL = ROOT / "models/edge35k/int8.tflite"
GOALS = {"photo": 0.97, "drawn": 0.98, "pages": 0.95}
SOURCES = {
    "wichtounet/sudoku_dataset": "B. Wicht and J. Hennebert 2014/2015, CC BY 4.0; cells cut out and rectified",
    "jasonlmfong/Drawing-Recognition": "drawn by mouse or pen; MIT or Apache 2.0, as the three below",
    "ladmepaz/convolucion-mnist-the-debuggers": "drawn, white on black",
    "ladmepaz/convolucion-mnist-visioncore": "drawn, white on black",
    "zhangshi0512/cs5330_project05_mnist_digit_recognition": "drawn, bold; one page",
    "hwd1000": "N. Henning, MIT; 1,000 digits of one hand, 28x28, black on white",
}


def main() -> int:
    """Read all pictures, write photos.json, print a line a row; exit code 1 when a goal is missed."""
    folder = Path(os.environ.get("EDGECNN_DATA", ""))
    if not (folder / "photos/labels.csv").is_file():
        print("benchmarks.photos: no photos/labels.csv in EDGECNN_DATA; set it to the data's folder", file=sys.stderr)
        return 2
    predictor = Predictor(MODEL)
    rows = [*single(predictor, folder / "photos"), hwd1000(predictor, folder / "hwd1000")]
    pages = [page(predictor, folder / "photos", line) for line in read_csv(folder / "photos/pages.csv")]
    goals = [goal(rows, kind) for kind in ("photo", "drawn")] + [goal_of_pages(pages)]
    record = {
        "conditions": {"model": artifact.read_record(MODEL).sha256, "versions": artifact.library_versions()},
        "sources": SOURCES,
        "digits": rows,
        "pages": pages,
        "goals": goals,
    }
    artifact.write_atomic(RESULT, json.dumps(record, indent=1) + "\n")
    for row in rows:
        print(f"{row['kind']:<6} {row['source']:<55} {share(row)}  even {share(row['even'])}  odd {share(row['odd'])}")
    for row in pages:
        print(f"page   {row['file']:<55} {share(row)}  also found: {row['also_found']}")
    for row in goals:
        print(f"goal   {row['what']:<55} {share(row)}  at least {row['goal']:.0%}")
    return int(any(row["right"] < row["goal"] * row["of"] for row in goals))


def single(predictor: Predictor, folder: Path) -> list[dict[str, Any]]:
    """Return a row per source and kind: how many pictures were read right, nothing rejected."""
    lines = read_csv(folder / "labels.csv")
    right = [predictor.predict(folder / line["file"]).label == line["label"] for line in lines]
    kinds = sorted({(line["kind"], line["source"]) for line in lines}, reverse=True)
    return [
        {"kind": kind, "source": source}
        | halves([(i, right[i]) for i, line in enumerate(lines) if (line["kind"], line["source"]) == (kind, source)])
        for kind, source in kinds
    ]


def hwd1000(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """Return the row of HWD-1000, given to the predictor as it is: black on white."""
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{part}-ubyte.gz").read_bytes()), np.uint8, offset=offset)
        for part, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    right = [
        predictor.predict(image).label == str(label)
        for image, label in zip(images.reshape(-1, 28, 28), labels, strict=True)
    ]
    return {"kind": "hwd", "source": "hwd1000"} | halves(list(enumerate(right)))


def page(predictor: Predictor, folder: Path, line: dict[str, str]) -> dict[str, Any]:
    """Return the row of a page: of each line of its text, the digits that one row found holds in the same order."""
    found = rows_of(predictor.predict_page(folder / line["file"]))
    text = line["text"].split(" / ")
    right = sum(max((in_order(wanted, row) for row in found), default=0) for wanted in text)
    count = sum(map(len, text))
    return {"file": line["file"], "source": line["source"], "right": right, "of": count} | {
        "also_found": sum(map(len, found)) - right,
        "rows": found,
    }


def rows_of(digits: list[PlacedPrediction]) -> list[str]:
    """Return the labels of each row of a page as one string."""
    rows: dict[int, str] = {}
    for digit in digits:
        rows[digit.row] = rows.get(digit.row, "") + digit.prediction.label
    return list(rows.values())


def in_order(wanted: str, got: str) -> int:
    """Return how many characters both have in the same order."""
    return sum(block.size for block in SequenceMatcher(None, wanted, got, autojunk=False).get_matching_blocks())


def halves(right: list[tuple[int, bool]]) -> dict[str, Any]:
    """Return counts over all pictures and over those at even and at odd places."""
    parts = {"even": [ok for i, ok in right if i % 2 == 0], "odd": [ok for i, ok in right if i % 2]}
    counts = {name: {"right": sum(part), "of": len(part)} for name, part in parts.items()}
    return {"right": sum(ok for _, ok in right), "of": len(right), **counts}


def goal(rows: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the sum over all sources of a kind beside its goal."""
    chosen = [row for row in rows if row["kind"] == kind]
    what = {"photo": "photographed sudoku cells", "drawn": "drawn digits"}[kind]
    return {"what": what, "goal": GOALS[kind]} | {key: sum(row[key] for row in chosen) for key in ("right", "of")}


def goal_of_pages(pages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the sum over all pages beside its goal."""
    sums = {key: sum(row[key] for row in pages) for key in ("right", "of")}
    return {"what": "digits of pages found and read", "goal": GOALS["pages"]} | sums


def share(row: dict[str, Any]) -> str:
    """Return ``105/109 96.3 %``."""
    return f"{row['right']}/{row['of']} {100 * row['right'] / row['of']:.1f} %"


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table with a header."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    sys.exit(main())
