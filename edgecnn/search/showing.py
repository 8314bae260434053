"""What a study shows: its front and the importances of its parameters, as tables, pictures and one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.config.names import LAYERS, data_name
from edgecnn.errors import GateError
from edgecnn.search import front, space
from edgecnn.search.study import Study, quiet_optuna
from edgecnn.search.trial import HIGHER_IS_BETTER, Outcome

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

STATES = ("complete", "stopped", "refused", "failed")
_ENOUGH = 4  # complete trials, before anything can be said about importances
Table = tuple[list[str], list[list[str]]]


def best(study: Study, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the complete trials within the budget that none of these beats, from the best first objective on."""
    fit = [one for one in outcomes if one.state == "complete" and max(study.excesses(one).values(), default=0) <= 0]
    return [fit[i] for i in front.front([study.losses(one) for one in fit])]


def best_where(study: Study, outcomes: Sequence[Outcome], condition: front.Condition) -> Outcome:
    """Return the best of the complete trials that meet a condition: by the first objective, then by the others.

    Raises `GateError` when there is none, saying which comes nearest.
    """
    complete = [one for one in outcomes if one.state == "complete" and set(condition.names) <= set(one.figures)]
    if not complete:
        raise GateError(f"{study.folder}: no complete trial has {', '.join(condition.names)}; give more --trials")
    fit = [one for one in complete if condition.distance(one.figures) == 0]
    within = [one for one in fit if max(study.excesses(one).values(), default=0) <= 0]
    if within:
        return min(within, key=study.losses)
    if fit:
        raise GateError(f"{study.folder}: {len(fit)} trials have {condition.text}, none of them is within the budget")
    near = min(complete, key=lambda one: condition.distance(one.figures))
    figures = ", ".join(f"{name} {plain(name, near.figures[name])}" for name in condition.names)
    raise GateError(
        f"{study.folder}: none of {len(complete)} complete trials has {condition.text}; trial {near.number} comes "
        f"nearest with {figures}; give another --where or more --trials"
    )


def summary(study: Study, outcomes: Sequence[Outcome]) -> str:
    """Return how many trials there are of each state, in one line."""
    counts = Counter(one.state for one in outcomes)
    states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    return f"{len(outcomes)} trials on {data_name(study.asked.base.data)}{f': {states}' if states else ''}"


def front_table(study: Study, outcomes: Sequence[Outcome]) -> Table:
    """Return headings and rows of the trials that no other one beats."""
    names = list(dict.fromkeys(("top1", "size_bytes", "macs", *study.asked.objectives)))
    rows = [
        [
            str(one.number),
            _network(study, one),
            _how(one),
            *(plain(name, one.figures[name]) if name in one.figures else "-" for name in names),
        ]
        for one in best(study, outcomes)
    ]
    return ["trial", "network", "made smaller", *map(heading, names)], rows


def importances(study: Study) -> dict[str, dict[str, float]]:
    """Return for each objective the share of each parameter in what moves it; empty while there are few trials.

    By PED-ANOVA (S. Watanabe et al., 2023), as Optuna has it.
    """
    import optuna

    with quiet_optuna():
        complete = study.copy.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if len(complete) < _ENOUGH:
            return {}
        return {
            name: optuna.importance.get_param_importances(study.copy, target=partial(_value, i))
            for i, name in enumerate(study.asked.objectives)
        }


def _value(objective: int, trial: FrozenTrial) -> float:
    return float(trial.values[objective])


def importance_table(found: dict[str, dict[str, float]]) -> Table:
    """Return headings and rows of the parameters, the one that moves most first."""
    parameters = dict.fromkeys(name for shares in found.values() for name in shares)
    ordered = sorted(parameters, key=lambda name: -sum(shares.get(name, 0) for shares in found.values()))
    rows = [[name, *(f"{shares.get(name, 0):.2f}" for shares in found.values())] for name in ordered]
    return ["parameter", *map(heading, found)], rows


def draw(study: Study, outcomes: Sequence[Outcome]) -> Path:
    """Write report.html and its pictures into the study's folder; return the path of the page."""
    from edgecnn.report import study as page

    complete = [one for one in outcomes if one.state == "complete"]
    chosen = {one.number for one in best(study, outcomes)}
    first, *others = study.asked.objectives
    points = [{"number": one.number, "best": one.number in chosen, **one.figures} for one in complete]
    shares = importances(study)
    pictures = [
        *(page.front_picture(points, cost=cost, value=first, axes=(heading(cost), heading(first))) for cost in others),
        *([page.importance_picture({heading(name): found for name, found in shares.items()})] if shares else []),
    ]
    facts = [
        ("study", summary(study, outcomes)),
        ("objectives", ", ".join(map(heading, study.asked.objectives))),
        ("budget", ", ".join(f"{name} {value:g}" for name, value in study.asked.limits.items()) or "none"),
        ("training", f"recipe {study.asked.base.recipe}, at most {study.asked.epochs} epochs; seed {study.asked.seed}"),
    ]
    html = page.to_html(
        f"Search: {study.folder.resolve().name}",
        facts,
        front=front_table(study, outcomes),
        importances=importance_table(shares) if shares else None,
        pictures=pictures,
    )
    for picture in pictures:
        artifact.write_atomic(study.folder / f"{picture.name}.png", picture.png)
    path = study.folder / "report.html"
    artifact.write_atomic(path, html)
    return path


def described(study: Study, one: Outcome) -> str:
    """Return a trial in a line: its network, how it was made smaller, and its objectives."""
    figures = ", ".join(f"{name} {plain(name, one.figures[name])}" for name in study.asked.objectives)
    return f"{_network(study, one)}, {_how(one)}: {figures}"


def heading(name: str) -> str:
    """Return how a figure is called above a column."""
    return {"top1": "validation top-1 %", "top1_low": "validation top-1 %, lower end", "macs": "MACs"}.get(name, name)


def plain(name: str, value: float) -> str:
    """Return a figure as a table shows it."""
    if name in HIGHER_IS_BETTER:
        return f"{value * 100:.2f}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _network(study: Study, one: Outcome) -> str:
    return space.layers(one.point, side=study.asked.side).removeprefix(LAYERS)


def _how(one: Outcome) -> str:
    method: Any = space.pruning_of(one.point)
    sparsity = one.point.get("sparsity", one.point.get("sparsity_of_blocks", 0))
    return f"{f'{method} {sparsity * 100:.0f} %, ' if method else ''}{one.point['quantization']}"
