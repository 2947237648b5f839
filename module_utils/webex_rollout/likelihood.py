# SPDX-License-Identifier: GPL-3.0-or-later
"""Likelihood ratios of failure rates, and how failures cluster; docs/verdict.md derives them.

Looking as often as one likes is legal, because every ratio is a likelihood ratio against which a threshold holds at
all looks at once (Ville's inequality: under the hypothesis in the denominator it ever exceeds 1/p with probability p
at most). Counts are of clusters, incidents over their dispersion; times are in hours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .evidence import History

# How many times as high a worse rate may be: the mixture the test for worse averages over, so that it finds both a
# tripled and a hundredfold rate without being told which.
RISES = (2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
# What is believed of a bot's dispersion (variance over mean of its hourly counts) before any of its failures is known,
# and how many failures that belief is worth. Failures of one cause come together.
PRIOR_DISPERSION = 5.0
PRIOR_FAILURES = 10.0
QUADRATURE_STEPS = 64


@dataclass(frozen=True)
class Rate:
    """What is known of a rate: a gamma distribution with this shape, and this rate parameter in hours."""

    shape: float
    hours: float

    @property
    def mean(self) -> float:
        """Its expectation, an hour."""
        return self.shape / self.hours


def known_rate(history: History, budget: float, spread: float) -> Rate:
    """The rate of clusters before, with the budget, worth half a cluster, as what is believed without any history.

    :param budget: incidents an hour, above 0.
    :param spread: the incidents' dispersion.
    """
    return Rate(0.5 + history.incidents / spread, history.hours + 0.5 * spread / budget)


def worse_ratio(clusters: float, hours: float, rate: Rate) -> float:
    """Likelihood of a rate raised by one of RISES, each as likely, against the same rate; the rate integrated out."""
    same = _log_predicted(clusters, hours, rate, 1.0)
    return sum(exp(_log_predicted(clusters, hours, rate, rise) - same) for rise in RISES) / len(RISES)


def sound_ratio(clusters: float, hours: float, rate: Rate, rise: float, budget: float) -> float:
    """Likelihood of the same rate against `rise` times the rate, or against the budget where that is more."""
    if rise * rate.mean >= budget:
        return exp(_log_predicted(clusters, hours, rate, 1.0) - _log_predicted(clusters, hours, rate, rise))
    # Here the constants that the other ratios do without matter: negative binomial against Poisson.
    same = (
        math.lgamma(rate.shape + clusters)
        - math.lgamma(rate.shape)
        + rate.shape * math.log(rate.hours)
        - (rate.shape + clusters) * math.log(rate.hours + hours)
    )
    return exp(same - clusters * math.log(budget) + budget * hours)


def _log_predicted(clusters: float, hours: float, rate: Rate, rise: float) -> float:
    """Log-likelihood of a count under `rise` times a gamma-distributed rate, up to what does not depend on `rise`."""
    return clusters * math.log(rise) - (rate.shape + clusters) * math.log(rate.hours + rise * hours)


def shared_likelihoods(
    clusters: float, others: float, hours: float, rate: Rate, group: Rate, changes: Sequence[float]
) -> list[float]:
    """Log-likelihoods, up to a common term, that the canary's rate relative to the other bots' is each of `changes`
    times what it was.

    Whatever befalls all bots alike cancels: of all incidents, each is the canary's with a probability that depends on
    the relation of the rates only. That relation is known from the histories as a beta distribution, and is integrated
    out over its logit by the trapezoidal rule, which converges exponentially for a smooth peak.
    """
    if clusters + others == 0 or hours <= 0:
        return [0.0] * len(changes)
    width = math.sqrt(1 / rate.shape + 1 / group.shape)
    centre = math.log(rate.shape / group.shape)
    low = centre - max(8 * width, 12 / rate.shape)
    step = (centre + max(8 * width, 12 / group.shape) - low) / QUADRATURE_STEPS
    points = [low + step * place for place in range(QUADRATURE_STEPS + 1)]
    # The odds that an incident is the canary's, for an unchanged relation.
    scale = hours / rate.hours * group.hours
    odds = [scale * math.exp(point) for point in points]
    shapes, total = rate.shape + group.shape, clusters + others
    density = [(rate.shape + clusters) * point - shapes * math.log1p(math.exp(point)) for point in points]
    result = []
    for change in changes:
        logs = [log - total * math.log1p(change * odd) for log, odd in zip(density, odds)]
        top = max(logs)
        result.append(clusters * math.log(change) + top + math.log(sum(math.exp(log - top) for log in logs)))
    return result


@lru_cache(maxsize=64)
def dispersion(histories: tuple[History, ...]) -> float:
    """Variance over mean of the incidents per hour and per six hours, whichever is more, at least 1.

    1 for a Poisson process; n for failures that always come n at a time. Bots are pooled, each about its own mean.
    """
    return max(1.0, _dispersion(histories, 1), _dispersion(histories, 6))


def _dispersion(histories: Sequence[History], length: int) -> float:
    squares, degrees, incidents = 0.0, 0, 0
    for history in histories:
        blocks = int(history.hours // length)
        if blocks < 8 or not history.incidents:
            continue
        counts: dict[int, int] = {}
        first = min(history.hourly, default=(0, 0))[0]
        for hour, count in history.hourly:
            block = (hour - first) // length
            counts[block] = counts.get(block, 0) + count
        mean = history.incidents / blocks
        squares += sum(count * count for count in counts.values()) / mean - history.incidents
        degrees += blocks - 1
        incidents += history.incidents
    observed = squares / degrees if degrees else 0.0
    return (incidents * observed + PRIOR_FAILURES * PRIOR_DISPERSION) / (incidents + PRIOR_FAILURES)


def exp(value: float) -> float:
    """The exponential function, bounded to what a float holds."""
    return math.exp(min(value, 700.0))
