# SPDX-License-Identifier: GPL-3.0-or-later
"""What was counted since a cursor was taken, and how what is found is added up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

from .dialect import Dialect
from .files import LogFile
from .heads import Heads, Place
from .kinds import MAX_KINDS, OTHER
from .levels import ERROR, WARNING
from .pool_lines import Pool, pool_lines
from .search import Found, Met
from .signatures import FAILURE, RECOVERED, SIGNATURES, Signature
from .stamps import Clock

BURST_SECONDS = 5.0
HOUR = 3600
# Hours kept for the chart; two weeks are more than the longest soak.
MAX_HOURS = 24 * 14


@dataclass
class Count:
    """What one signature showed. ``lines`` equals ``grep -c``; the others count records, see the package's head."""

    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    burst: float | None = None


@dataclass
class Record:
    """The record being read: when it was stamped, its level, and what was met in it so far."""

    time: float | None = None
    level: int | None = None
    names: list[str] = field(default_factory=list)
    """Of the signatures."""
    trace: bool = False
    """Whether it has a traceback; in a log without levels, also the last line of one."""
    kind: str = ""
    """Of its error."""


@dataclass
class Errors:
    """Records at ERROR or above, or with a traceback in one at WARNING or above, whatever they say."""

    records: int = 0
    incidents: int = 0
    """Of one kind within `BURST_SECONDS` of the one that opened an incident are one."""
    others: int = 0
    """Incidents in which no signature of a failure stands."""
    hours: dict[str, int] = field(default_factory=dict)
    """Incidents by hour, as in `Tally.hours`; `other_hours` those without a signature."""
    other_hours: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)
    """Incidents by kind; what is beyond `MAX_KINDS` is one kind, `OTHER`."""
    bursts: dict[str, float] = field(default_factory=dict)
    """When the last incident of a kind was opened."""

    def add(self, kind: str, time_: float | None, failure: bool) -> None:
        """Count an error; ``failure`` where a signature of one stands in it."""
        self.records += 1
        kind = kind or OTHER
        if kind not in self.kinds and len(self.kinds) >= MAX_KINDS:
            kind = OTHER
        burst = self.bursts.get(kind)
        if time_ is not None:
            if burst is not None and abs(time_ - burst) <= BURST_SECONDS:
                return
            self.bursts[kind] = time_
        self.incidents += 1
        self.others += not failure
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        add_hour(self.hours, time_)
        if not failure:
            add_hour(self.other_hours, time_)


