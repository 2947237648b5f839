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
import re
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
# Hours kept for the chart; two weeks are more than the longest soak and its history.
MAX_BUCKETS = 24 * 14
# Ready lines kept word for word; a bot configures three sessions per start.
MAX_READY = 24
HEAD_BYTES = 4096
# A last line without its newline is read again next time, as long as it is not longer than this.
MAX_HALF_LINE = 64 * 1024
# One call of memmem: long enough that the call costs nothing, short enough to stay in the processor's cache.
BLOCK = 256 * 1024
# What one thread takes at a time.
SEGMENT = 16 * BLOCK
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
_STAMP_LENGTH = 48
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

    @staticmethod
    def is_head(line: bytes) -> bool:
        """Whether ``line`` starts a record."""
        return _STAMP.match(line) is not None

    def read(self, line: bytes) -> float | None:
        """Seconds since the epoch of the stamp that ``line`` starts with, None when it starts with none."""
        match = _STAMP.match(line)
        if match is None:
            return None
        minute, second, fraction, offset = match.group(1), match.group(7), match.group(8), match.group(9)
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

    ready: list[dict[str, str]] = field(default_factory=list)
    ready_lines: int = 0
    stats_lines: int = 0
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    last_stats_time: float | None = None
    # The lowest level of record that the bot's logging lets through, where the pool module tells it.
    hears: int | None = None


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
    # The record being read: stamp and names of the signatures in it. None when no signature was met since its start.
    record: dict[str, Any] | None = None
    # The signatures already counted in the line at the cursor, when that is too long to be read again as a whole.
    open_line: list[str] = field(default_factory=list)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> Tally:
        known = dict(raw)
        known["counts"] = {name: Count(**count) for name, count in known.get("counts", {}).items()}
        known["pool"] = Pool(**known.get("pool", {}))
        return cls(**known)


_FIELD = re.compile(rb"([a-z_]+)=(\S+)")
_POOL_LINE = re.compile(rb"webex-pool (ready|stats)((?: [a-z_]+=\S+)+)\s*\n\Z")
_COUNTERS = ("requests", "retried", "failed", "recycled")


class Counter:
    """Feeds signature hits, in the file's order, into a tally."""

    def __init__(self, tally: Tally, signatures: Sequence[Signature], clock: Clock, since: float | None = None) -> None:
        self.tally = tally
        self.signatures = signatures
        self._kinds = {signature.name: signature.kind for signature in signatures}
        self._clock = clock
        self._since = since
        self._in_line: set[str] = set(tally.open_line)

    @property
    def inside_line(self) -> bool:
        """Whether the line at hand has been counted for some signature."""
        return bool(self._in_line)

    def begin_record(self, head: bytes) -> None:
        """A new record starts with ``head``; what the one before amounted to is now settled."""
        self.settle()
        self.tally.record = {"time": self._clock.read(head), "names": []}

    def begin_line(self) -> None:
        self._in_line.clear()

    def hit(self, name: str) -> None:
        """``name``'s text stands in the current line."""
        record = self.tally.record
        if record is None:  # no head was found above it: a log that begins inside a record
            record = self.tally.record = {"time": None, "names": []}
        if self._since is not None and record["time"] is not None and record["time"] < self._since:
            return
        if name in self._in_line:
            return
        if not self._in_line:
            self.tally.lines += 1
        self._in_line.add(name)
        self.tally.counts.setdefault(name, Count()).lines += 1
        if name not in record["names"]:
            record["names"].append(name)

    def pause(self, line_goes_on: bool) -> None:
        """Reading ends here for now."""
        if not line_goes_on:
            self._in_line.clear()
        self.tally.open_line = sorted(self._in_line)

    def settle(self) -> None:
        """Count the record that has come to its end."""
        record, self.tally.record = self.tally.record, None
        if record is None or not record["names"]:
            return
        names = [name for name in record["names"] if self._kinds.get(name) == FAILURE]
        if any(self._kinds.get(name) == RECOVERED for name in record["names"]):
            self._recovered(record["names"])
        elif names:
            self._failed(names, record["time"])
        for name in record["names"]:
            if self._kinds.get(name) == NOTICE:
                self.tally.counts[name].incidents += 1

    def _recovered(self, names: Sequence[str]) -> None:
        self.tally.recovered += 1
        for name in names:
            self.tally.counts[name].recovered += 1

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
            self.tally.hours[hour] = self.tally.hours.get(hour, 0) + 1
            while len(self.tally.hours) > MAX_BUCKETS:
                del self.tally.hours[min(self.tally.hours, key=int)]

    def pool_line(self, line: bytes) -> None:
        """Take in a line that contains ``webex-pool ``, if it is one the pool module wrote: a record of its own whose
        message is nothing but the event and key=value pairs. A chat message quoting one does not look like that."""
        match = _POOL_LINE.search(line)
        time_ = self._clock.read(line)
        if match is None or time_ is None or (self._since is not None and time_ < self._since):
            return
        values = {key.decode(): value.decode("utf-8", "replace") for key, value in _FIELD.findall(match.group(2))}
        pool = self.tally.pool
        if values.get("hears", "").isdigit():
            pool.hears = int(values["hears"])
        if match.group(1) == b"ready":
            pool.ready_lines += 1
            pool.ready = [*pool.ready, dict(values, time=time_)][-MAX_READY:]
            pool.last.setdefault(values.get("pid", ""), dict.fromkeys(_COUNTERS, 0))
            return
        try:
            now = {key: int(values.get(key, 0)) for key in (*_COUNTERS, "open")}
        except ValueError:
            return
        self._pool_stats(values.get("pid", ""), now, time_)

    def _pool_stats(self, pid: str, now: dict[str, int], time_: float) -> None:
        pool = self.tally.pool
        pool.stats_lines += 1
        pool.last_stats_time = time_
        before = pool.last.get(pid, now)
        if any(now[key] < before[key] for key in _COUNTERS):  # the number was given to a new process
            before = dict.fromkeys(_COUNTERS, 0)
        for key in _COUNTERS:
            pool.sums[key] = pool.sums.get(key, 0) + now[key] - before[key]
        pool.last.pop(pid, None)  # so that the process heard last stands last
        pool.last[pid] = now
        while len(pool.last) > MAX_READY:
            del pool.last[next(iter(pool.last))]


