"""Gather a complete run's model of one recipe into a folder that travels: artifacts, records, figures, model card."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from shlex import quote
from typing import Any

from edgecnn import artifact, zoo
from edgecnn.artifact import RELEASED_QAT, Record, Run
from edgecnn.config import RunConfig, configure
from edgecnn.config.dicts import differences
from edgecnn.config.names import arch_name, data_name
from edgecnn.config.settings import Exporting
from edgecnn.device.contract import DIGIT
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.pipeline.compressing import pruned_name
from edgecnn.pipeline.workspace import read_config
from edgecnn.report.card import Made, model_card

FILES = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")


@dataclass(frozen=True)
class Piece:
    """A file to release: where it lies in the run, its name in the folder, and there its parent's."""

    source: Path
    name: str
    parent: str | None


def release(opened: Run, *, name: str, recipe: str, out: Path, seeds: Path | None = None) -> Path:
    """Copy a complete run's model of one recipe, its exports and records into ``out/name`` with a model card.

    Of a recipe that was trained for int8, the float files come from its float parent, and both Keras models are kept.
    `seeds` is a recording of the same recipe trained with several seeds, for the card. Raises `ArtifactError` when the
    run is not complete or an artifact is not what its record says, `ConfigError` for seeds of another recipe.
    """
    config, folder = read_config(opened), out / name
    steps = list(lineage(opened.model(recipe)).values())
    pieces = _pieces(opened, recipe, steps)
    recorded = {piece.name: artifact.checked(piece.source) for piece in pieces}
    records = {piece.name: _moved(piece, recorded) for piece in pieces}
    measured = _measured(opened, pieces, records)
    made = Made(
        recipe=config.recipe,
        of_its_run=recipe,
        steps=steps,
        commands=[*_commands(config, steps, pieces, recorded, run=f"runs/{name}"), _command_to_release(name, recipe)],
        unsaid=differences(_plain(config), config),
    )
    several = None if seeds is None else _read_seeds(seeds, config)
    digits = records["model.keras"].contract.picture == DIGIT
    card = model_card(name, records, made=made, bench=measured, digits=digits, seeds=several)
    for name_ in {RELEASED_QAT, *FILES} - set(records):  # of an earlier release of another recipe
        for stale in (artifact.record_path(folder / name_), folder / name_):
            stale.unlink(missing_ok=True)
    for piece in pieces:
        artifact.keep(folder / piece.name, artifact.read_bytes(piece.source), records[piece.name])
    artifact.write_atomic(folder / "bench.json", json.dumps(measured, indent=1) + "\n")
    artifact.write_atomic(folder / "MODEL_CARD.md", card)
    return folder


def lineage(model: Path) -> dict[Path, Record]:
    """Return the Keras models that led to `model`, with their records: teachers, the baseline, and so on to itself.

    Raises `ArtifactError` when one of them is not what its record says.
    """
    record = artifact.checked(model)
    earlier: dict[Path, Record] = {}
    for parent in record.parents:
        earlier |= lineage((model.parent / parent).resolve())
    return earlier | {model.resolve(): record}


def command_of(config: RunConfig, command: str = "run") -> str:
    """Return the command that makes a run of `config`: every setting that is not its recipe's own."""
    plain = configure(data=config.data, arch=config.arch, recipe=config.recipe, pages=zoo.pages_of(config.arch))
    settings = {
        "--resize": (config.resize, None),
        "--epochs": (config.training.epochs, plain.training.epochs),
        "--sparsity": (config.pruning.final_sparsity, plain.pruning.final_sparsity),
        "--calibration-images": (config.exporting.calibration_images, plain.exporting.calibration_images),
        "--calibration": (config.exporting.calibration, plain.exporting.calibration),
        "--max-drop": (config.exporting.max_drop_pp, plain.exporting.max_drop_pp),
    }
    changed = [f"{flag} {value}" for flag, (value, default) in settings.items() if value != default]
    changed += ["--allow-chance"] if config.exporting.allow_chance else []
    # Files and folders by name alone: where they lay on one machine helps on no other.
    named = {"--data": data_name(config.data), "--arch": arch_name(config.arch), "--recipe": config.recipe}
    flags = [f"{flag} {quote(value)}" for flag, value in named.items()]
    return " ".join([f"edgecnn {command}", *flags, f"--seed {config.seed}", *changed])


def _plain(config: RunConfig) -> RunConfig:
    """Return the configuration that `command_of` asks for."""
    return configure(
        data=config.data,
        arch=config.arch,
        recipe=config.recipe,
        seed=config.seed,
        epochs=config.training.epochs,
        sparsity=config.pruning.final_sparsity,
        calibration_images=config.exporting.calibration_images,
        calibration=config.exporting.calibration,
        allow_chance=config.exporting.allow_chance,
        max_drop_pp=config.exporting.max_drop_pp,
        resize=config.resize,
        pages=zoo.pages_of(config.arch),
        arch_sha256=config.arch_sha256,
    )


def _pieces(opened: Run, recipe: str, steps: Sequence[Record]) -> list[Piece]:
    """Return the files to release, Keras models first."""
    for_int8 = "qat" in steps[-1].settings
    float_recipe = _students(steps)[-2].recipe if for_int8 else recipe
    models = [Piece(opened.model(float_recipe), "model.keras", None)]
    models += [Piece(opened.model(recipe), RELEASED_QAT, "model.keras")] if for_int8 else []
    parents = {"float32": models[0], "int8": models[-1]}
    made_of = {"float32": float_recipe, "int8": recipe}
    schemes = {file: file.split(".")[0] for file in FILES}
    return models + [
        Piece(opened.exported(made_of[scheme], file), file, parents[scheme].name) for file, scheme in schemes.items()
    ]


