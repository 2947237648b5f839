# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a process has written the pool module's ready line, asked again and again while it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .cursor import Cursor, pieces, sources_of
from .files import LogAbsentError, parts_of
from .pool_lines import pool_lines
from .search import Search, find_in
from .signatures import Signature
from .tally import Tally


def find_ready(_: Sequence[Signature], cursor: Mapping[str, Any], pid: int) -> dict[str, Any]:
    """Look for the ready line of one process in what was written since a cursor: ``seen``, and the new ``cursor``.

    Rotated parts are followed as `look` follows them. The line need not carry a time stamp, nor end with its fields:
    whether the bot's log can be counted is for the soak to find out, not for the start-up check. A log that is not
    there yet, or is being rotated, does not hold it.

    :raises LogError: when the log cannot be read, or the cursor is damaged.
    """
    at = Cursor.from_dict(dict(cursor))
    tally = at.tally
    seen = False
    try:
        with parts_of(at.path) as parts:
            for piece in pieces(at, sources_of(at, parts)):
                inside_line = tally.open_line is not None
                for found in find_in(piece.file, Search(), piece.start, piece.end, inside_line):
                    tally.open_line = None if found.open_line is None else []
                    seen = seen or any(_is_it(line, pid) for line in found.pool_lines)
    except LogAbsentError:
        return {"seen": False, "cursor": dict(cursor)}
    return {"seen": seen, "cursor": at.to_dict()}


def search_begin(cursor: Mapping[str, Any]) -> dict[str, Any]:
    """A cursor to search from, without what was counted before it.

    :raises LogError: when the cursor is damaged.
    """
    at = Cursor.from_dict(dict(cursor))
    at.tally = Tally(open_line=None if at.tally.open_line is None else [])
    return at.to_dict()


def _is_it(line: bytes, pid: int) -> bool:
    return any(each.event == "ready" and each.pid == pid for each in pool_lines(line))
