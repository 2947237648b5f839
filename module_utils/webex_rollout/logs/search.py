# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the lines and records with certain texts in a file, in bounded memory.

Only lines near a text are ever looked at one by one; everything else is skipped by ``bytes.find``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .files import BLOCK, LogFile
from .stamps import STAMP_LENGTH, is_head, last_mark
from .tally import Found

# What one `Found` covers, so that what is found is bounded too.
SPAN = 32 * BLOCK
# A longer line is none of the pool module's.
MAX_POOL_LINE = 4096
POOL_MARK = b"webex-pool "
# Shorter ones are met too often, and are slower to search for.
SHARED_PREFIX = 5


class _Span:
    """Puts the places where texts are met, which come in order, together to lines and records."""

    def __init__(self, file: LogFile, start: int, pool_mask: int, inside_line: bool) -> None:
        self.found = Found()
        self._file = file
        self._pool_mask = pool_mask
        # The line last met: the texts in it, where it starts and ends (-1: not seen yet), and the stamp above it.
        self._mask = 0
        self._line_start = start
        self.line_end = -1 if inside_line else start
        self._stamp: bytes | None = None
        self._continued = inside_line

    def meet(self, block: bytes, base: int, at: int, mask: int) -> None:
        """A text stands at ``at`` in ``block``, which begins at ``base`` in the file."""
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
                self._stamp = block[start : start + STAMP_LENGTH]
            else:
                self._stamp = self._stamp_above(block, base, low, start)
        newline = block.find(b"\n", at)
        self.line_end = base + newline + 1 if newline >= 0 else -1

    def _stamp_above(self, block: bytes, base: int, low: int, high: int) -> bytes | None:
        """The stamp of the last record that starts in [low, high) of the block; ``low`` may lie before it."""
        while True:
            high = last_mark(block, max(0, low - 1), high)
            if high < 0:
                break
            if is_head(block, high + 1):
                return block[high + 1 : high + 1 + STAMP_LENGTH]
        return self._file.last_head(base + low, base + 1) if low <= 0 else None

    def _close_line(self) -> None:
        texts = self._mask & ~self._pool_mask
        whole = not self._continued and self.line_end - self._line_start <= MAX_POOL_LINE
        if self._mask != texts and whole:
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

    def __init__(self, file: LogFile, texts: Sequence[bytes]) -> None:
        self._file = file
        masks = {text: 1 << number for number, text in enumerate(texts)}
        self._pool_mask = 1 << len(texts)
        masks[POOL_MARK] = masks.get(POOL_MARK, 0) | self._pool_mask
        self._anchors = _anchors(masks)
        self._overlap = max(map(len, masks)) - 1

    def span(self, start: int, end: int, inside_line: bool = False) -> Found:
        """Search [start, end). ``start`` begins a line, unless ``inside_line``."""
        span = _Span(self._file, start, self._pool_mask, inside_line)
        low = max(0, start - self._overlap) if inside_line else start
        for offset in range(start, end, BLOCK):
            base = max(low, offset - self._overlap)
            block = self._file.read(base, min(offset + BLOCK, end))
            if span.line_end < 0:
                newline = block.find(b"\n", offset - base)
                span.line_end = base + newline + 1 if newline >= 0 else -1
            for at, mask in self._hits(block, offset - base):
                span.meet(block, base, at, mask)
        return span.finish(end)

    def _hits(self, block: bytes, fresh: int) -> list[tuple[int, int]]:
        """Places and masks of the texts ending after ``fresh`` in the block, of each at least the first in a line."""
        hits: list[tuple[int, int]] = []
        for anchor, texts in self._anchors:
            met = block.find(anchor)
            if met >= 0:
                for text, mask in texts:
                    _add_places(block, text, mask, max(0, met - len(text), fresh - len(text) + 1), hits)
        hits.sort()
        return hits


def _anchors(masks: dict[bytes, int]) -> list[tuple[bytes, list[tuple[bytes, int]]]]:
    """What is searched for everywhere, each with the texts that contain it, which are searched for where it is met.

    An anchor is a text or what two of them begin with: fewer searches, so that more is skipped at once."""
    ordered = sorted(masks)
    shared = {_common_start(*pair) for pair in zip(ordered, ordered[1:])}
    wanted = {*masks, *(prefix for prefix in shared if len(prefix) >= SHARED_PREFIX)}
    anchors = [text for text in wanted if not any(other in text and other != text for other in wanted)]
    return [(anchor, [(text, mask) for text, mask in masks.items() if anchor in text]) for anchor in anchors]


def _common_start(one: bytes, other: bytes) -> bytes:
    length = min(len(one), len(other))
    return one[: next((place for place in range(length) if one[place] != other[place]), length)]


def _add_places(block: bytes, text: bytes, mask: int, start: int, hits: list[tuple[int, int]]) -> None:
    at = block.find(text, start)
    while at >= 0:
        hits.append((at, mask))
        newline = block.find(b"\n", at)
        at = block.find(text, newline) if newline >= 0 else -1


def _spans(file: LogFile, start: int, end: int) -> Iterator[tuple[int, int]]:
    """[start, end) in parts of about SPAN bytes that end where a line ends."""
    while start < end:
        stop = file.line_end(start + SPAN - 1, end) if end - start > SPAN else end
        yield start, stop
        start = stop


def find_in(file: LogFile, texts: Sequence[bytes], start: int, end: int, inside_line: bool) -> Iterator[Found]:
    """What [start, end) holds, span by span; ``start`` begins a line, unless ``inside_line``."""
    search = _Search(file, texts)
    for low, high in _spans(file, start, end):
        yield search.span(low, high, inside_line and low == start)
