"""What a study shows, and the trial that is trained in full."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("optuna")

from edgecnn.artifact import Run
from edgecnn.config.toml import from_toml
from edgecnn.errors import GateError
from edgecnn.search import driver, executor, front, showing, study, trial
from edgecnn.search.study import Study
from edgecnn.search.trial import Outcome
from tests import search_trials
from tests.conftest import Edgecnn
from tests.test_search import BASE, asked


@pytest.fixture(scope="module")
def noops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Outcome]]:
    """Return a study of trials that did nothing."""
    opened = study.opened(tmp_path_factory.mktemp("noops") / "study", asked(objectives=("top1", "size_bytes", "macs")))
    with executor.local(1, executor.Limits()) as workers:
        return opened, driver.search(opened, workers, trials=12, run=search_trials.noop)


def test_the_front_is_a_table_pictures_and_a_page(noops: tuple[Study, list[Outcome]], edgecnn: Edgecnn) -> None:
    opened, found = noops
    done = edgecnn("search", "show", opened.folder)
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page == opened.folder / "report.html"
    html = page.read_text()
    for one in showing.best(opened, found):
        assert re.search(rf"^ {one.number} ", done.stdout, re.MULTILINE), done.stdout
        assert f'<th scope="row">{one.number}</th>' in html
    assert "learning_rate" in done.stdout
    for name in ("front-size_bytes", "front-macs", "importances"):
        assert (opened.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f'<figure id="{name}">' in html
    assert not re.search(r'(?:src|href)="(?!data:)', html), "the page opens without a network"


def test_importances_are_shares_of_what_moves_an_objective(noops: tuple[Study, list[Outcome]]) -> None:
    shares = showing.importances(noops[0])
    assert list(shares) == ["top1", "size_bytes", "macs"]
    for found in shares.values():
        assert sum(found.values()) == pytest.approx(1)
    assert max(shares["size_bytes"], key=lambda name: shares["size_bytes"][name]) == "filters"


def test_the_best_that_fits_is_the_best_by_the_first_objective(noops: tuple[Study, list[Outcome]]) -> None:
    opened, found = noops
    condition = front.condition("size_bytes <= 9000", trial.FIGURES)
    fit = [one for one in found if one.figures["size_bytes"] <= 9000]
    assert showing.best_where(opened, found, condition).figures["top1"] == max(one.figures["top1"] for one in fit)


def test_a_condition_that_nothing_meets_says_how_near_the_best_came(noops: tuple[Study, list[Outcome]]) -> None:
    opened, found = noops
    near = min(found, key=lambda one: one.figures["size_bytes"])
    said = rf"none of 12 complete trials has size_bytes < 3000; trial {near.number} comes nearest with size_bytes "
    with pytest.raises(GateError, match=f"{said}{near.figures['size_bytes']:,.0f}; "):
        showing.best_where(opened, found, front.condition("size_bytes < 3000", trial.FIGURES))
    with pytest.raises(GateError, match="no complete trial has p50_us"):
        showing.best_where(opened, found, front.condition("p50_us < 3000", (*trial.FIGURES, *trial.TIMED)))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a study of one real trial, a small network whose training is short."""
    opened = study.opened(tmp_path_factory.mktemp("real") / "study", asked_for_digits())
    with executor.local(1, executor.Limits()) as workers:
        driver.search(opened, workers, trials=1)
    return opened


def asked_for_digits() -> study.Asked:
    from edgecnn.pipeline import load_data

    # Seed 1 begins with a small separable network that is neither pruned nor trained for int8.
    return study.asked_for(BASE, load_data(BASE), objectives=("top1", "size_bytes"), epochs=3, seed=1)


def test_a_real_trial_is_an_ordinary_run_and_its_figures_are_those_of_its_file(real: Study, edgecnn: Edgecnn) -> None:
    (outcome,) = study.outcomes(real.folder)
    assert outcome.state == "complete", outcome.reason
    run = Run(study.trial_folder(real.folder, 0) / "run")
    (exported,) = run.exports()
    assert outcome.record is not None
    (kept,) = (real.folder / "artifacts").glob("*.tflite")
    assert kept.read_bytes() == exported.read_bytes()
    assert kept.stem == outcome.record["sha256"]
    assert outcome.figures["size_bytes"] == len(kept.read_bytes())
    record = json.loads(Path(f"{kept}.json").read_text())
    assert outcome.figures["top1"] == record["metrics"]["validation_top1"]
    assert sorted(outcome.rungs) == trial.rung_epochs(3)
    assert edgecnn("verify", real.folder).returncode == 0


def test_export_trains_in_full_through_the_gates(real: Study, edgecnn: Edgecnn, tmp_path: Path) -> None:
    out = tmp_path / "best"
    done = edgecnn("search", "export", real.folder, "--where", "size_bytes < 60000", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "export" / "baseline" / "int8.tflite")
    assert "trained in full: top1 " in done.stderr
    config = from_toml((out / "config.toml").read_text(), where="config.toml")
    (outcome,) = study.outcomes(real.folder)
    assert config.training.epochs == round(BASE.training.epochs * outcome.point["epochs"])
    assert config.exporting == BASE.exporting
    again = edgecnn("search", "export", real.folder, "--where", "size_bytes < 60000", "--out", out)
    assert again.stdout == done.stdout
    refused = edgecnn("search", "export", real.folder, "--where", "size_bytes < 100")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert "trial 0 comes nearest with size_bytes" in refused.stderr
