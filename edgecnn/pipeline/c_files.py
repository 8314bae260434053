"""The C export: model.h and model.c from an int8 .tflite file, each with a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgecnn import artifact, extras
from edgecnn.artifact import Record
from edgecnn.device.resolution import NOTHING_SAID, Said, assumption_line
from edgecnn.errors import ArtifactError
from edgecnn.pipeline.contracts import of_file
from edgecnn.pipeline.workspace import parent_hashes

# A softmax of integers counts its inputs in units of 2^-26, and needs a unit of theirs to be more than one of these
# (LiteRT: PreprocessSoftmaxScaling, 5 integer bits).
_SOFTMAX_ONE = 2**26


def export_c(
    tflite: Path,
    *,
    out: Path,
    name: str,
    kernel: str,
    said: Said = NOTHING_SAID,
    warn: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write model.h and model.c of an int8 .tflite file into folder `out`; return the path of model.c.

    With a record beside it, the file is checked against it first, and both get records of their own. Raises
    `ArtifactError` for a file that there are no kernels for, or when `out` holds the C of another one; nothing is
    written then.
    """
    texts, parent = c_of(tflite, name=name, kernel=kernel, needed_by="export --format c", said=said, warn=warn)
    parents = parent_hashes(out / "model.c", (tflite,))
    check_owner(out / "model.c", parents)
    for file, text in texts.items():
        keep_beside(out / file, text.encode(), parent, parents, {"name": name, "kernel": kernel})
    return out / "model.c"


def c_of(
    tflite: Path,
    *,
    name: str,
    kernel: str,
    needed_by: str,
    said: Said = NOTHING_SAID,
    warn: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, str], Record | None]:
    """Return {"model.h": ..., "model.c": ...} of an int8 .tflite file, and its record if it has one.

    What it takes is in its record, or `said`, or found in the file; `warn` gets a line on what is assumed.
    """
    from edgecnn.export.c import to_c

    extras.require("litert", needed_by=needed_by)
    parent = artifact.checked(tflite) if artifact.record_path(tflite).exists() else None
    content = artifact.read_bytes(tflite)
    _check_scales(content, where=f"export c: {tflite}")  # before LiteRT runs it
    contract, _ = of_file(tflite, said=said)
    if contract.assumed:
        warn(f"{tflite}: {assumption_line(contract)}")
    texts = to_c(
        content,
        name=name,
        kernel=kernel,
        contract=contract,
        calibration=_calibration(parent),
        facts=_facts(parent) | {"command": f"edgecnn export --format c --name {name} --kernel {kernel}"},
        where=f"export c: {tflite}",
    )
    return texts, parent


def keep_beside(
    path: Path, content: bytes, parent: Record | None, parents: dict[str, str], settings: Mapping[str, Any]
) -> None:
    """Write what was made of a model, and its record where the model has one, `parent`."""
    if parent is None:
        artifact.write_atomic(path, content)
    else:
        artifact.keep(path, content, _record(parent, path, content, parents, dict(settings)))


def check_owner(path: Path, parents: dict[str, str]) -> None:
    """Raise `ArtifactError` when `path` was made from another file; the same one may have been exported anew."""
    if artifact.record_path(path).exists() and artifact.read_record(path).parents.keys() != parents.keys():
        raise ArtifactError(f"{path}: is there, exported from another model; choose another --out")


def check_c(content: bytes, /, *, name: str, kernel: str) -> None:
    """Raise `ArtifactError`, naming the layer, for an int8 .tflite file that there are no kernels in C for."""
    from edgecnn.export.c import to_c

    extras.require("litert", needed_by="export --format c")
    _check_scales(content, where="export c")
    to_c(content, name=name, kernel=kernel, where="export c")


def _calibration(parent: Record | None) -> tuple[float, float] | None:
    """Return temperature and floor of the decision in a record, where there is one."""
    decision = parent.decision if parent is not None else {}
    return (float(decision["temperature"]), float(decision["floor"])) if decision else None


def _check_scales(content: bytes, *, where: str) -> None:
    """Raise `ArtifactError`, naming the layer, for an int8 .tflite file whose scales cannot be computed with.

    LiteRT's reference kernels, which the C is compared with, end the process for some of them.
    """
    from edgecnn.inspect import faults_of, graph_of

    if faults := faults_of(content, ".tflite", where=where):
        raise ArtifactError(f"{where}: {faults[0]}; convert it anew from a model that is trained")
    graph = graph_of(content, where=where)
    for operator in graph.operators:
        scores = graph.tensors[operator.inputs[0]] if operator.kind == "SOFTMAX" else None
        if scores is not None and len(scores.scale) == 1:
            steepest = float(scores.scale[0]) * float(operator.options.get("beta") or 1) * _SOFTMAX_ONE
            if steepest <= 1:
                raise ArtifactError(
                    f"{where}: layer {scores.name}: the scale of its scores is {scores.scale[0]:.3g}, too small for a "
                    f"softmax of integers, as where every weight is 0; convert it anew from a model that is trained"
                )


def _facts(parent: Record | None) -> dict[str, str]:
    """Return what a record says of the file, in lines for the head of model.h."""
    if parent is None:
        return {}
    figures = parent.metrics
    facts = {f"made from {file}": f"sha256 {digest}" for file, digest in parent.parents.items()}
    if "validation_top1" in figures and "images" in figures:
        facts["accuracy"] = (
            f"{figures['validation_top1']:.2%} of {figures['images']:,} validation images of {parent.data['name']}"
        )
    return facts | {"network": f"{parent.parameters:,} parameters, {parent.nonzero_parameters:,} of them not zero"}


def _record(parent: Record, path: Path, content: bytes, parents: dict[str, str], settings: dict[str, Any]) -> Record:
    return replace(
        parent,
        artifact=path.name,
        sha256=artifact.sha256(content),
        size_bytes=len(content),
        gzip_bytes=artifact.gzip_size(content),
        parents=parents,
        settings=settings,
        versions=artifact.library_versions(),
        commit=artifact.source_commit(),
        host=artifact.host(),
    )
