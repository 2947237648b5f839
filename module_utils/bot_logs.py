"""Reads a bot's log from a cursor on: what failed since, what recovered, and what the pool module said about itself.

Standard library only, Python 3.8 or newer: the modules import it as a module utility, and it is also installed on the
VM as a plain file, where the sampling between two runs imports it.

Words. A *line* is what ``grep -c`` counts. A *record* is one call of the logger: a line that starts with a time stamp
and the lines up to the next such line (a traceback belongs to its record). A *failed* record names a failure; a
*recovered* one says that the call is being tried again (urllib3's ``Retrying (Retry(...)) after connection broken
by ...`` quotes the failure it recovers from). An *incident* is a failed record that is not within ``BURST_SECONDS`` of
the record that opened an incident with the same signature: one broken connection met by eight threads is one incident.

A cursor is a plain dictionary: it names the file (device, inode, hash of its first bytes), how far it was read, and
carries what was counted since it was taken. A look therefore reads new bytes only, its result covers everything since
the cursor was taken, and repeating a look whose result was lost loses and doubles nothing.

Only lines near a signature are ever looked at in Python; everything else is skipped by the C library's ``memmem``.
"""

from __future__ import annotations

import calendar
import copy
import gzip
import hashlib
import os
import pickle
import re
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Callable

try:
    import ctypes
except ImportError:  # a Python built without libffi
    ctypes = None

CURSOR_VERSION = 1
BURST_SECONDS = 5.0
HOUR = 3600
# Hours kept for the chart; two weeks are more than the longest soak.
MAX_HOURS = 24 * 14
# Ready lines kept word for word; a bot configures three sessions per start.
MAX_READY = 24
HEAD_BYTES = 4096
STAMP_LENGTH = 48
# A last line without its newline is read again next time, unless it is longer than this.
MAX_HALF_LINE = 64 * 1024
MAX_POOL_LINE = 4096
# One call of memmem: long enough that the call costs nothing, short enough to stay in the processor's cache.
BLOCK = 256 * 1024
# What is handed to one process at a time.
SPAN = 16 * BLOCK
# From so many on, 32 MiB, starting a second process pays.
MANY_SPANS = 8
POOL_MARK = b"webex-pool "

FAILURE, RECOVERED, NOTICE = "failure", "recovered", "notice"


class LogError(Exception):
    """The log, or the cursor into it, cannot be used; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Signature:
    """A literal text that says something went wrong. ``kind``: failure, recovered (the record it stands in is one that
    is tried again), or notice (counted, but no failed call)."""

    name: str
    text: str
    kind: str = FAILURE


SIGNATURES = (
    Signature("read_timeout", "Read timed out"),
    # A client without a time-out, ended by the kernel (TCP_USER_TIMEOUT, or 938 s of retransmissions).
    Signature("hang", "Read timed out. (read timeout=None)"),
    Signature("remote_disconnected", "RemoteDisconnected"),
    Signature("connection_aborted", "Connection aborted"),
    Signature("ssl_error", "SSLError"),
    Signature("retry_error", "RetryError"),
    # What a log without tracebacks shows of a RetryError, and of a connection that cannot be made at all.
    Signature("retries_exhausted", "Max retries exceeded"),
    Signature("retrying", "Retrying (Retry(", RECOVERED),
    # The pool module's own repeats, when the bot logs DEBUG; its stats lines count them in any case.
    Signature("pool_repeat", "webex-pool repeat=", RECOVERED),
    # Costs a connection, never a request.
    Signature("pool_full", "Connection pool is full", NOTICE),
)


def signatures_with(extra: Sequence[dict[str, str]]) -> tuple[Signature, ...]:
    """The built-in signatures, changed and extended by ``extra`` (name, text, kind); an empty text removes one.

    :raises LogError: for an entry that cannot be searched for.
    """
    merged = {signature.name: signature for signature in SIGNATURES}
    for entry in extra:
        name, text, kind = str(entry.get("name", "")), str(entry.get("text", "")), str(entry.get("kind", FAILURE))
        if not name or "\n" in text or kind not in (FAILURE, RECOVERED, NOTICE):
            raise LogError(
                f"signature {entry!r}: give a name, a text of one line, and a kind ({FAILURE}, {RECOVERED} or {NOTICE})"
            )
        if text:
            merged[name] = Signature(name, text, kind)
        else:
            merged.pop(name, None)
    if not merged:
        raise LogError("no signature is left to search for: remove fewer of them")
    return tuple(merged.values())


# --- time stamps -----------------------------------------------------------------------------------------------------

_STAMP = re.compile(
    rb"\[?((2\d\d\d)-([01]\d)-([0-3]\d)[ T]([012]\d):([0-5]\d)):([0-6]\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?"
)


def is_head(block: bytes | bytearray, start: int = 0) -> bool:
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


# --- what was counted ------------------------------------------------------------------------------------------------


@dataclass
class Count:
    """What one signature showed. ``lines`` equals ``grep -c``; the others count records, see the module's head."""

    lines: int = 0
    failures: int = 0
    incidents: int = 0
    recovered: int = 0
    burst: float | None = None


