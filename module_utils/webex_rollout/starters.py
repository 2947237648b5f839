# SPDX-License-Identifier: GPL-3.0-or-later
"""What would start a bot's script a second time: whether a text does. `starter_places` knows where such texts are.

What root or the bots' user has set up counts. Any user may have a crontab that names the script: it starts nothing as
the bots' user, so it is a note.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from .command_line import SHELL_NAMES, absolute_words, is_python, parsed, python_paths, python_target, shown_words
from .paths import is_below
from .shell_lines import PATH_LIMIT, commands_of, may_become
from .starter_kept import judged, unquoted
from .starter_search import Search

DEPTH = 3
VALUES_LIMIT = 50  # of one variable

KEYWORDS = {"do", "then", "else", "elif", "if", "while", "until", "!", "{", "command"}
DIRECTORY_OPTIONS = {"--chdir", "--cwd", "--directory", "--working-directory", "-C", "-d"}
# What runs the program that it is given, whatever that is written in.
RUNNERS = {
    *("uv", "uvx", "poetry", "pipenv", "pdm", "hatch", "rye", "pixi", "conda", "mamba", "micromamba", "dotenv", "pm2"),
    *("start-stop-daemon", "systemd-run", "daemon", "daemonize", "chpst", "setuidgid", "forever", "nodemon"),
    *("watchmedo", "supervise", "flock", "timeout", "nice", "ionice", "taskset", "sudo", "runuser", "su", "doas"),
}
BECOMING = {"su", "runuser", "sudo", "doas"}


# -- what a text starts ----------------------------------------------------------------------------------------


def starts_bot(
    text: str, directory: str, search: Search, variables: Mapping[str, Sequence[str]] | None = None
) -> bool | None:
    """Whether a shell text starts the bot's script: True, False, or None for a likely yes that only a shell could tell.

    Mentioning the script (``tail``, ``cp``, ``pkill -f``) is no start; a command passed to ``sh -c`` and a shell script
    that is called are looked into. Variables are followed as far as the text sets them. What started another bot of
    the same look in no way, and has no word that is this one's, is not gone through again.

    :param variables: those that are known, each with the values that it may have.
    """
    if search.effort is not None or search.alone:
        return _starts(text, directory, search, 0, variables)
    harmless, key = search.kept.harmless, judged(search.account.uid, text, directory, variables)
    if key in harmless and not search.words.search(harmless[key]):
        return False
    search.heard[:] = [text, directory, *(value for values in (variables or {}).values() for value in values)]
    answer = _starts(text, directory, search, 0, variables)
    if answer is False:
        harmless[key] = unquoted(search.heard)
    return answer


def _starts(
    text: str, directory: str, search: Search, depth: int, variables: Mapping[str, Sequence[str]] | None = None
) -> bool | None:
    doubt = False
    if search.effort is not None and search.effort.left <= 0:
        return False  # the text that was too much has been told
    search.spend(1 + len(text) // 8 + len(variables or {}))
    known = {"HOME": [search.account.home], **(variables or {})}
    for command in commands_of(text):
        if not search.spend(len(command)):
            return None
        while command and command[0] in KEYWORDS:
            command = command[1:]
        if not command or _sets(command, known, search):
            continue
        if command[0] in ("cd", "pushd") and len(command) > 1:
            directory = os.path.join(directory, _expanded(_filled(command[-1], known, search)[0], search))[:PATH_LIMIT]
            continue
        for words in _variants(command, known, search):
            if not search.spend(len(words)):
                return None
            answer = _command_starts(words, directory, search, depth, known)
            if answer:
                return True
            doubt = doubt or answer is None
    return None if doubt else False


def _sets(command: Sequence[str], known: dict[str, Sequence[str]], search: Search) -> bool:
    """Take note of what a command says of variables; whether it does nothing else."""
    if command[0] == "for" and len(command) > 2:
        if command[2] == "in":
            values = (value for word in command[3:] for value in _filled(word, known, search))
            known[command[1]] = list(islice(values, VALUES_LIMIT))
        return True
    words = (
        command[1:] if command[0] in ("export", "readonly", "local", "declare", "typeset", "set", "env") else command
    )
    pairs = [word.partition("=") for word in words if not word.startswith("-")]
    if not pairs or not all(equals and name.isidentifier() for name, equals, _ in pairs):
        return False
    for name, _, value in pairs:
        known[name] = _filled(value, known, search)
    return True


def _variants(command: Sequence[str], known: Mapping[str, Sequence[str]], search: Search) -> Iterator[list[str]]:
    """A command with its variables filled in, once for each value of the one that has several."""
    filled = [_filled(word, known, search) for word in command]
    several = next((values for values in filled if len(values) > 1), [""])
    for index in range(len(several)):
        yield [values[min(index, len(values) - 1)] for values in filled]


def _filled(word: str, known: Mapping[str, Sequence[str]], search: Search) -> list[str]:
    """A word with its variables filled in, in every way that is known.

    A pattern of files is a value only where it is the whole word.
    """
    found = [word]
    for name in re.findall(r"\$\{?(\w+)\}?", word)[:4] if "$" in word else ():
        values = [value for value in known.get(name, ()) if "*" not in value or word in (f"${name}", f"${{{name}}}")]
        if values and search.spend(len(found) * len(values)):
            pattern = re.compile(rf"\$\{{{name}\}}|\${name}\b")
            found = [value.join(pattern.split(each)) for each in found for value in values][:VALUES_LIMIT]
    return [each[: PATH_LIMIT + 1] for each in found] if len(word) <= PATH_LIMIT else found


def _command_starts(
    command: Sequence[str], directory: str, search: Search, depth: int, known: Mapping[str, Sequence[str]]
) -> bool | None:
    """What `starts_bot` says of one command."""
    for option, value in zip(command, [*command[1:], ""]):
        name, equals, joined = option.partition("=")
        if name in DIRECTORY_OPTIONS and not is_python(command[0]):
            directory = os.path.join(directory, _expanded(joined if equals else value, search))[:PATH_LIMIT]
    runs = _command_position(command)
    head = os.path.basename(command[runs]) if runs < len(command) else ""
    doubt = python_seen = False
    for index, word in enumerate(command):
        if is_python(word):
            if not search.spend(len(command) - index):
                return None
            python_seen = True
            answer = _python_refers(command[index:], directory, search)
        elif index == runs:
            answer = _called(word, directory, search, depth, by_shell=False, arguments=command[index + 1 :])
        elif depth < DEPTH and any(c.isspace() for c in word):
            answer = _starts(word, directory, search, depth + 1, known)  # sh -c '…', tmux new '…'
            if answer is False and head in BECOMING:  # a login begins in the home
                answer = _starts(word, search.account.home, search, depth + 1, known)
        elif index and os.path.basename(command[index - 1]) in SHELL_NAMES:
            answer = _called(word, directory, search, depth, by_shell=True)  # sh start_all.sh
        elif head in RUNNERS and not python_seen:
            answer = _refers(word, directory, search)
        elif head in ("docker", "podman") and python_seen:
            answer = None if os.path.basename(word) == os.path.basename(search.script) else False
        elif head == "make" and _names(word, search):
            answer = None if _is_in_checkout(directory, search) else False
        else:
            continue
        if answer:
            return True
        doubt = doubt or answer is None
    return None if doubt else False


def _names(word: str, search: Search) -> bool:
    """Whether a word has the bot's name as a part of its own."""
    return search.bot.name in re.split(r"[^A-Za-z0-9_]+", word)


