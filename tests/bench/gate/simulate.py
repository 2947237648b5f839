"""A bot with the release beside five without it: failures drawn at random, judged look by look."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from module_utils.webex_rollout.evidence import EXTEND, HOUR, Control, Evidence, GateSettings, History
from module_utils.webex_rollout.verdict import judge

HISTORY_HOURS = 116.0
"""As long as the failures were watched before anybody did anything about them."""

OTHERS = {"tars": 0.26, "toodles": 0.21, "barnacles": 0.19, "money_ball": 0.17, "msoar": 0.14}
"""How often the other bots fail, relative to the canary: as in the lab's history."""

REQUESTS_PER_HOUR = 60
OUTAGE = (HOUR, 4 * HOUR)
"""From when to when in the soak Webex cannot be reached, in seconds."""
BURST_SECONDS = 5.0
CLUSTER_SIZE = 3.0
CLUSTER_GAP = 20.0

LOOKS = (
    *range(60, 1200, 60),
    *range(1200, 2 * 3600, 300),
    *range(2 * 3600, 12 * 3600, 900),
    *range(12 * 3600, 48 * 3600 + 1, 1800),
)
"""Seconds after the switch. 152 looks: a test that may be done once only would be wrong on most bots."""


@dataclass(frozen=True)
class Case:
    """A cell of the grid: incidents an hour before, what the release does to that rate, and how failures come."""

    base: float
    effect: float
    bursty: bool
    outage: float = 1.0
    """By how much all bots' rates are raised, for three hours after the first one of the soak."""
    seen: bool = False
    """Whether the VM sees for itself that Webex cannot be reached, while all bots suffer."""
    unheard: bool = False
    """The bot has no channel, or it is not the release that runs."""
    silent: bool = False
    """No request is made."""
    ends: float = math.inf
    """Hours after which the bot is dead, stopped, hung or edited, and not heard any more."""
    idles: float = math.inf
    """Hours after which it does nothing any more, though its websocket is pinged."""
    nights: bool = False
    """People write from 8 to 18 h only, on seven days a week; the soak begins at any hour."""
    errors: float = 0.5
    """Errors of other kinds an hour, before."""
    error_effect: float = 1.0
    """What the release does to that rate."""
    errors_of_all: float = 1.0
    """By how much it is raised for all bots, for three hours after the first one of the soak."""
    raised: float = 0.0
    """Errors an hour that the release adds: it cannot do what it is asked."""
    forged: float = 0.0
    """Lines an hour that look like errors, in the log of the bot with the release, that somebody wrote."""
    refused: float = 0.0
    """Share of its calls that are answered with an error of the server's own, and logged."""
    refused_all: bool = False
    """Whether the other bots' are as well."""

    @property
    def harmless(self) -> bool:
        """Whether the release is no worse than what was there before."""
        same = self.effect <= 1 or not self.base
        return same and self.error_effect <= 1 and not self.raised and (not self.refused or self.refused_all)

    @property
    def risen(self) -> bool:
        """Whether it has the failures, or the errors, of a rise."""
        return (self.effect >= 10 and self.base > 0) or self.error_effect >= 10 or self.raised >= 10 or self.refused > 0


@dataclass(frozen=True)
class Ending:
    """How a soak ended, and after how many hours."""

    verdict: str
    hours: float


def arrivals(rate: float, hours: float, bursty: bool, rng: random.Random) -> list[float]:
    """Seconds at which failures are logged. Bursty: in clusters of three on average, some 20 s apart."""
    times: list[float] = []
    if rate <= 0:
        return times
    starts_per_second = rate / HOUR / (CLUSTER_SIZE if bursty else 1)
    now = rng.expovariate(starts_per_second)
    while now < hours * HOUR:
        times.append(now)
        if bursty:
            member = now
            while rng.random() < 1 - 1 / CLUSTER_SIZE:
                member += rng.expovariate(1 / CLUSTER_GAP)
                times.append(member)
        now += rng.expovariate(starts_per_second)
    return sorted(time for time in times if time < hours * HOUR)


def incidents(times: Sequence[float]) -> list[float]:
    """Failures of one signature, those within 5 s of an incident's first one left out, as the log reader does."""
    kept: list[float] = []
    for time in times:
        if not kept or time - kept[-1] > BURST_SECONDS:
            kept.append(time)
    return kept