@dataclass
class Pool:
    """What the pool module said about itself. Its counters are cumulative per process; here they are summed over the
    processes seen, from zero where the start of the process was seen, else from its first line (an underestimate)."""

    ready: list[dict[str, Any]] = field(default_factory=list)
    ready_lines: int = 0
    stats_lines: int = 0
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    last_stats_time: float | None = None
    # The lowest level of record that the bot's logging lets through, where the pool module tells it.
    hears: int | None = None


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
        tally = _load(cls, raw)
        tally.counts = {name: _load(Count, count) for name, count in tally.counts.items()}
        tally.pool = _load(Pool, tally.pool)
        tally.record = _load(Record, tally.record)
        return tally


_TYPES = {"int": int, "float": (int, float), "str": str, "list": list, "dict": dict, "None": type(None)}
_Loaded = TypeVar("_Loaded")


def _load(cls: type[_Loaded], raw: Any) -> _Loaded:
    """An object of a data class from what `asdict` made of it; what is itself a data class is left a dictionary.

    :raises ValueError: when a field is missing, unknown, or of another type.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"it is {raw!r:.80}")
    annotations = {each.name: str(each.type) for each in fields(cls)}
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
_POOL_LINE = re.compile(rb"webex-pool (ready|stats)((?: [a-z_]+=\S+)+)[ \r]*\n\Z")
_COUNTERS = ("requests", "retried", "failed", "recycled")


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
        match = _POOL_LINE.search(line)
        time_ = self._pool_clock.read(line)
        if match is None or time_ is None:
            return
        values = {key.decode(): value.decode("utf-8", "replace") for key, value in _FIELD.findall(match.group(2))}
        pool, pid = self.tally.pool, values.get("pid", "")
        if values.get("hears", "").isdigit():
            pool.hears = int(values["hears"])
        if match.group(1) == b"ready":
            pool.ready_lines += 1
            pool.ready = [*pool.ready, dict(values, time=time_)][-MAX_READY:]
            pool.last.setdefault(pid, dict.fromkeys((*_COUNTERS, "open"), 0))
            return
        try:
            now = {key: int(values.get(key, 0)) for key in (*_COUNTERS, "open")}
        except ValueError:
            return
        self._pool_stats(pid, now, time_)

    def _pool_stats(self, pid: str, now: dict[str, int], time_: float) -> None:
        pool = self.tally.pool
        pool.stats_lines += 1
        pool.last_stats_time = time_
        before = pool.last.pop(pid, now)
        if any(now[key] < before[key] for key in _COUNTERS):  # the number was given to a new process
            before = dict.fromkeys(_COUNTERS, 0)
        for key in _COUNTERS:
            pool.sums[key] = pool.sums.get(key, 0) + now[key] - before[key]
        pool.last[pid] = now  # the process heard last stands last
        while len(pool.last) > MAX_READY:
            del pool.last[next(iter(pool.last))]


# --- searching -------------------------------------------------------------------------------------------------------


def _memmem() -> Callable[[int, int, bytes, int], int | None] | None:
    """The C library's memmem: two to three times as fast as bytes.find (10 GB/s against 4 GB/s for 18 characters, glibc
    2.36 against Python 3.11)."""
    try:
        function = ctypes.PyDLL(None).memmem
    except (AttributeError, OSError):  # no ctypes, or a C library without it
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return function


_MEMMEM = _memmem()


class _Window:
    """A buffer over part of a file."""

    def __init__(self, size: int) -> None:
        self.bytes = bytearray(size)
        self._view = memoryview(self.bytes)
        self._address = ctypes.addressof((ctypes.c_char * size).from_buffer(self.bytes)) if _MEMMEM else 0
        self.length = 0

    def fill(self, fd: int, start: int, end: int) -> None:
        """Take in the bytes from ``start`` to ``end``, or to where the file ends by now."""
        self.length = os.preadv(fd, [self._view[: end - start]], start)

    def find(self, text: bytes, start: int) -> int:
        """Where ``text`` is met first from ``start`` on, -1 if nowhere."""
        if _MEMMEM is None:
            return self.bytes.find(text, start, self.length)
        found = _MEMMEM(self._address + start, self.length - start, text, len(text))
        return -1 if found is None else found - self._address


class _File:
    """An open log. Everything is read by offset, so that processes can share it."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        status = os.fstat(fd)
        self.device, self.inode, self.size = status.st_dev, status.st_ino, status.st_size

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self.fd, max(0, end - start), start)

    def line_end(self, start: int, end: int) -> int:
        """Offset after the first newline in [start, end), ``end`` without one."""
        step = 4096
        while start < end:
            block = self.read(start, min(start + step, end))
            newline = block.find(b"\n")
            if newline >= 0:
                return start + newline + 1
            if not block:
                break
            start += len(block)
            step = BLOCK
        return end

    def line_start(self, position: int, low: int) -> int:
        """Where the line at ``position`` begins, or ``low`` when that is before it."""
        high = position
        while high > low:
            start = max(low, high - BLOCK)
            newline = self.read(start, high).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            high = start
        return low

    def head_at(self, position: int) -> bytes | None:
        """The stamp at ``position``, when a record starts there."""
        if position and self.read(position - 1, position) != b"\n":
            return None
        line = self.read(position, position + STAMP_LENGTH)
        return line if is_head(line) else None

    def last_head(self, low: int, high: int) -> bytes | None:
        """The stamp of the last record that starts in [low, high)."""
        step = 4096  # nearly always enough, and read anew for every span
        while high > low:
            start = max(low - 1, high - step, 0)
            block = self.read(start, high)
            at = len(block)
            while True:
                at = _last_mark(block, 0, at)
                if at < 0:
                    break
                head = self.head_at(start + at + 1)
                if head is not None:
                    return head
            if start <= low:
                return self.head_at(0) if low == 0 else None
            high = start + 2
            step = BLOCK
        return None

    def first_head(self, low: int, high: int) -> bytes | None:
        """The stamp of the first record that starts in [low, high); only the first block is looked at."""
        block = self.read(low, min(high, low + BLOCK))
        at = 0
        while at < len(block):
            head = self.head_at(low + at)
            if head is not None:
                return head
            newline = block.find(b"\n", at)
            if newline < 0:
                return None
            at = newline + 1
        return None


