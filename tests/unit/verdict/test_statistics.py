"""The likelihood ratios against scipy's distributions and integrals, and against the textbook test they come from."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from module_utils.webex_rollout.evidence import History
from module_utils.webex_rollout.likelihood import (
    PRIOR_DISPERSION,
    PRIOR_FAILURES,
    RISES,
    Rate,
    dispersion,
    shared_likelihoods,
    sound_ratio,
    worse_ratio,
)

counts = st.integers(0, 40)
hours = st.floats(0.01, 60)
rates = st.builds(Rate, shape=st.floats(0.5, 200), hours=st.floats(0.5, 400))


def predicted(count: int, hours: float, rate: Rate, rise: float) -> float:
    """Log-probability of a Poisson count whose rate is `rise` times a gamma variable: negative binomial."""
    return stats.nbinom.logpmf(count, rate.shape, rate.hours / (rate.hours + rise * hours))


@settings(max_examples=150, deadline=None)
@given(count=counts, hours=hours, rate=rates)
def test_worse_is_a_ratio_of_negative_binomials(count: int, hours: float, rate: Rate) -> None:
    ratios = [
        math.exp(min(predicted(count, hours, rate, rise) - predicted(count, hours, rate, 1), 690)) for rise in RISES
    ]
    assert worse_ratio(count, hours, rate) == pytest.approx(sum(ratios) / len(RISES), rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(count=counts, hours=hours, rate=rates, budget=st.floats(0.01, 100))
def test_sound_is_measured_against_the_rise_or_the_budget(count: int, hours: float, rate: Rate, budget: float) -> None:
    same = predicted(count, hours, rate, 1)
    if 10 * rate.shape / rate.hours >= budget:
        other = predicted(count, hours, rate, 10)
    else:
        other = stats.poisson.logpmf(count, budget * hours)
    assert sound_ratio(count, hours, rate, 10, budget) == pytest.approx(math.exp(min(same - other, 700)), rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 30), others=st.integers(0, 60), hours=hours, rate=rates, group=rates)
def test_the_shared_likelihoods_are_beta_integrals(
    count: int, others: int, hours: float, rate: Rate, group: Rate
) -> None:
    """`group` counts in windows of `group.hours`, so its expectation is its shape over that."""
    changes = (1.0, 10.0, 100.0)
    got = shared_likelihoods(count, others, hours, rate, group, changes)
    # The same integral over the share, where the beta distribution is at home; 100,000 points of its quantiles.
    share = special.betaincinv(rate.shape, group.shape, (np.arange(100_000) + 0.5) / 100_000)
    with np.errstate(divide="ignore"):
        unchanged = np.log(share) - np.log1p(-share) + math.log(hours / rate.hours * group.hours)
    logs = []
    for change in changes:
        odds = unchanged + math.log(change)
        logs.append(special.logsumexp(count * -np.logaddexp(0, -odds) - others * np.logaddexp(0, odds)))
    if min(logs) - math.log(100_000) < -8:  # so deep in the tail 100,000 points are none
        return
    assert got[1] - got[0] == pytest.approx(logs[1] - logs[0], abs=0.02)
    assert got[2] - got[0] == pytest.approx(logs[2] - logs[0], abs=0.02)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_with_a_rate_known_for_long_it_is_walds_test(count: int) -> None:
    known = Rate(shape=2e7, hours=1e7)  # two an hour, for a thousand years
    wald = math.exp((20 - 2) * 0.5) * (2 / 20) ** count
    assert sound_ratio(count, 0.5, known, 10, 1) == pytest.approx(wald, rel=1e-3)


def test_what_befalls_all_bots_says_nothing_of_one() -> None:
    rate, group = Rate(200, 100), Rate(200, 100)
    quiet = shared_likelihoods(2, 2, 1, rate, group, (1, 10))
    outage = shared_likelihoods(60, 60, 1, rate, group, (1, 10))
    assert quiet[0] > quiet[1]
    assert outage[0] - outage[1] > 30 * (quiet[0] - quiet[1]) / 2


@settings(max_examples=100, deadline=None)
@given(count=st.integers(0, 30), hours=hours, rate=rates, budget=st.floats(0.01, 10))
def test_each_failure_speaks_against_the_release(count: int, hours: float, rate: Rate, budget: float) -> None:
    assert worse_ratio(count + 1, hours, rate) > worse_ratio(count, hours, rate)
    if 10 * rate.mean >= budget:
        assert sound_ratio(count + 1, hours, rate, 10, budget) < sound_ratio(count, hours, rate, 10, budget)


def hourly(counts: list[int]) -> tuple[tuple[int, int], ...]:
    return tuple((hour, count) for hour, count in enumerate(counts) if count)


@pytest.mark.parametrize("size", [1, 4])
def test_dispersion_is_variance_over_mean(size: int) -> None:
    rng = random.Random(size)
    counts = [size * sum(rng.random() < 0.1 for _ in range(30)) for _ in range(2000)]
    histories = (History(sum(counts), 2000.0, hourly(counts)),)
    six = np.array(counts[:1998]).reshape(-1, 6).sum(axis=1)
    observed = max(np.var(counts, ddof=1) / np.mean(counts), np.var(six, ddof=1) / np.mean(six))
    weight = sum(counts)
    expected = (weight * observed + PRIOR_FAILURES * PRIOR_DISPERSION) / (weight + PRIOR_FAILURES)
    assert dispersion(histories) == pytest.approx(max(1, expected), rel=0.02)
    assert expected == pytest.approx(size, rel=0.25)


def test_dispersion_of_bots_with_different_rates_is_about_each_ones_mean() -> None:
    calm, busy = [1, 0] * 200, [50, 50] * 200
    pooled = dispersion((History(200, 400.0, hourly(calm)), History(20_000, 400.0, hourly(busy))))
    assert pooled == 1.0


def test_without_any_failure_the_belief_counts() -> None:
    assert dispersion((History(0, 120.0), History(0, 120.0))) == PRIOR_DISPERSION
