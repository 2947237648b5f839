# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool module's lines in a log, and what they add up to. They are for people: no verdict rests on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# Ready lines kept word for word; a bot configures three sessions per start.
MAX_READY = 24

_FIELD = re.compile(rb"([a-z_]{1,32})=([!#-&(-~]{1,64})")
_POOL_LINE = re.compile(rb"webex-pool (ready|stats)((?: [a-z_]{1,32}=[!#-&(-~]{1,64}){1,32})(?=([^\n]*\n\Z)?)")
# What a format puts behind the message: quotes, brackets, and the place in the program or the process.
_BEHIND = re.compile(rb"[ \r\"')\]}]*(?:[ |(\[]*(?:[\w./-]+:\d{1,6}|[a-z]{1,10}=\d{1,9}))?[ \r\"')\]}]*\n")
# Not `isdigit` and `int`: they disagree about a superscript two, and a number of 400 digits overflows a float.
_NUMBER = re.compile(r"[0-9]{1,15}")
COUNTERS = ("requests", "retried", "failed", "recycled")
_NUMBERS = (*COUNTERS, "open", "hears")


@dataclass(frozen=True)
class PoolLine:
    """An event of the pool module that stands in a line of the log: ready or stats; its fields as text, and the counts
    among them as numbers. ``whole`` is true when the line ends with them; a sentence about a pool line goes on."""

    event: str
    pid: int
    values: dict[str, str]
    numbers: dict[str, int]
    whole: bool


def pool_lines(line: bytes) -> Iterator[PoolLine]:
    """The events of the pool module in a line; one whose pid or counts are not numbers of up to 15 digits is none."""
    for match in _POOL_LINE.finditer(line):
        values = {key.decode(): value.decode("ascii") for key, value in _FIELD.findall(match.group(2))}
        counts = {key: values[key] for key in ("pid", *_NUMBERS) if key in values}
        if "pid" in counts and all(_NUMBER.fullmatch(value) for value in counts.values()):
            numbers = {key: int(value) for key, value in counts.items()}
            behind = match.group(3)
            whole = behind is not None and _BEHIND.fullmatch(behind) is not None
            yield PoolLine(match.group(1).decode(), numbers.pop("pid"), values, numbers, whole)


@dataclass
class Pool:
    """What the pool module logged about itself. Its counters are cumulative per process; here they are summed over the
    processes seen, from zero where the start of the process was seen, else from its first line (an underestimate)."""

    ready: list[dict[str, Any]] = field(default_factory=list)
    ready_lines: int = 0
    stats_lines: int = 0
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    last_stats_time: float | None = None
    # The lowest level of record that the bot's logging lets through, where the pool module reports it.
    log_level: int | None = None

    def add(self, seen: PoolLine, time_: float | None) -> None:
        """Take in a line; its time is None where the log shows none."""
        pid = seen.values["pid"]
        if "hears" in seen.numbers:
            self.log_level = seen.numbers["hears"]
        if seen.event == "ready":
            self.ready_lines += 1
            self.ready = [*self.ready, dict(seen.values, time=time_)][-MAX_READY:]
            self.last.setdefault(pid, dict.fromkeys((*COUNTERS, "open"), 0))
        else:
            self._stats(pid, {key: seen.numbers.get(key, 0) for key in (*COUNTERS, "open")}, time_)

    def _stats(self, pid: str, now: dict[str, int], time_: float | None) -> None:
        self.stats_lines += 1
        self.last_stats_time = time_
        before = self.last.pop(pid, now)
        if any(now[key] < before[key] for key in COUNTERS):  # the number was given to a new process
            before = dict.fromkeys(COUNTERS, 0)
        for key in COUNTERS:
            self.sums[key] = self.sums.get(key, 0) + now[key] - before[key]
        self.last[pid] = now  # the process that logged last stands last
        while len(self.last) > MAX_READY:
            del self.last[next(iter(self.last))]

    def shown(self) -> dict[str, Any]:
        """In the words of the module's result."""
        return {
            "ready": self.ready,
            "ready_lines": self.ready_lines,
            "stats": [dict(last, pid=pid) for pid, last in self.last.items()],
            "stats_lines": self.stats_lines,
            "last_stats_time": self.last_stats_time,
            "log_level": self.log_level,
            **{key: self.sums.get(key, 0) for key in COUNTERS},
        }