def _last_mark(block: bytes | bytearray, start: int, end: int) -> int:
    """Where the last line in [start, end) that may begin with a time stamp is separated from the one before."""
    return max(block.rfind(b"\n2", start, end), block.rfind(b"\n[2", start, end))


class _Span:
    """Puts the places where texts are met, which come in order, together to lines and records."""

    def __init__(self, file: _File, start: int, pool_mask: int, inside_line: bool) -> None:
        self.found = Found()
        self._file = file
        self._pool_mask = pool_mask
        # The line last met: the texts in it, where it starts and ends (-1: not seen yet), and the stamp above it.
        self._mask = 0
        self._line_start = start
        self.line_end = -1 if inside_line else start
        self._stamp: bytes | None = None
        self._continued = inside_line

    def meet(self, block: bytearray, length: int, base: int, at: int, mask: int) -> None:
        """A text stands at ``at`` in ``block``, whose ``length`` bytes begin at ``base`` in the file."""
        low = self.line_end - base
        if self.line_end < 0 or at < low:
            self._mask |= mask
            return
        if self._mask or self._continued:
            self._close_line()
        self._mask = mask
        newline = block.rfind(b"\n", low if low > 0 else 0, at)
        if newline < 0 and low < 0:
            self._line_start = self._file.line_start(base, self.line_end)
            self._stamp = self._file.last_head(self.line_end, self._line_start + 1)
        else:
            start = newline + 1 if newline >= 0 else low
            self._line_start = base + start
            if is_head(block, start):
                self._stamp = bytes(block[start : start + STAMP_LENGTH])
            else:
                self._stamp = self._stamp_above(block, base, low, start)
        newline = block.find(b"\n", at, length)
        self.line_end = base + newline + 1 if newline >= 0 else -1

    def _stamp_above(self, block: bytearray, base: int, low: int, high: int) -> bytes | None:
        """The stamp of the last record that starts in [low, high) of the block; ``low`` may lie before it."""
        while True:
            high = _last_mark(block, max(0, low - 1), high)
            if high < 0:
                break
            if is_head(block, high + 1):
                return bytes(block[high + 1 : high + 1 + STAMP_LENGTH])
        return self._file.last_head(base + low, base + 1) if low <= 0 else None

    def _close_line(self) -> None:
        texts = self._mask & ~self._pool_mask
        if self._mask != texts and self.line_end - self._line_start <= MAX_POOL_LINE:
            self.found.pool_lines.append(self._file.read(self._line_start, self.line_end))
        if self._continued:
            self.found.continued = texts
            self._continued = False
            return
        if texts:
            self.found.lines[texts] = self.found.lines.get(texts, 0) + 1
        records = self.found.records
        if self._stamp is None and records:
            records[-1][1] |= texts
        else:  # also without a text: what comes next may belong to it
            records.append([self._stamp, texts])

    def finish(self, end: int) -> Found:
        """The span ends at ``end``."""
        found, same_line = self.found, self._continued and self.line_end < 0
        self._close_line()
        if self._file.read(end - 1, end) != b"\n":
            found.same_line = same_line
            found.open_line = self._mask & ~self._pool_mask if self.line_end < 0 else 0
        if self.line_end >= 0:
            found.tail = self._file.last_head(self.line_end, end)
        return found


