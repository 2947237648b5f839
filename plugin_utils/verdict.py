"""Whether a bot's log speaks for a release, against it, or not yet; docs/verdict.md derives what is computed here.

A pure function of the evidence: no clock, no file, nothing remembered between two looks. Looking as often as one likes
is legal, because every ratio used is a likelihood ratio against which a threshold holds at all looks at once
(Ville's inequality: under the hypothesis in the denominator it ever exceeds 1/p with probability p at most).

Words. *Incidents* are failed calls as `bot_logs` counts them. *Worse* is a rate above the bot's own rate before. A
*rise* is the rate ten times as high, or the budget where that is more. *Due* is what the old rate would have given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

PROMOTE, EXTEND, ROLL_BACK, HOLD = "promote", "extend", "roll back", "hold"
RECORD_VERSION = 1
HOUR = 3600.0

# How many times as high a worse rate may be: the mixture the test for worse averages over, so that it finds both a
# tripled and a hundredfold rate without being told which.
RISES = (2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
# What is believed of a bot's dispersion (variance over mean of its hourly counts) before any of its failures is known,
# and how many failures that belief is worth. Failures of one cause come together.
PRIOR_DISPERSION = 5.0
PRIOR_FAILURES = 10.0
QUADRATURE_STEPS = 64
# logging.ERROR: the level at which the bots log failed calls.
ERROR_LEVEL = 40


@dataclass(frozen=True)
class History:
    """A bot before: incidents in how many hours."""

    incidents: int = 0
    hours: float = 0.0
    hourly: tuple[tuple[int, int], ...] = ()
    """The hours that had any, as numbers from any beginning on, each with its incidents."""


@dataclass(frozen=True)
class Control:
    """A bot that runs without the release: its incidents while the canary soaked, and before."""

    bot: str
    incidents: int
    hours: float
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Decision:
    """What a human has decided: promote or roll back, who, and why."""

    outcome: str
    who: str
    why: str = ""


@dataclass(frozen=True)
class Settings:
    """What the gate was told. Times in seconds; `timeouts_per_hour` is the budget of one bot."""

    soak_min: float = 24 * HOUR
    soak_max: float = 48 * HOUR
    min_requests: int = 200
    timeouts_per_hour: float = 1.0
    alpha: float = 0.01
    """Probability of rolling back a release that is not worse."""
    beta: float = 0.05
    """Probability of promoting one with a rise."""
    rise: float = 10.0


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on."""

    bot: str
    elapsed: float
    """Seconds since the release runs, on a clock that nobody can set."""
    incidents: int = 0
    failures: int = 0
    """Records of failed calls, of which several can be one incident."""
    recovered: int = 0
    requests: int = 0
    pool_failed: int = 0
    """Failed calls the pool module counted itself, logged or not."""
    hearing: bool = False
    hears: int | None = None
    dated: bool = True
    gaps: Sequence[str] = ()
    problem: str = ""
    """Why the log could not be read, if so."""
    history: History = field(default_factory=History)
    controls: Sequence[Control] = ()
    decision: Decision | None = None
    settings: Settings = field(default_factory=Settings)

    @property
    def hours(self) -> float:
        return self.elapsed / HOUR

    @property
    def counted(self) -> int:
        """Incidents, with the failed calls only the pool module knows of."""
        return self.incidents + max(0, self.pool_failed - self.failures)


@dataclass(frozen=True)
class Figures:
    """What was computed; `worse` and `sound` are likelihood ratios."""

    rate: float
    """Incidents an hour since the release runs."""
    old_rate: float | None
    due: float | None
    """Incidents the old rate would have given by now."""
    control_incidents: int
    control_due: float
    dispersion: float
    worse: float
    """For a higher rate than the bot had before, against the same one."""
    control_worse: float | None
    """For a higher rate than the other bots' now, relative to before."""
    common: float
    """For a higher rate of the other bots than they had before."""
    sound: float
    """For the old rate, against a rise."""


