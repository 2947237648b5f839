# SPDX-License-Identifier: GPL-3.0-or-later
"""When a log's dialect is learned, and from which of its lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta
from time import localtime

from .dialect import HEAD_BYTES, Dialect, patterns
from .files import BLOCK, LogFile
from .learning import learn

SAMPLE_BYTES = 64 * 1024
# A dialect that was learned from fewer lines is learned again when there are more.
ENOUGH_LINES = 200
# Fewer lines without a head in them may be one record.
FEWEST_LINES = 5
MAX_DAYS = 4096


def sample(file: LogFile, start: int, end: int) -> list[bytes]:
    """Whole lines of [start, end), in order: from its beginning and its end."""
    if end - start <= 2 * SAMPLE_BYTES:
        return _lines(file, start, end)
    return _lines(file, start, start + SAMPLE_BYTES) + _lines(file, end - SAMPLE_BYTES, end)


def _lines(file: LogFile, start: int, end: int) -> list[bytes]:
    lines = file.read(start, end).split(b"\n")
    if lines[-1] and end < file.size and len(lines) > 1:
        lines.pop()
    if start and file.read(start - 1, start) != b"\n":
        lines = lines[1:]
    lines = [line for line in lines if line.strip()]
    return lines if len(lines) <= 300 else lines[:150] + lines[-150:]


def learned(known: Dialect | None, files: Sequence[LogFile]) -> Dialect | None:
    """The dialect of a log with these parts, as it is known or learned now; None while it has no lines."""
    if known is not None and known.layouts and known.lines >= ENOUGH_LINES:
        return known
    lines: list[bytes] = []
    written = 0.0
    for file in reversed([each for each in files if each.size and not each.path.endswith(".gz")]):
        lines = sample(file, 0, file.size) + lines
        written = written or file.written
        if len(lines) >= ENOUGH_LINES:
            break
    if not lines or (known is not None and known.layouts and known.lines >= len(lines)):
        return known
    new = learn(lines, written)
    return new if new.layouts or known is None else known


def relearned(known: Dialect | None, file: LogFile, start: int, end: int) -> Dialect | None:
    """The dialect to read a piece of a file in: the one that is known, unless nothing in the piece is written in it."""
    if start >= end:
        return known
    lines = sample(file, max(start, end - SAMPLE_BYTES), end)
    few = len(lines) < FEWEST_LINES
    if known is not None and known.layouts and (few or any(known.is_head(line[:HEAD_BYTES]) for line in lines)):
        return known
    new = learn(lines, file.written) if lines else None
    if known is None or new is None or not new.layouts:
        return known or new
    return new


def days_of(dialect: Dialect, file: LogFile, start: int, end: int) -> Sequence[tuple[int, tuple[int, int, int]]]:
    """From which offset on the records of [start, end) are of which day, in a log that has times without dates: the
    last is of the day on which the file was last written, and a day ends where the time goes back."""
    layout = dialect.timed_only
    if layout is None:
        return ()
    head = patterns(layout).head
    lines = re.compile(rb"(?:\A|\n)(?=([^\n]{0,200}))")
    last: int | None = None
    begins = [start]
    for offset in range(start, end, BLOCK):
        base = max(start, offset - 1)
        block = file.read(base, min(offset + BLOCK + 256, end))
        for line in lines.finditer(block, 0, min(len(block), BLOCK + offset - base)):
            found = head.match(line[1])
            if found is None or (line.start() == 0 and base > start and block[:1] != b"\n"):
                continue
            minute = int(found["H"]) % 24 * 60 + int(found["M"])
            if found["p"]:
                minute = minute % 720 + (720 if found["p"] in b"Pp" else 0)
            if last is not None and minute < last - 120:
                begins.append(base + line.end())
            last = minute
    written = localtime(file.written)
    today = date(*written[:3])
    if last is not None and last > written.tm_hour * 60 + written.tm_min + 120:
        today -= timedelta(days=1)  # written at midnight, or copied later
    begins = begins[-MAX_DAYS:]
    days = [today - timedelta(days=len(begins) - 1 - number) for number in range(len(begins))]
    return [(begin, (day.year, day.month, day.day)) for begin, day in zip(begins, days)]