class _Search:
    """Finds the lines and records with certain texts in spans of one file."""

    def __init__(self, file: _File, texts: Sequence[bytes]) -> None:
        self._file = file
        masks = {text: 1 << number for number, text in enumerate(texts)}
        self._pool_mask = 1 << len(texts)
        masks[POOL_MARK] = masks.get(POOL_MARK, 0) | self._pool_mask
        # A text that contains another one is only searched for where that one was met.
        self._anchors = [
            (text, mask, [(other, masks[other]) for other in masks if text in other and other != text])
            for text, mask in masks.items()
            if not any(other in text and other != text for other in masks)
        ]
        self._overlap = max(map(len, masks)) - 1
        self._window = _Window(BLOCK + self._overlap)

    def span(self, start: int, end: int, inside_line: bool = False) -> Found:
        """Search [start, end). ``start`` begins a line, unless ``inside_line``."""
        window, block = self._window, self._window.bytes
        span = _Span(self._file, start, self._pool_mask, inside_line)
        low = max(0, start - self._overlap) if inside_line else start
        for offset in range(start, end, BLOCK):
            base = max(low, offset - self._overlap)
            window.fill(self._file.fd, base, min(offset + BLOCK, end))
            if span.line_end < 0:
                newline = block.find(b"\n", offset - base, window.length)
                span.line_end = base + newline + 1 if newline >= 0 else -1
            for at, mask in self._hits(offset - base):
                span.meet(block, window.length, base, at, mask)
        return span.finish(end)

    def _hits(self, fresh: int) -> list[tuple[int, int]]:
        """Places and masks of the texts ending after ``fresh`` in the window, of each at least the first in a line."""
        hits: list[tuple[int, int]] = []
        for text, mask, longer in self._anchors:
            before = len(hits)
            self._add_places(text, mask, fresh, hits)
            # One that began in the block before may have had its anchor there.
            if longer and (len(hits) > before or self._window.bytes.find(text, 0, fresh) >= 0):
                for other, other_mask in longer:
                    self._add_places(other, other_mask, fresh, hits)
        hits.sort()
        return hits

    def _add_places(self, text: bytes, mask: int, fresh: int, hits: list[tuple[int, int]]) -> None:
        window, block, length = self._window, self._window.bytes, self._window.length
        at = window.find(text, max(0, fresh - len(text) + 1))
        while at >= 0:
            hits.append((at, mask))
            newline = block.find(b"\n", at, length)
            at = window.find(text, newline) if newline >= 0 else -1


