# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what would start a bot's script a second time: units, cron lines, start-up scripts, supervisord.

Runs on the bots' machine with its own Python (3.8 or later); reads only.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .command_line import SHELL_NAMES, is_python, python_paths, python_target
from .processes import Bot
from .system import to_text

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
OWN_UNITS = "webex-bot@"
SHELL_BREAKS = set(";&|()\n{}")
SCRIPT_SIZE_LIMIT = 256 * 1024


@dataclass
class Starter:
    """A place that would start a bot's script: kind ``unit``, ``user unit``, ``cron``, ``script`` or ``supervisor``.

    ``certain`` is False where the line names the script through something only its shell can resolve.
    """

    kind: str
    file: str
    line: int
    what: str
    certain: bool


@dataclass
class StarterSearch:
    """Where to look, and for which bot. ``root`` is the file system's root (tests use a directory of their own)."""

    bot: Bot
    root: str = "/"
    user_home: str = ""
    found: list[Starter] = field(default_factory=list)

    def path(self, relative: str) -> Path:
        """A path below the root."""
        return Path(self.root) / relative


def shell_words(text: str) -> list[str]:
    """Words and separators of a shell line. Broken quoting must not hide a starter."""
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
        lexer.whitespace = " \t\r"
        lexer.whitespace_split = True
        lexer.commenters = "#"
        return list(lexer)
    except ValueError:
        return text.split()


def _simple_commands(words: Iterable[str]) -> Iterator[list[str]]:
    """Split a word list at the shell's separators."""
    current: list[str] = []
    for word in words:
        if word and set(word) <= SHELL_BREAKS:
            if current:
                yield current
            current = []
        else:
            current.append(word)
    if current:
        yield current


def _expanded(word: str, bot: Bot) -> str:
    """A shell word with the home directory filled in."""
    home = home_of(bot.user) or "/root"
    word = re.sub(r"\$(HOME\b|\{HOME\})", home.replace("\\", ""), word)
    return home + word[1:] if word == "~" or word.startswith("~/") else word


def _refers(word: str, directory: str, bot: Bot) -> bool | None:
    """Whether a path names the bot's script: True, False, or None where a variable hides the answer."""
    path = os.path.join(directory, _expanded(word, bot))
    if "$" not in path:
        return os.path.realpath(path) == bot.script_path
    # `webex_bots/$bot.py` may be any bot's script; a bare `$1` could be anything at all and is not reported
    literals = re.split(r"\$\w+|\$\{[^}]*\}|\$\([^)]*\)", path)
    pattern = ".*".join(re.escape(part) for part in literals)
    return None if literals[-1].endswith(".py") and re.fullmatch(pattern, bot.script_path) else False


def _python_refers(words: Sequence[str], directory: str, bot: Bot) -> bool | None:
    """Whether a Python command line starts the bot."""
    kind, target = python_target(words)
    if kind == "script":
        return _refers(target, directory, bot)
    return kind == "module" and bot.script_path in map(os.path.realpath, python_paths(words, directory, [bot.home]))


def starts_bot(text: str, directory: str, bot: Bot, depth: int = 0) -> bool | None:
    """Whether a shell text starts the bot's script: True, False, or None for a likely yes that only a shell could tell.

    Mentioning the script (``tail``, ``cp``, ``pkill -f``) is no start; a command passed to ``sh -c`` and a shell script
    that is called are looked into.
    """
    doubt = False
    for command in _simple_commands(shell_words(text)):
        if command[0] == "cd" and len(command) > 1:
            directory = os.path.join(directory, _expanded(command[1], bot))
            continue
        for index, word in enumerate(command):
            name = os.path.basename(word)
            if is_python(name):
                answer = _python_refers(command[index:], directory, bot)
            elif index == _command_position(command):
                answer = _called(word, directory, bot, depth)
            elif depth < 3 and any(c.isspace() for c in word):
                answer = starts_bot(word, directory, bot, depth + 1)  # sh -c '…', tmux new '…'
            elif index and os.path.basename(command[index - 1]) in SHELL_NAMES:
                answer = _called(word, directory, bot, depth)  # sh start_all.sh
            else:
                continue
            if answer:
                return True
            doubt = doubt or answer is None
    return None if doubt else False


def _command_position(command: Sequence[str]) -> int:
    """Index of the word that is run, after assignments and the usual wrappers."""
    for index, word in enumerate(command):
        if re.match(r"^\w+=", word) or os.path.basename(word) in {"nohup", "exec", "env", "setsid", "time"}:
            continue
        return index
    return 0


def _called(word: str, directory: str, bot: Bot, depth: int) -> bool | None:
    """Whether running this file starts the bot: it is the script itself, or a shell script that starts it."""
    answer = _refers(word, directory, bot)
    if answer or depth >= 3:
        return answer
    path = os.path.join(directory, word)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > SCRIPT_SIZE_LIMIT:
            return answer
        content = Path(path).read_bytes()
    except OSError:
        return answer
    first = content.split(b"\n", 1)[0]
    if not (first.startswith(b"#!") and b"sh" in first) and not path.endswith(".sh"):
        return answer
    inside = starts_bot(to_text(content), directory, bot, depth + 1)
    return inside if inside is not False else answer


def _files_in(path: Path) -> list[Path]:
    """The file itself, or the regular files of a directory; nothing when there is none."""
    try:
        if path.is_dir():
            return sorted(p for p in path.iterdir() if p.is_file())
        return [path] if path.is_file() else []
    except PermissionError:
        return []


def _content(path: Path) -> str:
    """A configuration file's text, or nothing where it cannot be read."""
    try:
        return to_text(path.read_bytes()) if path.stat().st_size <= SCRIPT_SIZE_LIMIT else ""
    except OSError:
        return ""


