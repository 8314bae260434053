"""The bench stage: every exported model in every installed runtime, as one table and one JSON file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record, Run
from edgecnn.device.resolution import NOTHING_SAID, Said
from edgecnn.errors import ArtifactError, ConfigError, DataError, GateError, unknown
from edgecnn.pipeline import parity
from edgecnn.pipeline.c_libraries import libraries_for
from edgecnn.pipeline.contracts import of_file_to_measure as contract_in
from edgecnn.pipeline.rows import row
from edgecnn.pipeline.workspace import Observer, unobserved

if TYPE_CHECKING:
    from edgecnn.bench.budget import Budget
    from edgecnn.bench.place import Place
    from edgecnn.bench.session import Measurement, Setting
    from edgecnn.data import DataSet

SCHEMA = 2
_STEADY = 0.10  # rounds whose medians lie further apart than this are not of one machine speed


def a_look() -> Setting:
    """Return the setting of a quick measurement: rounds of a tenth of a second."""
    from edgecnn.bench.session import EFFORTS, Setting

    return Setting(EFFORTS["quick"])


def bench_run(
    opened: Run, *, data: DataSet | None, setting: Setting | None = None, observe: Observer = unobserved, **options: Any
) -> dict[str, Any]:
    """Measure every exported artifact of a run; return the result, written to bench/bench.json."""
    exports = sorted((opened.root / "export").glob("*/*"))
    return bench(
        exports, data=data, setting=setting, out=opened.bench, relative_to=opened.root, observe=observe, **options
    )


def bench(
    candidates: Iterable[Path],
    *,
    data: DataSet | None,
    out: Path,
    setting: Setting | None = None,
    runtimes: Sequence[str] | None = None,
    baseline: str | None = None,
    relative_to: Path | None = None,
    must_fit: bool = False,
    keras: bool = True,
    place: Place | None = None,
    said: Said = NOTHING_SAID,
    observe: Observer = unobserved,
) -> dict[str, Any]:
    """Measure the models among `candidates` in the board's installed runtimes (or those named); write `out`.

    Each model runs in a process of its own; the models take turns, ten a round; the median of five rounds is reported,
    and the ratio to `baseline` (an artifact's name; default: float32 in the first runtime) is formed turn by turn.
    Accuracy is over the test split of `data` where the model takes such images (`must_fit`: else `DataError`), parity
    with the Keras parent (`keras` and TensorFlow being installed) or the float32 model of the recipe; the first images
    that are read otherwise go to a folder beside `out`. What a model takes is in its record, or `said`, or found in its
    file or by trial on validation images; what is assumed is in its row. `place` is where models are measured, by
    default here. Artifacts are named relative to a folder, else by file name.
    Raises `ArtifactError` when there is nothing to measure or a model is not what its record says.
    """
    from edgecnn.bench import conditions, session
    from edgecnn.bench.place import here

    models = [path for path in candidates if path.suffix in artifact.EXPORT_SUFFIXES]
    pairs = _pairs(models, runtimes, usable=None if place is None else place.runtimes)
    records = {path: artifact.checked(path) if artifact.record_path(path).exists() else None for path, _ in pairs}
    names = _names([path for path, _ in pairs], relative_to)
    _check_baseline(baseline, names)
    artifact.check_writable(out)
    contracts = {model: contract_in(model, data, said) for model in dict.fromkeys(model for model, _ in pairs)}
    setting = setting or session.Setting(session.EFFORTS["default"])
    place = place or here()
    found = dict(place.conditions)
    with tempfile.TemporaryDirectory() as folder:
        libraries = libraries_for((model for model, runtime in pairs if runtime == "c"), Path(folder), place.target)
        measured = session.measure(
            pairs,
            setting,
            images=None if data is None else data.test.images,
            classes=0 if data is None else len(data.labels),
            contracts=contracts,
            libraries={model: made if isinstance(made, str) else made.path for model, made in libraries.items()},
            place=place,
            observe=lambda done, total: observe("bench", done, total, {}),
            on_prepared=lambda prepared: _check_fit(prepared, data) if must_fit else None,
        )
        found |= place.seen(sum(m.cpu_s for m in measured))
    if all(m.error is not None for m in measured):
        raise ArtifactError(f"bench {measured[0].model}: {measured[0].error}")
    compared_to = _baseline(names, measured, records, baseline)
    references = None if data is None else parity.References(measured, records, data, compared_to, keras=keras)
    rows = [
        {
            "artifact": name,
            "threads": setting.threads,
            **row(
                m,
                records[m.model],
                data,
                compared_to,
                None if references is None else references.of(m),
                libraries.get(m.model) if m.runtime == "c" else None,
                place,
            ),
        }
        for name, m in zip(names, measured, strict=True)
    ]
    if place.has_timings:
        found["not_clean"] = conditions.reasons(found) + _unsteady(names, measured)
    if place.name is not None:
        found["device"] = place.name
    result = {
        "schema": SCHEMA,
        "conditions": found | _made_with(setting, {m.runtime for m in measured}, place),
        "data": None if data is None else _described(data),
        "baseline": None if compared_to is None else names[measured.index(compared_to)],
        "results": rows,
    }
    parity.save_disagreeing(rows, data, out.with_suffix(".disagreeing"))
    artifact.write_atomic(out, json.dumps(result, indent=1) + "\n")
    return result


def check_budget(result: dict[str, Any], limits: Budget | None) -> None:
    """Raise `GateError` naming every limit that the rows of a bench `result` break."""
    from edgecnn.bench.budget import broken

    lines = [] if limits is None else broken(limits, result["results"])
    if lines:
        raise GateError(f"budget: {len(lines)} broken: {'; '.join(lines)}")


def _pairs(
    models: list[Path], named: Sequence[str] | None, *, usable: Sequence[str] | None = None
) -> list[tuple[Path, str]]:
    """Return each model with each runtime that takes it, among those named or the board's that are installed.

    `usable` are those of another machine.
    """
    from edgecnn.bench import peers
    from edgecnn.device.files import C_LIBRARY, read_model
    from edgecnn.device.runtimes import ladder

    if not models:
        raise ArtifactError("bench: no exported model to measure; make one: edgecnn export --format tflite")
    for name in named or ():
        if name not in peers.SUFFIXES:
            raise unknown("runtime", name, peers.SUFFIXES)
        if usable is not None and name not in (*usable, C_LIBRARY):
            raise ConfigError(
                f"runtime {name}: not on the device, which has {', '.join(usable) or 'none'}; deploy to it"
            )
        if usable is None and name != C_LIBRARY and not peers.is_installed(name):
            raise ConfigError(f"runtime {name}: not installed; run: pip install {peers.KNOWN[name].package}")
    tried = list(dict.fromkeys(named or (ladder.installed() if usable is None else usable)))
    pairs = [(model, name) for model in models for name in tried if model.suffix in peers.SUFFIXES[name]]
    if not pairs and named:
        raise ConfigError(f"bench: no model here is for {', '.join(named)}; name another --runtime")
    if not pairs and usable is not None:
        raise ArtifactError(
            f"bench: the device has {', '.join(usable) or 'no runtime'}, which takes none of these models"
        )
    if not pairs:
        extras.require("litert", "ort", needed_by="bench")
    for model, _ in pairs:
        read_model(model)
    return pairs


def _baseline(
    names: list[str], measured: list[Measurement], records: dict[Path, Record | None], named: str | None
) -> Measurement | None:
    """Return the measurement that ratios refer to: the one named, else float32, else the first that was measured."""
    if named is not None:
        return next(m for name, m in zip(names, measured, strict=True) if _is_named(named, name))
    whole = [m for m in measured if m.error is None]
    float32 = [m for m in whole if (record := records[m.model]) is not None and record.scheme == "float32"]
    return next(iter(float32 or whole), None)


def _is_named(asked: str, artifact_name: str) -> bool:
    return asked in (artifact_name, Path(artifact_name).name)


def _names(paths: Sequence[Path], relative_to: Path | None) -> list[str]:
    """Return what artifacts are called: file names where these differ, else paths from a folder that holds all."""
    if relative_to is None:
        different = set(paths)
        if len({path.name for path in different}) == len(different):
            return [path.name for path in paths]
        relative_to = Path(os.path.commonpath([path.resolve().parent for path in different]))
    return [os.path.relpath(path.resolve(), relative_to.resolve()) for path in paths]


def _check_baseline(asked: str | None, names: Sequence[str]) -> None:
    """Raise `ConfigError` unless `asked` is None or names one artifact."""
    found = {name for name in names if asked is not None and _is_named(asked, name)}
    if asked is not None and not found:
        raise unknown("baseline", asked, names)
    if len(found) > 1:
        raise ConfigError(
            f"--baseline: {asked} names {len(found)} artifacts; expected one of: {', '.join(sorted(found))}"
        )


def _unsteady(names: list[str], measured: list[Measurement]) -> list[str]:
    """Return why the rounds are not of one machine speed: the widest spread, when it is too wide."""
    from edgecnn.bench.latency import spread

    spreads = [(spread(m.rounds), name) for name, m in zip(names, measured, strict=True) if m.rounds]
    widest, name = max(spreads, default=(0.0, ""))
    return [f"p50 of {name} moved by {widest:.0%} between rounds"] if widest > _STEADY else []


def _check_fit(measured: Sequence[Measurement], data: DataSet | None) -> None:
    for m in measured:
        if data is not None and m.error is None and m.probabilities is None:
            shapes = ", ".join(str(list(spec["shape"])) for spec in m.inputs)
            raise DataError(
                f"bench {m.model}: {m.unclassified or f'input is {shapes}'}, {data.name} has "
                f"{list(data.input_shape)} and {len(data.labels)} classes; leave --data out to measure latency alone"
            )


def _described(data: DataSet) -> dict[str, Any]:
    return {
        "name": data.name,
        "sha256": data.sha256,
        "test_images": len(data.test),
        "labels": list(data.labels),
    }


def _made_with(setting: Setting, runtimes: Iterable[str], place: Place) -> dict[str, Any]:
    measured_as = {
        "batch": 1,
        "threads": setting.threads,
        "pin": setting.pin,
        "shape": setting.shape,
        "rounds": setting.effort.rounds,
        "turns_a_round": setting.effort.turns,
        "runs_at_least": setting.effort.runs,
        "seconds_at_least": setting.effort.seconds,
    }
    return {
        "versions": ({} if place.name else artifact.library_versions()) | dict(place.versions(runtimes)),
        "commit": artifact.source_commit(),
        "latency": measured_as if place.has_timings else None,
    }