# --- searching -------------------------------------------------------------------------------------------------------


def _memmem() -> Callable[[int, int, bytes, int], int | None] | None:
    """The C library's memmem: two to three times as fast as bytes.find (10 GB/s against 4 GB/s for 18 characters, glibc
    2.36 against Python 3.11), and other threads run meanwhile."""
    try:
        function = ctypes.CDLL(None).memmem
    except (AttributeError, OSError):  # no ctypes, or a C library without it
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return function


_MEMMEM = _memmem()


class _Window:
    """A buffer over part of a file that says which texts occur in it."""

    def __init__(self, size: int) -> None:
        self._buffer = bytearray(size)
        self._view = memoryview(self._buffer)
        self._address = ctypes.addressof((ctypes.c_char * size).from_buffer(self._buffer)) if _MEMMEM else 0
        self._length = 0

    def fill(self, fd: int, start: int, end: int) -> None:
        """Take in the bytes from ``start`` to ``end``, or to where the file ends by now."""
        self._length = os.preadv(fd, [self._view[: end - start]], start)

    def contains(self, text: bytes) -> bool:
        if _MEMMEM is None:
            return self._buffer.find(text, 0, self._length) >= 0
        return _MEMMEM(self._address, self._length, text, len(text)) is not None


class _File:
    """An open log. Everything is read by offset, so that threads can share it."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        status = os.fstat(fd)
        self.device, self.inode, self.size = status.st_dev, status.st_ino, status.st_size

    def read(self, start: int, end: int) -> bytes:
        return os.pread(self.fd, max(0, end - start), start)

    def find_newline(self, start: int, end: int) -> int:
        """Offset of the first newline in [start, end), -1 without one."""
        while start < end:
            block = self.read(start, min(start + BLOCK, end))
            at = block.find(b"\n")
            if at >= 0 or not block:
                return start + at if at >= 0 else -1
            start += len(block)
        return -1

    def line_start(self, position: int, low: int) -> int:
        """Where the line at ``position`` begins, or ``low`` when that is before it."""
        high = position
        while high > low:
            start = max(low, high - BLOCK)
            at = self.read(start, high).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            high = start
        return low

    def head_at(self, position: int) -> bytes | None:
        """The stamp at ``position``, when a record starts there."""
        if position and self.read(position - 1, position) != b"\n":
            return None
        line = self.read(position, position + _STAMP_LENGTH)
        return line if Clock.is_head(line) else None

    def last_head(self, low: int, high: int) -> bytes | None:
        """The stamp of the last record that starts in [low, high)."""
        while high > low:
            start = max(low - 1, high - BLOCK, 0)
            block = self.read(start, high)
            at = len(block)
            while True:
                # Nothing else in a log starts lines with a 2 as often: two characters find nearly only records.
                at = max(block.rfind(b"\n2", 0, at), block.rfind(b"\n[2", 0, at))
                if at < 0:
                    break
                head = self.head_at(start + at + 1)
                if head is not None:
                    return head
            if start <= low:
                return self.head_at(0) if low == 0 else None
            high = start + 2
        return None

    def first_head(self, low: int, high: int) -> bytes | None:
        """The stamp of the first record that starts in [low, high); only the first block is looked at."""
        head = self.head_at(low)
        if head is not None:
            return head
        block = self.read(low, min(high, low + BLOCK))
        at = -1
        while True:
            at = block.find(b"\n", at + 1)
            if at < 0:
                return None
            if Clock.is_head(block[at + 1 : at + 1 + _STAMP_LENGTH]):
                return block[at + 1 : at + 1 + _STAMP_LENGTH]


def _anchors(texts: Sequence[bytes]) -> list[bytes]:
    """The texts to search for so that no place of any text is missed: those that contain no other one."""
    return [text for text in texts if not any(other != text and other in text for other in texts)]


def _busy_blocks(file: _File, start: int, end: int, anchors: Sequence[bytes]) -> Iterator[tuple[int, list[int]]]:
    """Offsets of the blocks in which an anchor ends, in order, each with the numbers of the anchors met."""
    overlap = max(map(len, anchors)) - 1

    def search(segment: int) -> list[tuple[int, list[int]]]:
        window = _Window(BLOCK + overlap)
        found = []
        for offset in range(segment, min(segment + SEGMENT, end), BLOCK):
            window.fill(file.fd, max(0, offset - overlap), min(offset + BLOCK, end))
            met = [number for number, anchor in enumerate(anchors) if window.contains(anchor)]
            if met:
                found.append((offset, met))
        return found

    segments = range(start, end, SEGMENT)
    # A second thread only where it can run beside the first, and the span is worth starting it.
    if _MEMMEM is None or len(segments) < 4 or len(os.sched_getaffinity(0)) < 2:
        for segment in segments:
            yield from search(segment)
        return
    with ThreadPoolExecutor(max_workers=2) as threads:
        for found in threads.map(search, segments):
            yield from found


class _Scan:
    """Reads a span of one file and feeds what it meets, in order, to a counter."""

    def __init__(self, file: _File, counter: Counter) -> None:
        self._file = file
        self._counter = counter
        names: dict[bytes, list[str]] = {}
        for signature in counter.signatures:
            names.setdefault(signature.text.encode(), []).append(signature.name)
        self._names = list(names.values())
        self._pool_mark = len(self._names)
        texts = [*names, POOL_MARK]
        self._anchors = _anchors(texts)
        self._overlap = max(map(len, texts)) - 1
        # Which texts can stand in a block where an anchor was met.
        self._under = [[(n, text) for n, text in enumerate(texts) if anchor in text] for anchor in self._anchors]
        self._start = self._base = 0
        self._block = b""
        self._line_start = 0
        # Where the line last counted ends; None while that is not known, and no newline comes before `_searched`.
        self._line_end: int | None = None
        self._searched = 0

    def run(self, start: int, end: int) -> None:
        """Count what lies in [start, end)."""
        counter = self._counter
        self._start = self._searched = start
        self._line_end = None if counter.inside_line else start
        for offset, met in _busy_blocks(self._file, start, end, self._anchors):
            self._base = max(0, offset - self._overlap)
            self._block = self._file.read(self._base, min(offset + BLOCK, end))
            for position, number in self._hits(offset - self._base, met):
                self._go_to(self._base + position)
                if number == self._pool_mark:
                    counter.pool_line(self._line(position))
                else:
                    for name in self._names[number]:
                        counter.hit(name)
        counter.pause(self._line_end is None and self._file.find_newline(self._searched, end) < 0)

    def _hits(self, fresh: int, met: Sequence[int]) -> list[tuple[int, int]]:
        """Places (within the block) and numbers of the texts that end after ``fresh``, the first one of a line only."""
        block, hits, seen = self._block, [], set()
        for anchor in met:
            for number, text in self._under[anchor]:
                if number in seen:
                    continue
                seen.add(number)
                at = block.find(text)
                while at >= 0:
                    after = at + len(text)
                    if after <= fresh:
                        at = block.find(text, at + 1)
                        continue
                    hits.append((at, number))
                    newline = block.find(b"\n", after)
                    at = block.find(text, newline) if newline >= 0 else -1
        hits.sort()
        return hits

    def _go_to(self, position: int) -> None:
        """Make the line at ``position`` the current one, and its record the current record."""
        if self._line_end is None:
            newline = self._file.find_newline(self._searched, position)
            if newline < 0:
                self._searched = position
                return
            self._line_end = newline + 1
        if position < self._line_end:
            return
        low = self._line_end
        block, base = self._block, self._base
        newline = block.rfind(b"\n", max(0, low - base), position - base)
        self._line_start = start = base + newline + 1 if newline >= 0 else self._file.line_start(position, low)
        head = self._head(low, start)
        if head is not None:
            self._counter.begin_record(head)
        self._counter.begin_line()
        newline = block.find(b"\n", position - base)
        self._line_end = base + newline + 1 if newline >= 0 else None
        self._searched = base + len(block)

    def _head(self, low: int, start: int) -> bytes | None:
        """The stamp of the record that the line at ``start`` belongs to, None when it is still the one before."""
        at = start - self._base
        if at > 0 and at + _STAMP_LENGTH <= len(self._block):
            head = self._block[at : at + _STAMP_LENGTH]
            if self._block[at - 1] == 0x0A and Clock.is_head(head):
                return head
        else:
            head = self._file.head_at(start)
            if head is not None:
                return head
        head = self._file.last_head(low, start)
        if head is None and self._counter.tally.record is None:
            head = self._file.last_head(max(0, self._start - MAX_HALF_LINE), start)
        return head

    def _line(self, position: int) -> bytes:
        """The current line, as far as a line of the pool module can be long."""
        end = self._base + position + 2048
        return self._file.read(self._line_start, end if self._line_end is None else min(end, self._line_end))


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
    """Hash of the first ``length`` bytes, None when there are fewer."""
    if file.path.endswith(".gz"):
        with open(file.fd, "rb", closefd=False) as packed:
            packed.seek(0)
            try:
                head = gzip.GzipFile(fileobj=packed).read(length)
            except (EOFError, OSError, zlib.error):
                return None
    else:
        head = file.read(0, length)
    return hashlib.sha256(head).hexdigest() if len(head) == length else None


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
            fields = dict(raw)
            if fields.get("version") != CURSOR_VERSION:
                raise ValueError(f"its version is {fields.get('version')!r}, not {CURSOR_VERSION}")
            fields["tally"] = Tally.from_dict(fields["tally"])
            cursor = cls(**fields)
            for name, kind in (("path", str), ("head_sha256", str), ("taken", float), ("looked", float)):
                if not isinstance(getattr(cursor, name), kind if kind is str else (int, float)):
                    raise ValueError(f"{name} is {getattr(cursor, name)!r}")
            for name in ("device", "inode", "offset", "head_length"):
                if not isinstance(getattr(cursor, name), int):
                    raise ValueError(f"{name} is {getattr(cursor, name)!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise LogError(
                f"the cursor into the log is damaged: {error}; take a new one, which starts the soak anew"
            ) from error
        return cursor

    def stands_in(self, file: _File) -> bool:
        """Whether the cursor points into this file, whatever its name is now.

        The inode proves nothing: a deleted file's number is given to the next one at once. What a compressed one holds
        is seen when it is read."""
        if file.size < self.offset and not file.path.endswith(".gz"):
            return False
        return _head_hash(file, self.head_length) == self.head_sha256

    def move_to(self, file: _File, offset: int) -> None:
        self.device, self.inode, self.offset = file.device, file.inode, offset
        self.head_length = min(HEAD_BYTES, file.size)
        self.head_sha256 = _head_hash(file, self.head_length) or ""


def take_cursor(path: str) -> Cursor:
    """A cursor at the log's present end; where no log is yet, at the beginning of the one that will be.

    :raises LogError: when the log cannot be read.
    """
    now = time.time()
    cursor = Cursor(path, -1, -1, 0, 0, "", taken=now, looked=now)
    try:
        file = _open(path)
    except FileNotFoundError:
        return cursor
    try:
        cursor.move_to(file, file.size)
    finally:
        os.close(file.fd)
    return cursor


def _settled_end(file: _File, start: int, inside_line: bool) -> int:
    """Up to where the file can be counted for good: its end, or the start of a last line still being written."""
    tail = max(start, file.size - MAX_HALF_LINE)
    newline = file.read(tail, file.size).rfind(b"\n")
    if newline >= 0:
        return tail + newline + 1
    return start if tail == start and not inside_line else file.size


@dataclass
class Look:
    """What a look showed: everything since the cursor was taken, with the last line even if it is half written."""

    tally: Tally
    cursor: Cursor


def look(cursor: Cursor, signatures: Sequence[Signature] = SIGNATURES, since: float | None = None) -> Look:
    """Read what was written since ``cursor``, which stays as it is; the result carries the new one.

    :param since: leave out records stamped earlier (seconds since the epoch).
    :raises LogError: when the log is missing or cannot be read.
    """
    cursor = copy.deepcopy(cursor)
    cursor.looked = time.time()
    tally = cursor.tally
    clock = Clock(tally.last_time)
    with _parts_of(cursor.path) as parts:
        sources = _sources(cursor, parts)
        for file, start in sources:
            with _plain(file) as (plain, problem):
                if problem:
                    tally.gaps.append(problem)
                if plain.size < start:
                    tally.gaps.append(f"{file.path} holds {plain.size} bytes, {start} were read of it before")
                    continue
                last = file is sources[-1][0]
                counter = Counter(tally, signatures, clock, since)
                end = _settled_end(plain, start, counter.inside_line) if last else plain.size
                _count(plain, counter, clock, start, end)
                if not last:
                    tally.open_line = []
                    tally.rotations += 1
                    continue
                cursor.move_to(plain, end)
                seen = copy.deepcopy(tally)
                if plain.size > end:
                    _count(plain, Counter(seen, signatures, clock, since), clock, end, plain.size)
                Counter(seen, signatures, clock).settle()
    return Look(seen, cursor)


def _count(file: _File, counter: Counter, clock: Clock, start: int, end: int) -> None:
    tally = counter.tally
    tally.bytes_read += max(0, end - start)
    if tally.first_time is None:
        first = file.first_head(start, end)
        tally.first_time = clock.read(first) if first else None
    _Scan(file, counter).run(start, end)
    last = file.last_head(max(start, end - BLOCK), end)
    if last:
        tally.last_time = clock.read(last)


def _sources(cursor: Cursor, parts: _Parts) -> list[tuple[_File, int]]:
    """The files to read, in order, each from where on. Bytes that are lost are noted in the tally.

    A cursor into an empty file has no hash to find it by; whatever was written since is new to it.
    """
    current, files = parts.current, parts.files
    if cursor.head_length:
        for number in range(len(files) - 1, -1, -1):
            if cursor.stands_in(files[number]):
                return [(files[number], cursor.offset), *((file, 0) for file in files[number + 1 :])]
    # Rotated since the last look; the kernel stamps files with a clock of some milliseconds' grain.
    newer = [(file, 0) for file in files if file is current or os.fstat(file.fd).st_mtime > cursor.looked - 0.02]
    if not newer:
        raise LogError(
            f"log {cursor.path} is missing{', though it was there before' if cursor.inode >= 0 else ''}: "
            "check that the bot runs and that this is the file it logs to"
        )
    if cursor.offset:
        what = "truncated" if current is not None and current.inode == cursor.inode else "replaced or rotated away"
        cursor.tally.gaps.append(f"{cursor.path} was {what} after byte {cursor.offset}; what else was written is lost")
    cursor.tally.open_line = []
    return newer


def vm_clock() -> dict[str, Any]:
    """This machine's time: since the epoch (may be set), and since boot (runs on through suspension, cannot be set)
    with the boot's identity, so that the time between two looks is known even if the clock was set in between."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return {"epoch": time.time(), "since_boot": time.clock_gettime(time.CLOCK_BOOTTIME), "boot": boot}


def look_at_all(
    path: str,
    signatures: Sequence[Signature] = SIGNATURES,
    rotated: bool = False,
    since: float | None = None,
) -> Look:
    """Read the whole log, with its rotated parts if asked; the cursor in the result starts counting anew after it.

    :raises LogError: when the log is missing or cannot be read.
    """
    now = time.time()
    start = Cursor(path, -1, -1, 0, 0, "", taken=now, looked=float("-inf") if rotated else now)
    seen = look(start, signatures, since)
    seen.cursor.tally = Tally(last_time=seen.tally.last_time)
    return seen


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
