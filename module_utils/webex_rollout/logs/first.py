# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a process took to connect, as webex_bot logs it. Others log nothing of it that could be known.

A writer to the bot can log the same words, so that nothing may be refused for them: they lengthen a wait at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from .cursor import clock_for
from .dialect import Dialect
from .files import LogFile, parts_of
from .sampling import learned
from .signatures import Signature
from .stamps import Clock
from .tally import Counter, Tally

BLOCK = 4096
LOOKED_AT = 1 << 20
WORD = b"WebSocket Opened"
# The resolution of many logs.
GRAIN = 1.0


def took_to_start(_: Sequence[Signature], path: str, started: float) -> dict[str, float | None]:
    """``seconds`` from a process's start to those words; None where the log does not reach back, or shows no times."""
    with parts_of(path) as parts:
        dialect = learned(None, parts.files)
        if dialect is None or not dialect.dated:
            return {"seconds": None}
        for file in reversed([each for each in parts.files if each.size and not each.path.endswith(".gz")]):
            first = _time(file, dialect, 0, file.size)
            if first is None or (first > started and len(parts.files) > 1):
                continue
            when = _first_word(file, dialect, started - GRAIN)
            return {"seconds": None if when is None else max(0.0, when - started)}
    return {"seconds": None}


def _time(file: LogFile, dialect: Dialect, start: int, end: int) -> float | None:
    counter = Counter(Tally(), (), clock_for(file, dialect, 0, file.size, Clock()), dialect)
    return counter.first_time(file, start, end)


def _first_word(file: LogFile, dialect: Dialect, since: float) -> float | None:
    low, high = 0, file.size
    while high - low > BLOCK:
        middle = file.line_end((low + high) // 2, high)
        if middle >= high:
            break
        time = _time(file, dialect, middle, high)
        if time is None or time >= since:
            high = middle
        else:
            low = middle
    position = low
    for line in file.read(low, min(file.size, low + LOOKED_AT)).splitlines(keepends=True):
        here, position = position, position + len(line)
        if WORD in line:
            time = _time(file, dialect, here, position)
            if time is not None and time >= since:
                return time
    return None
