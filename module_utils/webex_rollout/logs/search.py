# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the lines and records that count in a file, in bounded memory.

Only what is near a text, or in a record at WARNING or above, is ever looked at; everything else is skipped at the speed
of C. What is found is read again line by line: a text is never counted for where it was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .dialect import HEAD_BYTES, Dialect
from .files import BLOCK, LogFile
from .heads import Heads, Place
from .kinds import is_exception, kind_of
from .levels import CRITICAL, ERROR, WARNING
from .passes import Hit, Passes

# What one `Found` covers, so that what is found is bounded too.
SPAN = 8 * BLOCK
# A longer line is none of the pool module's.
MAX_POOL_LINE = 4096
# Of a record, for its kind.
MAX_RECORD = 32 * 1024


@dataclass
class Met:
    """What was met of a record. A *mask* has bit n set for the n-th text searched for."""

    place: Place | None
    """Where it begins; None for the record that was at hand before."""
    lines: dict[int, int] = field(default_factory=dict)
    """How many lines there are with exactly these texts."""
    trace: bool = False
    kind: str = ""


@dataclass
class Found:
    """What a span of the log holds."""

    records: list[Met] = field(default_factory=list)
    """In order."""
    pool_lines: list[bytes] = field(default_factory=list)
    tail: Place | None = None
    """The last head, when that is not among `records`."""
    continued: int = 0
    """The texts in what is left of a line that began before the span."""
    same_line: bool = False
    """Whether the span ends within that line."""
    open_line: int | None = None
    """The texts so far in a last line without a newline."""
    levels: dict[str, int] = field(default_factory=dict)
    """How many records there are at WARNING or above, by level."""
    echoes: int = 0
    """Lines that look like a record, and stood in a message before."""


class _Span:
    """Puts the places where texts are met, which come in order, together to lines and records."""

    def __init__(self, file: LogFile, heads: Heads, passes: Passes, start: int, inside_line: bool) -> None:
        self.found = Found()
        self._file = file
        self._heads = heads
        self._passes = passes
        # The line last met: the texts in it, where it starts and ends (-1: not seen yet), and the head above it.
        self._mask = 0
        self._line_start = start
        self.line_end = -1 if inside_line else start
        self._place: Place | None = None
        self._continued = inside_line
        self._trace = False

    def meet(self, block: bytes, base: int, hit: Hit) -> None:
        """A text stands somewhere in ``block``, which begins at ``base`` in the file."""
        at, mask = hit
        low = self.line_end - base
        if self.line_end < 0 or at < low:
            self._mask |= mask
            return
        if self._mask or self._continued:
            self._close_line()
        self._mask, self._trace = mask, False
        newline = block.rfind(b"\n", low if low > 0 else 0, at)
        if newline < 0 and low < 0:
            self._line_start = self._file.line_start(base, self.line_end)
            self._place = self._heads.last(self.line_end, self._line_start + 1)
        else:
            start = newline + 1 if newline >= 0 else low
            self._line_start = base + start
            self._place = self._heads.in_block(block, base, start) or self._above(block, base, low, start)
        if mask & self._passes.trace:
            before = self._line_start - base
            begun = block[before:at] if before >= 0 else self._file.read(self._line_start, base + at)[:HEAD_BYTES]
            self._trace = not begun.strip(b" \t|+")
        newline = block.find(b"\n", at)
        self.line_end = base + newline + 1 if newline >= 0 else -1

    def _above(self, block: bytes, base: int, low: int, high: int) -> Place | None:
        """The last head that begins in [low, high) of the block; ``low`` may lie before it."""
        found = self._heads.above(block, base, max(0, low - 1), high)
        return found or (self._heads.last(base + low, base + 1) if low <= 0 else None)

    def _close_line(self) -> None:
        texts = self._mask & self._passes.signatures
        if self._continued:
            self.found.continued = texts if self._passes.levelled else 0
            self._continued = False
            return
        place = self._checked(self._place)
        first = place is not None and place.at == self._line_start
        line = self._line(MAX_POOL_LINE) if self._mask & (self._passes.pool | self._passes.looked_at) else b""
        short = 0 <= self.line_end - self._line_start <= MAX_POOL_LINE
        if self._mask & self._passes.pool and short and not self._heads.is_echo(self._line_start):
            self.found.pool_lines.append(line)
        in_json = first and place is not None and bool(place.head.trace)
        trace = self._trace or in_json
        exception = False
        if not self._passes.levelled:
            exception = is_exception(line)
            texts = texts if exception or in_json else 0
        met = self._met(place)
        if texts:
            met.lines[texts] = met.lines.get(texts, 0) + 1
        if first and place is not None and (place.head.level or 0) >= ERROR:
            self.count_level(place.head.level)
        met.trace = met.trace or trace or exception
        if not met.kind and place is not None and (met.trace or (place.head.level or 0) >= ERROR):
            met.kind = self._kind(place)
        elif not met.kind and met.trace:
            met.kind = kind_of(line, self._record(self._line_start))

    def _met(self, place: Place | None) -> Met:
        records = self.found.records
        if records and (place is None or place == records[-1].place):
            return records[-1]
        records.append(Met(place))  # also without a text: what comes next may belong to it
        return records[-1]

    def _checked(self, place: Place | None) -> Place | None:
        """The head, as one of no level when it is nobody's record."""
        if place is None or (place.head.level or 0) < WARNING or not self._heads.is_echo(place.at):
            return place
        self.found.echoes += place.at == self._line_start
        return place._replace(head=place.head._replace(stamp=None, level=0))

    def count_level(self, level: int | None, records: int = 1) -> None:
        """Count records by their level."""
        if level is not None and level >= WARNING and records:
            name = "critical" if level >= CRITICAL else "error" if level >= ERROR else "warning"
            self.found.levels[name] = self.found.levels.get(name, 0) + records

    def _line(self, length: int) -> bytes:
        line = self._file.read(self._line_start, self._line_start + length)
        end = line.find(b"\n")
        return line if end < 0 else line[: end + 1]

    def _kind(self, place: Place) -> str:
        if place.head.trace or self._passes.json:
            return kind_of(place.head.text, place.head.trace)
        return kind_of(place.head.text, self._record(place.at))

    def _record(self, at: int) -> bytes:
        """What stands in a record behind an offset, up to a bound."""
        kept, base = self._heads.around(at, min(at + MAX_RECORD, self._file.size))
        end = self._heads.end(kept, base, at - base)
        return kept[at - base : min(end, at - base + MAX_RECORD)]

    def finish(self, end: int) -> Found:
        """The span ends at ``end``."""
        found, same_line = self.found, self._continued and self.line_end < 0
        if self._mask or self._continued:
            self._close_line()
        if self._file.read(end - 1, end) != b"\n":
            found.same_line = same_line
            found.open_line = self._mask & self._passes.signatures if self.line_end < 0 else 0
        if self.line_end >= 0:
            self._line_start = -1
            found.tail = self._checked(self._heads.last(self.line_end, end))
        return found


