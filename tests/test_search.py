"""A search: its space, its suggestions, what survives a kill, what is stopped, and what it says of bad input."""

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("optuna")

from edgecnn import artifact, pipeline, zoo
from edgecnn.artifact import Run
from edgecnn.cli import choose
from edgecnn.config import RunConfig
from edgecnn.config.names import LAYERS
from edgecnn.errors import ArtifactError, ConfigError, DataError, GateError, SearchError
from edgecnn.search import driver, executor, front, space, study, trial
from edgecnn.search.study import Asked
from edgecnn.search.trial import Outcome
from tests import search_trials
from tests.conftest import ROOT, Edgecnn
from tests.test_pipeline import taught_config

BASE = choose.settings("edge35k", data="digits", recipe="quick")
DATA = SimpleNamespace(sha256="0" * 64, input_shape=(28, 28, 1))


def asked(**options: object) -> Asked:
    return study.asked_for(BASE, DATA, **{"objectives": ("top1", "size_bytes"), **options})  # type: ignore[arg-type]


def searched(
    folder: Path, run: Callable[[trial.Job], Outcome] = search_trials.noop, *, trials: int = 6, workers: int = 1,
    limits: executor.Limits | None = None, **options: object,
) -> list[Outcome]:  # fmt: skip
    opened = study.opened(folder, asked(**options))
    with executor.local(workers, limits or executor.Limits()) as found:
        return driver.search(opened, found, trials=trials, run=run)


def points(seed: int, count: int = 60) -> list[dict[str, object]]:
    """Return random points of the space."""
    import optuna

    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [space.suggested(drawn.ask(), space.space(teacher=seed % 2 == 1)) for _ in range(count)]


# --- the space


@pytest.mark.parametrize("side", [28, 12, 8])
def test_every_point_is_a_network_that_fits_its_images(side: int) -> None:
    for point in random.Random(side).sample(points(0), 4):
        arch = LAYERS + space.layers(point, side=side)
        model = zoo.build(arch, input_shape=(side, side, 1), classes=10)
        assert model.output_shape == (None, 10)


def test_a_point_is_what_a_run_is_asked_for() -> None:
    for point in points(0):
        short, full = (space.configured(point, BASE, side=28, epochs=epochs) for epochs in (3, None))
        assert isinstance(short, RunConfig)
        assert short.arch == full.arch
        assert (short.training.epochs, full.training.epochs) == ((3, 6) if point["epochs"] == 1.0 else (2, 3))
        assert full.exporting == BASE.exporting, "what is kept passes the recipe's gate"
        assert (short.training.augmentation is None) == (point["augmentation"] == 0)
        if (method := space.pruning_of(point)) is not None:
            assert method == short.pruning.method
        assert point["block"] == "plain" or method != "structured"


def test_a_network_that_is_taught_is_given_no_distorted_images() -> None:
    base = choose.settings("edge35k", data="digits", recipe="strong")
    for point in points(1):
        config = space.configured(point, base, side=28)
        assert (config.teacher is None) == (point["distillation"] == "no")
        assert config.teacher is None or config.training.augmentation is None


