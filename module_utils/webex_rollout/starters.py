# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what would start a bot's script a second time: units, cron lines, start-up scripts, supervisord.

What root or the bots' user has set up counts. Any user may have a crontab that names the script: it starts nothing as
the bots' user, so it is a note. Files in root's own directories are read by root, all others by the bots' user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .become import Account, account_of, as_account
from .command_line import SHELL_NAMES, is_python, python_paths, python_target
from .errors import RolloutError
from .paths import OWN_UNITS
from .processes import Bot
from .shell_lines import (
    PATH_LIMIT,
    cron_command,
    may_become,
    shell_words,
    simple_commands,
    unit_settings,
)
from .system import to_text
from .tree import is_roots

UNIT_DIRECTORIES = (
    "etc/systemd/system",
    "run/systemd/system",
    "run/systemd/transient",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "etc/systemd/user",
    "run/systemd/user",
    "usr/lib/systemd/user",
)
USER_UNIT_DIRECTORIES = (".config/systemd/user", ".local/share/systemd/user")
CRON_WITH_USER = ("etc/crontab", "etc/cron.d")
CRON_SPOOLS = ("var/spool/cron/crontabs", "var/spool/cron")
START_SCRIPTS = ("etc/rc.local", "etc/cron.hourly", "etc/cron.daily", "etc/cron.weekly", "etc/cron.monthly")
SUPERVISOR_CONFIGS = ("etc/supervisor/conf.d", "etc/supervisord.d", "etc/supervisord.conf")
TEXT_LIMIT = 256 << 10
FILES_LIMIT = 1000  # of one directory
QUESTIONS_LIMIT = 200  # to the bots' user: files to read, links to follow
SECONDS = 10.0  # for the notes: nobody waits longer for other users' crontabs
DEPTH = 3


@dataclass
class Starter:
    """A place that would start a bot's script: kind ``unit``, ``user unit``, ``cron``, ``script`` or ``supervisor``.

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
class Search:
    """For which bot to look, and what is known already. ``root`` is the file system's root, another one in tests."""

    bot: Bot
    account: Account
    script: str  # with all links followed
    root: str = "/"
    alone: bool = False  # whether a text is judged by itself: no other file is read, no link followed
    notes_until: float = 0.0
    asked: dict[tuple[Callable[..., object], str], object] = field(default_factory=dict)
    found: list[Starter] = field(default_factory=list)

    def path(self, relative: str) -> str:
        """A path below the root."""
        return os.path.join(self.root, relative)

    @property
    def home(self) -> str:
        """The home of the bots' user."""
        return self.path(self.account.home.lstrip("/"))

    def ask(self, function: Callable[..., object], path: str, default: object) -> object:
        """What a function says of a path: called by root where every directory above is root's, else by the user."""
        key = (function, path)
        if key not in self.asked:
            self.asked[key] = default
            if self.alone or len(path) > PATH_LIMIT or len(self.asked) > QUESTIONS_LIMIT:
                return default
            with contextlib.suppress(OSError, ValueError, RolloutError):
                self.asked[key] = as_account(self.account, function, path)
        return self.asked[key]

    def read(self, path: str) -> str:
        """A file's text, as far as it is a regular file of a bearable size; else nothing."""
        where, roots = _led_by_root(path)
        return _read(where) if roots else str(self.ask(_read, where, ""))

    def names_in(self, directory: str) -> list[str]:
        """What is in a directory; nothing where there is none."""
        if is_roots(os.path.join(directory, "x")):
            return _names_in(directory)
        names = self.ask(_names_in, directory, [])
        return [str(name) for name in names] if isinstance(names, list) else []

    def files_in(self, path: str) -> list[str]:
        """The file itself, or the files of a directory."""
        names = self.names_in(path)
        return [os.path.join(path, name) for name in names] if names else [path]

    def add(self, kind: str, file: str, line: int, what: str, answer: bool | None, user: str = "root") -> None:
        """Note a starter, if the answer is not no."""
        if answer is not False:
            counts = _uid_of(user) in (0, self.account.uid)
            self.found.append(Starter(kind, file, line, what[:256], bool(answer), user, counts))


def _led_by_root(path: str) -> tuple[str, bool]:
    """Where links in root's own directories lead from a path, and whether that is in root's own directories still."""
    for _ in range(10):
        if not is_roots(path):
            break
        try:
            path = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:
            return path, True
    return path, False


def _read(path: str) -> str:
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


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))[:FILES_LIMIT]
    except OSError:
        return []


# -- what a text starts ----------------------------------------------------------------------------------------


