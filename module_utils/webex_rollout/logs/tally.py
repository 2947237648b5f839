# SPDX-License-Identifier: GPL-3.0-or-later
"""What was counted since a cursor was taken, and how what is found is added up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from .signatures import FAILURE, RECOVERED, SIGNATURES, Signature
from .stamps import Clock

BURST_SECONDS = 5.0
HOUR = 3600
# Hours kept for the chart; two weeks are more than the longest soak.
MAX_HOURS = 24 * 14
# Ready lines kept word for word; a bot configures three sessions per start.
MAX_READY = 24


@dataclass
class Count:
    """What one signature showed. ``lines`` equals ``grep -c``; the others count records, see the package's head."""

    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    burst: float | None = None


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


@dataclass
class Record:
    """The record being read: when it was stamped, and the names of the signatures met in it so far."""

    time: float | None = None
    names: list[str] = field(default_factory=list)


@dataclass
class Tally:
    """Everything counted since the cursor was taken; plain JSON both ways."""

    counts: dict[str, Count] = field(default_factory=dict)
    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    hours: dict[str, int] = field(default_factory=dict)
    pool: Pool = field(default_factory=Pool)
    first_time: float | None = None
    last_time: float | None = None
    bytes_read: int = 0
    rotations: int = 0
    gaps: list[str] = field(default_factory=list)
    record: Record = field(default_factory=Record)
    # Reading stopped within a line (one too long to be read again as a whole): the signatures counted in it so far.
    open_line: list[str] | None = None

    @classmethod
    def from_dict(cls, raw: Any) -> Tally:
        """:raises ValueError: when this is no tally."""
        tally = load(cls, raw)
        tally.counts = {name: load(Count, count) for name, count in tally.counts.items()}
        tally.pool = load(Pool, tally.pool)
        tally.record = load(Record, tally.record)
        return tally


_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "list": list, "dict": dict, "None": type(None)}
_Loaded = TypeVar("_Loaded")


