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
    no_ready_line: bool = False
    silent: bool = False
    """No request is made."""


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


def history(rate: float, bursty: bool, rng: random.Random) -> History:
    """What a bot's log before the switch holds."""
    times = incidents(arrivals(rate, HISTORY_HOURS, bursty, rng))
    return History(len(times), HISTORY_HOURS, tuple(sorted(Counter(int(time // HOUR) for time in times).items())))


def with_outage(times: list[float], rate: float, case: Case, rng: random.Random) -> list[float]:
    """The same, with the failures that an outage from the first to the fourth hour adds."""
    if case.outage == 1:
        return times
    more = arrivals(rate * (case.outage - 1), 3, case.bursty, rng)
    return sorted([*times, *(HOUR + time for time in more)])


def trial(case: Case, settings: GateSettings, seed: str) -> Ending:
    """One soak, from the first look to the first verdict that is not `extend`."""
    rng = random.Random(seed)
    longest = settings.soak_max / HOUR
    rates = {"canary": case.base * case.effect, **{bot: case.base * share for bot, share in OTHERS.items()}}
    before = {bot: history(rates[bot] if bot in OTHERS else case.base, case.bursty, rng) for bot in rates}
    logged = {
        bot: incidents(with_outage(arrivals(rate, longest, case.bursty, rng), rate, case, rng))
        for bot, rate in rates.items()
    }
    evidence = Evidence(
        "canary", 0.0, ready_line=not case.no_ready_line, dated=True, history=before["canary"], settings=settings
    )
    for look in LOOKS:
        seen = {bot: _until(times, look) for bot, times in logged.items()}
        evidence = replace(
            evidence,
            elapsed=float(look),
            incidents=seen["canary"],
            failures=seen["canary"],
            requests=0 if case.silent else int(look / HOUR * REQUESTS_PER_HOUR),
            controls=[Control(bot, seen[bot], look / HOUR, before[bot]) for bot in OTHERS],
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