@dataclass(frozen=True)
class Verdict:
    """The outcome, why, and what is missing for a promotion."""

    outcome: str
    reasons: Sequence[str]
    missing: Sequence[str]
    figures: Figures


def judge(evidence: Evidence) -> Verdict:
    """The verdict on this evidence."""
    figures = _figures(evidence)
    missing = _missing(evidence, figures)
    outcome, reasons = _outcome(evidence, figures, missing)
    return Verdict(outcome, reasons, missing, figures)


def earliest(evidence: Evidence) -> float | None:
    """Seconds of soak after which a promotion is possible if nothing fails any more, requests come as before, and the
    other bots fail as before; None when that is not within the longest soak."""
    settings = evidence.settings

    def possible(elapsed: float) -> bool:
        more = elapsed / evidence.elapsed
        controls = [
            replace(control, incidents=round(control.incidents * more), hours=control.hours * more)
            for control in evidence.controls
        ]
        later = replace(evidence, elapsed=elapsed, requests=int(evidence.requests * more), controls=controls)
        return not _missing(later, _figures(later))

    low, high = max(evidence.elapsed, settings.soak_min), settings.soak_max
    if evidence.elapsed <= 0 or high < low or not possible(high):
        return None
    if possible(low):
        return low
    while high - low > max(1.0, 0.01 * low):
        middle = (low + high) / 2
        low, high = (low, middle) if possible(middle) else (middle, high)
    return high


def summary(evidence: Evidence, verdict: Verdict) -> str:
    """The evidence in one line: "0 incidents in 214 requests over 41 min; at the old rate 3.9 were due"."""
    figures = verdict.figures
    parts = [
        f"{evidence.incidents} incident{'' if evidence.incidents == 1 else 's'} in {evidence.requests} requests over "
        f"{span(evidence.elapsed)}"
    ]
    if evidence.counted > evidence.incidents:
        parts.append(f"{evidence.counted - evidence.incidents} more failed calls that the log does not show")
    if evidence.recovered:
        parts.append(f"{evidence.recovered} recovered")
    if figures.due is None:
        parts.append("nothing is known of the time before")
    else:
        parts.append(f"at the old rate ({figures.old_rate:.2g} an hour) {figures.due:.1f} were due")
    if evidence.controls:
        parts.append(
            f"the {len(evidence.controls)} bots without the release had {figures.control_incidents} "
            f"({figures.control_due:.1f} due)"
        )
    parts.append(f"likelihood ratios: against a rise {number(figures.sound)}, for a worse rate {number(figures.worse)}")
    return "; ".join(parts)


def _outcome(evidence: Evidence, figures: Figures, missing: Sequence[str]) -> tuple[str, list[str]]:
    settings, decision = evidence.settings, evidence.decision
    if decision is not None:
        why = f": {decision.why}" if decision.why else ""
        return decision.outcome, [f"decided by {decision.who}{why}"]
    needed = 1 / settings.alpha
    if figures.worse >= needed:
        return _worse(evidence, figures, needed)
    if not missing:
        return PROMOTE, [
            f"the likelihood ratio against a rise is {number(figures.sound)} ({number(1 / settings.beta)} needed)"
        ]
    if evidence.elapsed >= settings.soak_max:
        return HOLD, [f"{span(settings.soak_max)} have not been enough"]
    return EXTEND, []


def _worse(evidence: Evidence, figures: Figures, needed: float) -> tuple[str, list[str]]:
    """What to do about a rate that has risen: whose doing is it?"""
    reasons = [
        f"the likelihood ratio for a worse rate than before is {number(figures.worse)} ({number(needed)} needed)"
    ]
    against = figures.control_worse
    if against is None:
        return ROLL_BACK, reasons
    fail_too = "fail more often too" if figures.common > 1 else "do not fail more often"
    reasons.append(
        f"the bots without the release {fail_too} ({figures.control_incidents}, {figures.control_due:.1f} were due), "
        f"and for worse than theirs it is {number(against)}"
    )
    # Not on the canary's own history alone: in the first minutes of an outage it may by chance be the first to fail.
    if against >= needed:
        return ROLL_BACK, reasons
    settings = evidence.settings
    if (against < 1 and figures.common >= 1 / settings.beta) or evidence.elapsed >= settings.soak_max:
        return HOLD, reasons
    return EXTEND, reasons


