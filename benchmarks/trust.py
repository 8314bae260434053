"""What the predictor refuses and what it accepts, against the goals: python -m benchmarks.trust. It needs EDGECNN_DATA.

Thresholds were chosen on MNIST's validation images alone; nothing here was used for them. The photos are for
development only: how many of them are accepted was looked at.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import MODEL, read_csv
from benchmarks.scenes import blank_pages, scenes
from edgecnn import artifact
from edgecnn.data import idx
from edgecnn.device import PlacedPrediction, Prediction, Predictor
from edgecnn.report.table import to_markdown

RESULT = Path(__file__).with_suffix(".json")
SEED, OF_EACH = 20, 40
COVERAGE = 0.9  # of the photos, the surest first
GOALS = {"refused": 0.90, "of digits": 0.01, "top-1": 0.995}


def main() -> int:
    """Predict everything, write trust.json, print a line a row; exit code 1 when a goal is missed."""
    folder = Path(os.environ.get("EDGECNN_DATA", ""))
    if not (folder / "kmnist").is_dir():
        print("benchmarks.trust: no kmnist/ in EDGECNN_DATA; set it to the data's folder", file=sys.stderr)
        return 2
    predictor = Predictor(MODEL)
    refused = [refusals(predictor, source, kind, images) for source, kind, images in without_digits(folder)]
    digits = [selection(source, *read) for source, read in with_digits(predictor, folder)]
    pages = [page(predictor, folder / "photos", line) for line in read_csv(folder / "photos/pages.csv")]
    goals = list(goals_of(refused, digits))
    record = {
        "conditions": {"model": artifact.read_record(MODEL).sha256, "versions": artifact.library_versions()},
        "without_digits": refused,
        "digits": digits,
        "pages": pages,
        "goals": goals,
    }
    artifact.write_atomic(RESULT, json.dumps(record, indent=1) + "\n")
    print(table(record))
    for goal in goals:
        print(f"{'met   ' if goal['met'] else 'missed'} {goal['what']}: {goal['is']:.2%}, {goal['goal']}")
    return int(not all(goal["met"] for goal in goals))


def without_digits(folder: Path) -> Iterable[tuple[str, str, Sequence[NDArray[np.uint8]]]]:
    """Yield source, kind and pictures: characters that are no digits, blank paper, and scenes."""
    yield "KMNIST", "characters", list(kmnist(folder / "kmnist"))
    for kind, pictures in blank_pages(OF_EACH, seed=SEED).items():
        yield "blank pages", kind, pictures
    for kind, pictures in scenes(OF_EACH, seed=SEED).items():
        yield "photos without a digit", kind, pictures


def kmnist(folder: Path) -> NDArray[np.uint8]:
    """Return its 10,000 test images uint8 [10000, 28, 28]."""
    return images_in(folder / "t10k-images-idx3-ubyte.gz")


def images_in(path: Path) -> NDArray[np.uint8]:
    """Return the images uint8 [N, 28, 28] of an idx file."""
    return idx.parse_images(idx.decompress(path), where=str(path))[..., 0]


def refusals(predictor: Predictor, source: str, kind: str, images: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return the row of pictures without a digit: how many were refused, and why."""
    predictions = predictor.predict_batch(list(images))
    reasons: dict[str, int] = {}
    for prediction in predictions:
        if prediction.reason:
            clause = prediction.reason.split(":")[0]
            reasons[clause] = reasons.get(clause, 0) + 1
    refused = sum(not prediction.accepted for prediction in predictions)
    return {"source": source, "kind": kind, "of": len(predictions), "refused": refused, "reasons": reasons}


def with_digits(predictor: Predictor, folder: Path) -> Iterable[tuple[str, tuple[list[Prediction], list[str]]]]:
    """Yield a source and its predictions with the true labels."""
    for name, place, part in (("MNIST, test", "mnist", "t10k-"), ("HWD-1000", "hwd1000", "")):
        images = images_in(folder / place / f"{part}images-idx3-ubyte.gz")
        labels = idx.decompress(folder / place / f"{part}labels-idx1-ubyte.gz")
        truth = idx.parse_labels(labels, where=f"{place} labels", classes=10)
        yield name, (predictor.predict_batch(list(images)), list(map(str, truth)))
    lines = read_csv(folder / "photos/labels.csv")
    for kind, name in (("photo", "photographed sudoku cells"), ("drawn", "drawn digits")):
        chosen = [line for line in lines if line["kind"] == kind]
        for source in sorted({line["source"] for line in chosen}):
            own = [line for line in chosen if line["source"] == source]
            read = predictor.predict_batch([folder / "photos" / line["file"] for line in own])
            yield f"{name}, {source}", (read, [line["label"] for line in own])


