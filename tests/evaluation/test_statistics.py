"""Intervals and tests against scipy's own."""

import numpy as np
import pytest
from scipy import stats

from lib.evaluation.statistics import RESAMPLES, holm, mean_interval, paired


@pytest.fixture
def values():
    return np.random.default_rng(5).beta(8, 2, size=40)


def test_one_sample_a_case_is_the_ordinary_bootstrap(values):
    found = mean_interval(values, [f"case {n}" for n in range(40)])
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_copies_of_a_case_do_not_narrow_the_interval(values):
    cases = [f"case {n}" for n in range(40)]
    once = mean_interval(values, cases)
    thrice = mean_interval(np.tile(values, 3), cases * 3)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low)


def test_one_case_has_no_interval(values):
    found = mean_interval(values, ["same"] * 40)
    assert found.mean == pytest.approx(values.mean())
    assert np.isnan(found.low)
    assert np.isnan(mean_interval([], []).mean)


def test_paired_is_scipys_wilcoxon(values):
    other = values + np.random.default_rng(6).normal(0.02, 0.03, 40)
    found = paired(other, values, list(map(str, range(40))))
    assert found.p == pytest.approx(stats.wilcoxon(other, values).pvalue)
    assert found.difference.mean == pytest.approx((other - values).mean())
    assert found.difference.low < found.difference.mean < found.difference.high
    assert paired(values, values, list(map(str, range(40)))).p == 1.0


def test_holm_by_hand():
    # 0.01 · 3, 0.02 · 2, 0.03 · 1 raised to the one before
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    with_gap = holm([0.5, float("nan"), 0.9])
    assert with_gap[0] == 1.0
    assert np.isnan(with_gap[1])
