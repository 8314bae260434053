"""The architectures of the zoo trained on MNIST as their pages did, or better: python -m benchmarks.zoo [NAME ...].

Each is a run under --runs, trained on the training images less the validation images, its best epoch chosen on these;
the test images are read once, at the end. One row each is recorded in zoo.json as soon as it is done: killed and
started again it goes on where it was. Without names those are trained that have a page, the cheapest first, up to
--most multiply-accumulates an inference; --epochs trains for fewer than the page did, and the row says so.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from edgecnn import artifact, zoo
from edgecnn.config import RunConfig, configure
from edgecnn.config.dicts import stated
from edgecnn.config.names import DATA_SETS
from edgecnn.config.recipes import IMPROVED, PAGE
from edgecnn.pipeline import compared
from edgecnn.pipeline.architectures import reached

RESULT = Path(__file__).with_suffix(".json")
# What is not made for ten classes of 28x28 grey pixels.
DATA = {"classes100": "two-digits"}


def main(arguments: list[str]) -> int:
    """Train what is not recorded yet, record it; exit code 1 when an architecture is below what its page printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--epochs", type=int, help="instead of the page's")
    parser.add_argument("--recipe", choices=(PAGE, IMPROVED), default=PAGE)
    parser.add_argument("--most", type=int, default=4_000_000, help="multiply-accumulates an inference, without names")
    parser.add_argument("--runs", type=Path, default=Path("runs/zoo"))
    asked = parser.parse_args(arguments)
    below = []
    for name in asked.names or _cheapest_first(asked.most):
        data = DATA.get(name, "mnist")
        if data not in DATA_SETS:
            print(f"{name}: left out, there is no data set {data}")
            continue
        config = configure(data=data, arch=name, recipe=asked.recipe, epochs=asked.epochs, pages=zoo.pages_of(name))
        row = _recorded(config) or _record(config, asked.runs)
        print(_said(row), flush=True)
        if row["error"] or row["reached"] is False:
            below.append(name)
    return int(bool(below))


def _cheapest_first(most: int) -> list[str]:
    work = {
        name: one.macs * one.training.epochs for name, one in zoo.PAGES.items() if one.training and one.macs <= most
    }
    return sorted(work, key=lambda name: work[name])


def _rows() -> list[dict[str, Any]]:
    return list(json.loads(RESULT.read_text())["rows"]) if RESULT.exists() else []


def _recorded(config: RunConfig) -> dict[str, Any] | None:
    """Return the row that was recorded for the same training, if there is one."""
    asked = (config.arch, config.data, config.seed, json.loads(json.dumps(stated(config.training))))
    rows = _rows()
    return next((row for row in rows if (row["arch"], row["data"], row["seed"], row["training"]) == asked), None)


def _record(config: RunConfig, runs: Path) -> dict[str, Any]:
    """Train `config` and put its row into zoo.json, in the place of another one of the architecture by this recipe."""
    row = compared(config, runs / f"{config.arch}-{config.recipe}-{config.training.epochs}")
    history = row.pop("history", None)
    row.pop("run")
    row |= {"data": config.data, "training": stated(config.training), "conditions": _conditions()}
    row["reached"] = None if row["error"] else reached(config.arch, row)
    row["validation_loss"] = history and min(epoch["val_loss"] for epoch in history)
    key = (config.arch, config.recipe)
    others = [other for other in _rows() if (other["arch"], other["recipe"]) != key]
    order = list(zoo.ARCHITECTURES)
    rows = sorted([*others, row], key=lambda one: (order.index(one["arch"]), one["recipe"]))
    artifact.write_atomic(RESULT, json.dumps({"rows": rows}, indent=1) + "\n")
    return row


def _conditions() -> dict[str, Any]:
    return {"host": artifact.host(), "versions": artifact.library_versions(), "commit": artifact.source_commit()}


def _said(row: dict[str, Any]) -> str:
    if row["error"]:
        return f"{row['arch']}: {row['error']}"
    known = {True: "reached", False: "below what its page printed", None: "nothing printed to compare with"}
    return f"{row['arch']}: {row['top1']:.2%} after {row['epochs']} epochs, {known[row['reached']]}; {row['verdict']}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