def _spans(file: _File, start: int, end: int) -> list[tuple[int, int]]:
    """[start, end) in parts of about SPAN bytes that end where a line ends."""
    spans = []
    while start < end:
        stop = file.line_end(start + SPAN - 1, end) if end - start > SPAN else end
        spans.append((start, stop))
        start = stop
    return spans


class _Helper:
    """A process that searches spans and sends what it finds; a thread would wait for the interpreter."""

    def __init__(self, search: _Search, spans: Sequence[tuple[int, int, bool]]) -> None:
        receiving, sending = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(sending)
            self._stream = os.fdopen(receiving, "rb")
            return
        try:
            os.close(receiving)
            with os.fdopen(sending, "wb") as stream:
                for span in spans:
                    pickle.dump(search.span(*span), stream)
        finally:
            os._exit(0)

    def next(self) -> Found | None:
        """What the next span holds; None when the process was ended from outside."""
        try:
            return pickle.load(self._stream)
        except (EOFError, pickle.UnpicklingError):
            return None

    def close(self) -> None:
        self._stream.close()  # a process that still has something to send ends on this
        os.waitpid(self._pid, 0)


def _found(file: _File, texts: Sequence[bytes], start: int, end: int, inside_line: bool) -> Iterator[Found]:
    """What [start, end) holds, span by span; two processes search where there is work and room for two."""
    search = _Search(file, texts)
    spans = [(low, high, inside_line and low == start) for low, high in _spans(file, start, end)]
    helpers: list[_Helper] = []
    try:
        if len(spans) >= MANY_SPANS and len(os.sched_getaffinity(0)) > 1:
            helpers = [_Helper(search, spans[first::2]) for first in range(2)]
        for number, span in enumerate(spans):
            yield (helpers and helpers[number % 2].next()) or search.span(*span)
    finally:
        for helper in helpers:
            helper.close()


# --- files -----------------------------------------------------------------------------------------------------------

# What RotatingFileHandler, TimedRotatingFileHandler and logrotate (also with dateext, compress) append to a log's name.
# Nothing else beside the log is taken for a part of it: not `jarvis.log.bak`, nor the output of somebody's grep.
_ROTATED = re.compile(r"\.(\d{1,3})(\.gz)?|[.-]\d{4}-?\d\d-?\d\d([_-][\d-]+)?(\.gz)?")


