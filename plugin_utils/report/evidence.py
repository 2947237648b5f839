"""What the events of one bot prove: the settings before and after, time-outs before and after, the verdict.

Nothing is computed anew that the modules computed; this finds it among the events and gives it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plugin_utils.report.events import Event
from plugin_utils.soak import history

HOUR = 3600

# An unpatched client, as measured with webexteamssdk, webexpythonsdk and webex_bot on requests' own adapter.
SDK_DEFAULTS: Mapping[str, str] = {
    "pool_connections": "10",
    "pool_maxsize": "10",
    "max_retries": "0",
    "timeout": "60",
    "keepalive": "0/0/0",
    "user_timeout": "0",
    "max_idle": "0",
}
# webex_bot's own requests.Session fetches every incoming message, without any time-out.
SDK_DEFAULTS_BY_SESSION = {"bot.session": {**SDK_DEFAULTS, "timeout": "0"}}

SETTINGS = {
    "pool_connections": "Pool connections",
    "pool_maxsize": "Pool maxsize",
    "max_retries": "Max retries",
    "timeout": "Request timeout",
    "keepalive": "TCP keep-alive",
    "user_timeout": "Unacknowledged data given up after",
    "max_idle": "Idle connection not used again after",
}
OFF = {"timeout": "none", "keepalive": "off", "user_timeout": "never", "max_idle": "never"}


@dataclass(frozen=True)
class Setting:
    """A setting before and after, of some of the bot's HTTP sessions (of the bot itself where there are none)."""

    name: str
    label: str
    before: str
    after: str
    sessions: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Hour:
    """Time-outs and other failed calls in the hour that begins at `start`."""

    start: str
    incidents: int


@dataclass(frozen=True)
class Span:
    """What a bot's log says about a stretch of time. `hours` has the hours with incidents alone."""

    begun: str | None
    ended: str | None
    seconds: float | None
    incidents: int
    lines: int
    recovered: int
    requests: int | None
    hours: list[Hour]
    gaps: list[str]

    @property
    def per_hour(self) -> float | None:
        """Incidents by the hour; unknown where no clock says how long it was."""
        return self.incidents / (self.seconds / HOUR) if self.seconds else None


def moment(epoch: float) -> str:
    """A time as reports write it: ISO 8601 with the controller's offset."""
    return datetime.fromtimestamp(epoch).astimezone().isoformat(timespec="seconds")


# --- settings --------------------------------------------------------------------------------------------------------


def shown(name: str, value: str | None) -> str:
    """A value of the ready line for people: with its unit, and in words where it stands for "off"."""
    if value is None:
        return "not known"
    parts = value.split("/")
    if name in OFF and parts[0] in ("0", "None", "none"):
        return OFF[name]
    if name == "keepalive" and len(parts) == 3:
        return f"after {parts[0]} s, every {parts[1]} s, {parts[2]} times"
    return f"{value} s" if name in OFF else value


