r"""Values as systemd reads them in a unit file (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers").

Three places, three rules: a directive that takes one path to the end of the line knows no quotes, a list of words does,
and only the arguments of a command have variables. A value without special characters stays as it is, so that the files
of a bot that never needed this do not change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_PLAIN = re.compile(r"[^\s'\"\\;]+")
_HIDDEN = re.compile(r"\$\{WEBEX_BOT_ARGUMENT_\d+\}")


class UnitFileError(ValueError):
    """A value cannot be written into a unit file."""


def path(text: str) -> str:
    """A path that goes to the end of the line, as for ``WorkingDirectory=``.

    :raises UnitFileError: when it cannot be written so.
    """
    if text != text.strip() or text.endswith("\\"):
        raise UnitFileError(f"{text!r} begins or ends with what systemd would not take for a part of it")
    return _checked(text).replace("%", "%%")


def word(text: str) -> str:
    """One word of a list, as for ``ReadWritePaths=``.

    :raises UnitFileError: when it cannot be written so.
    """
    escaped = _checked(text).replace("%", "%%")
    if _PLAIN.fullmatch(escaped):
        return escaped
    escaped = escaped.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def program(text: str) -> str:
    """The program of ``ExecStart=``, in which systemd looks for no variables.

    :raises UnitFileError: when it cannot be written so, or systemd would refuse it.
    """
    if any(character in text for character in "\"'\\"):
        raise UnitFileError(f"{text!r} holds a quote or a backslash, and systemd starts no such program")
    return word(text)


def argument(text: str) -> str:
    """One argument of ``ExecStart=``.

    :raises UnitFileError: when it cannot be written so.
    """
    return word(text).replace("$", "$$")


def command(arguments: Sequence[str]) -> str:
    """A program and its arguments for ``ExecStart=``. What the plan hides in a variable is left to systemd to fill in.

    :raises UnitFileError: when it cannot be written so, or systemd would refuse it.
    """
    first, *others = arguments
    written = [each if _HIDDEN.fullmatch(each) else argument(each) for each in others]
    return " ".join([program(first), *written])


def _checked(text: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise UnitFileError(f"{text!r} holds a control character, which no unit file can hold")
    return text
