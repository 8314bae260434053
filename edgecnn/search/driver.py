"""The loop that asks for trials, hands them to workers, keeps what comes back and tells Optuna of it.

Nothing is lost by a kill: a trial's result is in the study's folder before Optuna is told. What is there and was not
told is told when the study goes on; what was begun and is not there is run again, with the same point.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from edgecnn.errors import EdgecnnError, GateError, SearchError
from edgecnn.pipeline import Observer, unobserved
from edgecnn.search import space, trial
from edgecnn.search.executor import LimitExceeded, WorkerLost, Workers
from edgecnn.search.front import Point
from edgecnn.search.study import Study, keep, outcomes, trial_folder
from edgecnn.search.trial import Job, Outcome, Runner

_TICK_S = 1.0
_STARTS = 2  # of a trial whose worker is lost
_UNEXPECTED = 3  # trials that fail for no reason of their own, before one was complete: then all will


@dataclass(frozen=True)
class Places:
    """Where the workers find what a trial needs besides its settings."""

    data_dir: Path | None = None
    teacher: Path | None = None


@dataclass
class _State:
    """What the loop knows: what came of earlier trials, what waits, what runs."""

    study: Study
    outcomes: dict[int, Outcome]
    waiting: deque[Outcome]
    running: dict[Future[Outcome], Outcome] = field(default_factory=dict)
    starts: Counter[int] = field(default_factory=Counter)
    unexpected: int = 0

    @property
    def begun(self) -> int:
        return len(self.outcomes) + len(self.waiting) + len(self.running)


def search(
    study: Study,
    workers: Workers,
    *,
    trials: int | None,
    seconds: float | None = None,
    places: Places | None = None,
    observe: Observer = unobserved,
    run: Runner = trial.run,
) -> list[Outcome]:
    """Run trials until the study has `trials`, or for so many `seconds`; return what came of all of them.

    After the time no trial is begun, and those that run are waited for. Raises `SearchError` when the workers are gone,
    and whatever is wrong with the data or the installation rather than with a trial.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    state = _resumed(study)
    watch = _watch(state, observe, trials, seconds)
    while True:
        while len(state.running) < workers.slots and (nxt := _next(state, trials, ends)) is not None:
            _submit(state, workers, nxt, places or Places(), run)
        watch()
        if not state.running:
            return [state.outcomes[number] for number in sorted(state.outcomes)]
        done, _ = wait(state.running, timeout=_TICK_S, return_when=FIRST_COMPLETED)
        workers.check()
        for future in sorted(done, key=lambda one: state.running[one].number):
            _settle(state, workers, future)


def nearest(study: Study, found: Iterable[Outcome]) -> tuple[Outcome, dict[str, float]] | None:
    """Return the complete trial that misses the budget by least, and the limits it misses; None where there is none."""
    missed = [
        (one, {k: v for k, v in study.excesses(one).items() if v > 0}) for one in found if one.state == "complete"
    ]
    return min(missed, key=lambda pair: sum(pair[1].values()), default=None)


def check_budget(study: Study, found: Iterable[Outcome]) -> None:
    """Raise `GateError` when no complete trial meets the budget, saying how near the best one comes."""
    if not study.asked.limits:
        return
    best = nearest(study, found)
    if best is None:
        raise GateError(
            "search: no trial meets the budget, for none was complete; give more --trials, or more --epochs"
        )
    outcome, missed = best
    if not missed:
        return
    said = [f"{limit} {study.asked.limits[limit]:g} by {excess:.1%}" for limit, excess in sorted(missed.items())]
    raise GateError(
        f"search: no trial meets the budget; trial {outcome.number} comes nearest, it misses {' and '.join(said)}; "
        f"give more --trials or another budget"
    )


def _resumed(study: Study) -> _State:
    """Return the state of a study that may have been killed, after telling what was not told."""
    kept = {outcome.number: outcome for outcome in outcomes(study.folder)}
    if lost := sorted(set(study.told()) - set(kept)):
        raise SearchError(
            f"{study.folder}: the database knows the end of trial {lost[0]}, of which there is no result here; restore "
            f"its trials, or choose another --out"
        )
    waiting: deque[Outcome] = deque()
    for begun in study.unfinished():
        result = kept.get(begun.number)
        if result is not None and result.point == begun.point:
            study.tell(result)
        else:
            kept.pop(begun.number, None)
            waiting.append(begun)
    # What the database does not know was lost there with a power cut; its number will be given again.
    known = {*study.told()}
    return _State(study, {number: outcome for number, outcome in kept.items() if number in known}, waiting)


