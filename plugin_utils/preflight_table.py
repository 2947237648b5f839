"""Preflight's table: the plan of each bot, readable in a terminal of 120 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_COLUMNS = (11, 12, 36, 36)
_FATES = {"changed": "changed", "carried over": "carried over", "noted": "noted", "refused": "REFUSED"}


def table(bots: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The lines of the table: a line a bot, and one for each difference between what is found and what is wanted.

    :param bots: what preflight has handed over of each bot (`rollout_bot`).
    """
    lines = [_row("bot", "what", "found", "wanted", "fate")]
    for name, bot in bots.items():
        rows = [*_source(bot), *_differences(bot)]
        for index, row in enumerate(rows):
            lines.append(_row(name if not index else "", *row))
    return lines


def _source(bot: Mapping[str, Any]) -> list[Sequence[str]]:
    """What is patched, and what else would start the bot."""
    facts = bot["facts"]
    packages = (facts["python"].get("packages") or {}).items()
    sdks = ", ".join(f"{name} {version}" for name, version in packages if name not in ("python", "requests", "urllib3"))
    actions = [each["action"] for each in (bot.get("patch") or {}).get("constructions") or []]
    new = len(actions) - actions.count("unchanged")
    # A bot of which nothing differs is not patched again.
    wanted = f"{new} of {len(actions)} new" if "patch" in bot else "as they are"
    rows: list[Sequence[str]] = [("clients", sdks or "-", wanted, "changed" if new else "the same")]
    seen = [f"{each['file']}:{each['line']}" for each in facts["starters"]]
    return [*rows, *(("starter", each, "-", "noted") for each in seen)]


def _differences(bot: Mapping[str, Any]) -> list[Sequence[str]]:
    differences = (bot["facts"].get("plan") or {}).get("differences") or []
    return [(each["what"], each["found"], each["wanted"], _FATES[each["fate"]]) for each in differences]


def _row(*cells: str) -> str:
    cut = [_cut(cell, width).ljust(width) for cell, width in zip(cells, _COLUMNS)]
    return " ".join([*cut, cells[-1]]).rstrip()


def _cut(text: str, width: int) -> str:
    """A text as wide as its column at most: of a long one the middle is left out."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