def _is_in_checkout(path: str, search: Search) -> bool:
    return is_below(os.path.normpath(path), os.path.normpath(search.bot.home))


def _expanded(word: str, search: Search) -> str:
    """A shell word with the home directory filled in."""
    home = search.account.home
    word = word[: PATH_LIMIT + 1].replace("${HOME}", home)
    word = re.sub(r"\$HOME\b", lambda _: home, word)
    if word.startswith("~"):
        user, slash, rest = word[1:].partition("/")
        if user in ("", search.account.name):
            return home + slash + rest
    return word


def _refers(word: str, directory: str, search: Search) -> bool | None:
    """Whether a path names the bot's script: True, False, or None where a variable hides the answer."""
    # A script is called by its own name; only links to directories are followed
    names = (os.path.basename(search.script), os.path.basename(search.bot.script))
    if "*" in word and "$" not in word:
        parts = os.path.normpath(os.path.join(directory, _expanded(word, search)))[:PATH_LIMIT].split("/")
        wanted = search.script.split("/")
        return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, wanted, parts))
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
    launched = absolute_words(shown_words(words), directory)
    if tuple(launched) in search.bot.commands:
        return True
    arguments = parsed(words).arguments
    # A launcher in the checkout that is told the bot's name
    launcher = None if any(_names(word, search) for word in arguments) and _is_in_checkout(directory, search) else False
    if kind == "script":
        inside = _is_in_checkout(os.path.join(directory, _expanded(target, search)), search)
        another = os.path.dirname(launched[0]) == os.path.dirname(search.script)
        answer = _refers(target, directory, search)
        return launcher if answer is False and inside and not another else answer
    if kind == "module" and launcher is None and target.split(".")[0] not in ("pip", "py_compile", "pytest", "venv"):
        return None
    paths = python_paths(words, directory, [search.bot.home]) if len(target) < PATH_LIMIT else []
    return any(_refers(path, directory, search) for path in paths if "$" not in path)


def _command_position(command: Sequence[str]) -> int:
    """Index of the word that is run, after assignments and the usual wrappers."""
    for index, word in enumerate(command):
        if re.match(r"\w+=", word) or os.path.basename(word) in {"nohup", "exec", "env", "setsid", "time", "!"}:
            continue
        return index
    return 0


def _called(
    word: str, directory: str, search: Search, depth: int, by_shell: bool, arguments: Sequence[str] = ()
) -> bool | None:
    """Whether running this file starts the bot: it is the script itself, or a shell script that starts it.

    A file of the checkout that is told the bot's name, or is named after it, may.
    """
    answer = _refers(word, directory, search)
    path = os.path.join(directory, _expanded(word, search))
    if answer is False and ("/" in word or by_shell) and _is_in_checkout(path, search):
        told = [*arguments, os.path.basename(word).replace("-", " ")]
        answer = None if any(_names(each, search) for each in told) and not is_python(word) else False
    if answer or depth >= DEPTH or search.alone or not (by_shell or "/" in word):
        return answer
    content = search.read(path) if len(path) <= PATH_LIMIT and "$" not in path else ""
    first = content.split("\n", 1)[0]
    if not content and answer is False and path.endswith(".sh") and _is_in_checkout(path, search):
        return None  # a script of the checkout that cannot be read
    if not (first.startswith("#!") and "sh" in first) and not path.endswith(".sh"):
        return answer
    search.heard.append(content)
    inside = _starts(content, directory, search.of(path), depth + 1)
    return inside if inside is not False else answer
