"""Measuring: intervals against published values, percentiles that leave nothing out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecnn.bench.accuracy import (
    confusion_matrix,
    expected_calibration_error,
    mcnemar_exact,
    per_class_recall,
    top1_accuracy,
    wilson_interval,
)
from edgecnn.bench.latency import Latency, measure_interleaved, measure_latency, median_round
from edgecnn.bench.parity import compare


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
    assert expected_calibration_error(sure, np.array([0] * 9 + [1])) == pytest.approx(0, abs=1e-6)
    assert expected_calibration_error(sure, np.array([0] * 4 + [1] * 6)) == pytest.approx(0.5, abs=1e-6)
    certain = np.eye(2, dtype=np.float32)
    assert expected_calibration_error(certain, np.array([0, 1])) == 0


@pytest.mark.parametrize(("only", "other_only"), [(0, 0), (1, 0), (3, 9), (10, 10), (0, 12), (40, 61)])
def test_mcnemar_is_the_exact_binomial(only: int, other_only: int) -> None:
    from scipy.stats import binomtest

    right = np.array([True] * only + [False] * other_only + [True, False])
    other = np.array([False] * only + [True] * other_only + [True, False])
    tosses = only + other_only
    expected = binomtest(only, tosses).pvalue if tosses else 1.0
    assert mcnemar_exact(right, other) == pytest.approx(expected)
    assert mcnemar_exact(right, other) == mcnemar_exact(other, right)


def test_latency_calls_warmup_and_runs_and_keeps_the_tail() -> None:
    calls = []

    def invoke() -> None:
        calls.append(1)
        if len(calls) > 5 and len(calls) % 10 == 0:
            sum(range(20_000))  # every tenth call is slow

    latency = measure_latency(invoke, warmup=5, runs=100)
    assert len(calls) == 105
    assert (latency.runs, latency.warmup) == (100, 5)
    assert 0 < latency.p50_us <= latency.p90_us < latency.p99_us


def test_zero_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="0 runs; expected at least 1"):
        measure_latency(lambda: None, warmup=0, runs=0)


def test_interleaving_takes_turns() -> None:
    calls: list[str] = []
    rounds = measure_interleaved([lambda: calls.append("A"), lambda: calls.append("B")], rounds=3, warmup=1, runs=2)
    assert "".join(calls) == "AAABBB" * 3
    assert [len(of_one) for of_one in rounds] == [3, 3]


def test_the_median_round_is_one_that_was_measured() -> None:
    rounds = [Latency(p50, p50 + 1, p50 + 2, 10, 1) for p50 in (9.0, 1.0, 5.0, 30.0, 4.0)]
    assert median_round(rounds) == Latency(5.0, 6.0, 7.0, 10, 1)
    assert median_round(rounds[:2]).p50_us == 1.0


def test_parity_measures_agreement_and_error() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    candidate = np.array([[0.4, 0.6], [0.2, 0.8]], np.float32)
    parity = compare(reference, candidate)
    assert (parity.top1_agreement, parity.images) == (0.5, 2)
    assert parity.max_abs_error == pytest.approx(0.5)
    with pytest.raises(ValueError, match="expected the same shape"):
        compare(reference, candidate[:1])