def test_an_architecture_can_be_written_out(edgecnn: Edgecnn, tmp_path: Path) -> None:
    done = edgecnn(
        "train", "--data", "digits", "--recipe", "quick", "--epochs", "1", "--arch", "layers:C4@5n P2 S6@3 G",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = tmp_path / done.stdout.strip()
    assert path.parts[-3].startswith("digits-layers-quick-")
    assert json.loads(path.with_name("record.json").read_text())["settings"]["arch"] == "layers:C4@5n P2 S6@3 G"


@pytest.mark.parametrize("arch", ["layers:", "layers:Q3", "layers:C4@5n P"])
def test_what_is_no_notation_is_refused(arch: str) -> None:
    with pytest.raises(ConfigError, match="architecture: "):
        choose.settings(arch, data="digits")


# --- fronts, rungs and conditions


def test_the_front_is_what_no_other_one_beats() -> None:
    rng = random.Random(0)
    losses = [(rng.random(), rng.random(), rng.random()) for _ in range(40)]
    best = front.front(losses)
    for i, one in enumerate(losses):
        beaten = any(all(a <= b for a, b in zip(o, one, strict=True)) and o != one for o in losses)
        assert (i in best) != beaten
    assert best == sorted(best, key=lambda i: losses[i])


def test_ahead_counts_better_fronts() -> None:
    others = [(1, 4), (2, 3), (4, 1), (2, 4), (5, 5)]
    assert front.ahead((3, 2), others) == 0, "nothing beats it"
    assert front.ahead((3, 4), others) == 4, "the first front of three, then (2, 4)"
    assert front.ahead((6, 6), others) == 5


def test_a_trial_is_stopped_when_half_of_the_earlier_ones_are_ahead() -> None:
    good = [(-0.9, 1000.0)] * 5
    assert trial.hopeless((-0.5, 2000.0), good)
    assert not trial.hopeless((-0.5, 900.0), good), "a smaller network is no worse for being less accurate"
    assert not trial.hopeless((-0.5, 2000.0), good[:4]), "too few to say"
    assert not trial.hopeless((-0.5, 2000.0), [*good[:2], (-0.4, 3000.0), (-0.3, 3000.0), (-0.4, 2500.0)])


def test_a_condition_reads_comparisons_and_nothing_else() -> None:
    known = ("size_bytes", "top1")
    met = front.condition("size_bytes < 8000 and (top1 > 0.99 or top1 == 0.5) and 0 <= top1 <= 1", known)
    assert met.distance({"size_bytes": 7999, "top1": 0.995}) == 0
    assert met.distance({"size_bytes": 7999, "top1": 0.5}) == 0
    assert met.distance({"size_bytes": 8000, "top1": 0.995}) > 0
    assert met.distance({"size_bytes": 8800, "top1": 0.995}) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "text",
    [
        "", "top1", "top1 >", "__import__('os').system('true') == 0", "top1.real > 0", "top1 > 'a'", "not top1 > 1",
        "top1 + 1 > 2", "(lambda: 1)() > 0", "top1 > 0.9; top1 > 1", "1 < 2", "top1 in [1]", "(" * 5000, "top1 = 1",
        "top1 > True", "top1 != 1", "top1 > [x for x in ()]", "top1 > -top1",
    ],
)  # fmt: skip
def test_a_condition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--where: cannot read"):
        front.condition(text, ("top1",))


def test_a_condition_on_what_there_is_not_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match="--where: figure: 'size' is unknown; expected one of: size_bytes, top1"):
        front.condition("size < 8000", ("top1", "size_bytes"))


# --- suggestions, kills and limits


def test_the_same_seed_suggests_the_same_with_one_worker(tmp_path: Path) -> None:
    runs = [[one.point for one in searched(tmp_path / name, trials=16)] for name in ("a", "b")]
    assert runs[0] == runs[1]
    assert [one.point for one in searched(tmp_path / "c", trials=16, seed=1)] != runs[0]


def test_a_study_that_goes_on_suggests_what_it_would_have(tmp_path: Path) -> None:
    whole = [one.point for one in searched(tmp_path / "whole", trials=14)]
    for trials in (5, 11, 14):
        parts = searched(tmp_path / "parts", trials=trials)
    assert [one.point for one in parts] == whole
    assert searched(tmp_path / "parts", trials=14) == parts, "nothing is left to do"


def test_a_killed_worker_costs_one_more_start_and_no_other_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECNN_STARTS", str(tmp_path))
    found = searched(tmp_path.with_suffix(".study"), search_trials.killed_once, workers=2)
    assert {one.state for one in found} == {"complete"}
    assert search_trials.starts(tmp_path) == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}


def test_a_trial_that_kills_its_worker_twice_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECNN_STARTS", str(tmp_path))
    found = searched(tmp_path.with_suffix(".study"), search_trials.killed_always, workers=2)
    assert [one.state for one in found] == ["complete", "failed", *["complete"] * 4]
    assert found[1].reason == "twice its process died (signal SIGKILL)"
    assert search_trials.starts(tmp_path)[1] == 2


@pytest.mark.parametrize(
    ("run", "limits", "reason"),
    [
        (search_trials.endless, executor.Limits(seconds=0.5), r"took longer than 0.5 s \(--trial-time\)"),
        (search_trials.hungry, executor.Limits(memory_bytes=300_000_000), r"took \d+ MB of memory, allowed are 300"),
    ],
)
def test_a_trial_that_takes_too_much_has_failed(
    tmp_path: Path, run: Callable[[trial.Job], Outcome], limits: executor.Limits, reason: str
) -> None:
    searched(tmp_path, trials=1, limits=limits)  # the process has imported what it needs
    found = searched(tmp_path, run, trials=3, limits=limits)
    assert [one.state for one in found] == ["complete", "failed", "complete"]
    assert re.match(reason, found[1].reason), found[1].reason


