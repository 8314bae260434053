"""A study: what was asked for, in a folder, and its trials, in a database of Optuna's.

    STUDY/study.json                  what was asked for
    STUDY/study.db                    the trials (SQLite), unless they are kept in another database
    STUDY/trials/0007/result.json     what came of a trial; run/ beside it where it ran on this machine
    STUDY/artifacts/<sha256>.tflite   what was exported, with its record

Suggestions depend on the seed, on a trial's number and on the results before it, on nothing else: one worker gets the
same ones each time, also after a kill.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact, extras
from edgecnn.bench.budget import LIMITS, Budget, excesses, limits_for
from edgecnn.config import RunConfig
from edgecnn.config.dicts import from_dict
from edgecnn.errors import ArtifactError, ConfigError, SearchError, unknown
from edgecnn.search import space
from edgecnn.search.trial import FIGURES, HIGHER_IS_BETTER, TARGET, TIMED, Outcome, losses

if TYPE_CHECKING:
    import optuna

    from edgecnn.data import DataSet

OBJECTIVES = tuple(name for name in (*FIGURES, *TIMED) if name not in ("drop_pp", "top1_agreement"))
SAMPLERS = ("tpe", "random")
_ATTRIBUTE = "edgecnn"  # of Optuna's study: what was asked for


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All that determines a study's suggestions and results."""

    objectives: tuple[str, ...]
    base: RunConfig  # whose data and recipe the trials have; its epochs are those of a training in full
    data_sha256: str
    side: int  # pixels of the images' shorter side
    epochs: int  # of the longest short training
    seed: int
    sampler: str
    runtime: str
    limits: dict[str, float]
    teacher: bool
    family: dict[str, Any]  # what is searched, as `space.described` says it

    @property
    def timed(self) -> bool:
        """Whether a figure is wanted that is measured by running the model."""
        return bool({*self.objectives, *(LIMITS[limit][0] for limit in self.limits)} & {*TIMED})

    @property
    def searched(self) -> dict[str, space.Parameter]:
        """What is searched, by name."""
        return space.space(teacher=self.teacher)


@dataclass
class Study:
    """An open study: its folder, what was asked for, and its trials in the database.

    What is suggested is worked out on a copy in memory: the sampler reads all earlier trials for every parameter. A
    trial reaches the database with its whole point at once.
    """

    folder: Path
    asked: Asked
    store: optuna.Study
    copy: optuna.Study
    trials: dict[int, optuna.trial.Trial]  # of the copy: those that are not told yet

    def ask(self) -> Outcome:
        """Return a new trial, open as yet: its number and its point."""
        import optuna

        with quiet_optuna():
            self.copy.sampler = _sampler(self.asked.sampler, self.asked.seed, len(self.copy.get_trials(deepcopy=False)))
            trial = self.copy.ask()
            point = space.suggested(trial, self.asked.searched)
            self.store.add_trial(
                optuna.create_trial(
                    state=optuna.trial.TrialState.RUNNING, params=trial.params, distributions=trial.distributions
                )
            )
            self.trials[trial.number] = trial
        return Outcome(number=trial.number, point=point, state="open")

    def unfinished(self) -> list[Outcome]:
        """Return the trials that were begun and not told of, as they were asked for; a kill may have left some."""
        return [Outcome(number=number, point=dict(one.params), state="open") for number, one in self.trials.items()]

    def tell(self, outcome: Outcome) -> None:
        """Tell Optuna what came of a trial that was asked for."""
        import optuna

        with quiet_optuna():
            whole = outcome.state == "complete"
            if whole and self.asked.limits:
                stored = self.store.get_trials(deepcopy=False)[outcome.number]
                for trial in (optuna.trial.Trial(self.store, stored._trial_id), self.trials[outcome.number]):
                    for limit, excess in self.excesses(outcome).items():
                        trial.set_constraint(limit, excess)
            states = optuna.trial.TrialState
            state = {"complete": states.COMPLETE, "failed": states.FAIL}.get(outcome.state, states.PRUNED)
            values = [outcome.figures[name] for name in self.asked.objectives] if whole else None
            self.store.tell(outcome.number, values, state=state)
            self.copy.tell(self.trials.pop(outcome.number), values, state=state)

    def excesses(self, outcome: Outcome) -> dict[str, float]:
        """Return for each limit of the budget by which share of it a trial is beyond; negative: within."""
        return excesses(Budget(self.asked.limits, {}), outcome.figures, artifact=TARGET.file)

    def told(self) -> list[int]:
        """Return the numbers of the trials that Optuna knows the end of."""
        return [one.number for one in self.copy.get_trials(deepcopy=False) if one.state.is_finished()]

    def losses(self, outcome: Outcome) -> list[float]:
        """Return the objectives of a complete trial as losses."""
        return losses(outcome.figures, self.asked.objectives)

    def result(self, number: int) -> Path:
        """Return where what came of a trial is kept."""
        return trial_folder(self.folder, number) / "result.json"


