# SPDX-License-Identifier: GPL-3.0-or-later
"""Where reading a log continues, across its rotations, and the looks that move it."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import LogError
from .dialect import Dialect
from .files import LogAbsentError, LogFile, Parts, head_hash, parts_of, unpacked
from .heads import Heads
from .sampling import days_of, learned, relearned
from .search import Search, find_in
from .signatures import SIGNATURES, Signature
from .stamps import Clock
from .tally import Counter, Errors, Record, Tally, load

# 1 called the pool's `log_level` `hears`; 2 knew one dialect, and no errors of other kinds.
CURSOR_VERSION = 3
HEAD_BYTES = 4096
# A last line without its newline is read again next time, unless it is longer than this.
MAX_HALF_LINE = 64 * 1024


@dataclass
class Cursor:
    """Where reading continues, and what was counted since it was taken.

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
    dialect: Dialect | None = None
    """As it was learned from the log; None before it had a line."""
    version: int = CURSOR_VERSION

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "dialect": self.dialect.to_dict() if self.dialect else None}

    @classmethod
    def from_dict(cls, raw: Any) -> Cursor:
        """:raises LogError: when a field is missing, unknown or of another type (a truncated state file, say)."""
        try:
            cursor = load(cls, _of_this_version(raw))
            cursor.tally = Tally.from_dict(cursor.tally)
            cursor.dialect = None if cursor.dialect is None else Dialect.from_dict(cursor.dialect)
        except ValueError as error:
            raise LogError(
                f"the cursor into the log is damaged: {error}; take a new one, which starts the soak anew"
            ) from error
        return cursor

    def stands_in(self, file: LogFile) -> bool:
        """Whether the cursor points into this file, whatever its name is now.

        The inode proves nothing: a deleted file's number is given to the next one at once."""
        return head_hash(file, self.head_length) == self.head_sha256

    def move_to(self, file: LogFile, position: int) -> None:
        self.device, self.inode, self.offset = file.device, file.inode, file.stretches.offset_of(position)
        self.head_length = min(HEAD_BYTES, file.end)
        self.head_sha256 = head_hash(file, self.head_length) or ""


def _of_this_version(raw: Any) -> Any:
    """A cursor that was kept, in this version's words: a soak may have begun under an earlier one.

    :raises ValueError: when its version is not known.
    """
    if not isinstance(raw, dict) or raw.get("version", CURSOR_VERSION) == CURSOR_VERSION:
        return raw
    if raw["version"] not in (1, 2):
        raise ValueError(f"its version is {raw['version']!r}, not {CURSOR_VERSION}")
    new = {**copy.deepcopy(raw), "version": CURSOR_VERSION, "dialect": None}
    try:
        tally = new["tally"]
        if raw["version"] == 1:
            tally["pool"]["log_level"] = tally["pool"].pop("hears")
        tally.update(levels={}, tracebacks=0, loose_tracebacks=0, echoes=0, errors=asdict(Errors()))
        # What was counted in the record at hand is counted; more of it is not.
        tally["record"].update(level=None, trace=False, kind="")
    except (AttributeError, KeyError, TypeError):
        raise ValueError("its pool is missing, or is of another version") from None
    return new


def take_cursor(path: str) -> Cursor:
    """A cursor at the log's present end; where no log is yet, at the beginning of the one that will be.

    :raises LogError: when the log cannot be read.
    """
    cursor = fresh_cursor(path)
    with parts_of(path) as parts:
        cursor.dialect = dialect = learned(None, parts.files)
        # An empty file cannot be known again once it is rotated, the end of the part before it can.
        for file in reversed(parts.files):
            with unpacked(file) as (whole, _):
                if whole.size:
                    cursor.move_to(whole, whole.size)
                    # What comes next may belong to the record, or the line, that is being written.
                    heads = Heads(whole, dialect or Dialect())
                    place = heads.last(max(0, whole.size - MAX_HALF_LINE), whole.size)
                    if place:
                        clock = clock_for(whole, dialect, 0, whole.size, Clock())
                        cursor.tally.record = Record(clock.read(place.head.stamp, place.at), place.head.level)
                    if whole.read(whole.size - 1, whole.size) != b"\n":
                        cursor.tally.open_line = []
                    break
    return cursor


def fresh_cursor(path: str) -> Cursor:
    """A cursor before everything that the log and its rotated parts hold."""
    now = time.time()
    return Cursor(path, -1, -1, 0, 0, "", taken=now, looked=now)


