# SPDX-License-Identifier: GPL-3.0-or-later
"""The forms of a time stamp, and the moment that one stands for."""

from __future__ import annotations

import bisect
import calendar
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

DAY = 24 * 3600.0
# How far a record may be stamped before the one above it (threads, a clock being slewed) in an hour that occurs twice.
_DISORDER = 60.0
# A stamp later than when its file was last written is nobody's clock: a day, and the hours that zones may differ.
_AHEAD = 26 * 3600.0

_FRACTION = rb"(?:[.,](?P<f>\d{1,9}))?"
_ZONE = rb"(?: ?(?P<z>Z|UTC|GMT|[+-]\d\d:?\d\d)(?![\w:]))?"
_SECONDS = rb":(?P<S>[0-6]\d)" + _FRACTION
_HALF = rb"(?: ?(?P<p>[AaPp])\.?[Mm]\.?(?!\w))?"
_TIME = rb"(?P<H>[012]?\d):(?P<M>[0-5]\d)(?:" + _SECONDS + rb")?" + _HALF + _ZONE
_NAMES = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTH = rb"(?P<mon>" + _NAMES.encode() + rb")[a-z]{0,6}\.?"
_MONTHS = {name: number for number, name in enumerate(_NAMES.split("|"), 1)}
_YEAR = rb"(?P<y>2\d\d\d|\d\d)"

# In the order in which they are tried; a later one may match within what an earlier one means.
FORMS = {
    "iso": rb"(?P<y>2\d\d\d)(?P<s>[-/.])(?P<m>[01]\d)(?P=s)(?P<d>[0-3]\d)[ T_] {0,3}" + _TIME,
    "compact": rb"(?P<y>2\d\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)[ T_-]?(?P<H>[012]\d)(?P<M>[0-5]\d)(?P<S>[0-6]\d)"
    + _FRACTION
    + _ZONE
    + rb"(?!\d)",
    "compact date": rb"(?P<y>2\d\d\d)(?P<m>[01]\d)(?P<d>[0-3]\d)[ T_-]" + _TIME,
    "day first": rb"(?P<d>[0-3]?\d)(?P<s>[./-])(?P<m>[01]?\d)(?P=s)" + _YEAR + rb"[ ,T_]{1,3}" + _TIME,
    "month first": rb"(?P<m>[01]?\d)(?P<s>[./-])(?P<d>[0-3]?\d)(?P=s)" + _YEAR + rb"[ ,T_]{1,3}" + _TIME,
    "day, month's name": rb"(?P<d>[0-3]?\d)[-/. ]" + _MONTH + rb"[-/. ]" + _YEAR + rb"[ :,T]{1,3}" + _TIME,
    "month's name, day": rb"(?:[A-Z][a-z]{2},? )?"
    + _MONTH
    + rb" {1,2}(?P<d>[0-3]?\d),? (?:(?P<y>2\d\d\d),? )?"
    # ctime has the year behind the time.
    + _TIME
    + rb"(?: (?P<y2>2\d\d\d)(?!\d))?",
    "glog": rb"(?P<l>[DIWEFC])(?P<m>[01]\d)(?P<d>[0-3]\d) " + _TIME,
    "epoch": rb"(?P<e>1\d{9}(?:\d{3}|\d{6}|\d{9})?)(?![\d-])" + _FRACTION,
    "time": rb"(?P<H>[012]?\d):(?P<M>[0-5]\d)" + _SECONDS + _HALF + _ZONE,
}
# How they are told.
TOLD = {
    "iso": "%Y-%m-%d %H:%M:%S",
    "compact": "%Y%m%d%H%M%S",
    "compact date": "%Y%m%d %H:%M:%S",
    "day first": "%d.%m.%Y %H:%M:%S",
    "month first": "%m/%d/%Y %H:%M:%S",
    "day, month's name": "%d-%b-%Y %H:%M:%S",
    "month's name, day": "%b %d %H:%M:%S",
    "glog": "%m%d %H:%M:%S",
    "epoch": "seconds since 1970",
    "time": "%H:%M:%S without a date",
}


class Stamp(NamedTuple):
    """A time stamp as it was read; 0 for a year or day that it does not name."""

    year: int = 0
    month: int = 0
    day: int = 0
    hour: int = 0
    minute: int = 0
    second: float = 0.0
    offset: int | None = None
    """Seconds east of Greenwich, where it says so."""
    epoch: float | None = None
    """Seconds since the epoch, where that is what it says."""


