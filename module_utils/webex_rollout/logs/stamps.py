# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a record begins in a log, and when it was written."""

from __future__ import annotations

import calendar
import re
import time

# Bytes that are enough for any time stamp at the start of a line.
STAMP_LENGTH = 48

_STAMP = re.compile(
    rb"\[?((2\d\d\d)-([01]\d)-([0-3]\d)[ T]([012]\d):([0-5]\d)):([0-6]\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"
)


def is_head(block: bytes, start: int = 0) -> bool:
    """Whether a line that begins at ``start`` is the first one of a record."""
    return block[start : start + 1] in b"2[" and _STAMP.match(block, start) is not None


# How far a record may be stamped before the one above it (threads, a clock being slewed) in an hour that occurs twice.
_DISORDER = 60.0


class Clock:
    """Turns the time stamps of a log into seconds since the epoch.

    Stamps without an offset are in the process's local zone. In the hour that is passed twice in autumn the earlier
    reading is taken unless that would go back behind the record before; this needs the records in the file's order.
    """

    def __init__(self, previous: float | None = None) -> None:
        self._minutes: dict[bytes, tuple[float, ...]] = {}
        self._previous = previous

    def read(self, line: bytes) -> float | None:
        """Seconds since the epoch of the stamp that ``line`` starts with, None when it starts with none."""
        match = _STAMP.match(line)
        if match is None:
            return None
        minute, second, fraction, offset = match.group(1, 7, 8, 9)
        candidates = self._minutes.get(minute)
        if candidates is None:
            candidates = self._candidates(tuple(int(match.group(part)) for part in range(2, 7)))
            if len(self._minutes) > 4096:
                self._minutes.clear()
            self._minutes[minute] = candidates
        if not candidates:
            return None
        seconds = int(second) + (int(fraction) / 10.0 ** len(fraction) if fraction else 0.0)
        if offset:
            fields = tuple(int(match.group(part)) for part in range(2, 7))
            return calendar.timegm((*fields, 0)) + seconds - _offset_seconds(offset)
        stamp = candidates[0] + seconds
        if len(candidates) > 1 and self._previous is not None and stamp < self._previous - _DISORDER:
            stamp = candidates[1] + seconds
        self._previous = stamp
        return stamp

    @staticmethod
    def _candidates(fields: tuple[int, ...]) -> tuple[float, ...]:
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


def _offset_seconds(offset: bytes) -> int:
    if offset == b"Z":
        return 0
    sign = -1 if offset[:1] == b"-" else 1
    return sign * (int(offset[1:3]) * 3600 + int(offset[-2:]) * 60)


def last_mark(block: bytes, start: int, end: int) -> int:
    """Where the last line in [start, end) that may begin with a time stamp is separated from the one before."""
    return max(block.rfind(b"\n2", start, end), block.rfind(b"\n[2", start, end))
