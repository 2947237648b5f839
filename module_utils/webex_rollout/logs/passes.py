# SPDX-License-Identifier: GPL-3.0-or-later
"""The passes over a block of a log, each at the speed of C, after which only few places are left to be looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from .dialect import HEAD_BYTES, Dialect, patterns
from .heads import Heads
from .kinds import EXCEPTION_LINES, TRACEBACK
from .levels import ERROR, WARNING, level_of

POOL_MARK = b"webex-pool "
# Shorter ones are met too often, and are slower to search for.
SHARED_PREFIX = 5


class Hit(NamedTuple):
    """Where a text stands in a block, and the mask of what it is."""

    at: int
    mask: int


class Passes:
    """Finds where in a block one has to look.

    Where records show their level in one place, the heads of those at WARNING or above are found by a pattern, and the
    signatures are searched for in these records only. Else every text is searched for everywhere.
    """

    def __init__(self, texts: Sequence[bytes], dialect: Dialect, heads: Heads, counts: bool) -> None:
        """``counts``: whether the record at hand before the first block is one at WARNING or above."""
        self.levelled, self.json = dialect.levelled, dialect.json
        self._heads = heads
        self._styles = [(patterns(layout), layout.style) for layout in dialect.layouts if not layout.json]
        self._alarms = dialect.alarms
        self._counts = counts
        masks = {text: 1 << number for number, text in enumerate(texts)}
        next_bit = 1 << len(texts)
        self.signatures = next_bit - 1
        self.pool, self.trace, self._level, self._exception = (next_bit << number for number in range(4))
        self.looked_at = self.trace | self._exception | (0 if self.levelled else self.signatures)
        self.levels_met = not self._alarms
        """Whether the first line of each record at WARNING or above is met; else those at ERROR or above are."""
        self.uncounted: list[int] = []
        """The levels of the records that were found in the last block, and are no hits."""
        everywhere = {POOL_MARK: self.pool, TRACEBACK: self.trace}
        if not self._alarms:
            for text in [*texts, *dialect.words]:
                everywhere[text] = everywhere.get(text, 0) | masks.get(text, self._level)
        elif POOL_MARK in masks:  # as a signature it is searched for as any other
            masks = dict(masks)
        self._everywhere = _anchors(everywhere)
        self._within = _anchors(masks) if self._alarms and masks else []
        longest = max(map(len, [*everywhere, *masks]))
        # A record's head has to be in one block as a whole.
        self.overlap = max(longest, 2 * HEAD_BYTES if self._alarms or not self.levelled else 0)

    def hits(self, block: bytes, base: int, fresh: int, last: bool) -> list[Hit]:
        """Places and masks of what ends behind ``fresh`` in a block, in order; of each text at least the first in a
        line.

        :param base: where the block begins in the file.
        :param last: whether nothing follows that belongs to its last line.
        """
        hits: list[Hit] = []
        self.uncounted = []
        for anchor, texts in self._everywhere:
            met = block.find(anchor)
            if met >= 0:
                for text, mask in texts:
                    _add_places(block, text, mask, max(0, met - len(text), fresh - len(text) + 1), len(block), hits)
        if self._alarms:
            regions = self._records(block, base, fresh, last, hits)
            self._search_within(block, fresh, regions, hits)
        elif not self.levelled:
            hits += [
                Hit(found.start() + 1, self._exception)
                for found in EXCEPTION_LINES.finditer(block)
                if found.end() >= fresh and found.start() + 1 < len(block)
            ]
            if base == 0 and fresh == 0:
                hits.append(Hit(0, self._exception))
        hits.sort()
        return hits

    def _records(self, block: bytes, base: int, fresh: int, last: bool, hits: list[Hit]) -> list[tuple[int, int]]:
        """Where in the block the records at WARNING or above are; those at ERROR or above become hits."""
        found: list[tuple[int, int]] = []  # where a head begins, and where it ends
        regions = []
        for number, alarm in enumerate(self._alarms):
            for match in alarm.finditer(block):
                self._head(match, number, match.start() + 1, (fresh, len(block) if last else len(block) - 1), hits)
                found.append((match.start() + 1, match.end()))
        if base == 0 and fresh == 0:
            self._first_line(block, last, hits, found)
        if self._counts:
            regions.append((0, self._heads.end(block, base, max(0, fresh - 1))))
        regions += [(start, self._heads.end(block, base, end)) for start, end in found]
        if found or self._counts:
            self._counts = max(end for _, end in regions) == len(block)
        return regions

    def _first_line(self, block: bytes, last: bool, hits: list[Hit], found: list[tuple[int, int]]) -> None:
        """The file's first line has no newline before it."""
        for number, (pattern, style) in enumerate(self._styles):
            match = pattern.level.match(block) if pattern.level else None
            level = level_of(match["level"].decode(), style) if match else None
            if match and level is not None:
                if level >= WARNING:
                    self._head(match, number, 0, (0, len(block)), hits)
                    found.append((0, match.end()))
                return

    def _head(self, match: re.Match[bytes], layout: int, at: int, within: tuple[int, int], hits: list[Hit]) -> None:
        if within[0] <= match.end() <= within[1]:
            level = level_of(match["level"].decode(), self._styles[layout][1]) or 0
            if level < ERROR:
                self.uncounted.append(level)
            else:
                hits.append(Hit(at, self._level))

    def _search_within(self, block: bytes, fresh: int, regions: Sequence[tuple[int, int]], hits: list[Hit]) -> None:
        if not regions:
            return
        joined = b"\n".join([block[low:high] for low, high in regions])
        for anchor, texts in self._within:
            if anchor in joined:
                for low, high in regions:
                    for text, mask in texts:
                        _add_places(block, text, mask, max(low, fresh - len(text) + 1), high, hits)


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


def _add_places(block: bytes, text: bytes, mask: int, start: int, end: int, hits: list[Hit]) -> None:
    at = block.find(text, start, end)
    while at >= 0:
        hits.append(Hit(at, mask))
        newline = block.find(b"\n", at)
        at = block.find(text, newline, end) if newline >= 0 else -1
