# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a bot does speaks for its release, against it, or not yet; docs/verdict.md derives the figures.

A pure function of the evidence: no clock, no file, nothing remembered between two looks.

Words. *Worse* is a rate above the bot's own rate before. A *rise* is the rate ten times as high, or the budget where
that is more. *Due* is what the old rate would have given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .evidence import ENOUGH_CALLS, EXTEND, HOLD, PROMOTE, ROLL_BACK, Evidence
from .likelihood import RISES, Rate, dispersion, exp, known_rate, shared_likelihoods, sound_ratio, worse_ratio
from .words import duration, number

# Most calls fail: that is a finding by itself, and little evidence that it was not so before has to be added.
MOST_FAIL_RATIO = 10.0
# An outage that the VM does not see strikes one bot first, by chance, and that chance comes with each outage: how many
# times as sure as of the rise itself one has to be that the other bots do not have it too.
SURER_AGAINST_OTHERS = 10.0
# Errors of other kinds are too many for a promotion from such a ratio on, long before they are for a roll back.
DOUBT_RATIO = 10.0
# Hours of log without which nobody knows how many errors were usual.
KNOWN_HOURS = 1.0
# A bot that ended as often as this is not promoted, however long it took.
CRASHES = 3
# A bot that has done nothing for this long is not promoted just then: it may hang, or merely have nothing to do.
IDLE = 3600.0


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
    failing: float
    """As `worse`, for all failed calls, also those that the log does not show."""
    control_failing: float | None
    """As `control_worse`, for the same."""
    errors_due: float | None = None
    """Errors of other kinds that the old rate would have given by now; None without a history of them."""
    errors_worse: float = 0.0
    """As `worse`, for errors of other kinds; `errors_control_worse` and `errors_common` likewise."""
    errors_control_worse: float | None = None
    errors_common: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """The verdict, why, and what is missing for a promotion."""

    verdict: str
    """`PROMOTE`, `EXTEND`, `ROLL_BACK` or `HOLD`"""
    reasons: Sequence[str]
    """A clause each"""
    missing: Sequence[str]
    """A clause each; empty when nothing stands between the evidence and a promotion"""
    figures: Figures


def judge(evidence: Evidence) -> Verdict:
    """The verdict on this evidence."""
    figures = _figures(evidence)
    missing = _missing(evidence, figures)
    verdict, reasons = _verdict(evidence, figures, missing)
    return Verdict(verdict, reasons, missing, figures)


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
        requests = evidence.requests + int(evidence.worked * (more - 1))
        later = replace(evidence, elapsed=elapsed, requests=requests, controls=controls)
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
        f"{duration(evidence.elapsed)}"
    ]
    if evidence.failed_calls > evidence.failures:
        parts.append(f"{evidence.failed_calls - evidence.failures} more failed calls that the log does not show")
    if evidence.incidents > evidence.failed_calls:
        unborne = evidence.incidents - evidence.failed_calls
        parts.append(f"{unborne} of the incidents are no call's, so they do not count")
    if evidence.server_errors:
        parts.append(f"{evidence.server_errors} answered with an error of the server's own")
    if evidence.errors:
        parts.append(_errors_said(evidence, figures))
    if evidence.recovered:
        parts.append(f"{evidence.recovered} recovered")
    if figures.due is None:
        parts.append("there is no history to compare with")
    else:
        parts.append(f"at the old rate ({figures.old_rate:.2g} an hour) {figures.due:.1f} were due")
    if evidence.controls:
        others = "bot" if len(evidence.controls) == 1 else f"{len(evidence.controls)} bots"
        parts.append(
            f"the {others} without the release had {figures.control_incidents} ({figures.control_due:.1f} due)"
        )
    parts.append(f"likelihood ratios: against a rise {number(figures.sound)}, for a worse rate {number(figures.worse)}")
    return "; ".join(parts)


def _verdict(evidence: Evidence, figures: Figures, missing: Sequence[str]) -> tuple[str, list[str]]:
    settings, decision = evidence.settings, evidence.decision
    if decision is not None:
        why = f": {decision.why}" if decision.why else ""
        return decision.verdict, [f"decided by {decision.who}{why}"]
    if evidence.weather:
        return PROMOTE if evidence.promoted else EXTEND, [evidence.weather]
    if evidence.fault:
        return ROLL_BACK, [evidence.fault]
    word, reasons = _bad(evidence, figures)
    if word and (word == ROLL_BACK or not evidence.promoted):
        return word, reasons
    if evidence.promoted:
        return PROMOTE, ["it was promoted before, and is not worse since"]
    if not missing:
        return PROMOTE, [
            f"the likelihood ratio against a rise is {number(figures.sound)} ({number(1 / settings.beta)} needed)"
        ]
    if evidence.elapsed >= settings.soak_max:
        return HOLD, [f"{duration(settings.soak_max)} were not enough"]
    return EXTEND, []