def starts_bot(text: str, directory: str, search: Search, depth: int = 0) -> bool | None:
    """Whether a shell text starts the bot's script: True, False, or None for a likely yes that only a shell could tell.

    Mentioning the script (``tail``, ``cp``, ``pkill -f``) is no start; a command passed to ``sh -c`` and a shell script
    that is called are looked into.
    """
    doubt = False
    for command in simple_commands(shell_words(text)):
        if command[0] == "cd" and len(command) > 1:
            directory = os.path.join(directory, _expanded(command[1], search))[:PATH_LIMIT]
            continue
        runs = _command_position(command)
        for index, word in enumerate(command):
            if is_python(word):
                answer = _python_refers(command[index:], directory, search)
            elif index == runs:
                answer = _called(word, directory, search, depth, by_shell=False)
            elif depth < DEPTH and any(c.isspace() for c in word):
                answer = starts_bot(word, directory, search, depth + 1)  # sh -c '…', tmux new '…'
            elif index and os.path.basename(command[index - 1]) in SHELL_NAMES:
                answer = _called(word, directory, search, depth, by_shell=True)  # sh start_all.sh
            else:
                continue
            if answer:
                return True
            doubt = doubt or answer is None
    return None if doubt else False


def _expanded(word: str, search: Search) -> str:
    """A shell word with the home directory filled in."""
    home = search.account.home
    word = word[: PATH_LIMIT + 1].replace("${HOME}", home)
    word = re.sub(r"\$HOME\b", lambda _: home, word)
    return home + word[1:] if word == "~" or word.startswith("~/") else word


def _refers(word: str, directory: str, search: Search) -> bool | None:
    """Whether a path names the bot's script: True, False, or None where a variable hides the answer."""
    # A script is called by its own name; only links to directories are followed
    names = (os.path.basename(search.script), os.path.basename(search.bot.script))
    if "$" not in word and os.path.basename(word) not in names:
        return False
    path = os.path.join(directory, _expanded(word, search))
    if len(path) > PATH_LIMIT:
        return False
    if "$" not in path:
        path = os.path.normpath(path)
        return path == search.script or search.ask(os.path.realpath, path, path) == search.script
    # `webex_bots/$bot.py` may be any bot's script; a bare `$1` could be anything at all and is not reported
    return None if path.endswith(".py") and may_become(path, search.script) else False


def _python_refers(words: Sequence[str], directory: str, search: Search) -> bool | None:
    """Whether a Python command line starts the bot."""
    kind, target = python_target(words)
    if kind == "script":
        return _refers(target, directory, search)
    paths = python_paths(words, directory, [search.bot.home]) if len(target) < PATH_LIMIT else []
    return any(_refers(path, directory, search) for path in paths if "$" not in path)


def _command_position(command: Sequence[str]) -> int:
    """Index of the word that is run, after assignments and the usual wrappers."""
    for index, word in enumerate(command):
        if re.match(r"\w+=", word) or os.path.basename(word) in {"nohup", "exec", "env", "setsid", "time"}:
            continue
        return index
    return 0


def _called(word: str, directory: str, search: Search, depth: int, by_shell: bool) -> bool | None:
    """Whether running this file starts the bot: it is the script itself, or a shell script that starts it."""
    answer = _refers(word, directory, search)
    if answer or depth >= DEPTH or search.alone or not (by_shell or "/" in word):
        return answer
    path = os.path.join(directory, _expanded(word, search))
    content = search.read(path) if len(path) <= PATH_LIMIT and "$" not in path else ""
    first = content.split("\n", 1)[0]
    if not (first.startswith("#!") and "sh" in first) and not path.endswith(".sh"):
        return answer
    inside = starts_bot(content, directory, search, depth + 1)
    return inside if inside is not False else answer


# -- where it is looked for ------------------------------------------------------------------------------------


def _unit_files(search: Search) -> Iterator[tuple[str, str]]:
    """Service files and their drop-ins, of the system and of the bots' user."""
    places = [("unit" if "/user" not in d else "user unit", search.path(d)) for d in UNIT_DIRECTORIES]
    places += [("user unit", os.path.join(search.home, d)) for d in USER_UNIT_DIRECTORIES]
    seen = set()
    for kind, directory in places:
        real, _ = _led_by_root(directory)
        for name in [] if real in seen else search.names_in(directory):  # /lib is /usr/lib on a merged system
            path = os.path.join(directory, name)
            if name.endswith(".service"):
                yield kind, path
            elif name.endswith(".service.d"):
                yield from ((kind, os.path.join(path, conf)) for conf in search.names_in(path) if conf[-5:] == ".conf")
        seen.add(real)


