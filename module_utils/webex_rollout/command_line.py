# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines: what a Python command line runs, and what of one may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

PYTHON_NAME = re.compile(r"(python|pypy)[0-9.]*(-[\w.]+)?")

SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh", "fish"}

# Options of the interpreter that take the next argument as their value.
PYTHON_VALUE_OPTIONS = {"-X", "-W", "--check-hash-based-pycs"}

# In a name of any length. Whoever runs a process chooses its words, of up to 128 KiB each: nothing here may take more
# time than in proportion to them.
_SECRET = re.compile(
    "token|secret|passw|passphrase|credential|api-?_?key|access-?_?key|private-?_?key|auth", re.IGNORECASE
)
_OPTION = re.compile(r"-[\w.-]*")
# Of one letter: programs mean token, password, password, key, user:password by them, if any secret at all.
SECRET_LETTERS = "tpPku"
SHORT_OPTION = re.compile(rf"(-[{SECRET_LETTERS}])(=?)(.*)", re.DOTALL)
URL_PASSWORD = re.compile(r"(\w://[^/@:\s]{0,256}:)[^/@\s]{1,4096}@")


class Command(NamedTuple):
    """A Python command line in its parts. ``words`` is what is run, with its arguments: a script's path, ``-m`` and a
    module, or ``-c`` and code; empty where the interpreter reads its program from elsewhere."""

    program: str
    options: list[str]
    words: list[str]

    @property
    def kind(self) -> str:
        """``script``, ``module``, ``code``, or nothing."""
        return {"": "", "-m": "module", "-c": "code"}.get(self.words[0] if self.words else "", "script")

    @property
    def arguments(self) -> list[str]:
        """What the program itself is given."""
        return self.words[1:] if self.kind == "script" else self.words[2:]


def is_python(path: str) -> bool:
    """Whether a program is called like a Python interpreter."""
    return bool(PYTHON_NAME.fullmatch(os.path.basename(path)))


def python_target(argv: Sequence[str]) -> tuple[str, str]:
    """What a Python command line runs: ``("script", path)``, ``("module", name)`` or ``("", "")``.

    Source: `python --help`; options may be joined (``-uB``), and ``-m``/``-c`` end the option list.
    """
    index = _target_index(argv)
    if index >= len(argv):
        return "", ""
    arg = argv[index]
    if not arg.startswith("-"):
        return "script", arg
    position = _ending_letter(arg)
    if position is None or arg[position] == "c":
        return "", ""
    return "module", arg[position + 1 :] or (argv[index + 1] if index + 1 < len(argv) else "")


def target_and_after(argv: Sequence[str]) -> list[str]:
    """What a Python command line runs, by its last name, and the arguments that this is given."""
    index = _target_index(argv)
    return [os.path.basename(argv[index]), *argv[index + 1 :]] if index < len(argv) else []


def _ending_letter(arg: str) -> int | None:
    """Where in an argument the option is that ends the options: ``-c`` or ``-m``."""
    if arg.startswith("--"):
        return None
    for position, letter in enumerate(arg[1:], 1):
        if letter in "cm":
            return position
        if letter in "XW":
            return None
    return None


def _target_index(argv: Sequence[str]) -> int:
    """Index of the argument that names what is run; the number of arguments where none does."""
    index = 1
    while index < len(argv):
        arg = argv[index]
        if arg in PYTHON_VALUE_OPTIONS:
            index += 2
        elif arg == "-" or not arg.startswith("-") or _ending_letter(arg) is not None:
            return index
        else:
            index += 2 if re.fullmatch(r"-\w*[XW]", arg) else 1
    return index


def parsed(argv: Sequence[str]) -> Command:
    """A Python command line in its parts; ``-um mod`` is the option ``-u`` and the words ``-m``, ``mod``."""
    index = _target_index(argv)
    program, options = argv[0] if argv else "", list(argv[1:index])
    # Behind a title that a process gave itself stand as many empty words as there was room for.
    if index >= len(argv) or argv[index] == "-" or not any(argv[1:]):
        return Command(program, options, [])
    arg = argv[index]
    position = _ending_letter(arg) if arg.startswith("-") else None
    if position is None:
        return Command(program, options, list(argv[index:]))
    options += [arg[:position]] if position > 1 else []
    joined = [arg[position + 1 :]] if arg[position + 1 :] else []
    words = ["-" + arg[position], *joined, *argv[index + 1 :]]
    return Command(program, options, words if len(words) > 1 else [])


def python_paths(argv: Sequence[str], cwd: str, pythonpath: Sequence[str] = ()) -> list[str]:
    """Where the source may be that a Python command line, given in a directory, runs; no link is followed."""
    kind, target = python_target(argv)
    if kind == "script":
        return [os.path.join(cwd, target)]
    if kind == "module" and target:
        relative = target.replace(".", "/")
        bases = ["", *pythonpath]
        return [os.path.join(cwd, base, relative + suffix) for base in bases for suffix in (".py", "/__main__.py")]
    return []


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line fit for output: what may be a secret is masked.

    Values of options and assignments that are named like secrets, passwords in URLs, and what follows an option of one
    letter that often means one (SECRET_LETTERS): a port that is masked costs less than a token that is shown. The
    options of the Python interpreter before the script are no such letters.
    """
    first = _target_index(argv) + 1 if argv and is_python(argv[0]) else 1
    shown: list[str] = []
    mask_next = False
    for index, arg in enumerate(argv):
        hide, mask_next = mask_next and not arg.startswith("-"), False
        name, equals, _ = arg.partition("=")
        short = SHORT_OPTION.fullmatch(arg) if index >= first else None
        if hide:
            shown.append("***")
        elif _OPTION.fullmatch(name) and _SECRET.search(name, 1):
            shown.append(f"{name}=***" if equals else name)
            mask_next = not equals
        elif short:
            shown.append(short.group(1) + (short.group(2) + "***" if short.group(3) else ""))
            mask_next = not short.group(3)
        else:
            shown.append(URL_PASSWORD.sub(r"\1***@", _without_assignment(arg)))
    return shown


def _without_assignment(arg: str) -> str:
    """The same with everything behind ``some_token=`` masked."""
    end = arg.find("=")
    while 0 <= end < len(arg) - 1:
        name = end
        while name and (arg[name - 1].isalnum() or arg[name - 1] in "_.-"):
            name -= 1
        if _SECRET.search(arg, name, end):
            return arg[: end + 1] + "***"
        end = arg.find("=", end + 1)
    return arg


def shown_words(argv: Sequence[str]) -> list[str]:
    """What a Python command line runs, with its arguments, fit for output: a bot among several is known by it."""
    return parsed(redact_argv(argv)).words


def absolute_words(words: Sequence[str], cwd: str) -> list[str]:
    """Words with a script's path as it is from anywhere."""
    if not words or words[0] in ("-m", "-c"):
        return list(words)
    return [os.path.normpath(os.path.join(cwd, words[0])), *words[1:]]


def secret_arguments(argv: Sequence[str]) -> dict[int, str]:
    """By their index the arguments that may be secrets, each with the name of the variable that a unit, which anybody
    may read, gets it by."""
    shown = redact_argv(argv)
    return {index: f"WEBEX_BOT_ARGUMENT_{index}" for index, arg in enumerate(argv) if shown[index] != arg}
