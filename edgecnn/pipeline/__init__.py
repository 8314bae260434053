"""The only package that knows the order of the stages: data -> train -> compress -> export -> bench -> report.

Each stage is a function that returns at once when its artifact is complete and unchanged, so a killed run that is
started again goes on where it was. An artifact whose bytes, parents or settings are not what they were is refused,
never silently rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgecnn import extras
from edgecnn.artifact import Run
from edgecnn.config import RunConfig
from edgecnn.config.settings import SCHEMES
from edgecnn.pipeline.adopting import Images, adopt, check_suffix
from edgecnn.pipeline.building import build, check_source
from edgecnn.pipeline.bundles import bundle_files, export_bundle
from edgecnn.pipeline.c_files import check_c, export_c
from edgecnn.pipeline.comparing import compare, compared
from edgecnn.pipeline.compressing import cluster, prune, train_quantized, why_not_quantized
from edgecnn.pipeline.conversion import AUTO, Target
from edgecnn.pipeline.cost import Inspection, float32_beside, images_to_compare, inspected, untrained_cost
from edgecnn.pipeline.deciding import decide, decision_line
from edgecnn.pipeline.deploying import Wanted, deploy, deploy_to_many, is_bundle, looked_at, roll_back
from edgecnn.pipeline.exports import copy_released, export, export_model, pack_predictor
from edgecnn.pipeline.gates import notes
from edgecnn.pipeline.measure import a_look, bench, bench_run, check_budget
from edgecnn.pipeline.own_inputs import own_inputs
from edgecnn.pipeline.release import release
from edgecnn.pipeline.report import report
from edgecnn.pipeline.sensitivity import LayerSensitivity, sensitivity
from edgecnn.pipeline.teaching import teach
from edgecnn.pipeline.training import train
from edgecnn.pipeline.workspace import (
    Observer,
    Workspace,
    accuracy_line,
    begin,
    data_of_run,
    load_data,
    read_config,
    reading_line,
    reopen,
    unobserved,
    verdict_line,
)

__all__ = [
    "AUTO",
    "Images",
    "Inspection",
    "LayerSensitivity",
    "Observer",
    "Target",
    "Wanted",
    "Workspace",
    "a_look",
    "accuracy_line",
    "adopt",
    "begin",
    "bench",
    "bench_run",
    "build",
    "bundle_files",
    "check_budget",
    "check_c",
    "check_source",
    "check_suffix",
    "cluster",
    "compare",
    "compared",
    "copy_released",
    "data_of_run",
    "decide",
    "decision_line",
    "deploy",
    "deploy_to_many",
    "export",
    "export_bundle",
    "export_c",
    "export_model",
    "float32_beside",
    "images_to_compare",
    "inspected",
    "is_bundle",
    "load_data",
    "looked_at",
    "notes",
    "own_inputs",
    "pack_predictor",
    "prune",
    "read_config",
    "reading_line",
    "release",
    "reopen",
    "report",
    "roll_back",
    "run",
    "sensitivity",
    "teach",
    "train",
    "train_quantized",
    "unobserved",
    "untrained_cost",
    "verdict_line",
    "why_not_quantized",
]

# What a run exports of its three models. int16x8 is made when it is asked for: no optimized kernels of LiteRT take it,
# so it is far slower than int8, and few networks need it.
OF_BASELINE = tuple(Target(form, scheme) for form in SCHEMES for scheme in SCHEMES[form] if scheme != "int16x8")
OF_PRUNED = tuple(Target(form, scheme) for form in SCHEMES for scheme in ("float32", "int8"))
OF_QAT = tuple(Target(form, "int8") for form in SCHEMES)


def run(
    config: RunConfig,
    root: Path,
    *,
    data_dir: Path | None = None,
    teacher: Run | None = None,
    observe: Observer = unobserved,
    note: Callable[[str], None] = lambda message: None,
) -> Run:
    """Train, prune, quantize, export and measure in run directory `root`, or do what is left of that; return the run.

    The run's `root` is that folder, and holds what `edgecnn run` writes: killed, and called again, it goes on and ends
    with the same bytes. `data_dir` is a folder to look for a data set's files in. With the `teacher` of another run it
    trains none of its own. `observe` is called as a training goes on. An architecture that tfmot cannot train for int8
    goes without; `note` is called with why, and with what `reading_line` says.

    Raises `ConfigError` when `root` holds a run of other settings, `MissingExtraError` without the extras train, litert
    and ort, `GateError` where a result is worse than the gates allow, and what else the stages raise.
    """
    extras.require("train", "litert", "ort", needed_by="run")
    with begin(config, root, data_dir=data_dir, teacher=teacher, observe=observe) as work:
        if (said := reading_line(work.data)) is not None:
            note(said)
        train(work)
        pruned = prune(work)
        plan = [("baseline", OF_BASELINE), (pruned, OF_PRUNED)]
        if (reason := why_not_quantized(work, pruned)) is None:
            plan.append((train_quantized(work, pruned), OF_QAT))
        else:
            note(f"{pruned} is not trained for int8: {reason}")
        _export_all(work, [(recipe, target) for recipe, targets in plan for target in targets])
        bench_run(work.run, data=work.data, setting=a_look(), observe=observe)
        if extras.installed("report"):
            report(work.run, data=work.data)
    return work.run


def _export_all(work: Workspace, exports: list[tuple[str, Target]]) -> None:
    for done, (recipe, target) in enumerate(exports):
        work.observe("export", done, len(exports), {})
        export(work, recipe=recipe, target=target)
    work.observe("export", len(exports), len(exports), {})
