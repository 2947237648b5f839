"""The page of a report: one file without scripts and without anything from elsewhere, made from report.json's content.

`python -m plugin_utils.report report.json > index.html` makes it anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from plugin_utils import words
from plugin_utils.report.chart import HEIGHT, make_chart

NONE = "\N{EN DASH}"

BAD = ("rolled back", "failed", "unreachable")
SIGNS = {
    "promoted": "✓",
    "deployed": "✓",
    "soaking": "…",
    "paused": "‖",
    "held": "‖",
    "rolled back": "↩",
    "failed": "✕",
    "unreachable": "✕",
    "unchanged": NONE,
    "would change": "Δ",
}


@dataclass(frozen=True)
class SettingsTable:
    """The settings that some bots have in common; `rolled_back` if the release that had them no longer runs."""

    bots: list[str]
    rows: list[Mapping[str, Any]]
    rolled_back: bool

    @property
    def sessions(self) -> int:
        """How many HTTP sessions there are; a row about all of them need not name them."""
        return len({session for row in self.rows for session in row["sessions"]})


@dataclass(frozen=True)
class PlanTable:
    """The plan that some bots have in common."""

    bots: list[str]
    rows: list[dict[str, str]]


@dataclass(frozen=True)
class FileChange:
    """One change of a file, made for some bots; bots of one VM share files, and units look alike."""

    path: str
    bots: list[str]
    diff: Mapping[str, Any]


def render(report: Mapping[str, Any]) -> str:
    """The page as HTML. All text is escaped; a bot's log may hold anything.

    :param report: the content of report.json.
    :raises jinja2.UndefinedError, KeyError: when it is of another format.
    """
    template = _environment().get_template("report.html.j2")
    return template.render(
        report=report,
        run=report["run"],
        measured=any(bot["before"] or bot["after"] for bot in report["bots"]),
        causes=[failure["message"] for failure in report["failures"] if failure["cause"]],
        bad=report["conclusion"]["state"] in ("failed", "interrupted"),
        shown=[bot for bot in report["bots"] if is_shown(bot)],
        clients=patched_clients(report["bots"]),
        findings=sorted({finding for bot in report["bots"] for finding in bot["findings"]}),
        charts={bot["name"]: make_chart(bot) for bot in report["bots"]},
        plans=plan_tables(report["bots"]),
        settings=settings_tables(report["bots"]),
        files=file_changes(report["changes"]),
        steps=other_steps(report["changes"]),
        chart_height=HEIGHT,
        signs=SIGNS,
        bad_results=BAD,
    )


def is_shown(bot: Mapping[str, Any]) -> bool:
    """Whether there is more to show of a bot than its line in the table."""
    return any(bot[part] for part in ("verdict", "before", "after", "checks", "switched")) or bot["result"] in BAD


def patched_clients(bots: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Bots by how many of their clients the patch routed through the pool."""
    found: dict[int, list[str]] = {}
    for bot in bots:
        count = sum(client["action"] != "unchanged" for client in bot["clients"])
        if count:
            found.setdefault(count, []).append(bot["name"])
    return found


def plan_tables(bots: Sequence[Mapping[str, Any]]) -> list[PlanTable]:
    """The bots' plans, each table once: but for names and pids most bots of a fleet have the same."""
    tables: dict[str, PlanTable] = {}
    for bot in bots:
        rows = [
            {key: re.sub(r"\bpid \d+", "pid …", _alike(text, bot["name"])) for key, text in row.items()}
            for row in bot.get("plan") or []
        ]
        if rows:
            tables.setdefault(json.dumps(rows), PlanTable([], rows)).bots.append(bot["name"])
    return list(tables.values())


def settings_tables(bots: Sequence[Mapping[str, Any]]) -> list[SettingsTable]:
    """The bots' settings, each table once."""
    tables: dict[str, SettingsTable] = {}
    for bot in bots:
        rows = [row | {"after": _alike(row["after"], bot["name"])} for row in bot["settings"]]
        rolled_back = bot["result"] == "rolled back"
        if rows:
            table = tables.setdefault(json.dumps([rows, rolled_back]), SettingsTable([], rows, rolled_back))
            table.bots.append(bot["name"])
    return list(tables.values())


def file_changes(changes: Sequence[Mapping[str, Any]]) -> list[FileChange]:
    """What was changed in files, by path. Changes that differ in their bot's name alone are one."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for change in changes:
        if change["path"] or change["diff"]["text"]:
            key = _alike(json.dumps([_title(change), change["diff"]]), change["bot"])
            groups.setdefault(key, []).append(change)
    return sorted(map(_file_change, groups.values()), key=lambda file: file.path)


def _file_change(group: Sequence[Mapping[str, Any]]) -> FileChange:
    bots = list(dict.fromkeys(change["bot"] for change in group))
    title, diff = _title(group[0]), group[0]["diff"]
    if len({(_title(change), change["diff"]["text"]) for change in group}) > 1:
        title, diff = _alike(title, bots[0]), diff | {"text": _alike(diff["text"], bots[0])}
    return FileChange(title, bots, diff)


def _title(change: Mapping[str, Any]) -> str:
    """The file's path; what a task changed otherwise goes by the task's name."""
    return str(change["path"] or change["task"])


def _alike(text: str, bot: str) -> str:
    """A text with a bot's name made a placeholder; not within a longer name."""
    return re.sub(rf"(?<![A-Za-z0-9]){re.escape(bot)}(?![A-Za-z0-9])", "<bot>", text)


def other_steps(changes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Tasks that changed something other than a file, with their bots, in the order of the run."""
    found: dict[str, list[str]] = {}
    for change in changes:
        if change["path"] or change["diff"]["text"]:
            continue
        if change["bot"] not in found.setdefault(change["task"], []):
            found[change["task"]].append(change["bot"])
    return found


# --- words -----------------------------------------------------------------------------------------------------------


def rate(reading: Mapping[str, Any] | None) -> str:
    """Incidents per hour; over less than an hour a rate would claim too much, so a count."""
    if reading is None:
        return NONE
    if not reading["seconds"] or reading["seconds"] < 3600:
        return f"{reading['incidents']} in {words.about(reading['seconds'])}"
    return f"{reading['per_hour']:.2f}/h"


def without(message: str, causes: Sequence[str]) -> str:
    """The message of what followed from a failure, without repeating the failure's own."""
    for cause in causes:
        known = cause.rstrip(".")
        message = message.replace(f"{known}. ", "… ").replace(known, "…")
    return message


def lines_of(diff: str) -> list[tuple[str, str]]:
    """Each line of a diff with its class."""
    classes = {"+": "add", "-": "del", "@": "hunk"}
    return [(classes.get(line[:1], "same"), line) for line in diff.split("\n")]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {function.__name__: function for function in (words.about, words.clock, words.date, words.measured, words.zone)}
    )
    environment.filters.update(without=without, rate=rate, lines_of=lines_of)
    return environment
