"""The model card of a released model, written from its records and measurements alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecnn.artifact import Record
from edgecnn.device.contract import Contract
from edgecnn.report.steps import STEP_HEADINGS, step_rows
from edgecnn.report.table import BENCH_HEADINGS, SEED_HEADINGS, bench_rows, is_sparse, notes, seed_rows, to_markdown

_TEMPLATE = """\
# {name}

An image classifier of {parameters} for {size} {color} images, {classes} classes, made by edgecnn {version}.

{facts}
## How it was made

{steps}
## Make it again

{commands}

The same seed, library versions and number of threads on the same kind of CPU give the same bytes; `make models` trains
on one thread each (`TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1`).{unsaid}

## Figures

Test top-1 over {test_images:,} images with its 95 % Wilson interval; latency of one inference at batch 1 on one thread,
Python call included, on {bench_cpu}: the median of {rounds} rounds of {seconds:g} s, the models taking turns.
From `bench.json` beside this page.

{table}
{notes}
{seeds}
## Input and output

{inputs}
{expected}

## Limits

Trained on {data} alone: {limits}. Not for decisions about people.

## Files

{files}"""

_OF_DIGITS = {
    "expected": "White ink on black, the digit in a 20x20 box, its centre of mass in the middle.",
    "limits": "digits by other hands, pens and cameras are read less well than the table says, and what is\n"
    "no digit gets a label all the same",
}
_OF_IMAGES = {
    "expected": "The whole picture, upright, stretched to that size, what is transparent on white.",
    "limits": "pictures of other places and cameras are read less well than the table says, and what is of\n"
    "no class gets a label all the same",
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a released model was made: the records of its steps, teachers first, and the commands that do it again.

    `unsaid` are the settings that no command names, one phrase each.
    """

    recipe: str  # of the run's training
    of_its_run: str  # the run's recipe that is released: baseline, pruned80-qat, ...
    steps: Sequence[Record]
    commands: Sequence[str]
    unsaid: Sequence[str] = ()


def model_card(
    name: str,
    records: Mapping[str, Record],
    *,
    made: Made,
    bench: dict[str, Any],
    digits: bool,
    seeds: dict[str, Any] | None = None,
) -> str:
    """Return the card as markdown; `records` are those of all released files by name, as they lie in the folder.

    `bench` holds the measurements of these files, `digits` says whether the images are as MNIST has them, `seeds`
    holds figures of the same recipe trained with several seeds.
    """
    model, conditions = records["model.keras"], bench["conditions"]
    height, width, channels = model.contract.shape
    return _TEMPLATE.format(
        name=name,
        parameters=_parameters(model),
        size=f"{height}x{width}",
        color="grey" if channels == 1 else "color",
        **(_OF_DIGITS if digits else _OF_IMAGES),
        classes=len(model.labels),
        version=model.versions["edgecnn"],
        data=model.data["name"],
        facts=to_markdown(("", ""), list(_facts(records, made, bench))),
        steps=to_markdown(STEP_HEADINGS, step_rows(made.steps)),
        commands="\n".join(f"    {command}" for command in made.commands),
        unsaid="".join(
            f"\nIn the run's config.toml, other than its recipe has it: {phrase}." for phrase in made.unsaid
        ),
        test_images=bench["data"]["test_images"],
        rounds=conditions["latency"]["rounds"],
        seconds=conditions["latency"]["seconds_at_least"],
        bench_cpu=conditions["cpu"],
        table=to_markdown(BENCH_HEADINGS, bench_rows(bench["results"])),
        notes="\n".join(f"- {note}" for note in (*notes(bench), *_baseline_elsewhere(records, bench))),
        seeds="" if seeds is None else _seeds(seeds),
        inputs="\n".join(_inputs(records)),
        files=to_markdown(("file", "made from", "validation top-1 %", "lost, pp", "sha256"), _files(records)),
    )


def _parameters(model: Record) -> str:
    return f"{model.parameters:,} parameters" + (
        f", {model.nonzero_parameters:,} not zero," if is_sparse(model.parameters, model.nonzero_parameters) else ""
    )