def _next(state: _State, trials: int | None, ends: float | None) -> Outcome | None:
    """Return the trial to begin now, None where there is none."""
    if state.waiting:
        return state.waiting.popleft()
    if (trials is not None and state.begun >= trials) or (ends is not None and time.monotonic() >= ends):
        return None
    return state.study.ask()


def _submit(state: _State, workers: Workers, asked: Outcome, places: Places, run: Runner) -> None:
    state.starts[asked.number] += 1
    job = _job(state, asked, places, shares_files=workers.shares_files)
    state.running[workers.executor.submit(run, job)] = asked


def _job(state: _State, asked: Outcome, places: Places, *, shares_files: bool) -> Job:
    study = state.study
    wanted = study.asked
    config = space.configured(asked.point, wanted.base, side=wanted.side, epochs=wanted.epochs)
    return Job(
        number=asked.number,
        point=asked.point,
        config=config,
        objectives=wanted.objectives,
        timed=wanted.timed,
        runtime=wanted.runtime,
        data_sha256=wanted.data_sha256,
        rungs={epoch: _at_rung(state, epoch) for epoch in trial.rung_epochs(wanted.epochs)},
        folder=trial_folder(study.folder.resolve(), asked.number) / "run" if shares_files else None,
        typicality=study.folder.resolve() / "typicality.json" if shares_files else None,
        data_dir=places.data_dir,
        teacher=places.teacher,
    )


def _at_rung(state: _State, epoch: int) -> list[Point]:
    return [one.rungs[epoch] for _, one in sorted(state.outcomes.items()) if epoch in one.rungs]


def _settle(state: _State, workers: Workers, future: Future[Outcome]) -> None:
    """Keep what came of a trial and tell it, or let it wait for another start."""
    asked = state.running.pop(future)
    outcome = _came_of(state, workers, asked, future)
    if outcome is None:
        state.waiting.appendleft(asked)
        return
    keep(state.study, outcome)
    state.study.tell(outcome)
    state.outcomes[outcome.number] = outcome


def _came_of(state: _State, workers: Workers, asked: Outcome, future: Future[Outcome]) -> Outcome | None:
    """Return what came of a trial; None where its worker was lost and it is to be started again."""

    def failed(reason: str) -> Outcome:
        return Outcome(number=asked.number, point=asked.point, state="failed", reason=reason)

    try:
        return future.result()
    except EdgecnnError:
        raise  # not the trial's fault, and the next one would meet it too
    except LimitExceeded as error:
        return failed(str(error))
    except Exception as error:  # what a library raises in a trial costs that trial
        if _is_lost(error):
            return None if state.starts[asked.number] < _STARTS else failed(f"twice {error}")
        if isinstance(error, CancelledError):
            workers.check()
        state.unexpected += 1
        reason = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
        if state.unexpected >= _UNEXPECTED and not any(one.state == "complete" for one in state.outcomes.values()):
            raise SearchError(
                f"search: {_UNEXPECTED} trials failed, none was complete; the last one: {reason}"
            ) from None
        return failed(reason)


def _is_lost(error: Exception) -> bool:
    return isinstance(error, WorkerLost) or type(error).__name__ in ("KilledWorker", "CommClosedError")


def _watch(state: _State, observe: Observer, trials: int | None, seconds: float | None) -> Callable[[], None]:
    """Return what tells the observer how far the search is: by trials, by time where that is nearer to its end."""
    begun = time.monotonic()

    def watch() -> None:
        done = len(state.outcomes)
        best = max((one.figures["top1"] for one in state.outcomes.values() if "top1" in one.figures), default=None)
        metrics = {} if best is None else {"best_top1": best}
        by_time = 0.0 if seconds is None else min(1.0, (time.monotonic() - begun) / seconds)
        if trials is None or by_time > done / trials:
            observe("search", round(by_time * 1000), 1000, metrics)
        else:
            observe("search", done, trials, metrics)

    return watch