def asked_for(
    base: RunConfig,
    data: DataSet,
    *,
    objectives: tuple[str, ...],
    epochs: int | None = None,
    seed: int = 0,
    sampler: str = SAMPLERS[0],
    runtime: str = "litert",
    limits: Mapping[str, float] | None = None,
    teacher: bool = False,
) -> Asked:
    """Return what a study is asked for: trials of `base` on `data`, of at most `epochs`, by default a third of its own.

    With a `teacher` that of `base` may teach them. Raises `ConfigError` for what is unknown or out of range.
    """
    from edgecnn.bench.peers import SUFFIXES

    full = base.training.epochs
    if epochs is not None and not 1 <= epochs <= full:
        raise ConfigError(f"--epochs: {epochs}; expected 1 to {full}, those of recipe {base.recipe}")
    if sampler not in SAMPLERS:
        raise unknown("--sampler", sampler, SAMPLERS)
    runtimes = [name for name, suffixes in SUFFIXES.items() if TARGET.suffix in suffixes]
    if runtime not in runtimes:
        raise unknown("--runtime", runtime, runtimes)
    if teacher and base.teacher is None:
        raise ConfigError(f"--teacher: recipe {base.recipe} learns from no teacher; leave it out, or --recipe strong")
    return Asked(
        objectives=objectives,
        base=base if teacher else replace(base, teacher=None),
        data_sha256=data.sha256,
        side=min(data.input_shape[:2]),
        epochs=epochs or ceil(full / 3),
        seed=seed,
        sampler=sampler,
        runtime=runtime,
        limits=dict(limits or {}),
        teacher=teacher,
        family=space.described(space.space(teacher=teacher)),
    )


def objectives(names: str) -> tuple[str, ...]:
    """Return the objectives in a list by comma; raises `ConfigError`, listing the known, for another one."""
    found = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in found:
        if name not in OBJECTIVES:
            raise unknown("--objectives: objective", name, OBJECTIVES)
    if not found:
        raise ConfigError("--objectives: none named; expected some, by comma: top1,size_bytes")
    return found


def limits(budget: Budget | None) -> dict[str, float]:
    """Return the limits of a budget on what a trial exports; `ConfigError` for one that a trial has no figure for."""
    if budget is None:
        return {}
    found = limits_for(budget, (TARGET.file,))
    known = [limit for limit, (figure, _) in LIMITS.items() if figure in (*FIGURES, *TIMED)]
    for limit in found:
        if limit not in known:
            raise unknown("search: limit", limit, known)
    for file in budget.by_file:
        if file != TARGET.file:
            raise ConfigError(f"search: the budget limits {file}; a trial exports {TARGET.file} alone")
    return found


def opened(folder: Path, asked: Asked, *, storage: str | None = None) -> Study:
    """Return the study in a folder, begun if there is none.

    Raises `ConfigError` when the one there was asked for something else, `SearchError` when its database cannot be
    reached or read.
    """
    said = _as_json(asked)
    described = folder / "study.json"
    if described.exists():
        _refuse_other(folder, asked, read(folder))
    with _database(storage, folder) as place:
        import optuna

        up, down = optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE
        directions = [up if name in HIGHER_IS_BETTER else down for name in asked.objectives]
        names = [study.study_name for study in optuna.get_all_study_summaries(place)]
        name = folder.resolve().name
        if name not in names:
            optuna.create_study(storage=place, study_name=name, directions=directions).set_user_attr(_ATTRIBUTE, said)
        loaded = optuna.load_study(storage=place, study_name=name)
        kept = loaded.user_attrs.get(_ATTRIBUTE)
        if kept is None and not loaded.get_trials(deepcopy=False):  # killed between the two lines above
            loaded.set_user_attr(_ATTRIBUTE, said)
        elif kept is None:
            raise ConfigError(f"{folder}: the study {name} in the database is not edgecnn's; choose another --out")
        else:
            _refuse_other(folder, asked, _from_json(kept, where=f"{folder}: study {name}"))
        loaded.sampler = optuna.samplers.RandomSampler(seed=0)  # nothing is drawn there, see `Study`
        copy = optuna.create_study(directions=directions)
        copy.add_trials(loaded.get_trials(deepcopy=False))
        begun = copy.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING])
        trials = {one.number: optuna.trial.Trial(copy, one._trial_id) for one in begun}
    artifact.write_atomic(described, said + "\n")
    return Study(folder, asked, loaded, copy, trials)


def reopened(folder: Path, *, storage: str | None = None) -> Study:
    """Return the study in a folder as it was asked for; `ArtifactError` when there is none."""
    asked = read(folder)
    if storage is None and not (folder / "study.db").exists():
        raise SearchError(f"{folder}: no study.db there; where the trials are in another database, give its --storage")
    return opened(folder, asked, storage=storage)


def read(folder: Path) -> Asked:
    """Return what a study was asked for; raises `ArtifactError` when there is none in the folder."""
    path = folder / "study.json"
    if not path.exists():
        raise ArtifactError(f"{folder}: no study there (study.json); start one: edgecnn search")
    return _from_json(artifact.read_bytes(path).decode(errors="replace"), where=str(path))