def _unit_name(path: str) -> str:
    """The unit a unit file or drop-in belongs to."""
    name = os.path.basename(path)
    return name if name.endswith(".service") else os.path.basename(os.path.dirname(path))[: -len(".d")]


def _search_units(search: Search) -> None:
    expand = _specifiers(search)
    files = [entry for entry in _unit_files(search) if not _unit_name(entry[1]).startswith(OWN_UNITS)]
    settings = {path: unit_settings(search.read(path), "Service") for _, path in files}
    of_unit = {  # whichever of its files says so
        (_unit_name(path), key): value
        for path, lines in settings.items()
        for _, key, value in lines
        if key in ("WorkingDirectory", "User")
    }
    for kind, path in files:
        name = _unit_name(path)
        user = search.account.name if kind == "user unit" else expand(of_unit.get((name, "User"), "")) or "root"
        directory = expand(of_unit.get((name, "WorkingDirectory"), "/").lstrip("-"))
        for number, key, value in settings[path]:
            if key.startswith("ExecStart"):
                answer = starts_bot(expand(value.lstrip("@-:+!")), directory, search)
                search.add(kind, path, number, name, answer, user)


def _specifiers(search: Search) -> Callable[[str], str]:
    """Resolve the unit specifiers a template of bots would use, as for this bot."""
    values = {
        "%i": search.bot.name,
        "%I": search.bot.name,
        "%h": search.home,
        "%u": search.bot.user,
        "%%": "%",
    }

    def expand(text: str) -> str:
        return search.home if text == "~" else re.sub(r"%[iIhu%]", lambda match: values[match.group()], text)

    return expand


def _search_cron(search: Search) -> None:
    for path in (path for place in CRON_WITH_USER for path in search.files_in(search.path(place))):
        _search_crontab(search, path, "")
    own = {"root", search.account.name}
    spools = [path for place in CRON_SPOOLS for path in search.files_in(search.path(place))]
    for path in sorted(spools, key=lambda path: os.path.basename(path) not in own):
        if os.path.basename(path) in own:
            _search_crontab(search, path, os.path.basename(path))
        elif time.monotonic() < search.notes_until:
            _search_crontab(replace(search, alone=True), path, os.path.basename(path))


def _search_crontab(search: Search, path: str, owner: str) -> None:
    for number, line in enumerate(search.read(path).splitlines(), 1):
        user, command = cron_command(line, with_user=not owner)
        answer = starts_bot(command, _home_of(user or owner) or "/", search) if command else False
        search.add("cron", path, number, line.split(None, 1)[0] if answer is not False else "", answer, user or owner)


def _search_scripts(search: Search) -> None:
    for path in (path for place in START_SCRIPTS for path in search.files_in(search.path(place))):
        content = search.read(path)
        answer = starts_bot(content, "/", search)
        names = (os.path.basename(search.script), "$")
        lines = enumerate(content.splitlines(), 1)
        number = next((n for n, line in lines if any(name in line for name in names)), 1)
        search.add("script", path, number, os.path.basename(path), answer)


def _search_supervisors(search: Search) -> None:
    for path in (path for place in SUPERVISOR_CONFIGS for path in search.files_in(search.path(place))):
        lines = [line.partition("=") for line in search.read(path).splitlines()]
        directory = next((value.strip() for key, _, value in lines if key.strip() == "directory"), "/")
        for number, (key, _, value) in enumerate(lines, 1):
            if key.strip() == "command":
                search.add("supervisor", path, number, os.path.basename(path), starts_bot(value, directory, search))


def _home_of(user: str) -> str:
    """A user's home directory, or nothing for an unknown user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except (KeyError, ValueError):
        return ""


def _uid_of(user: str) -> int | None:
    if user.isdecimal() and user.isascii():
        return int(user[:10])
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        return None


def search_for(bot: Bot, root: str = "/") -> Search:
    """A search with nothing found yet.

    :raises RolloutError: when the bot's user does not exist.
    """
    try:
        script = bot.script_path
    except RolloutError:  # preflight refuses that by itself
        script = os.path.normpath(os.path.join(bot.home, bot.script))
    return Search(bot, account_of(bot.user), script, root, notes_until=time.monotonic() + SECONDS)


def find_starters(bot: Bot, root: str = "/") -> list[Starter]:
    """Everything but the rollout's own units that would start the bot's script."""
    search = search_for(bot, root)
    _search_units(search)
    _search_scripts(search)
    _search_supervisors(search)
    _search_cron(search)
    return search.found