def _students(steps: Sequence[Record]) -> list[Record]:
    """Return the steps without those that trained a teacher."""
    return [record for record in steps if not record.recipe.startswith("teacher")]


def _moved(piece: Piece, recorded: Mapping[str, Record]) -> Record:
    """Return a file's record for the folder: parents that are not there are left out, for the folder stands alone."""
    record = recorded[piece.name]
    if piece.parent is None:
        return replace(record, artifact=piece.name, parents={})
    parent = recorded[piece.parent].sha256
    if parent not in record.parents.values():
        raise ArtifactError(f"{piece.source}: not made from {piece.parent} as it is now; remove it and make it again")
    return replace(record, artifact=piece.name, parents={piece.parent: parent})


def _commands(
    config: RunConfig, steps: Sequence[Record], pieces: Sequence[Piece], recorded: Mapping[str, Record], *, run: str
) -> Iterator[str]:
    """Yield the commands that make the run again; `edgecnn run` makes three recipes by itself."""
    pruned, recipe = pruned_name(config.pruning), steps[-1].recipe
    exports = [recorded[piece.name] for piece in pieces if piece.name in FILES]
    as_usual = not any(_export_flags(record, config.exporting) for record in exports)
    if as_usual and recipe in ("baseline", pruned, f"{pruned}-qat"):
        yield f"{command_of(config)} --out {run}"
        return
    yield f"{command_of(config, 'train')} --out {run}"
    students = _students(steps)
    for parent, record in pairwise(students):
        of = "" if parent.recipe == "baseline" else f" --recipe {parent.recipe}"
        yield f"edgecnn {_step_command(config, record, run)}{of}"
    for record in exports:
        target = ["--format", Path(record.artifact).suffix[1:], "--scheme", record.scheme]
        flags = " ".join([*target, *_export_flags(record, config.exporting)])
        yield f"edgecnn export {run} --recipe {record.recipe} {flags}"
    yield f"edgecnn bench {run}"


def _export_flags(record: Record, usual: Exporting) -> list[str]:
    """Return the flags of what an export was made with besides its run's settings."""
    settings, flags = record.settings, []
    if (images := settings.get("calibration_images", usual.calibration_images)) != usual.calibration_images:
        flags.append(f"--calibration-images {images}")
    if "calibration_images" in settings and (method := settings.get("calibration", "minmax")) != usual.calibration:
        flags.append(f"--calibration {method}")
    if settings.get("bias_correction"):
        flags.append("--bias-correction")
    if settings.get("per_tensor"):
        flags.append("--per-tensor")
    if (drop_pp := record.metrics.get("drop_pp", 0)) > usual.max_drop_pp:
        flags.append(f"--max-drop {drop_pp:g}")
    return flags


def _step_command(config: RunConfig, record: Record, run: str) -> str:
    """Return the command of one step, without its parent: what is not as the run's config.toml has it."""
    settings = record.settings
    if "qat" in settings:
        return f"quantize {run} --method qat"
    if "clustering" in settings:
        return f"cluster {run} --clusters {settings['clustering']['clusters']}"
    pruning, own = settings["pruning"], config.pruning
    method, rounds = pruning.get("method", "magnitude"), pruning.get("rounds", 1)
    flags = [f"--method {method}"] if method != own.method else []
    flags += [f"--sparsity {pruning['final_sparsity']}"] if method != "2:4" else []
    flags += [f"--rounds {rounds}"] if rounds != own.rounds else []
    return " ".join([f"prune {run}", *flags])


def _command_to_release(name: str, recipe: str) -> str:
    of = "" if recipe == "baseline" else f" --recipe {recipe}"
    return f"edgecnn release runs/{name} --name {name}{of}"


def _read_seeds(path: Path, config: RunConfig) -> dict[str, Any]:
    """Return the recording of several seeds in `path`; `ConfigError` when it is of another recipe or data set."""
    try:
        recorded: dict[str, Any] = json.loads(artifact.read_bytes(path))
        of = recorded["recipe"], recorded["data"]
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path}: not a recording of several seeds ({error}); make it again") from None
    if of != (config.recipe, config.data):
        raise ConfigError(
            f"--seeds {path}: of recipe {of[0]} on {of[1]}; expected those of the run, {config.recipe} on "
            f"{config.data}; leave it out"
        )
    return recorded


def _measured(opened: Run, pieces: Sequence[Piece], records: Mapping[str, Record]) -> dict[str, Any]:
    """Return the run's measurements of the files to release; `ArtifactError` when they are not of these bytes.

    Names are those in the folder; a baseline that is not released keeps its path in the run.
    """
    names = {piece.source.relative_to(opened.root).as_posix(): piece.name for piece in pieces}
    qat = {"model.h5": RELEASED_QAT}
    try:
        measured = json.loads(opened.bench.read_text())
        rows = [
            row
            | {"artifact": names[row["artifact"]]}
            | {"parity_reference": qat.get(row["parity_reference"], row["parity_reference"])}
            for row in measured["results"]
            if row["artifact"] in names
        ]
        hashes = {row["artifact"]: row["sha256"] for row in rows}
        baseline = names.get(measured["baseline"], measured["baseline"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{opened.bench}: no measurements there ({error}); make them: edgecnn bench") from None
    stale = [file for file in FILES if hashes.get(file) != records[file].sha256]
    if stale:
        raise ArtifactError(f"{opened.bench}: {', '.join(stale)} not measured as it is now; run: edgecnn bench")
    return {**measured, "results": rows, "baseline": baseline}