def test_what_every_trial_would_meet_ends_the_search(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits: not here"):
        searched(tmp_path / "a", search_trials.without_data)
    with pytest.raises(SearchError, match="3 trials failed, none was complete; the last one: RuntimeError: libexample"):
        searched(tmp_path / "b", search_trials.broken)


DRIVER = """
import os, signal, sys
from pathlib import Path
from edgecnn.search import driver, executor, study
from tests import search_trials
from tests.test_search import asked

opened = study.opened(Path(sys.argv[1]), asked())
if sys.argv[2] == "before-tell":  # the result of trial 2 is in the folder, and Optuna never hears of it
    tell = opened.tell
    def killed(outcome):
        if outcome.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        tell(outcome)
    opened.tell = killed
with executor.local(2, executor.Limits()) as workers:
    driver.search(opened, workers, trials=8, run=search_trials.slow)
"""


def test_a_trial_is_taught_by_the_teacher_that_the_search_was_given(tmp_path: Path) -> None:
    config, teacher = taught_config(), Run(tmp_path / "teacher")
    with pipeline.begin(config, teacher.root) as work:
        pipeline.teach(work)
        wanted = study.asked_for(config, work.data, objectives=("top1", "size_bytes"), teacher=True)
    point = next(one for one in points(1) if (one["distillation"], one["block"]) == ("yes", "plain"))
    point |= {"pruning": "none", "quantization": "ptq", "depth": 2, "filters": 8}
    job = trial.Job(
        number=0, point=point, config=space.configured(point, wanted.base, side=wanted.side, epochs=wanted.epochs),
        objectives=wanted.objectives, timed=False, runtime="litert", data_sha256=wanted.data_sha256,
        folder=tmp_path / "run", teacher=teacher.root,
    )  # fmt: skip
    outcome = trial.run(job)
    assert outcome.state == "complete", outcome.reason
    trained = artifact.read_record(tmp_path / "run" / "train" / "model.keras")
    members = [artifact.read_record(teacher.teacher / str(number) / "model.keras").sha256 for number in range(2)]
    assert list(trained.parents.values()) == members


@pytest.mark.parametrize("moment", ["before-tell", "any"])
def test_a_killed_driver_goes_on_and_runs_no_finished_trial_twice(tmp_path: Path, moment: str) -> None:
    folder, begun = tmp_path / "study", tmp_path / "starts"
    begun.mkdir()
    command = [sys.executable, "-c", DRIVER, str(folder)]
    environment = {**os.environ, "EDGECNN_STARTS": str(begun)}
    process = subprocess.Popen([*command, moment], cwd=ROOT, env=environment)
    if moment == "any":
        while len(list(folder.glob("trials/*/result.json"))) < 3:
            time.sleep(0.02)
        process.kill()
    assert process.wait(timeout=60) == -signal.SIGKILL
    finished = [int(path.parent.name) for path in folder.glob("trials/*/result.json")]
    contents = {number: (folder / f"trials/{number:04}/result.json").read_bytes() for number in finished}
    subprocess.run([*command, "go-on"], cwd=ROOT, env=environment, check=True, timeout=60)
    started = search_trials.starts(begun)
    assert sorted(started) == list(range(8))
    for number in finished:
        assert started[number] == 1
        assert (folder / f"trials/{number:04}/result.json").read_bytes() == contents[number]
    assert len(finished) >= 2
    assert sum(started.values()) <= 8 + 2, "what was in mid-trial is started again, nothing else"
    opened = study.opened(folder, asked())
    assert opened.told() == list(range(8))
    assert opened.unfinished() == []


def test_processes_end_with_their_driver(tmp_path: Path) -> None:
    """A killed driver leaves no worker behind that would go on writing."""
    code = f"{DRIVER}".replace("search_trials.slow", "search_trials.endless")
    environment = {**os.environ, "EDGECNN_STARTS": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "study"), "any"], cwd=ROOT, env=environment)
    children: list[str] = []
    while len(children) < 2:
        time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            children = [*children, *(task / "children").read_text().split()]
    process.kill()
    process.wait()
    ends = time.monotonic() + 10
    while (alive := [pid for pid in children if Path(f"/proc/{pid}/cmdline").exists()]) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not alive


# --- bad input


def test_a_study_of_something_else_is_refused(tmp_path: Path) -> None:
    study.opened(tmp_path, asked())
    with pytest.raises(ConfigError, match=r"other objectives \(top1,size_bytes there, top1,macs asked\)"):
        study.opened(tmp_path, asked(objectives=("top1", "macs")))
    with pytest.raises(ConfigError, match=r"other settings \(seed: 0 there, 3 asked\)"):
        study.opened(tmp_path, asked(seed=3))
    described = tmp_path / "study.json"
    values = json.loads(described.read_text())
    values["family"]["filters"]["high"] = 64
    described.write_text(json.dumps(values))
    with pytest.raises(ConfigError, match="holds a study of another space"):
        study.opened(tmp_path, asked())
    described.unlink()  # the database knows too
    with pytest.raises(ConfigError, match="other objectives"):
        study.opened(tmp_path, asked(objectives=("top1", "macs")))