def _missing(evidence: Evidence, figures: Figures) -> list[str]:
    """What stands between this evidence and a promotion, a clause each; empty when nothing does."""
    settings = evidence.settings
    missing = _deaf(evidence)
    wanted = max(1, settings.min_requests)
    if evidence.requests < wanted:
        missing.append(f"{wanted - evidence.requests} more requests ({wanted} needed)")
    if evidence.elapsed < settings.soak_min:
        missing.append(f"{span(settings.soak_min - evidence.elapsed)} of soak ({span(settings.soak_min)} needed)")
    if evidence.counted > settings.timeouts_per_hour * evidence.hours:
        missing.append(f"a rate within the budget ({figures.rate:.2g} an hour, {settings.timeouts_per_hour:g} allowed)")
    if figures.sound * settings.beta < 1:
        missing.append(
            f"certainty that failures have not risen (likelihood ratio {number(figures.sound)}, "
            f"{number(1 / settings.beta)} needed)"
        )
    return missing


def _deaf(evidence: Evidence) -> list[str]:
    """Why the absence of failures in this log would mean nothing."""
    reasons = []
    if evidence.problem:
        reasons.append(f"a readable log ({evidence.problem})")
    elif not evidence.hearing:
        reasons.append(
            "a ready line of the pool module since the restart (without one nobody knows what the log leaves out)"
        )
    if evidence.hears is not None and evidence.hears > ERROR_LEVEL:
        reasons.append(f"a log that takes in errors (the bot's logging starts at level {evidence.hears})")
    if not evidence.dated:
        reasons.append("records with a time stamp")
    if evidence.gaps:
        reasons.append(f"a log without gaps ({'; '.join(evidence.gaps)})")
    return reasons


# --- likelihood ratios -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rate:
    """What is known of a rate: a gamma distribution with this shape, and this rate parameter in hours."""

    shape: float
    hours: float

    @property
    def mean(self) -> float:
        return self.shape / self.hours


def _known(history: History, budget: float, dispersion: float) -> Rate:
    """The rate of clusters before, with the budget, worth half a cluster, as what is believed without any history."""
    return Rate(0.5 + history.incidents / dispersion, history.hours + 0.5 * dispersion / budget)


def _figures(evidence: Evidence) -> Figures:
    settings, history, controls = evidence.settings, evidence.history, evidence.controls
    spread = dispersion((history, *(control.history for control in controls)))
    budget = max(settings.timeouts_per_hour, 1e-9)
    own = _known(history, budget, spread)
    others = [_known(control.history, budget, spread) for control in controls]
    due = [rate.mean * control.hours for rate, control in zip(others, controls)]
    seen = sum(control.incidents for control in controls)
    group = (
        Rate(sum(rate.shape for rate in others), sum(rate.shape for rate in others) / sum(due)) if sum(due) else None
    )
    clusters, counted = evidence.incidents / spread, evidence.counted / spread
    against_rise = sound_ratio(counted, evidence.hours, own, settings.rise, budget / spread)
    control_worse = None
    if group is not None:
        changes = (1.0, settings.rise, *RISES)
        same, _, *worse = shared_likelihoods(clusters, seen / spread, evidence.hours, own, group, changes)
        control_worse = sum(_exp(log - same) for log in worse) / len(worse)
        same, rise = shared_likelihoods(counted, seen / spread, evidence.hours, own, group, changes[:2])
        against_rise = (against_rise + _exp(same - rise)) / 2
    old_rate = history.incidents / history.hours if history.hours * 3600 >= 1 else None  # a log's resolution
    return Figures(
        rate=evidence.counted / evidence.hours if evidence.hours > 0 else 0.0,
        old_rate=old_rate,
        due=None if old_rate is None else old_rate * evidence.hours,
        control_incidents=seen,
        control_due=sum(due) * spread,
        dispersion=spread,
        worse=worse_ratio(clusters, evidence.hours, own),
        control_worse=control_worse,
        common=worse_ratio(seen / spread, 1.0, group) if group is not None else 0.0,
        sound=against_rise,
    )


