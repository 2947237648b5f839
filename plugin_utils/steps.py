"""The lines that a run prints by default: one a bot and step, and one a bot at the end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plugin_utils.words import counted, measured, named, printable

FEW = 10
"""From more bots than this what asks nothing of anybody is one line, not one a bot."""
SLOW = 5.0
"""Seconds from which a step is shown that has changed nothing: otherwise nobody sees what a run was busy with."""
STATES = len("would change")
"""Width of the column that says what became of a step."""
MARGIN = "  "


@dataclass
class Tally:
    """What a bot went through in a run: seconds at work, and the last thing that went wrong."""

    seconds: float = 0.0
    trouble: str = ""


@dataclass
class Ending:
    """A bot's counters as Ansible has them, by their names there, and its tally."""

    counts: Mapping[str, int]
    tally: Tally = field(default_factory=Tally)

    @property
    def result(self) -> str:
        """The worst that happened to the bot; empty when nothing was changed and nothing failed."""
        for counter, word in (("unreachable", "unreachable"), ("failures", "failed"), ("rescued", "rescued")):
            if self.counts.get(counter):
                return word
        if self.counts.get("ignored") or self.tally.trouble:
            return "ignored"
        return "changed" if self.counts.get("changed") else ""


def step_name(task: str) -> str:
    """A task's name without its role's, which Ansible puts before it."""
    return task.strip().rpartition(" : ")[2]


def step(bot: str, width: int, state: str, seconds: float, text: str) -> list[str]:
    """A bot's step; the further lines of its text are below the first.

    :param width: of the longest bot's name.
    """
    head = f"{MARGIN}{bot:<{width}}  {state:<{STATES}}  {measured(seconds):>8}  "
    first, *others = lines(text)
    return [head + first, *(" " * len(head) + line for line in others)]


def many(bots: Sequence[str], state: str, seconds: Sequence[float], name: str) -> str:
    """One line for a step of more bots than a few."""
    low, high = measured(min(seconds)), measured(max(seconds))
    return f"{MARGIN}{named(bots)}: {state}, {low if low == high else f'{low} to {high}'}: {printable(name)}"


def unchanged(bots: Sequence[str], checking: bool) -> str:
    """That a run, or a play of it, had nothing to change on some bots."""
    return f"{named(bots)}: nothing {'would be ' if checking else ''}changed"


def table(endings: Mapping[str, Ending], checking: bool) -> list[tuple[str, str]]:
    """The end of a run: each bot's line with its result, and one for all on which nothing was changed."""
    told = {bot: ending for bot, ending in endings.items() if ending.result}
    width = max(map(len, told), default=0)
    rows = []
    for bot, ending in told.items():
        result = "would change" if checking and ending.result == "changed" else ending.result
        first = lines(ending.tally.trouble)[0]
        row = f"{bot:<{width}}  {result:<{STATES}}  {counted(ending.counts.get('changed', 0), 'change'):>10}"
        rows.append((f"{row}  {measured(ending.tally.seconds):>11}  {first}".rstrip(), ending.result))
    quiet = [bot for bot in endings if bot not in told]
    return rows + ([(unchanged(quiet, checking), "")] if quiet else [])


def lines(text: str) -> list[str]:
    """A text's lines, at least one, with nothing that a terminal would obey."""
    return [printable(line.rstrip()) for line in re.split(r"\r?\n", text.strip("\n"))]


def shorten(text: str, width: int) -> str:
    """A text that fits into a line."""
    return text if len(text) <= width else f"{text[: width - 1]}…"
