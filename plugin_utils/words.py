"""Times, durations, numbers and lists as the controller words them: the one place that does.

A duration has two forms. `duration` is for what is asked for or still to come (a soak of 24 h, 41 min left) and rounds
up, so that nothing is ever claimed to be over too early; it is the VM's own. `measured` is for what a clock has shown.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

from module_utils.webex_rollout.words import duration, number, printable

__all__ = [
    "about",
    "at",
    "clock",
    "counted",
    "date",
    "duration",
    "measured",
    "moment",
    "named",
    "number",
    "printable",
    "zone",
]

MINUTE, HOUR, DAY = 60, 3600, 86400
# A unit, and the next smaller one.
UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "min"), (MINUTE, "min", 1, "s"))


# --- durations -------------------------------------------------------------------------------------------------------


def measured(seconds: float | None) -> str:
    """A measured time in its largest unit and, where that is a small number, the next: 1.4 s, 1 min 1 s, 20 d.

    :param seconds: seconds; None where no clock showed how long it was.
    """
    if seconds is None:
        return "an unknown time"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, smaller_unit in UNITS:
        if whole >= size:
            rest = whole % size // smaller if whole < 10 * size else 0
            return f"{whole // size} {unit} {rest} {smaller_unit}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def about(seconds: float | None) -> str:
    """A measured time in one unit, for where there is little room: 3 min, 2 d.

    :param seconds: seconds, or None as for `measured`.
    """
    if seconds is None or seconds < MINUTE:
        return measured(seconds)
    size, unit = next((size, unit) for size, unit, *_ in UNITS if seconds >= size)
    return f"{seconds / size:.0f} {unit}"


# --- moments ---------------------------------------------------------------------------------------------------------


def moment(epoch: float) -> str:
    """A time as files have it: ISO 8601 to the second, with the controller's offset from UTC.

    :param epoch: seconds since 1970, UTC.
    """
    return datetime.fromtimestamp(epoch).astimezone().isoformat(timespec="seconds")


def at(epoch: float) -> str:
    """A time as messages have it: day, hour and minute in the controller's zone, which is named.

    :param epoch: seconds since 1970, UTC.
    """
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(epoch))


def date(moment_: str) -> str:
    """A day and a time of day: 25 Nov 2026, 15:25:01.

    :param moment_: as `moment` gives it.
    :raises ValueError: when it is no such text.
    """
    return f"{datetime.fromisoformat(moment_):%-d %b %Y, %H:%M:%S}"


def clock(moment_: str) -> str:
    """A time of day: 15:25:01.

    :param moment_: as `moment` gives it.
    :raises ValueError: when it is no such text.
    """
    return f"{datetime.fromisoformat(moment_):%H:%M:%S}"


def zone(moment_: str) -> str:
    """A moment's offset from UTC: UTC+01:00.

    :param moment_: as `moment` gives it.
    :raises ValueError: when it is no such text.
    """
    offset = f"{datetime.fromisoformat(moment_):%z}"
    return f"UTC{offset[:3]}:{offset[3:]}" if offset.strip("+-0") else "UTC"


# --- numbers and lists -----------------------------------------------------------------------------------------------


def counted(count: int, noun: str) -> str:
    """How many there are of something: no incident, 1 incident, 14 incidents.

    :param noun: in the singular; its plural takes an s.
    """
    return f"{count or 'no'} {noun}{'s' if count > 1 else ''}"


def named(bots: Sequence[str]) -> str:
    """Bots in a sentence: up to three by name, more of them by number.

    :return: an empty text for no bot.
    """
    if not bots:
        return ""
    if len(bots) > 3:
        return f"{len(bots)} bots"
    return " and ".join(filter(None, [", ".join(bots[:-1]), bots[-1]]))
