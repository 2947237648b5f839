# SPDX-License-Identifier: GPL-3.0-or-later
"""What a search for starters keeps from one bot for the next: a look asks for all bots of a VM, and most of what root
has set up can start none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple  # noqa: UP035 - an alias is evaluated, also by Python 3.8

Texts = Dict[str, Dict[str, str]]  # noqa: UP006
Units = List[Tuple[str, str, Any]]  # noqa: UP006
Judged = Tuple[int, str, str, str]  # noqa: UP006

# Whatever a bot is called: a text with one of these may start any of them. Another pattern of files reaches a script
# only from its directory, which is then named.
_ANYBODYS = (".py", "python", "pypy", "*/")
_QUOTING = str.maketrans("", "", "\"'\\")


@dataclass
class Kept:
    """For all bots of one look: it holds for as long as that takes."""

    texts: dict[tuple[str, str], Texts] = field(default_factory=dict)
    """What users have that may start a bot, by user and checkout."""
    asked: dict[tuple[int, Callable[..., object], str], object] = field(default_factory=dict)
    """What they said of a path."""
    units: dict[int, Units] = field(default_factory=dict)
    """Unit files as a user sees them: kind, path and settings."""
    led: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Where links in root's own directories lead."""
    read: dict[str, str] = field(default_factory=dict)
    """Root's own files."""
    harmless: dict[Judged, str] = field(default_factory=dict)
    """Of root's texts that did not start a bot, all words on which that rested."""


def judged(uid: int, text: str, directory: str, variables: Mapping[str, Sequence[str]] | None) -> Judged:
    """What a judgement of a text depends on, besides the bot."""
    return uid, text, directory, repr(sorted((variables or {}).items()))


def words_for(scripts: Iterable[str], checkout: str, home: str, name: str, programs: Iterable[str]) -> re.Pattern[str]:
    """What a text must have anywhere to start a bot, or to leave a doubt.

    :param scripts: paths of its script: with links followed, and as the settings have it.
    :param home: of the bot's user, which a text need not name.
    :param programs: other programs that are it, as `Bot.commands` begins with them.
    """
    scripts = list(scripts)
    parts = [part for path in (*scripts, *programs) for part in path.split("/")[-2:]] + [checkout.split("/")[-1]]
    stems = [part[:-3] if part.endswith(".py") else part for part in parts]
    unnamed = ["~", "HOME", "cd"] if home in (checkout, *map(os.path.dirname, scripts)) else []
    return re.compile("|".join(re.escape(word) for word in {*_ANYBODYS, name, *stems, *unnamed} - {"", "."}))


def unquoted(texts: Iterable[str]) -> str:
    """Texts without what keeps a shell's word from being found in them."""
    return "\n".join(texts).replace("\\\n", "").translate(_QUOTING)