def keep(study: Study, outcome: Outcome) -> None:
    """Write what came of a trial into the study's folder: the artifact first, the result last."""
    if outcome.content is not None and outcome.record is not None:
        digest = artifact.sha256(outcome.content)
        if digest != outcome.record["sha256"]:
            raise ArtifactError(f"trial {outcome.number}: its artifact arrived damaged; give the same command again")
        path = study.folder / "artifacts" / f"{digest}{TARGET.suffix}"
        record = artifact.record_from({**outcome.record, "artifact": path.name}, where=path)
        artifact.keep(path, outcome.content, record)
    values = dataclasses.asdict(replace(outcome, content=None, record=None))
    values |= {"sha256": outcome.record and outcome.record["sha256"]}
    artifact.write_atomic(study.result(outcome.number), json.dumps(values, indent=1) + "\n")


def outcomes(folder: Path) -> list[Outcome]:
    """Return what came of the trials of a study, in their order."""
    return [_outcome(path) for path in sorted(folder.glob("trials/*/result.json"))]


def trial_folder(folder: Path, number: int) -> Path:
    """Return where all of a trial lies."""
    return folder / "trials" / f"{number:04}"


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's log and warnings to itself, and say in one line when its database is gone."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise SearchError(
            f"--storage: the database cannot be used any more ({_reason(error)}); finished trials are kept: give the "
            f"same command again when it can"
        ) from None


@contextlib.contextmanager
def _database(url: str | None, folder: Path) -> Iterator[optuna.storages.RDBStorage]:
    """Yield Optuna's storage at `url`, by default the SQLite file in the folder."""
    extras.require("search", needed_by="search")
    import optuna
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    where = url or str(folder / "study.db")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        parsed = make_url(url or f"sqlite:///{(folder / 'study.db').resolve()}")
        where = parsed.render_as_string(hide_password=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.logging.set_verbosity(optuna.logging.CRITICAL)
            storage = optuna.storages.RDBStorage(parsed.render_as_string(hide_password=False))
            if parsed.get_backend_name() == "sqlite":
                _make_fast(storage)
            yield storage
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError, ImportError, ValueError) as error:
        raise SearchError(
            f"--storage {where}: cannot use that database ({_reason(error)}); check its URL, the server and the driver"
        ) from None


def _make_fast(storage: optuna.storages.RDBStorage) -> None:
    """Let SQLite write a log ahead: a killed process loses nothing by that, and every value is not a wait for the disk.

    A trial that a power cut takes out of the log is told again: its result is in the folder.
    """
    import sqlalchemy

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    storage.engine.dispose()  # what was opened before knows nothing of it


def _sampler(name: str, seed: int, number: int) -> optuna.samplers.BaseSampler:
    """Return a sampler whose draws are those of one trial: it has no state that a kill could lose."""
    import numpy as np
    import optuna

    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    return optuna.samplers.TPESampler(seed=own) if name == "tpe" else optuna.samplers.RandomSampler(seed=own)


def _refuse_other(folder: Path, asked: Asked, there: Asked) -> None:
    """Raise `ConfigError` when a study there was made for something else."""
    if there.objectives != asked.objectives:
        raise ConfigError(
            f"{folder}: holds a study for other objectives ({','.join(there.objectives)} there, "
            f"{','.join(asked.objectives)} asked); choose another --out"
        )
    if there.family != asked.family:
        raise ConfigError(f"{folder}: holds a study of another space; choose another --out")
    theirs, ours = _flat(json.loads(_as_json(there))), _flat(json.loads(_as_json(asked)))
    other = [
        f"{k}: {theirs.get(k)!r} there, {ours.get(k)!r} asked" for k in ours | theirs if theirs.get(k) != ours.get(k)
    ]
    if other:
        raise ConfigError(f"{folder}: holds a study with other settings ({'; '.join(other)}); choose another --out")


def _as_json(asked: Asked) -> str:
    return json.dumps(dataclasses.asdict(asked), indent=1)


def _from_json(text: str, *, where: str) -> Asked:
    try:
        values = json.loads(text)
        base = {name: value for name, value in values["base"].items() if value is not None}
        config = from_dict(RunConfig, _without_none(base), where=where)
        return Asked(**{**values, "base": config, "objectives": tuple(values["objectives"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{where}: no readable study ({error}); restore it or choose another --out") from None


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }


def _outcome(path: Path) -> Outcome:
    try:
        values = json.loads(artifact.read_bytes(path))
        values["rungs"] = {int(epoch): losses for epoch, losses in values["rungs"].items()}
        digest = values.pop("sha256")
        return Outcome(**{**values, "record": digest and {"sha256": digest}})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{path}: no readable result ({error}); remove its folder to run the trial again") from None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or getattr(error, "orig", None) or error
    return next(iter(str(cause).strip().splitlines()), type(error).__name__)
