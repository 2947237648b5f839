# SPDX-License-Identifier: GPL-3.0-or-later
"""The holes of a sparse file: nothing was ever written there, and to read them takes as long as to read a log.

A log gets one when it is truncated while its writer goes on where he was, and anybody can make one of any size for
nothing. Whoever reads a log counts in *positions*, which leave the holes out; *offsets* are the file's own.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right

from ..errors import LogError

# A smaller hole is read; to leave it out would cost as much.
LEAST = 64 * 1024
# A log has one for each time that it was truncated.
MOST = 4096


class Stretches:
    """What was written of a file: everything but its holes."""

    def __init__(self, fd: int, end: int, path: str) -> None:
        """:param end: the file's size.
        :raises LogError: when the file has more holes than a log can have."""
        self.end = end
        self._offsets, self._positions = [0], [0]
        """Where each stretch begins, and the position of that."""
        self._stops = [0]
        """The offset at which each ends."""
        for start, stop in _data(fd, end, path):
            if start - self._stops[-1] < LEAST:
                self._stops[-1] = stop
            else:
                self._positions.append(self.size)
                self._offsets.append(start)
                self._stops.append(stop)
        if end - self._stops[-1] < LEAST:
            self._stops[-1] = end

    @property
    def size(self) -> int:
        """How many positions there are."""
        return self._positions[-1] + self._stops[-1] - self._offsets[-1]

    @property
    def whole(self) -> bool:
        """Whether positions are offsets."""
        return len(self._offsets) == 1 and self._stops[0] == self.end

    def offset_of(self, position: int) -> int:
        """The offset of a position; of the last one where what was written ends."""
        at = max(0, bisect_right(self._positions, position) - 1)
        if at and position == self._positions[at]:
            at -= 1  # behind what was written last: something may still be written into the hole
        return self._offsets[at] + position - self._positions[at]

    def position_of(self, offset: int) -> int:
        """The position of an offset; of one in a hole that of the hole's end. Behind the file's end it goes on."""
        if offset > self.end:
            return self.size + offset - self.end
        at = bisect_right(self._offsets, offset) - 1
        return self._positions[at] + min(offset, self._stops[at]) - self._offsets[at]

    def read(self, fd: int, start: int, end: int) -> bytes:
        """What stands between two positions."""
        blocks = []
        at = max(0, bisect_right(self._positions, start) - 1)
        while start < end and at < len(self._offsets):
            offset = self._offsets[at] + start - self._positions[at]
            length = min(end - start, self._stops[at] - offset)
            if length > 0:
                blocks.append(os.pread(fd, length, offset))
                start += length
            at += 1
        return b"".join(blocks)


def _data(fd: int, end: int, path: str) -> list[tuple[int, int]]:
    """Where something was written, in order: [start, stop) each."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < end:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # a hole up to the end
            return [(0, end)]  # no file system that knows its holes
        if start >= end:
            break
        if start < at or stop <= start:
            return [(0, end)]  # one of the user's own, which answers what it likes
        if len(found) >= MOST:
            raise LogError(f"log {path} has more than {MOST} holes: no log has, so it is not read")
        found.append((start, stop))
        at = stop
    return found
