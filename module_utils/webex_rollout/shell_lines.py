# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell text, crontab lines and unit files, read as far as it takes to see what they start.

Anybody may have written them, so every step takes time in proportion to the text, and texts are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

PATH_LIMIT = 4096
WORDS_LIMIT = 256  # of one command
SEPARATORS = ";&|()\n"
SHELL_BREAKS = set(SEPARATORS + "{}")


def shell_words(text: str) -> list[str]:
    """Words and separators of a shell text. Broken quoting must not hide a starter: there a quote stands for itself."""
    words: list[str] = []
    current: list[str] = []
    inside = False  # of a word, though it may be empty
    open_ended = {'"': False, "'": False}
    at = 0

    def end() -> None:
        nonlocal inside
        if inside:
            words.append("".join(current))
            current.clear()
        inside = False

    while at < len(text):
        letter = text[at]
        at += 1
        if letter in " \t\r":
            end()
        elif letter in SEPARATORS:
            end()
            words.append(letter)
        elif letter == "#" and not inside:
            newline = text.find("\n", at)
            at = len(text) if newline < 0 else newline
        elif letter == "\\":
            if text[at : at + 1] != "\n":
                current.append(text[at : at + 1])
                inside = True
            at += 1
        elif letter in open_ended and not open_ended[letter]:
            quoted = _quoted(text, at, letter)
            open_ended[letter] = quoted is None
            at, content = quoted or (at, letter)
            current.append(content)
            inside = True
        else:
            current.append(letter)
            inside = True
    end()
    return words


def _quoted(text: str, start: int, quote: str) -> tuple[int, str] | None:
    """Where a quotation ends, and what it holds; None if it does not end."""
    if quote == "'":
        close = text.find(quote, start)
        return None if close < 0 else (close + 1, text[start:close])
    content: list[str] = []
    at = start
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        elif text[at] == quote:
            return at + 1, "".join(content)
        content.append(text[at])
        at += 1
    return None


@lru_cache(maxsize=1024)
def commands_of(text: str) -> tuple[list[str], ...]:
    """The simple commands of a shell text, not to be changed: kept, since each text is judged for every bot of a VM."""
    return tuple(simple_commands(shell_words(text)))


def simple_commands(words: Iterable[str]) -> Iterator[list[str]]:
    """Split a word list at the shell's separators; of one command the first WORDS_LIMIT words."""
    current: list[str] = []
    for word in words:
        if word and set(word) <= SHELL_BREAKS:
            if current:
                yield current
            current = []
        elif len(current) < WORDS_LIMIT:
            current.append(word)
    if current:
        yield current


def literals(path: str) -> list[str]:
    """What stands around the variables of a path: `a/$x.py` is `a/` and `.py`."""
    found: list[str] = []
    current: list[str] = []
    at = 0
    while at < len(path):
        if path[at] != "$":
            current.append(path[at])
            at += 1
            continue
        closing = {"{": "}", "(": ")"}.get(path[at + 1 : at + 2])
        if closing:
            end = path.find(closing, at) + 1
            if not end:  # it hides all the rest
                end = len(path)
        else:
            end = at + 1
            while end < len(path) and (path[end].isalnum() or path[end] == "_"):
                end += 1
        found.append("".join(current))
        current = []
        at = end
    return [*found, "".join(current)]


def may_become(path: str, wanted: str) -> bool:
    """Whether a path with variables may come to be another one, whatever these hold."""
    first, *middle = literals(path)
    if not middle:
        return path == wanted
    last = middle.pop()
    if len(first) + len(last) > len(wanted) or not wanted.startswith(first) or not wanted.endswith(last):
        return False
    at, end = len(first), len(wanted) - len(last)
    for literal in middle:
        place = wanted.find(literal, at, end)
        if place < 0:
            return False
        at = place + len(literal)
    return True


def cron_command(line: str, with_user: bool) -> tuple[str, str]:
    """User (where the line names one) and command of a crontab line; empty for comments, assignments and nonsense."""
    line = line.strip()
    if not line or line.startswith("#") or re.match(r"\w+\s*=", line):
        return "", ""
    fields = (1 if line.startswith("@") else 5) + (1 if with_user else 0)
    parts = line.split(None, fields)
    if len(parts) <= fields:
        return "", ""
    # cron reads a bare % as the end of the command; what follows is its standard input
    command = re.split(r"(?<!\\)%", parts[fields], maxsplit=1)[0].replace("\\%", "%")
    return (parts[fields - 1] if with_user else ""), command


def unit_settings(text: str, section: str) -> list[tuple[int, str, str]]:
    """``(line number, key, value)`` of one section of a unit file, continuation lines joined."""
    found = []
    current, start = "", 0
    pending: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith(("#", ";")):
            continue
        if not pending:
            start = number
        if line.endswith("\\"):
            pending.append(line[:-1])
            continue
        line, pending = " ".join([*pending, line]), []
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
        elif "=" in line and current == section:
            key, _, value = line.partition("=")
            found.append((start, key.strip(), value.strip()))
    return found