def _bad(evidence: Evidence, figures: Figures) -> tuple[str, list[str]]:
    """What speaks against the release, if anything."""
    needed = 1 / evidence.settings.alpha
    if figures.worse >= needed:
        reason = (
            f"the likelihood ratio for a worse rate than before is {number(figures.worse)} ({number(needed)} needed)"
        )
        seen = f"{figures.control_incidents}, {figures.control_due:.1f} were due"
        return _worse(evidence, reason, seen, figures.control_worse, figures.common)
    failed, ended = evidence.failed_calls, evidence.requests
    if ended >= ENOUGH_CALLS and 2 * failed > ended and figures.failing >= MOST_FAIL_RATIO:
        said = f"{failed} of {ended} calls fail, and the likelihood ratio for a worse rate is {number(figures.failing)}"
        against = figures.control_failing
        if against is None or (against >= MOST_FAIL_RATIO and figures.common <= 1):
            return ROLL_BACK, [said]
    if evidence.most_refused:
        said = f"{evidence.server_errors} of {ended - failed} answers were errors of the server's own (5xx)"
        against, common = figures.errors_control_worse, figures.errors_common
        if against is None:
            return HOLD, [said]
        surer = SURER_AGAINST_OTHERS * needed
        reasons = [
            said,
            f"for more errors than the bots without the release the likelihood ratio is {number(against)} "
            f"({number(surer)} needed)",
        ]
        if against >= surer or (against >= MOST_FAIL_RATIO and common <= 1):
            return ROLL_BACK, reasons
        settings = evidence.settings
        over = common >= 1 / settings.beta or evidence.elapsed >= settings.soak_max
        return HOLD if over else EXTEND, reasons
    if figures.errors_worse >= needed:
        reason = f"{_errors_said(evidence, figures)}: the likelihood ratio is {number(figures.errors_worse)}"
        return _worse(
            evidence,
            f"{reason} ({number(needed)} needed)",
            f"{sum(control.errors for control in evidence.controls)} errors",
            figures.errors_control_worse,
            figures.errors_common,
        )
    return "", []


def _errors_said(evidence: Evidence, figures: Figures) -> str:
    """Errors of other kinds, for people: how many, how many were usual, and what is new among them."""
    due = "" if figures.errors_due is None else f" ({figures.errors_due:.1f} due)"
    text = f"{evidence.borne_errors} errors of other kinds{due}"
    if evidence.errors > evidence.borne_errors:
        text += f", without {evidence.errors - evidence.borne_errors} in the log that its process did not log as such"
    if evidence.new_errors:
        text += f", new: {', '.join(f'{kind} ({count})' for kind, count in evidence.new_errors.items())}"
    return text


def _times(rise: float) -> str:
    return "tenfold" if rise == 10 else f"{rise:g}-fold"


def _worse(evidence: Evidence, reason: str, seen: str, against: float | None, common: float) -> tuple[str, list[str]]:
    """What to do about a rate that has risen: whose doing is it?

    :param seen: what the bots without the release had; `against` and `common` as the figures have them.
    """
    reasons = [reason]
    if against is None:
        return ROLL_BACK, reasons
    fail_too = "fail more often too" if common > 1 else "do not fail more often"
    settings = evidence.settings
    surer = SURER_AGAINST_OTHERS / settings.alpha
    reasons.append(
        f"the bots without the release {fail_too} ({seen}), and for worse than theirs it is {number(against)} "
        f"({number(surer)} needed)"
    )
    if against >= surer:
        return ROLL_BACK, reasons
    if (against < 1 and common >= 1 / settings.beta) or evidence.elapsed >= settings.soak_max:
        return HOLD, reasons
    return EXTEND, reasons