def worse_ratio(clusters: float, hours: float, rate: Rate) -> float:
    """Likelihood of a rate raised by one of RISES, each as likely, against the same rate; the rate integrated out."""
    same = _log_predicted(clusters, hours, rate, 1.0)
    return sum(_exp(_log_predicted(clusters, hours, rate, rise) - same) for rise in RISES) / len(RISES)


def sound_ratio(clusters: float, hours: float, rate: Rate, rise: float, budget: float) -> float:
    """Likelihood of the same rate against `rise` times the rate, or against the budget where that is more."""
    if rise * rate.mean >= budget:
        return _exp(_log_predicted(clusters, hours, rate, 1.0) - _log_predicted(clusters, hours, rate, rise))
    # Here the constants that the other ratios do without matter: negative binomial against Poisson.
    same = (
        math.lgamma(rate.shape + clusters)
        - math.lgamma(rate.shape)
        + rate.shape * math.log(rate.hours)
        - (rate.shape + clusters) * math.log(rate.hours + hours)
    )
    return _exp(same - clusters * math.log(budget) + budget * hours)


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
    points = [low + step * number for number in range(QUADRATURE_STEPS + 1)]
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


def span(seconds: float) -> str:
    """A length of time as people say it: 50 s, 41 min, 2 h 5 min."""
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def number(ratio: float) -> str:
    """A likelihood ratio, to two digits."""
    if ratio >= 1e6:
        return "more than a million"
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


# --- the decision record ---------------------------------------------------------------------------------------------


class RecordError(ValueError):
    """A decision record that cannot be read, or that this code does not come to the same verdict from."""


def to_record(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """All that the verdict rests on, and the verdict, as plain JSON."""
    return {
        "version": RECORD_VERSION,
        "evidence": asdict(evidence),
        "verdict": {**asdict(verdict), "summary": summary(evidence, verdict)},
    }


def evidence_of(record: Any) -> Evidence:
    """The evidence in a record.

    :raises RecordError: when it is damaged.
    """
    try:
        if record["version"] != RECORD_VERSION:
            raise ValueError(f"its version is {record['version']!r}, not {RECORD_VERSION}")
        raw = dict(record["evidence"])
        raw["controls"] = [
            Control(**{**control, "history": _history(control["history"])}) for control in raw["controls"]
        ]
        raw["decision"] = None if raw["decision"] is None else Decision(**raw["decision"])
        return Evidence(**{**raw, "history": _history(raw["history"]), "settings": Settings(**raw["settings"])})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"the decision record is damaged: {type(error).__name__} {error}") from error


def _history(raw: Mapping[str, Any]) -> History:
    return History(raw["incidents"], raw["hours"], tuple((hour, count) for hour, count in raw["hourly"]))


def replay(record: Any) -> Verdict:
    """The verdict on a record's evidence, judged anew.

    :raises RecordError: when it is damaged, or when another outcome was recorded.
    """
    verdict = judge(evidence_of(record))
    recorded = record.get("verdict", {}).get("outcome")
    if recorded != verdict.outcome:
        raise RecordError(f"the record says {recorded}, its evidence gives {verdict.outcome}")
    return verdict


# --- small mathematics -----------------------------------------------------------------------------------------------


def _log1pexp(value: float) -> float:
    return value + math.log1p(math.exp(-value)) if value > 0 else math.log1p(math.exp(value))


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))
