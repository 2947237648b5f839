# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a bot's releases. Those in root's own directories are touched by root, all others by a child that has
become the bot's user."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from . import entries
from .become import Account, account_of, as_account
from .entries import PASSING, Entry
from .errors import BlockedError
from .tree import is_roots, real_below


@dataclass(frozen=True)
class Files:
    """The files of a bot's release. Paths are absolute; those of the checkout may not lead out of it.

    Every method raises RolloutError, with a message that names the path, for what cannot be done.
    """

    user: str
    home: str  # the checkout
    account: Account | None = None  # who acts, where that is not the user of this name

    def look_at(self, path: str) -> tuple[Entry, bytes]:
        """A path as it is now, with the bytes of a regular file."""
        return self.look_at_all([path])[path]

    def look_at_all(self, paths: Iterable[str]) -> dict[str, tuple[Entry, bytes]]:
        """Several paths as they are now.

        :raises BlockedError: when there is something else than a file or link, or the path leads out of the checkout.
        """
        looks = self.look_at_each(paths)
        for entry, _ in looks.values():
            if entry.kind == "blocked":
                raise BlockedError(entry.target)
        return looks

    def look_at_each(self, paths: Iterable[str]) -> dict[str, tuple[Entry, bytes]]:
        """Several paths as they are now; one that cannot be looked at is `blocked`."""
        roots, users = _by_owner(paths)
        looks = entries.look_at_each("/", roots)
        if users:
            looks += self._as_user(entries.look_at_each, self.home, users)
        return {path: (Entry.load(entry), data) for path, entry, data in looks}

    def entries_of(self, paths: Iterable[str]) -> dict[str, Entry]:
        """As `look_at_each`, without the bytes."""
        return {path: entry for path, (entry, _) in self.look_at_each(paths).items()}

    def put_back(self, path: str, entry: Entry, data: bytes) -> None:
        """Make a path what an entry says; the step between old and new is one rename."""
        self._act(path, entries.put_back, asdict(entry), data)

    def clear_away(self, path: str, entry: Entry) -> None:
        """Remove what somebody who was killed while writing a path has left: the unfinished file, empty directories."""
        self._act(path, entries.clear_away, asdict(entry))

    def touched(self, paths: Iterable[str]) -> dict[str, float]:
        """When each path that exists was last changed in any way (ctime), in seconds since the epoch."""
        roots, users = _by_owner(paths)
        found: dict[str, float] = entries.touched("/", roots)
        if users:
            found.update(self._as_user(entries.touched, self.home, users))
        return found

    def real(self, path: str) -> str:
        """Where a path leads when all links are followed."""
        return str(os.path.realpath(path) if is_roots(path) else self._as_user(os.path.realpath, path))

    def inside(self, path: str) -> str:
        """Where a path of the checkout leads when all links are followed; it need not exist.

        :raises BlockedError: when it leads out of the checkout.
        """
        return str(self._as_user(real_below, self.home, path))

    def must_be_restorable(self, path: str, entry: Entry) -> None:
        """Refuse a file that nobody could restore: the bot's user cannot make files for others."""
        if not is_roots(path):
            self._as_user(
                entries.must_be_restorable, self.home, path, asdict(entry), self.user, list(self._account.groups)
            )

    def room(self, paths: Iterable[str]) -> list[tuple[str, int, str, int]]:
        """For each path its bytes, the directory above that exists, and how many bytes are free there."""
        roots, users = _by_owner(paths)
        found = entries.room("/", roots)
        if users:
            found += [tuple(item) for item in self._as_user(entries.room, self.home, users)]
        return found

    @property
    def _account(self) -> Account:
        return self.account or account_of(self.user)

    def _as_user(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return as_account(self._account, function, *arguments)
        except OSError as error:
            where = self.home if error.filename is None else os.path.join(self.home, error.filename)
            if error.errno in PASSING:
                raise
            raise BlockedError(f"{where}, as {self.user}: {error.strerror}; correct its owner and mode") from None

    def _act(self, path: str, function: Callable[..., None], *arguments: Any) -> None:
        if is_roots(path):
            function("/", path, *arguments)
        else:
            self._as_user(function, self.home, path, *arguments)


def _by_owner(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """The paths that root may touch itself, and the others."""
    roots: list[str] = []
    users: list[str] = []
    for path in paths:
        (roots if is_roots(path) else users).append(path)
    return roots, users


def unchanged_since(touched: float | None, wall: float) -> bool:
    """Whether a path, last touched at a time (None: it does not exist), was so a second or more before a moment.

    A doubt (clock steps) counts as touched.
    """
    return touched is None or touched + 1 < wall
