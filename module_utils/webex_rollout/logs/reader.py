# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads logs as the user who writes them. Whatever he makes of a path costs a bounded time, and his bot's evidence."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..become import account_of, as_account, expanded
from ..errors import LogError, RolloutError
from .cursor import Cursor, Look, fresh_cursor, look, look_at_all, take_cursor
from .first import took_to_start
from .ready_line import find_ready, search_begin
from .signatures import Signature, signatures_with
from .tally import described, evidence

# For gigabytes; what takes longer than this is no log.
SECONDS = 120.0


@dataclass(frozen=True)
class LogReader:
    """One user's reader. Every method raises LogError when the log is missing, cannot be read, or is not his."""

    user: str
    signatures: Sequence[Mapping[str, str]] = ()
    """What counts as a failure beside what always does."""
    timezone: str = ""
    """In which the log's times are; the machine's where it is empty."""

    def path(self, given: str) -> str:
        """A log's path as the settings may give it, with its user's home for ``~``."""
        try:
            return expanded(given, account_of(self.user))
        except RolloutError as error:
            raise LogError(f"the log cannot be read: {error}") from None

    def take(self, path: str) -> dict[str, Any]:
        """A cursor at the log's present end."""
        return self._read(_take, self.path(path))

    def look(self, cursor: Mapping[str, Any]) -> dict[str, Any]:
        """What was written since a cursor was taken, as `evidence` words it, with the new ``cursor``."""
        return self._read(_look, dict(cursor))

    def look_at_all(self, path: str, rotated: bool) -> dict[str, Any]:
        """The same for the whole log, with its rotated parts if asked."""
        return self._read(_look_at_all, self.path(path), rotated)

    def took_to_start(self, path: str, started: float) -> float | None:
        """Seconds from a process's start to the connection that its bot logged; None where that is not known."""
        seconds = self._read(took_to_start, self.path(path), started)["seconds"]
        return None if seconds is None else float(seconds)

    def find_ready(self, cursor: Mapping[str, Any], pid: int) -> dict[str, Any]:
        """Whether the ready line of a process was ``seen`` since, with the new ``cursor``."""
        return self._read(find_ready, dict(cursor), pid)

    def _read(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        given = [dict(each) for each in self.signatures]
        try:
            account = account_of(self.user)
            found = as_account(account, _in_zone, self.timezone, given, function, arguments, seconds=SECONDS)
        except LogError:
            raise
        except RolloutError as error:
            raise LogError(f"the log cannot be read: {error}") from None
        except OSError as error:
            raise LogError(f"log {error.filename or ''} cannot be read: {error.strerror}") from error
        return dict(found)


class ReadyLine:
    """Looks for the ready line of one process, each time only in what was written since the last time."""

    def __init__(self, reader: LogReader, log: str, cursor: Mapping[str, Any] | None, pid: int) -> None:
        """``cursor`` is one that was taken before the process started; without one the log is searched from its
        beginning, rotated parts included.

        :raises LogError: when the cursor is damaged, or of another log.
        """
        log = reader.path(log)
        self.text = f"webex-pool ready pid={pid}"
        """The line that is looked for, for messages."""
        self._reader, self._pid, self._seen = reader, pid, False
        self._cursor = search_begin(fresh_cursor(log).to_dict() if cursor is None else cursor)
        if self._cursor["path"] != log:
            raise LogError(f"the cursor belongs to log {self._cursor['path']}, not to {log}: take one for this log")

    @property
    def gaps(self) -> list[str]:
        """Parts of the log that could not be read, one sentence each: the line may have stood there."""
        return list(self._cursor["tally"]["gaps"])

    def seen(self) -> bool:
        """Whether the line has been written. A log that is not there yet, or is being rotated, does not hold it.

        :raises LogError: when the log cannot be read.
        """
        if not self._seen:
            found = self._reader.find_ready(self._cursor, self._pid)
            self._seen, self._cursor = found["seen"], found["cursor"]
        return self._seen


def _in_zone(timezone: str, given: Sequence[Mapping[str, str]], function: Callable[..., Any], arguments: Any) -> Any:
    """Call a function of this room in the child, which has the log's time zone to itself."""
    os.environ.pop("TZ", None)
    if timezone:
        os.environ["TZ"] = timezone
    time.tzset()
    return function(signatures_with(given), *arguments)


def _take(_: Sequence[Signature], path: str) -> dict[str, Any]:
    taken = take_cursor(path)
    return {"cursor": taken.to_dict(), "dialect": described(taken.dialect)}


def _look(signatures: Sequence[Signature], cursor: Mapping[str, Any]) -> dict[str, Any]:
    return _shown(look(Cursor.from_dict(cursor), signatures), signatures)


def _look_at_all(signatures: Sequence[Signature], path: str, rotated: bool) -> dict[str, Any]:
    return _shown(look_at_all(path, signatures, rotated), signatures)


def _shown(seen: Look, signatures: Sequence[Signature]) -> dict[str, Any]:
    return {**evidence(seen.tally, signatures, seen.cursor.dialect), "cursor": seen.cursor.to_dict()}
