"""The last step of a search: the trial that was chosen, trained in full and exported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edgecnn import pipeline
from edgecnn.artifact import Run
from edgecnn.errors import GateError
from edgecnn.pipeline import Observer, unobserved
from edgecnn.search import space, trial
from edgecnn.search.front import Condition
from edgecnn.search.showing import plain
from edgecnn.search.study import Study
from edgecnn.search.trial import TIMED, Outcome


def retrained(
    study: Study,
    chosen: Outcome,
    root: Path,
    *,
    condition: Condition,
    data_dir: Path | None = None,
    teacher: Run | None = None,
    observe: Observer = unobserved,
    say: Callable[[str], None] = lambda note: None,
) -> Path:
    """Train a trial in run directory `root` for all epochs of the recipe and export it; return the int8 file.

    The steps' gates are those of the recipe. Raises `GateError` too when the condition or the budget that the short
    trial met is not met any more; the files stay.
    """
    asked = study.asked
    config = space.configured(chosen.point, asked.base, side=asked.side)
    shared = teacher if config.teacher is not None else None
    with pipeline.begin(config, root, data_dir=data_dir, teacher=shared, observe=observe) as work:
        path = trial.exported(work, chosen.point)
        timed = asked.timed or bool({*condition.names} & {*TIMED})
        figures = trial.figures_of(work, path, timed_in=asked.runtime if timed else None)
    names = dict.fromkeys((*asked.objectives, *condition.names))
    said = ", ".join(f"{name} {plain(name, figures[name])}" for name in names)
    say(f"trained in full: {said}")
    beyond = [limit for limit, excess in study.excesses(replace(chosen, figures=figures)).items() if excess > 0]
    if beyond or condition.distance(figures) > 0:
        missed = " and ".join((*beyond, *([condition.text] if condition.distance(figures) > 0 else [])))
        raise GateError(f"{path}: trained in full it has {said}, and no longer meets {missed}; choose another --where")
    return path