def unit_settings(text: str, section: str) -> list[tuple[int, str, str]]:
    """``(line number, key, value)`` of one section of a unit file, continuation lines joined."""
    found = []
    current, pending, start = "", "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if not pending:
            start = number
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        line, pending = pending + line, ""
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
        elif "=" in line and current == section:
            key, _, value = line.partition("=")
            found.append((start, key.strip(), value.strip()))
    return found


def _unit_files(search: StarterSearch) -> Iterator[tuple[str, Path]]:
    """Service files and their drop-ins, of the system and of users."""
    places = [("unit" if "/user" not in d else "user unit", search.path(d)) for d in UNIT_DIRECTORIES]
    if search.user_home:
        places += [("user unit", Path(search.user_home) / d) for d in USER_UNIT_DIRECTORIES]
    seen = set()
    for kind, directory in places:
        real = os.path.realpath(str(directory))
        if real in seen or not directory.is_dir():  # /lib is /usr/lib on a merged system
            continue
        seen.add(real)
        for entry in sorted(directory.iterdir()):
            if entry.name.endswith(".service") and entry.is_file():
                yield kind, entry
            elif entry.name.endswith(".service.d") and entry.is_dir():
                for conf in sorted(entry.glob("*.conf")):
                    yield kind, conf


def _unit_name(path: Path) -> str:
    """The unit a unit file or drop-in belongs to."""
    return path.name if path.name.endswith(".service") else path.parent.name[: -len(".d")]


def _search_units(search: StarterSearch) -> None:
    expand = _specifiers(search)
    files = [entry for entry in _unit_files(search) if not _unit_name(entry[1]).startswith(OWN_UNITS)]
    settings = {path: unit_settings(_content(path), "Service") for _, path in files}
    directories = {  # of the unit, whichever of its files says so
        _unit_name(path): value.lstrip("-")
        for path, lines in settings.items()
        for _, key, value in lines
        if key == "WorkingDirectory"
    }
    for kind, path in files:
        name = _unit_name(path)
        for number, key, value in settings[path]:
            if key.startswith("ExecStart"):
                directory = expand(directories.get(name, "/"))
                answer = starts_bot(expand(value.lstrip("@-:+!")), directory, search.bot)
                if answer is not False:
                    search.found.append(Starter(kind, str(path), number, name, bool(answer)))


def _specifiers(search: StarterSearch) -> Callable[[str], str]:
    """Resolve the unit specifiers a template of bots would use, as for this bot."""
    values = {
        "%i": search.bot.name,
        "%I": search.bot.name,
        "%h": search.user_home or "/root",
        "%u": search.bot.user,
        "%%": "%",
        "~": search.user_home,
    }

    def expand(text: str) -> str:
        return values["~"] if text == "~" else re.sub(r"%[iIhu%]", lambda match: values[match.group()], text)

    return expand


def _cron_command(line: str, with_user: bool) -> tuple[str, str]:
    """User (where the line names one) and command of a crontab line; empty for comments, assignments and nonsense."""
    line = line.strip()
    if not line or line.startswith("#") or re.match(r"^\w+\s*=", line):
        return "", ""
    fields = (1 if line.startswith("@") else 5) + (1 if with_user else 0)
    parts = line.split(None, fields)
    if len(parts) <= fields:
        return "", ""
    # cron reads a bare % as the end of the command; what follows is its standard input
    command = re.split(r"(?<!\\)%", parts[fields], maxsplit=1)[0].replace("\\%", "%")
    return (parts[fields - 1] if with_user else ""), command


def _search_cron(search: StarterSearch) -> None:
    places = [(path, True) for place in CRON_WITH_USER for path in _files_in(search.path(place))]
    places += [(path, False) for place in CRON_SPOOLS for path in _files_in(search.path(place))]
    for path, with_user in places:
        for number, line in enumerate(_content(path).splitlines(), 1):
            user, command = _cron_command(line, with_user)
            answer = starts_bot(command, home_of(user or path.name) or "/", search.bot)
            if answer is not False:
                search.found.append(Starter("cron", str(path), number, line.split()[0], bool(answer)))


def _search_scripts(search: StarterSearch) -> None:
    for path in (path for place in START_SCRIPTS for path in _files_in(search.path(place))):
        content = _content(path)
        answer = starts_bot(content, "/", search.bot)
        if answer is not False:
            names = (os.path.basename(search.bot.script), "$")
            lines = enumerate(content.splitlines(), 1)
            number = next((n for n, line in lines if any(name in line for name in names)), 1)
            search.found.append(Starter("script", str(path), number, path.name, bool(answer)))


def _search_supervisors(search: StarterSearch) -> None:
    for path in (path for place in SUPERVISOR_CONFIGS for path in _files_in(search.path(place))):
        content = _content(path)
        directory = next(iter(re.findall(r"^\s*directory\s*=\s*(\S+)", content, re.MULTILINE)), "/")
        for number, line in enumerate(content.splitlines(), 1):
            key, _, value = line.partition("=")
            answer = starts_bot(value, directory, search.bot) if key.strip() == "command" else False
            if answer is not False:
                search.found.append(Starter("supervisor", str(path), number, path.name, bool(answer)))


def home_of(user: str) -> str:
    """A user's home directory, or nothing for an unknown user."""
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return ""


def find_starters(bot: Bot, root: str = "/") -> list[Starter]:
    """Everything but the rollout's own units that would start the bot's script."""
    user_home = home_of(bot.user)
    search = StarterSearch(bot, root, os.path.join(root, user_home.lstrip("/")) if user_home else "")
    _search_units(search)
    _search_cron(search)
    _search_scripts(search)
    _search_supervisors(search)
    return search.found
