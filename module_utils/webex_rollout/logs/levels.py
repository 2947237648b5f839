# SPDX-License-Identifier: GPL-3.0-or-later
"""How severe a record is: the words, letters and numbers that loggers have for it, on the scale of Python's logging."""

from __future__ import annotations

from typing import Any

DEBUG, INFO, WARNING, ERROR, CRITICAL = 10, 20, 30, 40, 50

WORDS = {
    "TRACE": 5,
    "DEBUG": DEBUG,
    "DBG": DEBUG,
    "INFO": INFO,
    "INF": INFO,
    "NOTICE": INFO,
    "SUCCESS": INFO,
    "WARN": WARNING,
    "WARNING": WARNING,
    "ERR": ERROR,
    "ERROR": ERROR,
    "CRIT": CRITICAL,
    "CRITICAL": CRITICAL,
    "FATAL": CRITICAL,
}
LETTERS = {"T": 5, "D": DEBUG, "I": INFO, "W": WARNING, "E": ERROR, "C": CRITICAL, "F": CRITICAL}
# How levels are written. *letter*: one capital. *pino*: bunyan's and pino's numbers; *python*: logging's own;
# *syslog*: 0 (emergency) to 7 (debug).
UPPER, LOWER, TITLE, LETTER, PINO, PYTHON, SYSLOG = "upper", "lower", "title", "letter", "pino", "python", "syslog"
STYLES = (UPPER, LOWER, TITLE, LETTER, PINO, PYTHON, SYSLOG)
_NUMBERS = (PINO, PYTHON, SYSLOG)


def style_of(word: str) -> str | None:
    """How a word is written that means a level; None where it means none."""
    if word.upper() in WORDS:
        for style, written in ((UPPER, word.upper()), (LOWER, word.lower()), (TITLE, word.title())):
            if word == written:
                return style
    return LETTER if word in LETTERS else None


def level_of(word: str, style: str) -> int | None:
    """The level that a word means, None where it means none in that style."""
    if style == LETTER:
        return LETTERS.get(word)
    return WORDS.get(word.upper()) if style_of(word) == style else None


def level_of_number(number: Any, style: str) -> int | None:
    """The same for a number."""
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number <= 1000:
        return None
    if style == SYSLOG:
        return (CRITICAL, CRITICAL, CRITICAL, ERROR, WARNING, INFO, INFO, DEBUG)[int(number)] if number <= 7 else None
    return int(number) - (10 if style == PINO else 0)


def written(style: str, at_least: int) -> list[str]:
    """Everything that stands for a level of at least ``at_least``, as it is written in that style."""
    if style == LETTER:
        return [letter for letter, level in LETTERS.items() if level >= at_least]
    if style in _NUMBERS:
        return [str(number) for number in range(70) if (level_of_number(number, style) or 0) >= at_least]
    change = {UPPER: str.upper, LOWER: str.lower, TITLE: str.title}[style]
    # The longest first: a pattern takes the first that fits.
    return [change(word) for word, level in sorted(WORDS.items(), key=lambda each: -len(each[0])) if level >= at_least]


def beginnings(style: str, at_least: int, python: bool) -> list[str]:
    """The shortest texts with which all of them begin, for a search; ``python``: of those that logging itself has."""
    words = written(style, at_least)
    if python and style in (UPPER, LOWER, TITLE):
        return [word for word in words if word.upper() in ("WARNING", "ERROR", "CRITICAL")]
    return sorted({word for word in words if not any(word != other and word.startswith(other) for other in words)})