def _facts(records: Mapping[str, Record], made: Made, bench: dict[str, Any]) -> Iterator[tuple[str, str]]:
    model = records["model.keras"]
    trained = next(record for record in made.steps if record.recipe == "baseline")
    yield "architecture", f"`{trained.settings['arch']}`, {trained.parameters:,} parameters"
    if model.parameters != trained.parameters:
        yield "made smaller", f"{model.parameters:,} parameters, by structured pruning"
    if is_sparse(model.parameters, model.nonzero_parameters):
        share = 1 - model.nonzero_parameters / model.parameters
        yield "sparsity", f"{share:.1%} of the parameters are zero; {model.nonzero_parameters:,} are not"
    sizes = {row["artifact"]: row.get("sparse_bytes") for row in bench["results"]}
    for file, sparse_bytes in sizes.items():
        if sparse_bytes is not None:
            nonzero = records[file].nonzero_parameters
            yield f"sparse_bytes of `{file}`", f"{sparse_bytes:,}; {nonzero:,} of its parameters are not zero"
    yield "data", f"{model.data['name']} (sha256 of images and labels `{model.data['sha256']}`)"
    validation = model.data["validation_fraction"]
    yield (
        "split",
        f"{validation:.0%} of the training images, stratified, for validation; test only for the figures below",
    )
    yield "recipe", f"`{made.recipe}`, of its run `{made.of_its_run}`"
    yield from _quantization(records)
    yield "seed", f"{model.seed}"
    commits = dict.fromkeys(record.commit for record in (*made.steps, *records.values()))
    yield "commit", ", ".join(f"`{commit}`" for commit in commits)
    yield "made on", f"{model.host['cpu']}, {model.host['machine']}"
    yield "libraries", ", ".join(f"{library} {version}" for library, version in model.versions.items())


def _quantization(records: Mapping[str, Record]) -> Iterator[tuple[str, str]]:
    """Yield where the int8 ranges of each file come from, and which weights share a scale."""
    for file, record in records.items():
        if record.scheme != "int8":
            continue
        learned = file.endswith(".tflite") and "model.keras" not in record.parents
        images = f"set by {record.settings['calibration_images']} training images, classes in equal share"
        yield f"ranges of `{file}`", "those that training for int8 arrived at" if learned else images
        if record.settings.get("per_tensor"):
            yield f"scales of `{file}`", "one a kernel (`--per-tensor`), instead of one a filter"


def _inputs(records: Mapping[str, Record]) -> Iterator[str]:
    """Yield a line per kind of input: which files take it."""
    kinds: dict[str, list[str]] = {}
    for file, record in records.items():
        if record.stage == "export":
            taken = record.contract
            shape = ", ".join(map(str, (1, *taken.tensor_shape)))
            low, high = (0, 255) if taken.input.dtype == "uint8" and taken.is_unit else _ends(taken)
            kinds.setdefault(f"{taken.input.dtype} [{shape}], {low:g} to {high:g}", []).append(f"`{file}`")
    for kind, files in kinds.items():
        integer = kind.startswith("uint8")
        scores = "int8 scores (scale 1/256, zero point -128)" if integer else "float32 probabilities"
        yield f"{', '.join(files)}: {kind}, to {scores}."


def _ends(contract: Contract) -> tuple[float, float]:
    """Return what pixels of 0 and 255 become, over all channels."""
    table = contract.table()
    return float(table[0].min()), float(table[-1].max())


def _baseline_elsewhere(records: Mapping[str, Record], bench: dict[str, Any]) -> Iterator[str]:
    """Yield what the baseline of the figures is where it does not lie in the folder."""
    if bench["baseline"] not in records:
        yield f"the baseline, {bench['baseline']}, is that of the run and not released here"


def _seeds(recorded: dict[str, Any]) -> str:
    return (
        f"\n## Several seeds\n\nThe recipe `{recorded['recipe']}` trained with {len(recorded['rows'])} seeds, over "
        f"{recorded['images']:,} test images.\n\n{to_markdown(SEED_HEADINGS, seed_rows(recorded))}"
    )


def _files(records: Mapping[str, Record]) -> Sequence[Sequence[str]]:
    return [
        (
            f"`{file}`",
            ", ".join(f"`{parent}`" for parent in record.parents) or "-",
            f"{record.metrics['validation_top1'] * 100:.2f}",
            f"{record.metrics['drop_pp']:.2f}" if "drop_pp" in record.metrics else "-",
            f"`{record.sha256}`",
        )
        for file, record in records.items()
    ]
