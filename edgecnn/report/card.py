"""The model card of a released model, written from its records and measurements alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgecnn.artifact import Record
from edgecnn.report.table import BENCH_HEADINGS, bench_rows, notes, to_markdown

_TEMPLATE = """\
# {name}

An image classifier of {parameters:,} parameters for 28x28 grey images, {classes} classes, made by edgecnn {version}.

| | |
| --- | --- |
| architecture | `{arch}` |
| data | {data} (sha256 of images and labels `{data_sha256}`) |
| split | {validation_share:.0%} of the training images, stratified, for validation; test only for the figures below |
| recipe | `{recipe}`: Adam {learning_rate}, batch {batch_size}, {epochs} epochs at most, patience {patience} |
| kept | epoch {best_epoch} of {trained_epochs}, validation top-1 {validation_top1:.2%} |
| calibration of int8 | {calibration_images} training images, classes in equal share |
| seed | {seed} |
| commit | `{commit}` |
| made on | {cpu}, {system} |
| libraries | {libraries} |

## Make it again

    {command}

The same seed and library versions on the same kind of CPU give the same bytes.

## Figures

Test top-1 over {test_images:,} images with its 95 % Wilson interval; latency of one inference at batch 1 on one thread,
Python call included, on {bench_cpu}: the median of {rounds} rounds of {seconds:g} s, the models taking turns.
From `bench.json` beside this page.

{table}
{notes}

## Input and output

Float models take float32 [1, 28, 28, 1] in [0, 1]; `int8.tflite` takes uint8 pixels (scale 1/255) and returns int8
scores (scale 1/256, zero point -128). White ink on black, the digit in a 20x20 box, its centre of mass in the middle.

## Limits

Trained on {data} alone: digits by other hands, pens and cameras are read less well than the table says, and what is
no digit gets a label all the same. Not for decisions about people.

## Checksums

{checksums}"""


def model_card(
    name: str,
    records: Mapping[str, Record],
    *,
    model: Record,
    baseline: Record,
    bench: dict[str, Any],
    command: str,
    recipe: str,
    validation_fraction: float,
) -> str:
    """Return the card as markdown; `records` are those of all released files, `model` is the Keras parent's.

    `baseline` is the record that tells how the float32 training went (the same as `model` when nothing was compressed).
    """
    training = baseline.settings["training"]
    int8 = next(record for record in records.values() if record.scheme == "int8")
    conditions = bench["conditions"]
    return _TEMPLATE.format(
        name=name,
        parameters=model.parameters,
        classes=len(model.labels),
        version=model.versions["edgecnn"],
        arch=baseline.settings["arch"],
        data=model.data["name"],
        data_sha256=model.data["sha256"],
        validation_share=validation_fraction,
        recipe=recipe,
        **{key: training[key] for key in ("epochs", "learning_rate", "batch_size", "patience")},
        best_epoch=baseline.metrics["best_epoch"] + 1,
        trained_epochs=len(baseline.metrics["history"]),
        validation_top1=baseline.metrics["validation_top1"],
        calibration_images=int8.settings["calibration_images"],
        seed=model.seed,
        commit=model.commit,
        cpu=model.host["cpu"],
        system=model.host["machine"],
        libraries=", ".join(f"{library} {version}" for library, version in model.versions.items()),
        command=command,
        test_images=bench["data"]["test_images"],
        rounds=conditions["latency"]["rounds"],
        seconds=conditions["latency"]["seconds_at_least"],
        bench_cpu=conditions["cpu"],
        table=to_markdown(BENCH_HEADINGS, bench_rows(bench["results"])),
        notes="\n".join(f"- {note}" for note in notes(bench)),
        checksums=to_markdown(("file", "sha256"), _checksums(records)),
    )


def _checksums(records: Mapping[str, Record]) -> Sequence[Sequence[str]]:
    return [(f"`{file}`", f"`{record.sha256}`") for file, record in records.items()]