def load(cls: type[_Loaded], raw: Any) -> _Loaded:
    """An object of a data class from what `asdict` made of it; what is itself a data class is left a dictionary.

    :raises ValueError: when a field is missing, unknown, or of another type.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"it is {raw!r:.80}")
    annotations = {each.name: str(each.type) for each in fields(cast(Any, cls))}
    odd = sorted(set(annotations) ^ set(raw))
    if odd:
        raise ValueError(f"{odd[0]} is {'missing' if odd[0] in annotations else 'unknown'}")
    for name, annotation in annotations.items():
        kinds = tuple(_TYPES.get(part.partition("[")[0].strip(), dict) for part in annotation.split("|"))
        if not any(isinstance(raw[name], kind) for kind in kinds):
            raise ValueError(f"{name} is {raw[name]!r:.80}")
    return cls(**raw)


@dataclass
class Found:
    """What a span of the log holds. A *mask* has bit n set for the n-th text searched for."""

    # How many lines there are with exactly these texts.
    lines: dict[int, int] = field(default_factory=dict)
    # Stamp and mask of the records with a text, in order; without a stamp it is the record that was at hand before.
    records: list[list[Any]] = field(default_factory=list)
    pool_lines: list[bytes] = field(default_factory=list)
    # The stamp of the last record, when that is not among `records`.
    tail: bytes | None = None
    # The texts in what is left of a line that began before the span, and whether the span ends within that line.
    continued: int = 0
    same_line: bool = False
    # The texts so far in a last line without a newline.
    open_line: int | None = None


_FIELD = re.compile(rb"([a-z_]+)=(\S+)")
# The newline: half a number is another number.
_POOL_LINE = re.compile(rb"webex-pool (ready|stats)((?: [a-z_]+=\S+)+)([ \r]*\n\Z)?")
# Not `isdigit` and `int`: they disagree about a superscript two, and a number of 400 digits overflows a float.
_NUMBER = re.compile(r"[0-9]{1,15}")
_COUNTERS = ("requests", "retried", "failed", "recycled")
_NUMBERS = (*_COUNTERS, "open", "hears")


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
        values = {key.decode(): value.decode("utf-8", "replace") for key, value in _FIELD.findall(match.group(2))}
        counts = {key: values[key] for key in ("pid", *_NUMBERS) if key in values}
        if "pid" in counts and all(_NUMBER.fullmatch(value) for value in counts.values()):
            numbers = {key: int(value) for key, value in counts.items()}
            yield PoolLine(match.group(1).decode(), numbers.pop("pid"), values, numbers, match.group(3) is not None)


class Counter:
    """Adds up what was found, span after span, in a tally."""

    def __init__(self, tally: Tally, signatures: Sequence[Signature], clock: Clock) -> None:
        self.tally = tally
        self._clock = clock
        # Pool lines are taken in after the records of their span; their order in time is their own.
        self._pool_clock = Clock(tally.pool.last_stats_time)
        self._kinds = {signature.name: signature.kind for signature in signatures}
        texts: dict[str, list[str]] = {}
        for signature in signatures:
            texts.setdefault(signature.text, []).append(signature.name)
        self.texts = [text.encode() for text in texts]
        self._names_of_text = list(texts.values())
        self._names_of_mask: dict[int, list[str]] = {}

    def names(self, mask: int) -> list[str]:
        """The signatures a mask stands for."""
        known = self._names_of_mask.get(mask)
        if known is None:
            known = [name for bit, names in enumerate(self._names_of_text) if mask >> bit & 1 for name in names]
            self._names_of_mask[mask] = known
        return known

    def add(self, found: Found) -> None:
        """Take in the next span."""
        tally = self.tally
        begun = tally.open_line or []
        more = [name for name in self.names(found.continued) if name not in begun]
        if more:
            tally.lines += not begun
            self._count_lines(more, 1)
            self._extend_record(more)
        for mask, number in found.lines.items():
            tally.lines += number
            self._count_lines(self.names(mask), number)
        for stamp, mask in found.records:
            if stamp is not None:
                self._begin_record(stamp)
            self._extend_record(self.names(mask))
        if found.tail is not None:
            self._begin_record(found.tail)
        for line in found.pool_lines:
            self._pool_line(line)
        if found.open_line is None:
            tally.open_line = None
        else:
            tally.open_line = [*begun, *more] if found.same_line else list(self.names(found.open_line))

    def _count_lines(self, names: Sequence[str], number: int) -> None:
        for name in names:
            self.tally.counts.setdefault(name, Count()).lines += number

    def _begin_record(self, stamp: bytes) -> None:
        self.settle()
        time_ = self._clock.read(stamp)
        self.tally.record = Record(time_)
        if time_ is not None:
            self.tally.last_time = time_

    def _extend_record(self, names: Sequence[str]) -> None:
        known = self.tally.record.names
        if not known:
            known.extend(names)
        elif known != names:
            known.extend(name for name in names if name not in known)

    def settle(self) -> None:
        """Count the record at hand; nothing more is to come of it."""
        record = self.tally.record
        if not record.names:
            return
        self.tally.record = Record()
        kinds = [self._kinds.get(name) for name in record.names]
        failures = [name for name, kind in zip(record.names, kinds) if kind == FAILURE]
        if RECOVERED in kinds:
            self.tally.recovered += 1
            for name in record.names:
                self.tally.counts[name].recovered += 1
        elif failures:
            self._failed(failures, record.time)

    def _failed(self, names: Sequence[str], time_: float | None) -> None:
        self.tally.failures += 1
        within_burst = False
        for name in names:
            count = self.tally.counts[name]
            count.failures += 1
            if time_ is not None and count.burst is not None and abs(time_ - count.burst) <= BURST_SECONDS:
                within_burst = True
            else:
                count.burst = time_
                count.incidents += 1
        if within_burst:
            return
        self.tally.incidents += 1
        if time_ is not None:
            hour = str(int(time_ // HOUR) * HOUR)
            hours = self.tally.hours
            hours[hour] = hours.get(hour, 0) + 1
            if len(hours) > MAX_HOURS:
                del hours[min(hours, key=int)]

    def _pool_line(self, line: bytes) -> None:
        """Take in a line that contains ``webex-pool ``, if it is one the pool module wrote: a record of its own whose
        message is nothing but the event and key=value pairs. A sentence in a chat that mentions one is not."""
        seen = next((each for each in pool_lines(line) if each.whole), None)
        time_ = self._pool_clock.read(line)
        if seen is None or time_ is None:
            return
        pool, pid = self.tally.pool, seen.values["pid"]
        if "hears" in seen.numbers:
            pool.log_level = seen.numbers["hears"]
        if seen.event == "ready":
            pool.ready_lines += 1
            pool.ready = [*pool.ready, dict(seen.values, time=time_)][-MAX_READY:]
            pool.last.setdefault(pid, dict.fromkeys((*_COUNTERS, "open"), 0))
        else:
            self._pool_stats(pid, {key: seen.numbers.get(key, 0) for key in (*_COUNTERS, "open")}, time_)

    def _pool_stats(self, pid: str, now: dict[str, int], time_: float) -> None:
        pool = self.tally.pool
        pool.stats_lines += 1
        pool.last_stats_time = time_
        before = pool.last.pop(pid, now)
        if any(now[key] < before[key] for key in _COUNTERS):  # the number was given to a new process
            before = dict.fromkeys(_COUNTERS, 0)
        for key in _COUNTERS:
            pool.sums[key] = pool.sums.get(key, 0) + now[key] - before[key]
        pool.last[pid] = now  # the process that logged last stands last
        while len(pool.last) > MAX_READY:
            del pool.last[next(iter(pool.last))]


def evidence(tally: Tally, signatures: Sequence[Signature] = SIGNATURES) -> dict[str, Any]:
    """A tally in the words of the module's result."""
    pool = tally.pool
    return {
        "lines": tally.lines,
        # Not `failed`: that name in a module's result says that the task failed.
        "failures": tally.failures,
        "incidents": tally.incidents,
        "recovered": tally.recovered,
        "signatures": {
            signature.name: {
                "text": signature.text,
                "kind": signature.kind,
                **{
                    key: getattr(tally.counts.get(signature.name, Count()), key)
                    for key in ("lines", "failures", "incidents", "recovered")
                },
            }
            for signature in signatures
        },
        "pool": {
            "ready": pool.ready,
            "ready_lines": pool.ready_lines,
            "stats": [dict(last, pid=pid) for pid, last in pool.last.items()],
            "stats_lines": pool.stats_lines,
            "last_stats_time": pool.last_stats_time,
            "log_level": pool.log_level,
            **{key: pool.sums.get(key, 0) for key in _COUNTERS},
        },
        "ready_line": pool.ready_lines > 0,
        "dated": tally.first_time is not None or tally.last_time is not None,
        "first_time": tally.first_time,
        "last_time": tally.last_time,
        "hours": tally.hours,
        "bytes_read": tally.bytes_read,
        "rotations": tally.rotations,
        "gaps": tally.gaps,
    }