def _settled_end(file: LogFile, start: int) -> int:
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
    with parts_of(cursor.path) as parts:
        cursor.dialect = learned(cursor.dialect, parts.files)
        return _read(cursor, sources_of(cursor, parts), signatures)


def look_at_all(path: str, signatures: Sequence[Signature] = SIGNATURES, rotated: bool = False) -> Look:
    """Read the whole log, with its rotated parts if asked; the cursor in the result starts counting anew after it.

    Of a bot that never ran there may be none: that is asked with the rotated parts, and is an empty log.

    :raises LogError: when the log cannot be read, or is missing and not asked for with its rotated parts.
    """
    with parts_of(path) as parts:
        if parts.current is None and not rotated:
            raise _missing(path)
        cursor = fresh_cursor(path)
        cursor.dialect = learned(None, parts.files)
        seen = _read(cursor, [(file, 0) for file in parts.files[0 if rotated else -1 :]], signatures)
    seen.cursor.tally = seen.cursor.tally.anew()
    return seen


@dataclass
class Piece:
    """What is to be read next: positions [start, end) of a file. ``last``: of the file that is being written."""

    file: LogFile
    start: int
    end: int
    last: bool


def pieces(cursor: Cursor, sources: Sequence[tuple[LogFile, int]]) -> Iterator[Piece]:
    """The sources, each from an offset on; the cursor moves to the end of each, gaps are noted in its tally."""
    cursor.looked = time.time()
    tally = cursor.tally
    for number, (file, offset) in enumerate(sources):
        with unpacked(file) as (whole, problem):
            if problem:
                tally.gaps.append(problem)
            elif whole.end < offset:
                tally.gaps.append(f"{whole.path} holds {whole.end} bytes, though {offset} of it were read before")
            start = min(whole.stretches.position_of(offset), whole.size)
            last = number == len(sources) - 1
            end = _settled_end(whole, start) if last else whole.size
            if whole.size:
                cursor.move_to(whole, end)
                tally.rotations += number > 0
            yield Piece(whole, start, end, last)
            if not last:
                tally.open_line = None


def _read(cursor: Cursor, sources: Sequence[tuple[LogFile, int]], signatures: Sequence[Signature]) -> Look:
    """Count the sources, each from where on, and move the cursor to their end."""
    tally = seen = cursor.tally
    clock = Clock(tally.last_time)
    for piece in pieces(cursor, sources):
        file = piece.file
        cursor.dialect = relearned(cursor.dialect, file, piece.start, file.size)
        dialect = cursor.dialect or Dialect()
        clock_for(file, dialect, piece.start, file.size, clock)
        _count(file, Counter(tally, signatures, clock, dialect), piece.start, piece.end)
        if piece.last:
            seen = copy.deepcopy(tally)
            half = Counter(
                seen, signatures, clock_for(file, dialect, piece.start, file.size, Clock(tally.last_time)), dialect
            )
            _count(file, half, piece.end, file.size)
            half.settle()
    return Look(seen, cursor)


def clock_for(file: LogFile, dialect: Dialect | None, start: int, end: int, clock: Clock) -> Clock:
    """The clock, set to read the stamps of [start, end) of a file."""
    clock.written = file.written
    clock.days = days_of(dialect, file, start, end) if dialect else ()
    return clock


def _count(file: LogFile, counter: Counter, start: int, end: int) -> None:
    """Add what [start, end) of the file holds."""
    if start >= end:
        return
    tally = counter.tally
    tally.bytes_read += end - start
    if tally.first_time is None:
        tally.first_time = counter.first_time(file, start, end)
    search = Search(counter.texts, counter.dialect)
    for found in find_in(file, search, start, end, tally.open_line is not None, tally.record.level):
        counter.add(found)


def _missing(path: str) -> LogError:
    return LogAbsentError(f"log {path} is missing: check that the bot runs and that this is the file it logs to")


def sources_of(cursor: Cursor, parts: Parts) -> list[tuple[LogFile, int]]:
    """The files to read, in order, each from which offset on. Bytes that are lost are noted in the tally.

    :raises LogError: when there is nothing to read because the log is missing.
    """
    current, files = parts.current, parts.files
    if cursor.head_length == 0 and files:  # there was nothing when it was taken
        return [(file, 0) for file in files]
    for number in range(len(files) - 1, -1, -1):
        file = files[number]
        if cursor.stands_in(file):
            if current is None and file is files[-1] and file.stretches.position_of(cursor.offset) == file.size:
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
