"""What `search.py` lets workers run; they import it by this name."""

from __future__ import annotations

from dataclasses import replace

from edgecnn.cli import choose
from edgecnn.search import trial
from edgecnn.search.trial import Job, Outcome


def noop(job: Job) -> Outcome:
    """Return figures that follow from the point alone."""
    figures = {"top1": 1 - job.point["learning_rate"], "size_bytes": 1000.0 * job.point["filters"]}
    return Outcome(number=job.number, point=job.point, state="complete", figures=figures)


def the_same(job: Job) -> Outcome:
    """Run one and the same trial, whatever was suggested, and never stop it."""
    config = replace(choose.settings("edge4k", data="digits", recipe="quick"), exporting=job.config.exporting)
    point = {"block": "separable", "quantization": "qat"}
    return replace(trial.run(replace(job, config=config, point=point, rungs={})), point=job.point)
