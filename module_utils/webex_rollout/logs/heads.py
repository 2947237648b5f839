# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the records of a file begin, read in its dialect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os.path import commonprefix
from typing import NamedTuple

from .dialect import HEAD_BYTES, MAX_JSON, Dialect, Head, Layout, patterns
from .files import BLOCK, LogFile
from .kinds import is_exception

# A traceback that another one caused belongs to the same failure.
_CHAINED = b" above exception"
_TRACEBACK = b"Traceback (most recent"
# In how many bytes before a record what it repeats is looked for: a message of Webex, twice, with what is around it.
ECHO_BYTES = 20 * 1024
_ECHO_LEAST, _ECHO_MOST = 16, 100
_NEWLINE = ord("\n")
_AS_IT_IS = re.compile(rb"[ !#-&(-\[\]-~]*")


class Place(NamedTuple):
    """The head of a record, and the offset at which it stands."""

    at: int
    head: Head


class Heads:
    """Finds and reads heads, by offset."""

    def __init__(self, file: LogFile, dialect: Dialect) -> None:
        self._file = file
        self._dialect = dialect
        marks = {_mark(layout) for layout in dialect.layouts} or {b"\n"}
        self._marks = [b"\n"] if b"\n" in marks else sorted(marks)
        self._patterns = [patterns(layout).head for layout in dialect.layouts if not layout.json]
        self._json = dialect.json
        self._first = self._marks[0][1:] if len(self._marks) == 1 else b""
        self._block, self._block_at = b"", 0
        self._kept, self._kept_at = b"", 0

    def at(self, position: int) -> Place | None:
        """The head at an offset, when a record begins there."""
        if position and self._file.read(position - 1, position) != b"\n":
            return None
        return self._read(b"", position, 0)

    def in_block(self, block: bytes, base: int, start: int) -> Place | None:
        """The same for a line that begins at ``start`` in a block, which begins at ``base`` in the file."""
        return self._read(block, base, start)

    def _read(self, block: bytes, base: int, start: int) -> Place | None:
        # Nearly all lines end here. A byte order mark may stand before the first.
        if self._first and base + start and start < len(block) and not block.startswith(self._first, start):
            return None
        line = self._line(block, base, start, HEAD_BYTES)
        if not self._dialect.layouts:
            return Place(base + start, Head(text=line)) if self._bare(line, base + start) else None
        if self._json and not self._dialect.is_head(line):
            return None
        if self._json and line.startswith(b"{") and not line.endswith(b"\n"):
            line = self._line(block, base, start, MAX_JSON)
        head = self._dialect.read(line)
        return None if head is None else Place(base + start, head)

    def _line(self, block: bytes, base: int, start: int, length: int) -> bytes:
        """Up to so much of a line, with its newline if that is within."""
        line = block[start : start + length]
        newline = line.find(b"\n")
        if newline < 0 and start + length > len(block):
            line = self._file.read(base + start, base + start + length)
            newline = line.find(b"\n")
        return line if newline < 0 else line[: newline + 1]

    def _bare(self, line: bytes, position: int) -> bool:
        """Whether a line begins a record in a log without time and level: any but a traceback's."""
        if not line.strip() or line[:1] in (b" ", b"\t") or _CHAINED in line or line.startswith(b"The above exception"):
            return False
        before = self._file.read(max(0, position - 400), position)
        if line.startswith(_TRACEBACK):
            return _CHAINED not in before
        if is_exception(line):
            above = before[:-1].rpartition(b"\n")[2]
            return above[:1] not in (b" ", b"\t")
        return True

    def last(self, low: int, high: int) -> Place | None:
        """The last head in [low, high)."""
        step = 4096  # nearly always enough, and read anew for every span
        while high > low:
            start = max(low - 1, high - step, 0)
            block = self._file.read(start, high)
            found = self.above(block, start, 0, len(block))
            if found is not None:
                return found
            if start <= low:
                return self.at(0) if low == 0 else None
            high = start + 2
            step = BLOCK
        return None

    def above(self, block: bytes, base: int, low: int, high: int) -> Place | None:
        """The last head that begins behind a newline in [low, high) of a block."""
        while True:
            if self._first:
                high = block.rfind(self._marks[0], low, high)
            else:
                high = max(block.rfind(mark, low, high) for mark in self._marks)
            if high < 0:
                return None
            found = self._read(block, base, high + 1)
            if found is not None:
                return found

    def first(self, low: int, high: int) -> Place | None:
        """The first head in [low, high); only the first block is looked at."""
        block = self._file.read(low, min(high, low + BLOCK))
        if (low == 0 or self._file.read(low - 1, low) == b"\n") and block:
            found = self._read(block, low, 0)
            if found is not None:
                return found
        end = self.end(block, low, 0)
        return self._read(block, low, end) if end < len(block) else None

    def end(self, block: bytes, base: int, start: int) -> int:
        """Where the record that begins at ``start`` in a block ends in it: at the next head, or with the block.

        One that is cut off by the block's end is no head here."""
        if self._json or len(self._patterns) != 1:
            return self._end_slowly(block, base, start)
        mark, match, length = self._marks[0], self._patterns[0].match, len(block)
        while True:
            start = block.find(mark, start) + 1
            if start == 0 or start >= length:
                return length
            if match(block, start):
                return start

    def search_for(self, errors: Sequence[bytes], warnings: Sequence[bytes]) -> LevelSearch:
        """A search for records in which one of these words stands."""
        head = self._patterns[0] if len(self._patterns) == 1 and not self._json else None
        return LevelSearch(self, errors, warnings, head, self._json)

    def _end_slowly(self, block: bytes, base: int, start: int) -> int:
        while True:
            found = [place for place in (block.find(mark, start) for mark in self._marks) if place >= 0]
            start = min(found, default=-1) + 1
            if start == 0 or start >= len(block):
                return len(block)
            if self._read(block, base, start) is not None:
                return start

    def is_echo(self, place: int) -> bool:
        """Whether the line at an offset stands within a line shortly before it.

        webex_bot logs what it receives as JSON, with each line break as two characters, before it logs it as text: a
        line of that text that looks like a record was written before, which no record of the bot's own ever is."""
        # Up to what JSON would write otherwise.
        low = max(0, place - ECHO_BYTES)
        text, base = self.around(low, min(place + _ECHO_MOST, self._file.size))
        line = _AS_IT_IS.match(text, place - base, place - base + _ECHO_MOST)[0]  # type: ignore[index]
        if len(line) < _ECHO_LEAST:
            return False
        at = text.find(line, low - base, place - base)
        while at >= 0:
            if base + at and text[at - 1 : at] != b"\n":
                return True
            at = text.find(line, at + 1, place - base)
        return False

    def around(self, low: int, high: int) -> tuple[bytes, int]:
        """Text that has [low, high) in it, as far as the file goes, and where it begins; kept for the next call."""
        for text, base in ((self._block, self._block_at), (self._kept, self._kept_at)):
            if base <= low <= high <= base + len(text):
                return text, base
        self._kept, self._kept_at = self._file.read(low, high + BLOCK // 4), low
        return self._kept, self._kept_at

    def stand_in(self, block: bytes, base: int) -> None:
        """What is asked for next is likely to be in this block, which begins at ``base`` in the file."""
        self._block, self._block_at = block, base


class LevelSearch:
    """Finds the records in which one of some words stands."""

    def __init__(
        self,
        heads: Heads,
        errors: Sequence[bytes],
        warnings: Sequence[bytes],
        head: re.Pattern[bytes] | None,
        whole_lines: bool,
    ) -> None:
        """:param head: what matches a record's beginning, if one pattern does.
        :param whole_lines: whether a record begins with its line instead of with the word."""
        self._heads = heads
        self._whole_lines = whole_lines
        # In any case the line's rest, so that no line is searched twice; with its end, if the record is one line.
        behind = b"" if head is None else rb"(?:[^\n]*\n(?=" + _without_groups(head.pattern) + rb")|[^\n]*)"
        shared = commonprefix([*errors, *warnings])  # noqa: RUF071 - of bytes, not of paths
        if shared and errors and warnings:
            one, other = (b"|".join(re.escape(word[len(shared) :]) for word in words) for words in (errors, warnings))
            patterns = [re.escape(shared) + rb"(?:(" + one + rb")|" + other + rb")"]
        else:  # one that begins with no text is searched for at a tenth of the speed
            patterns = [rb"(" + re.escape(word) + rb")" for word in errors]
            patterns += [re.escape(word) + rb"(){0}" for word in warnings]
        self._finds = [re.compile(pattern + behind).finditer for pattern in patterns]

    def records(self, block: bytes, base: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Where in a block a word stands first in a record, and where that ends: of the errors' words, and of the
        warnings' in the other records."""
        errors: list[tuple[int, int]] = []
        warnings: list[tuple[int, int]] = []
        for find in self._finds:
            until = 0
            for found in find(block):
                at, end = found.span()
                if at < until:
                    continue
                until = end if block[end - 1] == _NEWLINE else self._heads.end(block, base, end)
                if self._whole_lines:  # the level may stand behind the message
                    at = block.rfind(b"\n", 0, at) + 1
                (warnings if found.start(1) < 0 else errors).append((at, until))
        if len(self._finds) > 1:
            failed = {until: at for at, until in reversed(errors)}
            warned = {until: at for at, until in reversed(warnings) if until not in failed}
            errors, warnings = (sorted((at, until) for until, at in each.items()) for each in (failed, warned))
        return errors, warnings


def _without_groups(pattern: bytes) -> bytes:
    """The same pattern without the groups that it does not refer to itself, which cost time."""
    return re.sub(rb"\(\?P<(\w+)>", lambda name: name[0] if b"(?P=" + name[1] + b")" in pattern else b"(?:", pattern)


def _mark(layout: Layout) -> bytes:
    """What stands before each head of a layout: a newline, and what its first character always is."""
    if layout.json:
        return b"\n{"
    if layout.colours:
        return b"\n"
    if not layout.opening:
        return b"\n2" if layout.form in ("iso", "compact", "compact date") else b"\n"
    first = layout.opening[0]
    return b"\n" if first in "w " else b"\n" + first.encode("latin-1")