def _spans(file: LogFile, start: int, end: int) -> Iterator[tuple[int, int]]:
    """[start, end) in parts of about SPAN bytes that end where a line ends."""
    while start < end:
        stop = file.line_end(start + SPAN - 1, end) if end - start > SPAN else end
        yield start, stop
        start = stop


@dataclass(frozen=True)
class Search:
    """What is searched for."""

    texts: Sequence[bytes] = ()
    dialect: Dialect = field(default_factory=Dialect)


def find_in(
    file: LogFile, search: Search, start: int, end: int, inside_line: bool, level: int | None = None
) -> Iterator[Found]:
    """What [start, end) holds, span by span.

    :param inside_line: whether ``start`` is within a line, instead of at the beginning of one.
    :param level: of the record that is at hand at ``start``.
    """
    heads = Heads(file, search.dialect)
    passes = Passes(search.texts, search.dialect, heads, (level or 0) >= WARNING)
    for low, high in _spans(file, start, end):
        yield _find(file, heads, passes, low, high, inside_line and low == start)


def _find(file: LogFile, heads: Heads, passes: Passes, start: int, end: int, inside_line: bool) -> Found:
    span = _Span(file, heads, passes, start, inside_line)
    # With the newline before, by which a line's beginning is known.
    low = max(0, start - passes.overlap) if inside_line else max(0, start - 1)
    for offset in range(start, end, BLOCK):
        base = max(low, offset - passes.overlap)
        stop = min(offset + BLOCK, end)
        block = file.read(base, stop)
        if span.line_end < 0:
            newline = block.find(b"\n", offset - base)
            span.line_end = base + newline + 1 if newline >= 0 else -1
        heads.stand_in(block, base)
        for hit in passes.hits(block, base, offset - base):
            span.meet(block, base, hit)
        span.count_level(WARNING, passes.warnings)
    return span.finish(end)