def _missing(evidence: Evidence, figures: Figures) -> list[str]:
    """What stands between this evidence and a promotion, a clause each; empty when nothing does."""
    settings = evidence.settings
    missing = _silence(evidence)
    wanted = max(1, settings.min_requests)
    if evidence.worked < wanted:
        missing.append(f"{wanted - evidence.worked} more requests ({wanted} needed)")
    elif evidence.idle is None or evidence.idle > IDLE:
        ago = "" if evidence.idle is None else f" (the last one was {duration(evidence.idle)} ago)"
        missing.append(f"a request within the last hour{ago}")
    missing += [f"a check that passes ({failing})" for failing in evidence.failing]
    if evidence.elapsed < settings.soak_min:
        missing.append(
            f"{duration(settings.soak_min - evidence.elapsed)} of soak ({duration(settings.soak_min)} needed)"
        )
    if evidence.counted > settings.timeouts_per_hour * evidence.hours:
        missing.append(f"a rate within the budget ({figures.rate:.2g} an hour, {settings.timeouts_per_hour:g} allowed)")
    if figures.errors_worse >= DOUBT_RATIO:
        missing.append(f"no more errors than before ({_errors_said(evidence, figures)})")
    if evidence.crashes >= CRASHES:
        missing.append(f"a process that stays (it was started again {evidence.crashes} times)")
    if figures.sound * settings.beta < 1:
        missing.append(
            f"the likelihood ratio against a {_times(settings.rise)} rise ({number(figures.sound)} so far, "
            f"{number(1 / settings.beta)} needed)"
        )
    return missing


def _silence(evidence: Evidence) -> list[str]:
    """Why the absence of failures would mean nothing."""
    if not evidence.heard:
        return [f"a sign of the pool module since the restart ({evidence.silence or 'none so far'})"]
    return [f"a bot that is heard ({evidence.silence})"] if evidence.silence else []


def _figures(evidence: Evidence) -> Figures:
    settings, history, controls = evidence.settings, evidence.history, evidence.controls
    spread = dispersion((history, *(control.history for control in controls)))
    budget = max(settings.timeouts_per_hour, 1e-9)
    own = known_rate(history, budget, spread)
    others = [known_rate(control.history, budget, spread) for control in controls]
    due = [rate.mean * control.hours for rate, control in zip(others, controls)]
    seen = sum(control.incidents for control in controls)
    group = _group(others, due)
    errors = _error_figures(evidence, budget)
    clusters, counted = evidence.borne_out / spread, evidence.counted / spread
    against_rise = sound_ratio(counted, evidence.hours, own, settings.rise, budget / spread)
    control_worse = control_failing = None
    if group is not None:
        changes = (1.0, settings.rise, *RISES)
        control_worse = _against(shared_likelihoods(clusters, seen / spread, evidence.hours, own, group, changes))
        likelihoods = shared_likelihoods(counted, seen / spread, evidence.hours, own, group, changes)
        control_failing = _against(likelihoods)
        against_rise = (against_rise + exp(likelihoods[0] - likelihoods[1])) / 2
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
        failing=worse_ratio(counted, evidence.hours, own),
        control_failing=control_failing,
        **errors,
    )


def _group(others: Sequence[Rate], due: Sequence[float]) -> Rate | None:
    """The rate of the other bots together, over the soak as one hour; None where nothing could be due."""
    shape = sum(rate.shape for rate in others)
    return Rate(shape, shape / sum(due)) if sum(due) > 1e-9 else None


def _error_figures(evidence: Evidence, budget: float) -> dict[str, Any]:
    """The figures of errors of other kinds; none where nobody knows how many were usual."""
    history = evidence.error_history
    if history.hours < KNOWN_HOURS:
        return {}
    controls = [control for control in evidence.controls if control.error_history.hours >= KNOWN_HOURS]
    spread = dispersion((history, *(control.error_history for control in controls)))
    own = known_rate(history, budget, spread)
    others = [known_rate(control.error_history, budget, spread) for control in controls]
    group = _group(others, [rate.mean * control.hours for rate, control in zip(others, controls)])
    clusters, seen = evidence.counted_errors / spread, sum(control.errors for control in controls) / spread
    figures: dict[str, Any] = {
        "errors_due": history.incidents / history.hours * evidence.hours,
        "errors_worse": worse_ratio(clusters, evidence.hours, own),
    }
    if group is not None:
        changes = (1.0, evidence.settings.rise, *RISES)
        likelihoods = shared_likelihoods(clusters, seen, evidence.hours, own, group, changes)
        figures.update(errors_control_worse=_against(likelihoods), errors_common=worse_ratio(seen, 1.0, group))
    return figures


def _against(likelihoods: Sequence[float]) -> float:
    """The ratio for one of RISES relative to the other bots; log-likelihoods of no change, a rise, and those."""
    same, _, *worse = likelihoods
    return sum(exp(log - same) for log in worse) / len(worse)
