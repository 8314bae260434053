"""Measuring: intervals against published values, percentiles that leave nothing out."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.bench.accuracy import (
    accuracy_delta,
    are_probabilities,
    calibration_curve,
    confusion_matrix,
    expected_calibration_error,
    mcnemar_exact,
    per_class_recall,
    top1_accuracy,
    wilson_interval,
    worst_mistakes,
)
from edgecnn.bench.budget import BudgetError, broken, combined, from_limits, parse
from edgecnn.bench.conditions import Watch, conditions, reasons
from edgecnn.bench.latency import Latency, measure_latency, median_round, ratio_to, spread, warm_up
from edgecnn.bench.parity import compare
from edgecnn.report.table import notes


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_the_published_values(correct: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(correct, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_stays_in_range(pair: tuple[int, int]) -> None:
    correct, total = pair
    low, high = wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    assert low < high


@pytest.mark.parametrize(("correct", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_what_is_no_proportion(correct: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"{correct} of {total}"):
        wilson_interval(correct, total)


def test_top1_counts_what_is_right() -> None:
    probabilities = np.eye(4, dtype=np.float32)
    accuracy = top1_accuracy(probabilities, np.array([0, 1, 2, 0]))
    assert (accuracy.top1, accuracy.images) == (0.75, 4)
    assert accuracy.top1_low < 0.75 < accuracy.top1_high


def test_confusion_has_truth_down_and_prediction_across() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    confusion = confusion_matrix(probabilities, np.array([0, 1, 0, 0]))
    assert confusion.tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert per_class_recall(confusion) == [pytest.approx(1 / 3), 1.0, None]


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    sure = np.tile(np.array([[0.9, 0.1]], np.float32), (10, 1))
    calibrated = calibration_curve(sure, np.array([0] * 9 + [1]))
    assert [(b.top1, b.images) for b in calibrated] == [(0.9, 10)]
    assert expected_calibration_error(calibrated) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(calibration_curve(sure, np.array([0] * 4 + [1] * 6))) == pytest.approx(0.5)
    certain = calibration_curve(np.eye(2, dtype=np.float32), np.array([0, 1]))
    assert expected_calibration_error(certain) == 0
    assert certain[0].confidence == 1.0


def test_what_are_probabilities_and_what_is_not() -> None:
    sure = np.array([[0.996, 0.008], [0.5, 0.5]], np.float32)  # int8 scores add up to 1 nearly
    assert are_probabilities(sure)
    for scores in (sure * 10, np.log(sure), sure - 0.5):
        assert not are_probabilities(scores)


def test_a_difference_in_accuracy_is_called_noise_or_not() -> None:
    row = {"artifact": "a.tflite", "runtime": "litert", "error": None, "ratio_to_baseline": 1.0, "mcnemar_p": 0.4}
    measured = {"results": [row], "baseline": "b.tflite", "conditions": {"not_clean": []}}
    assert notes(measured)[1] == "top-1 is that of the baseline, within noise (McNemar's exact test, p >= 0.05)"
    row["mcnemar_p"] = 0.003
    assert notes(measured)[1].startswith("top-1 differs from the baseline's in a.tflite (p = 0.003)")


def test_the_worst_mistakes_come_surest_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], np.float32)
    found = worst_mistakes(probabilities, np.array([1, 1, 1, 0]), most=2)
    assert [(m.image, m.label, m.predicted) for m in found] == [(1, 1, 0), (3, 0, 1)]
    assert found[0].probability == pytest.approx(0.9)


@pytest.mark.parametrize(("only", "other_only"), [(0, 0), (1, 0), (3, 9), (10, 10), (0, 12), (40, 61)])
def test_mcnemar_is_the_exact_binomial(only: int, other_only: int) -> None:
    from scipy.stats import binomtest

    right = np.array([True] * only + [False] * other_only + [True, False])
    other = np.array([False] * only + [True] * other_only + [True, False])
    tosses = only + other_only
    expected = binomtest(only, tosses).pvalue if tosses else 1.0
    assert mcnemar_exact(right, other) == pytest.approx(expected)
    assert mcnemar_exact(right, other) == mcnemar_exact(other, right)


def test_a_delta_says_drop_and_p_in_one_line() -> None:
    labels = np.zeros(6000, np.int64)
    parent, own = (np.tile(np.array([[1.0, 0.0]], np.float32), (6000, 1)) for _ in range(2))
    own[:1] = parent[-3:] = [0.0, 1.0]  # the parent misreads three images, the model another one
    delta = accuracy_delta(parent, own, labels)
    assert (delta.top1, delta.parent_top1, delta.images) == (5999 / 6000, 5997 / 6000, 6000)
    assert delta.drop_pp == pytest.approx(-2 / 60, abs=1e-6)
    assert delta.mcnemar_p == mcnemar_exact(own.argmax(1) == 0, parent.argmax(1) == 0) == 0.625
    assert str(delta) == "99.98 % of 6,000 validation images, parent 99.95 %: +0.03 pp, p 0.62"
    assert str(accuracy_delta(own, own, labels)).endswith("+0.00 pp, p 1.00")


def test_latency_keeps_the_tail() -> None:
    calls = []

    def invoke() -> None:
        calls.append(1)
        if len(calls) % 10 == 0:
            sum(range(20_000))  # every tenth call is slow

    latency = measure_latency(invoke, runs=100)
    assert len(calls) == latency.runs == 100
    assert 0 < latency.p50_us <= latency.p90_us < latency.p99_us


def test_latency_goes_on_until_the_time_has_passed() -> None:
    started = time.perf_counter()
    latency = measure_latency(lambda: None, runs=1, seconds=0.05)
    assert time.perf_counter() - started >= 0.05
    assert latency.runs > 100


def test_zero_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="0 runs; expected at least 1"):
        measure_latency(lambda: None, runs=0)


def test_warm_up_ends_when_stable_and_goes_on_while_it_is_not() -> None:
    assert warm_up(lambda: time.sleep(0.001), seconds=5, batch=5, tolerance=0.5) < 100
    slower = iter(range(10**9))
    calls = warm_up(lambda: sum(range(20 * next(slower))), seconds=0.2, batch=10)
    assert calls > 30


def test_the_median_round_is_one_that_was_measured() -> None:
    rounds = [Latency(p50, p50 + 1, p50 + 2, 10) for p50 in (9.0, 1.0, 5.0, 30.0, 4.0)]
    assert median_round(rounds) == Latency(5.0, 6.0, 7.0, 10)
    assert median_round(rounds[:2]).p50_us == 1.0
    assert spread(rounds) == pytest.approx(29)


def test_ratios_are_formed_turn_by_turn() -> None:
    """A machine that halves its speed in the middle changes both alike, and no ratio."""
    baseline = [Latency(p50, 0, 0, 1) for p50 in (10, 10, 20, 20, 20)]
    twice = [Latency(2 * b.p50_us, 0, 0, 1) for b in baseline]
    assert ratio_to(twice, baseline) == 2


def test_parity_measures_agreement_and_error() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    candidate = np.array([[0.4, 0.6], [0.2, 0.8]], np.float32)
    parity = compare(reference, candidate)
    assert (parity.top1_agreement, parity.images, parity.disagreeing) == (0.5, 2, (0,))
    assert parity.max_abs_error == pytest.approx(0.5)
    with pytest.raises(ValueError, match="expected the same shape"):
        compare(reference, candidate[:1])


ROWS = [
    {"artifact": "export/int8.tflite", "runtime": "litert", "top1": 0.98, "size_bytes": 45_000, "p50_us": None},
    {"artifact": "export/float32.onnx", "runtime": "ort", "top1": 0.99, "size_bytes": 143_000, "p50_us": 60.0},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[budget]\ntop1_min = 0.97", []),
        ("[budget]\ntop1_min = 0.985", ["export/int8.tflite (litert): top1 is 0.98; top1_min is 0.985"]),
        (
            "[budget]\nsize_bytes_max = 45000",
            ["export/float32.onnx (ort): size_bytes is 143000; size_bytes_max is 45000"],
        ),
        ("[budget]\np50_us_max = 100", ["export/int8.tflite (litert): p50_us is not measured; p50_us_max is 100"]),
        ("[budget]\ntop1_min = 0.985\n[budget.'int8.tflite']\ntop1_min = 0.9", []),
        ("[budget.'gone.tflite']\ntop1_min = 0.9", ["gone.tflite: in the budget, not measured"]),
        (
            "[budget.'export/int8.tflite']\ntop1_min = 0.985",
            ["export/int8.tflite (litert): top1 is 0.98; top1_min is 0.985"],
        ),
    ],
)
def test_a_budget_names_each_line_that_is_broken(text: str, expected: list[str]) -> None:
    assert broken(parse(text, where="budget.toml"), ROWS) == expected


def test_a_model_that_does_not_run_keeps_no_budget() -> None:
    dead = {"artifact": "a.onnx", "runtime": "ort", "error": "died of signal 4", "size_bytes": 10}
    limits = parse("[budget]\nsize_bytes_max = 50", where="budget.toml")
    assert broken(limits, [dead]) == ["a.onnx (ort): died of signal 4"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[budget", r"no \[budget\] table"),
        ("[budget.'int8.tflite']", r"\[budget.\"int8.tflite\"\] is empty; a budget without limits checks nothing"),
        ("[limits]\ntop1_min = 1", r"no \[budget\] table"),
        ("[budget]", r"\[budget\] is empty; a budget without limits checks nothing"),
        ("[budget]\ntop2_min = 1", "'top2_min' is unknown; expected one of: .*top1_min"),
        ("[budget]\ntop1_min = 'high'", "top1_min is 'high'; expected a number"),
        ("[budget]\ntop1_min = nan", "top1_min is nan; expected a number"),
    ],
)
def test_a_budget_that_cannot_be_checked_is_refused(text: str, message: str) -> None:
    with pytest.raises(BudgetError, match=f"budget.toml: {message}"):
        parse(text, where="budget.toml")


def test_limits_given_in_line_hold_over_those_of_a_file() -> None:
    file = parse("[budget]\ntop1_min = 0.5\n[budget.'int8.tflite']\ntop1_min = 0.9", where="budget.toml")
    both = combined(file, from_limits(["top1_min=0.985", "size_bytes_max=1e6"], where="--budget"))
    assert broken(both, ROWS) == ["export/int8.tflite (litert): top1 is 0.98; top1_min is 0.985"]
    assert "int8.tflite" in both.by_file, "still has to be measured"


@pytest.mark.parametrize(
    ("limit", "message"), [("top1_min", "got 'top1_min'; expected NAME=NUMBER"), ("top9=1", "'top9' is unknown")]
)
def test_limits_in_line_that_cannot_be_checked_are_refused(limit: str, message: str) -> None:
    with pytest.raises(BudgetError, match=f"--budget: {message}"):
        from_limits([limit], where="--budget")


def test_what_others_do_meanwhile_is_seen_and_what_we_do_is_not() -> None:
    busy = "import time; end = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass"
    watch = Watch()
    subprocess.run([sys.executable, "-c", busy], check=True)
    ours = watch.seen()["busy_cores_meanwhile"]
    # A child's time is counted as ours when it has ended; one that has not stands for another program.
    other = subprocess.Popen([sys.executable, "-c", busy])
    watch = Watch()
    time.sleep(1.0)
    theirs = watch.seen()["busy_cores_meanwhile"]
    other.wait()
    assert theirs >= ours + 0.5


def test_conditions_are_those_of_this_machine() -> None:
    found = conditions(look_s=0.05)
    assert found["cpu"]
    assert found["cores"] >= 1
    assert 0 <= found["busy_cores"] <= found["cores"]
    assert found["not_clean"] == reasons(found)


def test_a_busy_or_throttled_machine_is_not_clean() -> None:
    clean = {"busy_cores": 0.05, "governor": None, "throttled": None}
    assert reasons(clean) == []
    assert reasons(clean | {"busy_cores": 1.0}) == ["other programs keep 1.00 cores busy"]
    assert reasons(clean | {"governor": "powersave"}) == ["CPU governor is powersave, not performance"]
    assert reasons(clean | {"throttled": 0x50005}) == ["board reports undervoltage", "board reports throttled"]
    assert reasons(clean | {"throttled": 0x50000}) == [], "it was, since boot; it is not now"
    came_and_went = {"throttled": 0x20000, "throttled_meanwhile": 0x30000}
    assert reasons(clean | came_and_went) == ["board reports undervoltage"], "not what was there before"
    assert reasons(clean | {"busy_cores_meanwhile": 0.6}) == ["other programs keep 0.60 cores busy"]
    assert reasons(clean | {"throttled_meanwhile": 0x4}) == ["board reports throttled"]
