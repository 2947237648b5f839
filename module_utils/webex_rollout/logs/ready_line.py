# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process has written the pool module's ready line, asked again and again while it starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..errors import LogError
from .cursor import Cursor, fresh_cursor, pieces, sources_of
from .files import LogAbsentError, parts_of
from .search import find_in
from .tally import Tally, pool_lines


class ReadyLine:
    """Looks for the ready line of one process, each time only in what was written since the last time.

    Rotated parts are followed as `look` follows them. The line need not carry a time stamp, nor end with its fields:
    whether the bot's log can be counted is for the soak to find out, not for the start-up check.
    """

    def __init__(self, log: str, cursor: Mapping[str, Any] | None, pid: int) -> None:
        """``cursor`` is one that was taken before the process started; without one the log is searched from its
        beginning, rotated parts included.

        :raises LogError: when the cursor is damaged, or of another log.
        """
        self.text = f"webex-pool ready pid={pid}"
        """The line that is looked for, for messages."""
        self._pid = pid
        self._seen = False
        self._cursor = fresh_cursor(log) if cursor is None else Cursor.from_dict(cursor)
        if self._cursor.path != log:
            raise LogError(f"the cursor belongs to log {self._cursor.path}, not to {log}: take one for this log")
        self._cursor.tally = Tally(open_line=None if self._cursor.tally.open_line is None else [])

    @property
    def gaps(self) -> list[str]:
        """Parts of the log that could not be read, one sentence each: the line may have stood there."""
        return list(self._cursor.tally.gaps)

    def seen(self) -> bool:
        """Whether the line has been written. A log that is not there yet, or is being rotated, does not hold it.

        :raises LogError: when the log cannot be read.
        """
        if not self._seen:
            try:
                self._read_on()
            except LogAbsentError:
                return False
        return self._seen

    def _read_on(self) -> None:
        cursor = copy.deepcopy(self._cursor)
        tally = cursor.tally
        with parts_of(cursor.path) as parts:
            for piece in pieces(cursor, sources_of(cursor, parts)):
                inside_line = tally.open_line is not None
                for found in find_in(piece.file, (), piece.start, piece.end, inside_line):
                    tally.open_line = None if found.open_line is None else []
                    self._seen = self._seen or any(map(self._is_it, found.pool_lines))
        self._cursor = cursor

    def _is_it(self, line: bytes) -> bool:
        return any(each.event == "ready" and each.pid == self._pid for each in pool_lines(line))
