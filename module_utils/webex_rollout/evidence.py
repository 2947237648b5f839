# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verdict rests on, as data: no clock, no file, no opinion.

Words. *Incidents* are failed calls as the log reader counts them: several lines of a log can be one. *Errors* are its
incidents of any other kind. A bot's *history* is what its log held before the switch. *Controls* are bots on the same
VM that do not have the release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

PROMOTE, EXTEND, ROLL_BACK, HOLD = "promote", "extend", "roll back", "hold"
HOUR = 3600.0
# Calls before "most of them" means anything.
ENOUGH_CALLS = 20
# What a bot did longer ago than a week says little about what it does now.
HISTORY_HOURS = 7 * 24


@dataclass(frozen=True)
class History:
    """A bot's history before the switch: incidents, or errors, and observed hours."""

    incidents: int = 0
    hours: float = 0.0
    hourly: tuple[tuple[int, int], ...] = ()
    """The hours that had any, as numbers from any beginning on, each with its incidents."""


@dataclass(frozen=True)
class Control:
    """A bot that runs without the release: its incidents while the canary soaked, and its history."""

    bot: str
    incidents: int
    hours: float
    history: History = field(default_factory=History)
    errors: int = 0
    error_history: History = field(default_factory=History)


@dataclass(frozen=True)
class Decision:
    """A human's verdict, who gave it, and why. A pause is a `HOLD`."""

    verdict: str
    who: str
    why: str = ""


@dataclass(frozen=True)
class GateSettings:
    """The operator's settings of the gate. Times in seconds; `timeouts_per_hour` is the budget of one bot."""

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
    """Seconds in which the release's own process was heard at work, on a clock that nobody can set."""
    incidents: int = 0
    failures: int = 0
    """Records of failed calls, of which several can be one incident."""
    recovered: int = 0
    requests: int = 0
    """Calls that ended, as the pool module counted them."""
    failed_calls: int = 0
    """Those without an answer, logged or not."""
    server_errors: int = 0
    """Those answered with an error of the server's own (5xx)."""
    errors: int = 0
    """Errors in the log that are no failed call of a known text."""
    logged_errors: int = 0
    """Records that the bot's process logged as errors, as the pool module counted them."""
    new_errors: Mapping[str, int] = field(default_factory=dict)
    """Those of kinds that the log did not hold before, by kind, the most frequent few."""
    idle: float | None = None
    """Seconds since a call was last answered as it should; None before the first of this boot."""
    heard: bool = False
    """Whether the pool module was heard in its channel since the switch."""
    silence: str = ""
    """Why the bot was not heard at the last look; empty where it was."""
    crashes: int = 0
    """How often the bot ended by itself and was started again."""
    failing: Sequence[str] = ()
    """The operator's own required checks that fail, each with what it says."""
    fault: str = ""
    """What the release did that no statistics are needed for, such as ending again and again; empty for nothing."""
    weather: str = ""
    """Why nobody can be judged now; empty in good weather."""
    promoted: bool = False
    """Whether it was promoted before: then it stays so, unless it turns out to be worse."""
    history: History = field(default_factory=History)
    error_history: History = field(default_factory=History)
    controls: Sequence[Control] = ()
    decision: Decision | None = None
    settings: GateSettings = field(default_factory=GateSettings)

    @property
    def hours(self) -> float:
        """Hours of soak."""
        return self.elapsed / HOUR

    @property
    def worked(self) -> int:
        """Calls that were answered as they should."""
        return max(0, self.requests - self.failed_calls - self.server_errors)

    @property
    def borne_out(self) -> int:
        """Incidents in the log that the pool module bears out.

        The log may hold what people write: a line without a call that failed is no failure of the release.
        """
        return min(self.incidents, self.failed_calls)

    @property
    def borne_errors(self) -> int:
        """Errors in the log that the bot's process did log as such: a line that somebody wrote is none."""
        return min(self.errors, self.logged_errors)

    @property
    def most_refused(self) -> bool:
        """Whether most calls are answered with an error of the server's own."""
        answered = self.requests - self.failed_calls
        return answered >= ENOUGH_CALLS and 2 * self.server_errors > answered

    @property
    def counted_errors(self) -> int:
        """Errors, with what the server refused where that is most: a bot need not log it."""
        return max(self.borne_errors, self.server_errors) if self.most_refused else self.borne_errors

    @property
    def counted(self) -> int:
        """Incidents, with the failed calls only the pool module knows of."""
        return self.borne_out + max(0, self.failed_calls - self.failures)


def history_of(look: Mapping[str, Any], hours: str = "hours") -> History:
    """The last week of a log's history, from a look at all that the log held before the switch.

    :param hours: what is taken of it: ``hours`` of the incidents, ``error_other_hours`` of the errors.
    """
    first, last = look.get("first_time"), look.get("last_time")
    if first is None or last is None or last <= first:
        return History()
    begin = max(first, last - HISTORY_HOURS * HOUR)
    hourly = sorted(
        (int(hour) // int(HOUR), int(count))
        for hour, count in (look.get(hours) or {}).items()
        if int(hour) + HOUR > begin
    )
    return History(sum(count for _, count in hourly), (last - begin) / HOUR, tuple(hourly))