def latest_ready(looks: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The last ready line of each session, by session."""
    lines: list[Mapping[str, Any]] = [line for look in looks for line in (look.get("pool") or {}).get("ready") or []]
    lines.sort(key=lambda line: float(line.get("time") or 0))
    return {
        str(line["session"]): {key: str(value) for key, value in line.items()} for line in lines if "session" in line
    }


def pool_settings(
    before: Mapping[str, Mapping[str, str]] | None, after: Mapping[str, Mapping[str, str]]
) -> list[Setting]:
    """Rows for every setting that the running bot reports; sessions that agree share a row.

    `before` is None where nobody knows what the clients were, and empty for clients as the SDK makes them.
    """
    rows = []
    for name, label in SETTINGS.items():
        sessions: dict[tuple[str, str], list[str]] = {}
        for session, values in after.items():
            if name in values:
                pair = (shown(name, _before(before, session, name)), shown(name, values[name]))
                sessions.setdefault(pair, []).append(session)
        rows += [Setting(name, label, old, new, found) for (old, new), found in sessions.items()]
    return rows


def _before(known: Mapping[str, Mapping[str, str]] | None, session: str, name: str) -> str | None:
    if known is None:
        return None
    if known:
        return known.get(session, {}).get(name)
    return SDK_DEFAULTS_BY_SESSION.get(session, SDK_DEFAULTS).get(name)


def process_settings(events: Sequence[Event]) -> list[Setting]:
    """How the bot runs and how many files it may open, before (its process as it was found) and after."""
    found = next((event.result["facts"] for event in events if "facts" in event.result), None)
    steps = {event.result.get("action"): event.result for event in events if event.action == "webex_release"}
    if found is None or not steps.get("check", {}).get("checks") or not found.get("processes"):
        return []
    process = found["processes"][0]
    unit = f"webex-bot@{(found.get('bot') or {}).get('name', '')}.service"
    rows = [Setting("runs_as", "Runs as", str(process.get("supervisor") or "not known"), unit)]
    for check in steps["check"].get("checks") or []:
        if check.get("name") == "open files":
            before = str((process.get("limits") or {}).get("open files", ["not known"])[0])
            rows.append(Setting("open_files", "Open files", before, str(check.get("detail", "")).split(" ")[0]))
    return rows


# --- time-outs -------------------------------------------------------------------------------------------------------


def looks(events: Sequence[Event]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The looks at the bot's log, in order: those at its history, and those at what was written since the switch."""
    before, after = [], []
    for event in events:
        for role, look in _looks_of(event):
            (before if role == "before" else after).append(look)
    return before, after


def _looks_of(event: Event) -> Iterator[tuple[str, Mapping[str, Any]]]:
    result = event.result
    if event.action == "webex_soak":
        for role, key in (("before", "history"), ("after", "since")):
            if isinstance(result.get(key), Mapping):
                yield role, result[key]
    if event.action == "bot_log_info" and "incidents" in result:
        yield ("after" if event.arguments.get("cursor") else "before"), result


def span(look: Mapping[str, Any], begun: float | None, ended: float | None) -> Span:
    """One look as a span of time; its own stamps where the span's ends are not known otherwise."""
    begun = begun if begun is not None else look.get("first_time")
    ended = ended if ended is not None else look.get("last_time")
    pool = look.get("pool") or {}
    return Span(
        begun=moment(begun) if begun is not None else None,
        ended=moment(ended) if ended is not None else None,
        seconds=max(0.0, ended - begun) if begun is not None and ended is not None else None,
        incidents=int(look.get("incidents", 0)),
        lines=int(look.get("lines", 0)),
        recovered=int(look.get("recovered", 0)),
        requests=int(pool["requests"]) if pool.get("ready_lines") or pool.get("stats_lines") else None,
        hours=[Hour(moment(hour), count) for hour, count in _hours(look)],
        gaps=[str(gap) for gap in look.get("gaps") or []],
    )


def recent(look: Mapping[str, Any]) -> Mapping[str, Any]:
    """A look at a log's history, cut to what the verdict takes into account of it."""
    last = look.get("last_time")
    known = history(look)
    if last is None or not known.hours:
        return look
    hours = {str(hour * HOUR): count for hour, count in known.hourly}
    return {**look, "first_time": last - known.hours * HOUR, "incidents": known.incidents, "hours": hours}


def _hours(look: Mapping[str, Any]) -> list[tuple[int, int]]:
    """The hours with incidents: their beginnings and how many; JSON has made texts of the keys."""
    return sorted((int(hour), int(count)) for hour, count in (look.get("hours") or {}).items())


# --- verdict ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What was decided of a bot's release and why; `record` has all evidence, as plugin_utils.verdict reads it."""

    outcome: str
    summary: str
    reasons: list[str]
    missing: list[str]
    until: str | None
    record: Mapping[str, Any]


def verdict(events: Sequence[Event]) -> Verdict | None:
    """The last verdict of a run, if any was given."""
    for event in reversed(events):
        record = event.result.get("record")
        if event.action == "webex_soak" and isinstance(record, Mapping) and "verdict" in record:
            given = record["verdict"]
            until = event.result.get("until")
            return Verdict(
                outcome=str(given["outcome"]),
                summary=str(given.get("summary", "")),
                reasons=[str(reason) for reason in given.get("reasons", [])],
                missing=[str(part) for part in given.get("missing", [])],
                until=moment(until) if isinstance(until, (int, float)) else until,
                record=record,
            )
    return None