def _open(path: str) -> _File:
    """:raises FileNotFoundError: as it is, for the caller to judge. :raises LogError: when it cannot be read."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):  # opening a FIFO would wait for a writer
            raise LogError(f"log {path} is no regular file: set the bot's log path to the file the bot writes")
        return _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LogError(
            f"log {path} cannot be read: {error.strerror}; give the user who reads it access, or read it as root"
        ) from error


def _rotated_names(path: str) -> list[str]:
    """The log's rotated parts, oldest first."""
    folder, base = Path(path).parent, Path(path).name
    try:
        names = {entry.name for entry in folder.iterdir() if entry.name.startswith(base)}
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LogError(f"the directory of log {path} cannot be read: {error.strerror}") from error
    numbered, dated = [], []
    for name in names:
        match = _ROTATED.fullmatch(name[len(base) :])
        # Both are there while logrotate compresses: the plain one is whole.
        if match is None or (name.endswith(".gz") and name[: -len(".gz")] in names):
            continue
        if match.group(1):
            numbered.append((int(match.group(1)), name))
        else:
            dated.append(name)
    ordered = sorted(dated) + [name for _, name in sorted(numbered, reverse=True)]
    return [str(folder / name) for name in ordered]


class _Parts:
    """The log and its rotated parts, oldest first, opened so that a rotation meanwhile moves nothing out of sight."""

    def __init__(self, path: str) -> None:
        self.path = path
        for _ in range(10):
            names = _rotated_names(path)
            self.files: list[_File] = []
            try:
                for name in names:
                    self.files.append(_open(name))
                self.current: _File | None = _open(path)
                self.files.append(self.current)
            except FileNotFoundError as error:
                self.current = None
                if error.filename != path:
                    self.close()
                    continue
            if names == _rotated_names(path) and self._in_place():
                return
            self.close()
        raise LogError(f"log {path} was being rotated each time it was looked at: try again")

    def _in_place(self) -> bool:
        for file in self.files:
            try:
                status = Path(file.path).stat()
            except OSError:
                return False
            if (status.st_dev, status.st_ino) != (file.device, file.inode):
                return False
        return self.current is not None or not Path(self.path).exists()

    def close(self) -> None:
        for file in self.files:
            os.close(file.fd)
        self.files = []


@contextmanager
def _parts_of(path: str) -> Iterator[_Parts]:
    parts = _Parts(path)
    try:
        yield parts
    finally:
        parts.close()


@contextmanager
def _plain(file: _File) -> Iterator[tuple[_File, str]]:
    """The file, unpacked to an unnamed temporary file when it is compressed, and what is wrong with it, if anything."""
    if not file.path.endswith(".gz"):
        yield file, ""
        return
    problem = ""
    with tempfile.TemporaryFile() as unpacked, open(file.fd, "rb", closefd=False) as packed:
        packed.seek(0)
        try:
            with gzip.GzipFile(fileobj=packed) as stream:
                for block in iter(lambda: stream.read(1 << 20), b""):
                    unpacked.write(block)
        except (EOFError, OSError, zlib.error) as error:
            problem = f"{file.path} is damaged ({error}); what follows in it is lost"
        unpacked.flush()
        yield _File(unpacked.fileno(), file.path[: -len(".gz")]), problem


def _head_hash(file: _File, length: int) -> str | None:
    """Hash of the first ``length`` bytes, or of all there are; None when they cannot be unpacked."""
    if file.path.endswith(".gz"):
        with open(file.fd, "rb", closefd=False) as packed:
            packed.seek(0)
            try:
                head = gzip.GzipFile(fileobj=packed).read(length)
            except (EOFError, OSError, zlib.error):
                return None
    else:
        head = file.read(0, length)
    return hashlib.sha256(head).hexdigest()


