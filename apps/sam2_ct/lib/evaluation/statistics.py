"""What a reviewer would ask for: confidence intervals, and tests between paired configurations.

Samples of one patient resemble each other, so resampling is of **cases**, not of samples: the
bootstrap draws cases with all their samples (a cluster bootstrap). Where every case has one sample
it is the ordinary bootstrap of the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
SEED = 0


@dataclass(frozen=True)
class Interval:
    """A mean and the limits of its 95 % confidence interval; NaN limits where there is none."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """One configuration against another on the same samples.

    Attributes:
        difference: mean of (first − second) with its interval.
        p: two-sided Wilcoxon signed-rank test.
        n: samples that both measured.
    """

    difference: Interval
    p: float
    n: int


def mean_interval(values: Sequence[float], cases: Sequence[str]) -> Interval:
    """Mean over samples with a percentile bootstrap interval over cases (scipy).

    Args:
        values: (n,) one figure a sample.
        cases: (n,) which case each is of.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    _, which = np.unique(np.asarray(cases), return_inverse=True)
    totals = np.bincount(which, weights=values)
    counts = np.bincount(which).astype(float)
    mean = float(values.mean())
    if len(totals) < 2:
        return Interval(mean, float("nan"), float("nan"))
    found = stats.bootstrap(
        (totals, counts),
        lambda t, c, axis: t.sum(axis) / c.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high))


def paired(first: Sequence[float], second: Sequence[float], cases: Sequence[str]) -> Paired:
    """Compare two configurations measured on the same samples, in the same order."""
    difference = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    if len(difference) == 0:
        nothing = Interval(float("nan"), float("nan"), float("nan"))
        return Paired(nothing, float("nan"), 0)
    # the test leaves out ties; with ties alone there is nothing to tell apart
    p = float(stats.wilcoxon(difference).pvalue) if difference.any() else 1.0
    return Paired(mean_interval(difference, cases), p, len(difference))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction for several tests: adjusted p-values in the order given; NaN stays."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p, kind="stable") if not np.isnan(p[i])]
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, (len(order) - rank) * p[i])
        adjusted[i] = min(highest, 1.0)
    return adjusted.tolist()