def add_hour(hours: dict[str, int], time_: float | None) -> None:
    """Count something in its hour, where it has one; the oldest hours are forgotten."""
    if time_ is None:
        return
    hour = str(int(time_ // HOUR) * HOUR)
    hours[hour] = hours.get(hour, 0) + 1
    if len(hours) > MAX_HOURS:
        del hours[min(hours, key=int)]


@dataclass
class Tally:
    """Everything counted since the cursor was taken; plain JSON both ways."""

    counts: dict[str, Count] = field(default_factory=dict)
    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    hours: dict[str, int] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    tracebacks: int = 0
    loose_tracebacks: int = 0
    """Below a record under WARNING: a print, or words of a message. No evidence."""
    echoes: int = 0
    """Records that stood in a message before they were logged. No evidence."""
    errors: Errors = field(default_factory=Errors)
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
        tally.errors = load(Errors, tally.errors)
        return tally

    def anew(self) -> Tally:
        """One without counts that goes on where this one ends."""
        record = Record(self.record.time, self.record.level)
        return Tally(record=record, open_line=None if self.open_line is None else [])


_TYPES: dict[str, Any] = {
    "bool": bool,
    "int": int,
    "float": (int, float),
    "str": str,
    "list": list,
    "dict": dict,
    "None": type(None),
}
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


class Counter:
    """Adds up what was found, span after span, in a tally."""

    def __init__(self, tally: Tally, signatures: Sequence[Signature], clock: Clock, dialect: Dialect) -> None:
        self.tally = tally
        self._clock = clock
        self.dialect = dialect
        # Pool lines are taken in after the records of their span; their order in time is their own.
        self._pool_clock = Clock(tally.pool.last_stats_time)
        self._kinds = {signature.name: signature.kind for signature in signatures}
        texts: dict[str, list[str]] = {}
        for signature in signatures:
            texts.setdefault(signature.text, []).append(signature.name)
        self.texts = [text.encode() for text in texts]
        self._names_of_text = list(texts.values())
        self._names_of_mask: dict[int, list[str]] = {}

    def first_time(self, file: LogFile, start: int, end: int) -> float | None:
        """When the first record in [start, end) of a file was written; None without one, or a time stamp of it."""
        place = Heads(file, self.dialect).first(start, end)
        return None if place is None else self._clock.read(place.head.stamp, place.at)

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
        more = [name for name in self.names(found.continued) if name not in begun] if self._counts() else []
        if more:
            tally.lines += not begun
            self._count_lines(more, 1)
            self._extend_record(more)
        for met in found.records:
            self._met(met)
        if found.tail is not None:
            self._begin_record(found.tail)
        for name, number in found.levels.items():
            tally.levels[name] = tally.levels.get(name, 0) + number
        tally.echoes += found.echoes
        for line in found.pool_lines:
            self._pool_line(line)
        if found.open_line is None:
            tally.open_line = None
        else:
            tally.open_line = [*begun, *more] if found.same_line else list(self.names(found.open_line))

    def _counts(self) -> bool:
        """Whether what stands in the record at hand counts."""
        return not self.dialect.levelled or (self.tally.record.level or 0) >= WARNING

    def _met(self, met: Met) -> None:
        if met.place is not None:
            self._begin_record(met.place)
        record = self.tally.record
        if not self._counts():
            self.tally.loose_tracebacks += met.trace and not record.trace
            record.trace = record.trace or met.trace
            return
        for mask, number in met.lines.items():
            self.tally.lines += number
            self._count_lines(self.names(mask), number)
            self._extend_record(self.names(mask))
        record.trace = record.trace or met.trace
        record.kind = record.kind or met.kind

    def _count_lines(self, names: Sequence[str], number: int) -> None:
        for name in names:
            self.tally.counts.setdefault(name, Count()).lines += number

    def _begin_record(self, place: Place) -> None:
        self.settle()
        time_ = self._clock.read(place.head.stamp, place.at)
        self.tally.record = Record(time_, place.head.level)
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
        record, tally = self.tally.record, self.tally
        record.trace = record.trace and self._counts()
        tally.record = Record(record.time, record.level)
        kinds = [self._kinds.get(name) for name in record.names]
        failures = [name for name, kind in zip(record.names, kinds) if kind == FAILURE]
        if RECOVERED in kinds:
            tally.recovered += 1
            for name in record.names:
                tally.counts[name].recovered += 1
        elif failures:
            self._failed(failures, record.time)
        tally.tracebacks += record.trace
        if record.trace or (record.level or 0) >= ERROR:
            tally.errors.add(record.kind, record.time, bool(failures))

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
        add_hour(self.tally.hours, time_)

    def _pool_line(self, line: bytes) -> None:
        """Take in a line that contains ``webex-pool ``, if it is one the pool module wrote: a record of its own whose
        message is nothing but the event and key=value pairs. A sentence in a chat that mentions one is not."""
        head = self.dialect.read(line)
        if self.dialect.layouts and head is None:
            return
        if line.startswith(b"{") and head is not None and head.text:
            line = head.text + b"\n" if head.text.startswith(b"webex-pool ") and line.endswith(b"\n") else b""
        seen = next((each for each in pool_lines(line) if each.whole), None)
        stamp = None if head is None else head.stamp
        self._pool_clock.written, self._pool_clock.days = self._clock.written, self._clock.days
        time_ = self._pool_clock.read(stamp)
        if seen is not None and (time_ is not None or not self.dialect.dated):
            self.tally.pool.add(seen, time_)


def evidence(
    tally: Tally, signatures: Sequence[Signature] = SIGNATURES, dialect: Dialect | None = None
) -> dict[str, Any]:
    """A tally in the words of the module's result."""
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
        "levels": {name: tally.levels.get(name, 0) for name in ("warning", "error", "critical")},
        "tracebacks": tally.tracebacks,
        "loose_tracebacks": tally.loose_tracebacks,
        "echoes": tally.echoes,
        "errors": tally.errors.records,
        "error_incidents": tally.errors.incidents,
        "error_others": tally.errors.others,
        "error_hours": tally.errors.hours,
        "error_other_hours": tally.errors.other_hours,
        "error_kinds": tally.errors.kinds,
        "pool": tally.pool.shown(),
        "ready_line": tally.pool.ready_lines > 0,
        "dated": tally.first_time is not None or tally.last_time is not None,
        "dialect": described(dialect),
        "first_time": tally.first_time,
        "last_time": tally.last_time,
        "hours": tally.hours,
        "bytes_read": tally.bytes_read,
        "rotations": tally.rotations,
        "gaps": tally.gaps,
    }


def described(dialect: Dialect | None) -> str:
    """A log's dialect in a sentence; None is one that was not learned yet."""
    return "not known yet: the log had no lines" if dialect is None else dialect.described()