# --- cursor ----------------------------------------------------------------------------------------------------------


@dataclass
class Cursor:
    """Where reading goes on, and what was counted since it was taken.

    ``device`` and ``inode`` are -1 while there was no file. Times are the VM's, in seconds since the epoch."""

    path: str
    device: int
    inode: int
    offset: int
    head_length: int
    head_sha256: str
    taken: float
    looked: float
    tally: Tally = field(default_factory=Tally)
    version: int = CURSOR_VERSION

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Any) -> Cursor:
        """:raises LogError: when a field is missing, unknown or of another type (a truncated state file, say)."""
        try:
            if isinstance(raw, dict) and raw.get("version", CURSOR_VERSION) != CURSOR_VERSION:
                raise ValueError(f"its version is {raw['version']!r}, not {CURSOR_VERSION}")
            cursor = _load(cls, raw)
            cursor.tally = Tally.from_dict(cursor.tally)
        except ValueError as error:
            raise LogError(
                f"the cursor into the log is damaged: {error}; take a new one, which starts the soak anew"
            ) from error
        return cursor

    def stands_in(self, file: _File) -> bool:
        """Whether the cursor points into this file, whatever its name is now.

        The inode proves nothing: a deleted file's number is given to the next one at once."""
        return _head_hash(file, self.head_length) == self.head_sha256

    def move_to(self, file: _File, offset: int) -> None:
        self.device, self.inode, self.offset = file.device, file.inode, offset
        self.head_length = min(HEAD_BYTES, file.size)
        self.head_sha256 = _head_hash(file, self.head_length) or ""


def take_cursor(path: str) -> Cursor:
    """A cursor at the log's present end; where no log is yet, at the beginning of the one that will be.

    :raises LogError: when the log cannot be read.
    """
    cursor = _fresh_cursor(path)
    with _parts_of(path) as parts:
        # An empty file cannot be known again once it is rotated, the end of the part before it can.
        for file in reversed(parts.files):
            with _plain(file) as (plain, _):
                if plain.size:
                    cursor.move_to(plain, plain.size)
                    # What comes next may belong to the record, or the line, that is being written.
                    head = plain.last_head(max(0, plain.size - MAX_HALF_LINE), plain.size)
                    cursor.tally.record.time = Clock().read(head) if head else None
                    if plain.read(plain.size - 1, plain.size) != b"\n":
                        cursor.tally.open_line = []
                    break
    return cursor


def _fresh_cursor(path: str) -> Cursor:
    now = time.time()
    return Cursor(path, -1, -1, 0, 0, "", taken=now, looked=now)


def _settled_end(file: _File, start: int) -> int:
    """Up to where the file can be counted for good: its end, or the start of a last line still being written."""
    tail = max(start, file.size - MAX_HALF_LINE)
    newline = file.read(tail, file.size).rfind(b"\n")
    if newline >= 0:
        return tail + newline + 1
    return start if tail == start else file.size


@dataclass
class Look:
    """What a look showed: everything since the cursor was taken, with the last line even if it is half written."""

    tally: Tally
    cursor: Cursor


def look(cursor: Cursor, signatures: Sequence[Signature] = SIGNATURES) -> Look:
    """Read what was written since ``cursor``, which stays as it is; the result carries the new one.

    :raises LogError: when the log is missing or cannot be read.
    """
    cursor = copy.deepcopy(cursor)
    with _parts_of(cursor.path) as parts:
        return _read(cursor, _sources(cursor, parts), signatures)


def look_at_all(path: str, signatures: Sequence[Signature] = SIGNATURES, rotated: bool = False) -> Look:
    """Read the whole log, with its rotated parts if asked; the cursor in the result starts counting anew after it.

    :raises LogError: when the log is missing or cannot be read.
    """
    with _parts_of(path) as parts:
        if parts.current is None:
            raise _missing(path)
        seen = _read(_fresh_cursor(path), [(file, 0) for file in parts.files[0 if rotated else -1 :]], signatures)
    before = seen.cursor.tally
    seen.cursor.tally = Tally(record=Record(before.record.time), open_line=None if before.open_line is None else [])
    return seen


