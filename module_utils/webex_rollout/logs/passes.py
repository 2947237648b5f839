# SPDX-License-Identifier: GPL-3.0-or-later
"""The passes over a block of a log, each at the speed of C, after which only few places are left to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .dialect import HEAD_BYTES, Dialect
from .heads import Heads
from .kinds import EXCEPTION_LINES, TRACEBACK
from .levels import ERROR, WARNING

POOL_MARK = b"webex-pool"
# Shorter ones are met too often, and are slower to search for.
SHARED_PREFIX = 5


class Hit(NamedTuple):
    """Where a text stands in a block, and the mask of what it is."""

    at: int
    mask: int


class Passes:
    """Finds where in a block one has to look.

    Where records show their level, those at WARNING or above are found by it, and the signatures are searched for in
    these records only. Else every text is searched for everywhere.
    """

    def __init__(self, texts: Sequence[bytes], dialect: Dialect, heads: Heads, counts: bool) -> None:
        """``counts``: whether the record at hand before the first block is one at WARNING or above."""
        self.levelled, self.json = dialect.levelled, dialect.json
        self._heads = heads
        self._counts = counts
        masks = {text: 1 << number for number, text in enumerate(texts)}
        next_bit = 1 << len(texts)
        self.signatures = next_bit - 1
        self.pool, self.trace, self._level, self._exception = (next_bit << number for number in range(4))
        self.looked_at = 0 if self.levelled else self.trace | self._exception | self.signatures
        self.warnings = 0
        """How many records at WARNING there may be in the last block: how often their level stands in it. They are met
        only where a text stands in them."""
        # What begins a level at ERROR or above, and one below that.
        self._errors = dialect.words(ERROR)
        self._warnings = dialect.words(WARNING, ERROR)
        self._levels = heads.search_for(self._errors, self._warnings)
        everywhere = {POOL_MARK: self.pool}
        if not self.levelled:
            everywhere[TRACEBACK] = self.trace
            for text, mask in masks.items():
                everywhere[text] = everywhere.get(text, 0) | mask
        self._everywhere = _anchors(everywhere)
        self._within = _anchors(masks) if self.levelled and masks else []
        longest = max(map(len, [TRACEBACK, *everywhere, *masks, *self._errors, *self._warnings]))
        # A record's head has to be in one block as a whole.
        self.overlap = max(longest, 2 * HEAD_BYTES)

    def hits(self, block: bytes, base: int, fresh: int) -> list[Hit]:
        """Places and masks of what ends behind ``fresh`` in a block, in order; of each text at least the first in a
        line.

        :param base: where the block begins in the file.
        """
        hits: list[Hit] = []
        self.warnings = 0
        for anchor, texts in self._everywhere:
            met = block.find(anchor)
            if met >= 0:
                for text, mask in texts:
                    _add_places(block, text, mask, max(0, met - len(text), fresh - len(text) + 1), len(block), hits)
        if self.levelled:
            self._tracebacks(block, base, fresh, hits)
            self._records(block, base, fresh, hits)
        else:
            hits += [
                Hit(found.start() + 1, self._exception)
                for found in EXCEPTION_LINES.finditer(block)
                if found.end() >= fresh and found.start() + 1 < len(block)
            ]
            if base == 0 and fresh == 0:
                hits.append(Hit(0, self._exception))
        hits.sort()
        return hits

    def _records(self, block: bytes, base: int, fresh: int, hits: list[Hit]) -> None:
        """Records at ERROR or above, and the signatures in all that may be at WARNING or above."""
        errors, regions = self._levels.records(block, base)
        ends = [records[-1][1] for records in (errors, regions) if records]
        self.warnings = number = len(regions)
        for low, high in regions:
            if low >= fresh:
                break
            self.warnings -= not _firsts(block, self._warnings, low, high, fresh)
        # What stands before a record's level may be the word for another. Most warnings are the same few.
        pieces = [block[low:high] for low, high in regions]
        distinct = set(pieces)
        warned = b"\n".join(distinct)
        both = regions[:] if any(word in warned for word in self._errors) else []
        for low, high in [*errors, *both]:
            hits += [Hit(at, self._level) for at in _firsts(block, self._errors, low, high, fresh)]
        for low, high in errors:
            self.warnings += bool(_firsts(block, self._warnings, low, high, fresh))
            regions.append((block.rfind(b"\n", 0, low) + 1, high))
            pieces.append(block[regions[-1][0] : high])
        if self._counts:
            ends.append(self._heads.end(block, base, max(0, fresh - 1)))
            regions.append((0, ends[-1]))
            pieces.append(block[: ends[-1]])
        self._counts = len(block) in ends
        distinct.update(pieces[number:])
        joined = b"\n".join(distinct)
        for anchor, texts in self._within:
            if anchor in joined:
                wanted = {piece for piece in distinct if anchor in piece}
                for low, high in (region for region, piece in zip(regions, pieces) if piece in wanted):
                    for text, mask in texts:
                        _add_places(block, text, mask, max(low, fresh - len(text) + 1), high, hits)

    def _tracebacks(self, block: bytes, base: int, fresh: int, hits: list[Hit]) -> None:
        """The first traceback of each record, or the first that begins in this block; not one within a line."""
        at = block.find(TRACEBACK, max(0, fresh - len(TRACEBACK) + 1))
        while at >= 0:
            start = block.rfind(b"\n", 0, at) + 1
            if self.json or (start == 0 and base) or not block[start:at].strip(b" \t|+"):
                hits.append(Hit(at, self.trace))
                at = block.find(TRACEBACK, self._heads.end(block, base, at))
            else:
                at = block.find(TRACEBACK, at + 1)


def _firsts(block: bytes, words: Sequence[bytes], low: int, high: int, fresh: int) -> list[int]:
    """Where each of the words stands first in [low, high), of those that end behind ``fresh``."""
    places = [(block.find(word, low, high), len(word)) for word in words]
    return [at for at, length in places if at >= 0 and at + length > fresh]


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