def page(predictor: Predictor, folder: Path, line: dict[str, str]) -> dict[str, Any]:
    """Return the row of a page: its digits that were found and read, the other marks found, and what was accepted."""
    marks = predictor.predict_page(folder / line["file"])
    rows: dict[int, list[PlacedPrediction]] = {}
    for mark in marks:
        rows.setdefault(mark.row, []).append(mark)
    own: set[int] = set()
    for wanted in line["text"].split(" / "):
        own |= max((read_in_order(wanted, row) for row in rows.values()), key=len, default=set())
    accepted = {id(mark) for mark in marks if mark.prediction.accepted}
    return {
        "file": line["file"],
        "of": len(line["text"].replace(" / ", "")),
        "right": len(own),
        "right_accepted": len(own & accepted),
        "also_found": len(marks) - len(own),
        "also_accepted": len(accepted - own),
    }


def read_in_order(wanted: str, row: Sequence[PlacedPrediction]) -> set[int]:
    """Return the identities of the marks of a row that read as characters of `wanted`, in the same order."""
    got = "".join(mark.prediction.label for mark in row)
    blocks = SequenceMatcher(None, wanted, got, autojunk=False).get_matching_blocks()
    return {id(row[block.b + i]) for block in blocks for i in range(block.size)}


def selection(source: str, predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, Any]:
    """Return the row of digits: how many were accepted, how many of those are right, and of the surest 90 %."""
    right = [prediction.label == label for prediction, label in zip(predictions, labels, strict=True)]
    accepted = [ok for ok, prediction in zip(right, predictions, strict=True) if prediction.accepted]
    order = sorted(range(len(right)), key=lambda i: (not predictions[i].accepted, -predictions[i].probability))
    surest = [right[i] for i in order[: round(COVERAGE * len(right))]]
    return {
        "source": source,
        "of": len(right),
        "right": sum(right),
        "accepted": len(accepted),
        "right_of_accepted": sum(accepted),
        "surest": len(surest),
        "right_of_surest": sum(surest),
    }


def goals_of(refused: Sequence[dict[str, Any]], digits: Sequence[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the goals with what was reached."""
    for source in dict.fromkeys(row["source"] for row in refused):
        rows = [row for row in refused if row["source"] == source]
        share = sum(row["refused"] for row in rows) / sum(row["of"] for row in rows)
        yield _goal(f"{source} rejected", share, "at least", GOALS["refused"])
    test = next(row for row in digits if row["source"].startswith("MNIST"))
    yield _goal(
        "digits of MNIST's test images rejected", 1 - test["accepted"] / test["of"], "at most", GOALS["of digits"]
    )
    for kind in ("photographed sudoku cells", "drawn digits"):
        rows = [row for row in digits if row["source"].startswith(kind)]
        top1 = sum(row["right_of_surest"] for row in rows) / sum(row["surest"] for row in rows)
        yield _goal(f"{kind}: top-1 at {COVERAGE:.0%} coverage", top1, "at least", GOALS["top-1"])


def _goal(what: str, reached: float, bound: str, limit: float) -> dict[str, Any]:
    met = reached >= limit if bound == "at least" else reached <= limit
    return {"what": what, "is": reached, "goal": f"{bound} {limit:.1%}", "met": met}


def table(record: dict[str, Any]) -> str:
    """Return both tables: what is refused of pictures without a digit, by kind, and what is accepted of digits."""
    refused = [
        (row["source"], row["kind"], f"{row['of']:,}", f"{100 * row['refused'] / row['of']:.1f}")
        for row in record["without_digits"]
    ]
    return "\n".join(
        [to_markdown(("no digit", "kind", "pictures", "rejected %"), refused), _digits(record), _pages(record)]
    )


def summary(record: dict[str, Any]) -> str:
    """Return both tables, the first by source."""
    sums: dict[str, list[int]] = {}
    for row in record["without_digits"]:
        of, refused = sums.get(row["source"], [0, 0])
        sums[row["source"]] = [of + row["of"], refused + row["refused"]]
    rows = [(source, f"{of:,}", f"{100 * refused / of:.1f}") for source, (of, refused) in sums.items()]
    return "\n".join(
        [to_markdown(("no digit", "pictures", "rejected %"), rows), _digits(record), _pages(record)]
    ).rstrip()


def _pages(record: dict[str, Any]) -> str:
    """Return the table of pages: of their digits and of other marks, how many were found and how many accepted."""
    headings = ("page", "digits", "found and read", "accepted of these", "other marks", "accepted of these")
    keys = ("of", "right", "right_accepted", "also_found", "also_accepted")
    return to_markdown(headings, [(row["file"], *(str(row[key]) for key in keys)) for row in record["pages"]])


def _digits(record: dict[str, Any]) -> str:
    headings = ("digits", "pictures", "top-1 %", "accepted %", "of these right %", "right of the surest 90 %, %")
    rows = [
        (
            row["source"],
            f"{row['of']:,}",
            f"{100 * row['right'] / row['of']:.2f}",
            f"{100 * row['accepted'] / row['of']:.1f}",
            f"{100 * row['right_of_accepted'] / row['accepted']:.2f}",
            f"{100 * row['right_of_surest'] / row['surest']:.2f}",
        )
        for row in record["digits"]
    ]
    return to_markdown(headings, rows)


if __name__ == "__main__":
    sys.exit(main())