def _read(cursor: Cursor, sources: Sequence[tuple[_File, int]], signatures: Sequence[Signature]) -> Look:
    """Count the sources, each from where on, and move the cursor to their end."""
    cursor.looked = time.time()
    tally = cursor.tally
    counter = Counter(tally, signatures, Clock(tally.last_time))
    for number, (file, start) in enumerate(sources):
        with _plain(file) as (plain, problem):
            if problem:
                tally.gaps.append(problem)
            elif plain.size < start:
                tally.gaps.append(f"{plain.path} holds {plain.size} bytes, though {start} of it were read before")
            start = min(start, plain.size)
            last = number == len(sources) - 1
            end = _settled_end(plain, start) if last else plain.size
            _count(plain, counter, start, end)
            if plain.size:
                cursor.move_to(plain, end)
                tally.rotations += number > 0
            if not last:
                tally.open_line = None
                continue
            seen = copy.deepcopy(tally)
            half = Counter(seen, signatures, Clock(tally.last_time))
            _count(plain, half, end, plain.size)
            half.settle()
    return Look(seen, cursor)


def _count(file: _File, counter: Counter, start: int, end: int) -> None:
    """Add what [start, end) of the file holds."""
    if start >= end:
        return
    tally = counter.tally
    tally.bytes_read += end - start
    if tally.first_time is None:
        first = file.first_head(start, end)
        tally.first_time = Clock().read(first) if first else None
    for found in _found(file, counter.texts, start, end, tally.open_line is not None):
        counter.add(found)


def _missing(path: str) -> LogError:
    return LogError(f"log {path} is missing: check that the bot runs and that this is the file it logs to")


def _sources(cursor: Cursor, parts: _Parts) -> list[tuple[_File, int]]:
    """The files to read, in order, each from where on. Bytes that are lost are noted in the tally.

    :raises LogError: when there is nothing to read because the log is missing.
    """
    current, files = parts.current, parts.files
    if cursor.head_length == 0 and files:  # there was nothing when it was taken
        return [(file, 0) for file in files]
    for number in range(len(files) - 1, -1, -1):
        file = files[number]
        if cursor.stands_in(file):
            if current is None and file is files[-1] and file.size == cursor.offset:
                break
            return [(file, cursor.offset), *((newer, 0) for newer in files[number + 1 :])]
    # The kernel stamps files with a clock of some milliseconds' grain.
    newer = [(file, 0) for file in files if file is current or os.fstat(file.fd).st_mtime > cursor.looked - 0.02]
    if current is None or not newer:
        raise _missing(cursor.path)
    what = "truncated" if current.inode == cursor.inode else "replaced or rotated away"
    cursor.tally.gaps.append(f"{cursor.path} was {what} after byte {cursor.offset}; what else was written is lost")
    cursor.tally.open_line = None
    return newer


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
            "hears": pool.hears,
            **{key: pool.sums.get(key, 0) for key in _COUNTERS},
        },
        "hearing": pool.ready_lines > 0,
        "dated": tally.first_time is not None or tally.last_time is not None,
        "first_time": tally.first_time,
        "last_time": tally.last_time,
        "hours": tally.hours,
        "bytes_read": tally.bytes_read,
        "rotations": tally.rotations,
        "gaps": tally.gaps,
    }


def vm_clock() -> dict[str, Any]:
    """This machine's time: since the epoch (may be set), and since boot (runs on through suspension, cannot be set)
    with the boot's identity, so that the time between two looks is known even if the clock was set in between."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return {"epoch": time.time(), "since_boot": time.clock_gettime(time.CLOCK_BOOTTIME), "boot": boot}