def test_a_study_without_its_results_is_refused(tmp_path: Path) -> None:
    searched(tmp_path, trials=2)
    (tmp_path / "trials" / "0001" / "result.json").unlink()
    with pytest.raises(SearchError, match="the database knows the end of trial 1, of which there is no result here"):
        searched(tmp_path, trials=3)


@pytest.mark.parametrize("content", ["{", '{"objectives": 3}', "[]"])
def test_a_damaged_study_is_said_to_be_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "study.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"study.json: no readable study"):
        study.reopened(tmp_path, storage="sqlite://")
    searched(tmp_path / "b", trials=1)
    (tmp_path / "b" / "trials" / "0000" / "result.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"result.json: no readable result"):
        searched(tmp_path / "b", trials=2)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql+nodriver://me:secret@127.0.0.1:1/x",
            "postgresql+nodriver://me:***@127.0.0.1:1/x: cannot use that",
        ),
        ("sqlite:////nowhere/at/all.db", "sqlite:////nowhere/at/all.db: cannot use that database"),
        ("no url", "no url: cannot use that database"),
    ],
)
def test_a_database_that_is_not_there_is_one_line(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(SearchError) as caught:
        study.opened(tmp_path, asked(), storage=url)
    assert str(caught.value).startswith(f"--storage {said}")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(SearchError, match=r"cannot use that database .*file is not a database"):
        study.opened(tmp_path, asked())
    other = tmp_path / "other"
    searched(other, trials=1)
    with sqlite3.connect(other / "study.db") as connection:
        connection.execute("drop table trial_values")
    with pytest.raises(SearchError, match="database"):
        searched(other, trials=2)


def test_a_budget_that_nothing_meets_says_how_near_the_best_came(tmp_path: Path) -> None:
    opened = study.opened(tmp_path, asked(limits={"size_bytes_max": 3000.0, "top1_min": 0.5}))
    with executor.local(1, executor.Limits()) as workers:
        found = driver.search(opened, workers, trials=6, run=search_trials.noop)
    near = min(found, key=lambda one: one.figures["size_bytes"])
    beyond = near.figures["size_bytes"] / 3000 - 1
    with pytest.raises(GateError) as caught:
        driver.check_budget(opened, found)
    assert f"trial {near.number} comes nearest, it misses size_bytes_max 3000 by {beyond:.1%}" in str(caught.value)
    from edgecnn.search.showing import best

    assert best(opened, found) == []


def test_the_budget_is_told_to_the_sampler(tmp_path: Path) -> None:
    opened = study.opened(tmp_path, asked(limits={"size_bytes_max": 10_000.0}))
    with executor.local(1, executor.Limits()) as workers:
        found = driver.search(opened, workers, trials=5, run=search_trials.noop)
    for kept in (opened.store, opened.copy):
        for one, frozen in zip(found, kept.get_trials(), strict=True):
            assert frozen.constraints == {"size_bytes_max": pytest.approx(one.figures["size_bytes"] / 10_000 - 1)}


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: study.objectives(","), "--objectives: none named"),
        (lambda: study.limits(choose.budget(None, ["ratio_to_baseline_max=2"])), "search: limit: 'ratio_to_baseline"),
        (lambda: choose.seconds("soon", "--time"), "--time: got 'soon'; expected a number and a unit, like 90s, 30m"),
        (lambda: choose.trial_limits(cores=1, memory="4X", trial_time=None), "--memory: got '4X'"),
        (lambda: executor.local(1, executor.Limits(cores=4000)).__enter__(), "--cores: 4000; expected at most the "),
        (lambda: executor.cluster("nonsense:", 1, executor.Limits()).__enter__(), "--scheduler: got 'nonsense:'; expe"),
        (lambda: asked(sampler="luck"), "--sampler: 'luck' is unknown; expected one of: random, tpe"),
        (lambda: asked(runtime="ort"), "--runtime: 'ort' is unknown; expected one of: "),
        (lambda: asked(epochs=900), "--epochs: 900; expected 1 to 6, those of recipe quick"),
        (lambda: asked(teacher=True), "--teacher: recipe quick learns from no teacher"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ask()
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--objectives", "top1,speed"], 2, "--objectives: objective: 'speed' is unknown; expected one of: "),
        (["--scheduler", "tcp://127.0.0.1:1"], 2, "--scheduler tcp://127.0.0.1:1: no Dask scheduler answers"),
        (["show", "nowhere"], 2, "nowhere: no study there (study.json); start one: edgecnn search"),
        (["export", "--where", "top1 >"], 2, "--where: cannot read 'top1 >'"),
    ],
)
def test_bad_input_is_one_line(edgecnn: Edgecnn, tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = edgecnn("search", *arguments, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"error: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
