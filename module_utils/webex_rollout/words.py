# SPDX-License-Identifier: GPL-3.0-or-later
"""Lengths of time, ratios and foreign text as messages word them: the one place that does, for VM and controller."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """A length of time that is asked for, or still to come: 50 s, 41 min, 2 h 5 min.

    Rounded up, so that nothing is ever claimed to be over too early.
    """
    if seconds < 120:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def number(ratio: float) -> str:
    """A likelihood ratio, to two digits."""
    if ratio >= 1e6:
        return "more than a million"
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def printable(text: str) -> str:
    """A text that a terminal shows and does not obey: whatever is no graphic character is escaped, but for line breaks.

    Controls move the cursor and set titles; marks of direction make a line read otherwise than it is.
    """
    return "".join(
        character
        if character == "\n" or character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
