"""One row of bench.json: what was measured of one model in one runtime, as the figures that are written."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.artifact import Record
from edgecnn.device.resolution import assumption_line
from edgecnn.pipeline import parity
from edgecnn.pipeline.c_libraries import CLibrary
from edgecnn.pipeline.contracts import found_by_trial
from edgecnn.pipeline.cost import cost_of, sparse_bytes

if TYPE_CHECKING:
    from edgecnn.bench.place import Place
    from edgecnn.bench.session import Measurement
    from edgecnn.data import DataSet


def row(
    m: Measurement,
    record: Record | None,
    data: DataSet | None,
    baseline: Measurement | None,
    reference: parity.Reference | None,
    library: CLibrary | str | None,
    place: Place,
) -> dict[str, Any]:
    """Return the figures of one model in one runtime; null for what does not apply or could not be measured."""
    from edgecnn import inspect

    content, parts = inspect.whole(m.model), artifact.parts_of(m.model)
    in_c = library if isinstance(library, CLibrary) else None
    cost = cost_of(content, m.model.suffix)
    accuracy = _accuracy(m, data, baseline)
    return {
        "recipe": record and record.recipe,
        "scheme": record and record.scheme,
        "runtime": m.runtime,
        "error": m.error,
        "note": _note(m, at_chance=accuracy["at_chance"]),
        "assumed": list(m.contract.assumed) if m.contract else None,
        **accuracy,
        **_acceptance(m, record, data),
        "drop_pp": record and record.metrics.get("drop_pp"),
        **parity.parity_of(m, reference),
        "sha256": artifact.identity(m.model),
        "size_bytes": sum(part.stat().st_size for part in parts),
        "gzip_bytes": artifact.gzip_size(content),
        "sparse_bytes": sparse_bytes(content, m.model.suffix),
        "parameters": record.parameters if record else cost["parameters"],
        "nonzero_parameters": record.nonzero_parameters if record else cost["nonzero_parameters"],
        "macs": cost["macs"],
        "effective_macs": cost["effective_macs"],
        **_latency(m, baseline),
        "cold_start_ms": m.cold_start_ms,
        "peak_rss_bytes": m.peak_rss_bytes,
        "rss_over_python_bytes": m.peak_rss_bytes and m.peak_rss_bytes - (place.python_rss_bytes() or 0),
        "runtime_installed_bytes": in_c.size_bytes if in_c else place.installed_bytes(m.runtime),
        "flash_bytes": in_c and in_c.flash_bytes,
        "arena_bytes": in_c and in_c.arena_bytes,  # neither format states one
    }


def _note(m: Measurement, *, at_chance: bool | None) -> str | None:
    if m.unclassified is not None:
        return f"accuracy is not measured: {m.unclassified}"
    if m.contract is None or m.probabilities is None:
        return None
    said = [assumption_line(m.contract)] if m.contract.assumed else []
    if found := found_by_trial(m.contract):
        said.append(f"found by trial on validation images: {found}")
    if at_chance:
        said.append("it reads the test images at chance level: is its input what the model takes?")
    return "; ".join(said) or None


_ACCURACY = (
    "top1", "top1_low", "top1_high", "balanced_top1", "balanced_low", "balanced_high", "at_chance",
    "per_class_recall", "confusion",
    "calibration_error", "calibration", "mcnemar_p", "first_100", "first_100_wrong", "worst_mistakes",
)  # fmt: skip


def _accuracy(m: Measurement, data: DataSet | None, baseline: Measurement | None) -> dict[str, Any]:
    """Return the figures of `_ACCURACY`; `first_100` holds the predicted classes of the first test images.

    How sure a model is shows in probabilities alone: with other scores the figures on that are null.
    """
    from edgecnn.bench import accuracy
    from edgecnn.bench.chance import balanced_accuracy

    if data is None or m.probabilities is None:
        return dict.fromkeys(_ACCURACY)
    labels = data.test.labels
    balanced = balanced_accuracy(m.probabilities.argmax(axis=1), labels, classes=len(data.labels))
    top1 = accuracy.top1_accuracy(m.probabilities, labels)
    confusion = accuracy.confusion_matrix(m.probabilities, labels)
    sure = accuracy.are_probabilities(m.probabilities)
    curve = accuracy.calibration_curve(m.probabilities, labels) if sure else None
    first_100 = m.probabilities[:100].argmax(axis=1)
    values = (
        top1.top1, top1.top1_low, top1.top1_high,
        balanced.balanced_top1, balanced.balanced_low, balanced.balanced_high, balanced.at_chance,
        accuracy.per_class_recall(confusion),
        confusion.tolist(),
        None if curve is None else accuracy.expected_calibration_error(curve),
        None if curve is None else [asdict(b) for b in curve],
        _mcnemar(m, baseline, data),
        first_100.tolist(),
        int((first_100 != labels[:100]).sum()),
        [asdict(mistake) for mistake in accuracy.worst_mistakes(m.probabilities, labels)] if sure else None,
    )  # fmt: skip
    return dict(zip(_ACCURACY, values, strict=True))


def _acceptance(m: Measurement, record: Record | None, data: DataSet | None) -> dict[str, Any]:
    """Return what the record's rule accepts of the test images, and top-1 of the surest of them, share by share."""
    from edgecnn.bench import acceptance, accuracy
    from edgecnn.device.trust.decision import read_decision

    keys = ("accepted", "top1_accepted", "coverage")
    if data is None or m.contract is None or m.probabilities is None:
        return dict.fromkeys(keys)
    if not accuracy.are_probabilities(m.probabilities):
        return dict.fromkeys(keys)
    kept = {"decision": record.decision} if record else {}
    decision = read_decision(kept, classes=len(data.labels), where=m.model)
    test = acceptance.applied(decision, m.probabilities, data.test.images, m.contract)
    right = test.probabilities.argmax(axis=1) == data.test.labels
    curve = [asdict(one) for one in acceptance.coverage_curve(test.probabilities, data.test.labels)]
    if not kept.get("decision") or not test.accepted.any():
        return dict(zip(keys, (None, None, curve), strict=True))
    values = (float(test.accepted.mean()), float(right[test.accepted].mean()), curve)
    return dict(zip(keys, values, strict=True))


def _mcnemar(m: Measurement, baseline: Measurement | None, data: DataSet) -> float | None:
    from edgecnn.bench.accuracy import mcnemar_exact

    if baseline is None or baseline is m or baseline.probabilities is None or m.probabilities is None:
        return None
    right, other = (given.argmax(axis=1) == data.test.labels for given in (m.probabilities, baseline.probabilities))
    return mcnemar_exact(right, other)


def _latency(m: Measurement, baseline: Measurement | None) -> dict[str, Any]:
    from edgecnn.bench.latency import median_round, ratio_to, spread

    keys = ("p50_us", "p90_us", "p99_us", "runs", "spread", "ratio_to_baseline", "rounds_p50_us", "end_to_end_p50_us")
    if m.error is not None or not m.rounds:
        return dict.fromkeys(keys)
    chosen = median_round(m.rounds)
    comparable = baseline is not None and baseline.error is None
    ratio = ratio_to(m.turns, baseline.turns) if comparable and baseline is not None else None
    end_to_end = median_round(m.end_to_end).p50_us if m.end_to_end else None
    rounds = [r.p50_us for r in m.rounds]
    values = (chosen.p50_us, chosen.p90_us, chosen.p99_us, chosen.runs, spread(m.rounds), ratio, rounds, end_to_end)
    return dict(zip(keys, values, strict=True))