def history(rate: float, case: Case, begun: float, rng: random.Random) -> History:
    """What a bot's log before the switch holds, of failures or of errors that come at this rate."""
    times = incidents(by_day(arrivals(rate, HISTORY_HOURS, case.bursty, rng), case, begun))
    return History(len(times), HISTORY_HOURS, tuple(sorted(Counter(int(time // HOUR) for time in times).items())))


def by_day(times: list[float], case: Case, begun: float) -> list[float]:
    """Without what fails at night, when nobody writes."""
    return [time for time in times if is_day(time, begun)] if case.nights else times


def is_day(seconds: float, begun: float) -> bool:
    """Whether people write at this time.

    :param begun: hour of the day at 0 seconds.
    """
    return 8 <= (begun + seconds / HOUR) % 24 < 18


def requests(case: Case, begun: float) -> list[float]:
    """When the canary makes requests."""
    if case.silent:
        return []
    last = min(case.ends, case.idles, LOOKS[-1] / HOUR) * HOUR
    times = [number * HOUR / REQUESTS_PER_HOUR for number in range(1, int(last * REQUESTS_PER_HOUR / HOUR) + 1)]
    return by_day(times, case, begun)


def with_outage(times: list[float], rate: float, case: Case, rng: random.Random) -> list[float]:
    """The same, with the failures that an outage from the first to the fourth hour adds."""
    if case.outage == 1:
        return times
    more = arrivals(rate * (case.outage - 1), 3, case.bursty, rng)
    return sorted([*times, *(HOUR + time for time in more)])


def error_times(
    case: Case, bot: str, rate: float, made: Sequence[float], begun: float, rng: random.Random
) -> list[float]:
    """When a bot logs errors of other kinds in the soak.

    :param made: when the bot with the release makes requests; the others make them as often.
    """
    longest = LOOKS[-1] / HOUR
    own = bot == "canary"
    times = by_day(arrivals(rate * (case.error_effect if own else 1.0), longest, case.bursty, rng), case, begun)
    if own and case.raised:
        times += by_day(arrivals(case.raised, longest, False, rng), case, begun)
    if case.errors_of_all > 1:
        times += [HOUR + time for time in arrivals(rate * (case.errors_of_all - 1), 3, case.bursty, rng)]
    if own or case.refused_all:
        times += [time for time in made if rng.random() < case.refused]
    return incidents(sorted(times))


def trial(case: Case, settings: GateSettings, seed: str) -> Ending:
    """One soak, from the first look to the first verdict that is not `extend`."""
    rng = random.Random(seed)
    longest = settings.soak_max / HOUR
    begun = rng.uniform(0, 24) if case.nights else 0.0
    rates = {"canary": case.base * case.effect, **{bot: case.base * share for bot, share in OTHERS.items()}}
    before = {
        bot: history(rates[bot] if bot in OTHERS else case.base, case, begun - HISTORY_HOURS, rng) for bot in rates
    }
    logged = {
        bot: incidents(with_outage(by_day(arrivals(rate, longest, case.bursty, rng), case, begun), rate, case, rng))
        for bot, rate in rates.items()
    }
    made = requests(case, begun)
    usual = {bot: case.errors * share for bot, share in {"canary": 1.0, **OTHERS}.items()}
    errors_before = {bot: history(rate, case, begun - HISTORY_HOURS, rng) for bot, rate in usual.items()}
    errors = {bot: error_times(case, bot, rate, made, begun, rng) for bot, rate in usual.items()}
    forged = arrivals(case.forged, longest, False, rng)
    if case.seen:
        logged = {bot: [time for time in times if not OUTAGE[0] < time <= OUTAGE[1]] for bot, times in logged.items()}
        made = [time for time in made if not OUTAGE[0] < time <= OUTAGE[1]]
    evidence = Evidence("canary", 0.0, heard=not case.unheard, history=before["canary"], settings=settings)
    for look in LOOKS:
        seen = {bot: _until(times, min(look, case.ends * HOUR)) for bot, times in logged.items()}
        elapsed = 0.0 if case.unheard else min(float(look), case.ends * HOUR)
        if case.seen:
            elapsed -= max(0.0, min(elapsed, OUTAGE[1]) - OUTAGE[0])
        done = _until(made, look)
        evidence = replace(
            evidence,
            elapsed=elapsed,
            incidents=seen["canary"],
            failures=seen["canary"],
            failed_calls=0 if case.unheard else seen["canary"],
            requests=0 if case.unheard else max(done, seen["canary"]),
            server_errors=round(case.refused * done),
            errors=_until(errors["canary"], look) + _until(forged, look),
            logged_errors=0 if case.unheard else _until(errors["canary"], look),
            error_history=errors_before["canary"],
            idle=look - made[done - 1] if done else None,
            silence="it does not run" if case.unheard or look > case.ends * HOUR else "",
            weather="Webex cannot be reached" if case.seen and OUTAGE[0] < look <= OUTAGE[1] else "",
            controls=[
                Control(bot, seen[bot], elapsed / HOUR, before[bot], _until(errors[bot], look), errors_before[bot])
                for bot in (OTHERS if elapsed else ())
            ],
        )
        verdict = judge(evidence)
        if verdict.verdict != EXTEND:
            return Ending(verdict.verdict, look / HOUR)
    return Ending(EXTEND, math.inf)


def _until(times: list[float], when: float) -> int:
    """How many of the times are not after `when`."""
    count = 0
    for time in times:
        if time > when:
            break
        count += 1
    return count