def stamp_of(match: re.Match[bytes]) -> Stamp:
    """What a match of one of the forms says; dates and times that do not exist are for the clock to find out."""
    part = match.groupdict()
    fraction = part.get("f")
    below = int(fraction) / 10.0 ** len(fraction) if fraction else 0.0
    if part.get("e"):
        return Stamp(epoch=epoch_of(int(part["e"])) + below)
    year = int(part.get("y") or part.get("y2") or 0)
    month = _MONTHS[part["mon"].decode()] if part.get("mon") else int(part.get("m") or 0)
    hour = int(part["H"])
    if part.get("p"):
        hour = hour % 12 + (12 if part["p"] in b"Pp" else 0)
    second = int(part.get("S") or 0) + below
    offset = offset_seconds(part["z"]) if part.get("z") else None
    year += 2000 if 0 < year < 100 else 0
    return Stamp(year, month, int(part.get("d") or 0), hour, int(part["M"]), second, offset)


def epoch_of(number: float) -> float:
    """Seconds of a number that may be of milliseconds, microseconds or nanoseconds."""
    for _ in range(3):
        if number >= 1e11:
            number /= 1000.0
    return number


def offset_seconds(offset: bytes) -> int:
    """Of ``Z``, ``UTC``, ``+0100`` or ``+01:00``."""
    if offset[:1] not in b"+-":
        return 0
    sign = -1 if offset[:1] == b"-" else 1
    return sign * (int(offset[1:3]) * 3600 + int(offset[-2:]) * 60)


class Clock:
    """Turns the time stamps of a log into seconds since the epoch.

    Stamps without an offset are in the process's local zone. In the hour that is passed twice in autumn the earlier
    reading is taken unless that would go back behind the record before; this needs the records in the file's order.
    """

    def __init__(self, previous: float | None = None) -> None:
        self._minutes: dict[tuple[int, ...], tuple[float, ...]] = {}
        self._previous = previous
        self.written: float | None = None
        """When the file that is read was last written: the bound for stamps, and the year of those without one."""
        self.days: Sequence[tuple[int, tuple[int, int, int]]] = ()
        """For stamps without a date: from which offset in the file on which day they are of."""

    def read(self, stamp: Stamp | None, at: int = 0) -> float | None:
        """Seconds since the epoch of a stamp that stands at an offset; None when it stands for no moment."""
        if stamp is None:
            return None
        moment = self._moment(stamp, at)
        if moment is None or not 0 <= moment < 1e11:
            return None
        if self.written is not None and moment > self.written + _AHEAD:
            return None
        if stamp.offset is None and stamp.epoch is None:
            self._previous = moment
        return moment

    def _moment(self, stamp: Stamp, at: int) -> float | None:
        if stamp.epoch is not None:
            return stamp.epoch
        day = self._day(stamp, at)
        if day is None:
            return None
        fields = (*day, stamp.hour, stamp.minute)
        if stamp.offset is not None:
            try:
                return calendar.timegm((*fields, 0)) + stamp.second - stamp.offset
            except (OverflowError, ValueError):
                return None
        candidates = self._minutes.get(fields)
        if candidates is None:
            candidates = local_moments(fields)
            if len(self._minutes) > 4096:
                self._minutes.clear()
            self._minutes[fields] = candidates
        if not candidates:
            return None
        moment = candidates[0] + stamp.second
        if len(candidates) > 1 and self._previous is not None and moment < self._previous - _DISORDER:
            moment = candidates[1] + stamp.second
        return moment

    def _day(self, stamp: Stamp, at: int) -> tuple[int, int, int] | None:
        if stamp.year:
            return stamp.year, stamp.month, stamp.day
        if stamp.month:  # the latest such day until the file was last written
            latest = time.localtime((time.time() if self.written is None else self.written) + DAY)
            year = latest.tm_year - ((stamp.month, stamp.day) > (latest.tm_mon, latest.tm_mday))
            return year, stamp.month, stamp.day
        place = bisect.bisect_right([offset for offset, _ in self.days], at) - 1
        return self.days[max(0, place)][1] if self.days else None


def local_moments(fields: Sequence[int]) -> tuple[float, ...]:
    """The one, two (autumn) or no (a date that does not exist) moments a local minute stands for, in order."""
    year, month, day, hour, minute = fields
    found = []
    for summer in (1, 0, -1):
        try:
            moment = time.mktime((year, month, day, hour, minute, 0, 0, 0, summer))
            back = time.localtime(moment)
        except (OverflowError, ValueError):
            continue
        if (back.tm_mon, back.tm_mday, back.tm_hour, back.tm_min) == (month, day, hour, minute):
            found.append(moment)
    return tuple(sorted(set(found)))
