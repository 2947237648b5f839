# SPDX-License-Identifier: GPL-3.0-or-later
"""A search for what starts a bot: what it knows, what it may read, and what it has found.

Files in root's own directories are read by root, all others by the bots' user.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from .become import Account, as_account, uid_of
from .errors import RolloutError
from .processes import Bot
from .shell_lines import PATH_LIMIT
from .starter_kept import Kept, words_for
from .system import to_text
from .tree import is_roots

TEXT_LIMIT = 256 << 10
FILES_LIMIT = 1000  # of one directory
QUESTIONS_LIMIT = 200  # to the bots' user: files to read, links to follow
# Words that are looked at in all texts of the bots' user, and in all of others': some seconds.
EFFORT = 500_000


@dataclass
class Starter:
    """A place that would start a bot's script: kind ``unit``, ``user unit``, ``cron``, ``script``, ``supervisor`` or
    ``configuration``; a ``start script`` does it only when somebody calls it, and ``what`` says what else it does.

    ``user`` is who it would run as; ``counts`` is False where that is neither root nor the bots' user. ``certain`` is
    False where the line names the script through something only its shell can resolve.
    """

    kind: str
    file: str
    line: int
    what: str
    certain: bool
    user: str = "root"
    counts: bool = True


@dataclass
class Effort:
    """How many words of somebody's texts, or questions, are left. A few lines can stand for centuries of work."""

    left: int = EFFORT


@dataclass
class Search:
    """For which bot to look, and what is known already. ``root`` is the file system's root, another one in tests."""

    bot: Bot
    account: Account
    script: str  # with all links followed
    root: str = "/"
    alone: bool = False  # whether a text is judged by itself: no other file is read, no link followed
    notes_until: float = 0.0
    his: Effort = field(default_factory=Effort)
    others: Effort = field(default_factory=Effort)
    effort: Effort | None = None  # for the text at hand; None for root's own, which is without bounds
    kept: Kept = field(default_factory=Kept)
    heard: list[str] = field(default_factory=list)  # texts on which the judgement at hand rests
    questions: Effort = field(default_factory=lambda: Effort(QUESTIONS_LIMIT))
    found: list[Starter] = field(default_factory=list)

    @cached_property
    def words(self) -> re.Pattern[str]:
        """What a text must have to start the bot."""
        bot, programs = self.bot, [command[0] for command in self.bot.commands if command]
        checkout = os.path.normpath(bot.home)
        return words_for((self.script, bot.script), checkout, self.account.home, bot.name, programs)

    def path(self, relative: str) -> str:
        """A path below the root."""
        return os.path.join(self.root, relative)

    @property
    def home(self) -> str:
        """The home of the bots' user."""
        return self.path(self.account.home.lstrip("/"))

    def ask(self, function: Callable[..., object], path: str, default: object) -> object:
        """What a function says of a path: called by root where every directory above is root's, else by the user."""
        key, asked = (self.account.uid, function, path), self.kept.asked
        if key not in asked:
            # Not kept: a text of somebody else's must not answer for the user's own ones that name the same path.
            if self.alone or len(path) > PATH_LIMIT or self.questions.left <= 0:
                return default
            self.questions.left -= 1
            asked[key] = default
            with contextlib.suppress(OSError, ValueError, RolloutError):
                asked[key] = as_account(self.account, function, path)
        return asked[key]

    def of(self, path: str) -> Search:
        """The search in a text that stands somewhere."""
        if self.effort is not None or self.led(path)[1]:
            return self
        return replace(self, effort=self.his)

    def spend(self, words: int) -> bool:
        """Look at so many words more; whether that is not too much."""
        if self.effort is None:
            return True
        self.effort.left -= words
        return self.effort.left > 0

    def read(self, path: str) -> str:
        """A file's text, as far as it is a regular file of a bearable size; else nothing."""
        where, roots = self.led(path)
        if not roots:
            return str(self.ask(read_file, where, ""))
        if where not in self.kept.read:
            self.kept.read[where] = read_file(where)
        return self.kept.read[where]

    def led(self, path: str) -> tuple[str, bool]:
        """Where links in root's own directories lead from a path, and whether that is in root's own directories."""
        if path not in self.kept.led:
            self.kept.led[path] = led_by_root(path)
        return self.kept.led[path]

    def names_in(self, directory: str) -> list[str]:
        """What is in a directory; nothing where there is none."""
        if is_roots(os.path.join(directory, "x")):
            return names_in(directory)
        names = self.ask(names_in, directory, [])
        return [str(name) for name in names] if isinstance(names, list) else []

    def files_in(self, path: str) -> list[str]:
        """The file itself, or the files of a directory."""
        names = self.names_in(path)
        return [os.path.join(path, name) for name in names] if names else [path]

    def add(self, kind: str, file: str, line: int, what: str, answer: bool | None, user: str = "root") -> None:
        """Note a starter, if the answer is not no."""
        if answer is not False:
            counts = uid_of(user) in (0, self.account.uid)
            self.found.append(Starter(kind, file, line, what[:256], bool(answer), user, counts))


def led_by_root(path: str) -> tuple[str, bool]:
    """Where links in root's own directories lead from a path, and whether that is in root's own directories still."""
    for _ in range(10):
        if not is_roots(path):
            break
        try:
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:
            return path, True
    return path, False


def read_file(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = os.fstat(fd)
        return to_text(os.read(fd, TEXT_LIMIT)) if stat.S_ISREG(status.st_mode) and status.st_size <= TEXT_LIMIT else ""
    except OSError:
        return ""
    finally:
        os.close(fd)


def names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))[:FILES_LIMIT]
    except OSError:
        return []
