"""What the events of one bot prove: its settings before and after, its incidents before and after, the verdict.

Nothing is computed anew that the modules computed; this finds it among the events and gives it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from module_utils.webex_rollout.evidence import history_of
from plugin_utils.report.events import Event
from plugin_utils.report.model import Hour, LogSpan, PlanRow, Setting, VerdictReport
from plugin_utils.words import moment

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
# webex_bot's own requests.Session fetches every incoming message, with no limit of time.
SDK_DEFAULTS_BY_SESSION = {"bot.session": {**SDK_DEFAULTS, "timeout": "0"}}

SETTINGS = {
    "pool_connections": "Pool connections",
    "pool_maxsize": "Pool maxsize",
    "max_retries": "Max retries",
    "timeout": "Request timeout",
    "keepalive": "TCP keep-alive",
    "user_timeout": "Give up on unacknowledged data after",
    "max_idle": "Discard idle connections after",
}
OFF = {"timeout": "none", "keepalive": "off", "user_timeout": "never", "max_idle": "never"}
NOT_KNOWN = "not known"


# --- settings --------------------------------------------------------------------------------------------------------


def setting_value(name: str, value: str | None) -> str:
    """A value of the ready line for people: with its unit, and in words where it stands for "off".

    :param name: the setting, as in the ready line.
    :param value: its value there; None where nothing shows it.
    """
    if value is None:
        return NOT_KNOWN
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

    :param before: ready lines by session; None where nothing shows what the clients were, empty for the SDK's own.
    :param after: the running bot's ready lines by session.
    """
    rows = []
    for name, label in SETTINGS.items():
        sessions: dict[tuple[str, str], list[str]] = {}
        for session, values in after.items():
            if name in values:
                pair = (setting_value(name, _before(before, session, name)), setting_value(name, values[name]))
                sessions.setdefault(pair, []).append(session)
        rows += [Setting(name, label, old, new, found) for (old, new), found in sessions.items()]
    return rows


def _before(known: Mapping[str, Mapping[str, str]] | None, session: str, name: str) -> str | None:
    if known is None:
        return None
    if known:
        return known.get(session, {}).get(name)
    return SDK_DEFAULTS_BY_SESSION.get(session, SDK_DEFAULTS).get(name)


def facts_of(events: Sequence[Event], bot: str) -> Mapping[str, Any]:
    """What preflight found of a bot first: one bot of a VM asks for all of them. Empty where nobody did."""
    looks = (event.result["bots"] for event in events if event.action == "bot_info" and "bots" in event.result)
    return next((look[bot].get("facts") or {} for look in looks if bot in look), {})


def plan_rows(found: Mapping[str, Any]) -> list[PlanRow]:
    """The plan of a bot."""
    rows = (found.get("plan") or {}).get("differences") or []
    return [PlanRow(**{key: row[key] for key in ("what", "found", "wanted", "fate", "why")}) for row in rows]


def process_settings(events: Sequence[Event], found: Mapping[str, Any]) -> list[Setting]:
    """How the bot runs and how many files it may open, before (its process as it was found) and after."""
    steps = {event.result.get("action"): event.result for event in events if event.action == "webex_release"}
    checks = steps.get("check", {}).get("checks") or []
    if not checks or not found.get("processes"):
        return []
    process = found["processes"][0]
    unit = f"webex-bot@{(found.get('bot') or {}).get('name', '')}.service"
    rows = [Setting("runs_as", "Runs as", str(process.get("supervisor") or NOT_KNOWN), unit)]
    for check in checks:
        if check.get("name") == "open files":
            before = str((process.get("limits") or {}).get("open files", [NOT_KNOWN])[0])
            rows.append(Setting("open_files", "Open files", before, str(check.get("value") or NOT_KNOWN)))
    return rows


# --- incidents -------------------------------------------------------------------------------------------------------


def looks(events: Sequence[Event]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The looks at the bot's log, in order: those at its history, and those at what was written since the switch."""
    before: list[Mapping[str, Any]] = []
    after: list[Mapping[str, Any]] = []
    known: dict[str, int] = {}
    for event in events:
        result = event.result
        if event.action == "bot_log_info" and "incidents" in result:
            (after if event.arguments.get("cursor") else before).append(result)
        elif event.action == "webex_soak":
            known = requests_heard(result) or known
            before += [result["history"]] if isinstance(result.get("history"), Mapping) else []
            after += [result["since"]] if isinstance(result.get("since"), Mapping) else []
    return before, [{**look, **known} for look in after]


def requests_heard(result: Mapping[str, Any]) -> dict[str, int]:
    """``requests`` in what webex_soak returned, as the pool module counts them in its channel; empty if not heard."""
    record = result.get("record")
    seen = record.get("evidence") if isinstance(record, Mapping) else None
    return {"requests": int(seen["requests"])} if isinstance(seen, Mapping) and seen.get("heard") else {}


def log_span(look: Mapping[str, Any], begun: float | None, ended: float | None) -> LogSpan:
    """One look at a log as a span of time.

    :param look: as bot_log_info returns it, and ``requests`` where the channel counts them.
    :param begun: seconds since the epoch; None: the look's first time stamp.
    :param ended: seconds since the epoch; None: the look's last time stamp.
    """
    begun = begun if begun is not None else look.get("first_time")
    ended = ended if ended is not None else look.get("last_time")
    seconds = max(0.0, ended - begun) if begun is not None and ended is not None else None
    pool = look.get("pool") or {}
    logged = int(pool["requests"]) if pool.get("ready_lines") or pool.get("stats_lines") else None
    incidents = int(look.get("incidents", 0))
    # JSON has made texts of the keys.
    hours = sorted((int(hour), int(count)) for hour, count in (look.get("hours") or {}).items())
    return LogSpan(
        begun=moment(begun) if begun is not None else None,
        ended=moment(ended) if ended is not None else None,
        seconds=seconds,
        incidents=incidents,
        lines=int(look.get("lines", 0)),
        recovered=int(look.get("recovered", 0)),
        requests=look.get("requests", logged),
        hours=[Hour(moment(hour), count) for hour, count in hours],
        gaps=[str(gap) for gap in look.get("gaps") or []],
        per_hour=round(incidents / (seconds / HOUR), 4) if seconds else None,
    )


def recent(look: Mapping[str, Any]) -> Mapping[str, Any]:
    """A look at a log's history, cut to what the verdict takes into account of it."""
    last = look.get("last_time")
    known = history_of(look)
    if last is None or not known.hours:
        return look
    hours = {str(hour * HOUR): count for hour, count in known.hourly}
    return {**look, "first_time": last - known.hours * HOUR, "incidents": known.incidents, "hours": hours}


# --- verdict ---------------------------------------------------------------------------------------------------------


def last_verdict(events: Sequence[Event]) -> VerdictReport | None:
    """The last verdict of a run on a bot, as webex_soak returned it; None if there was none."""
    for event in reversed(events):
        given = event.result
        if event.action == "webex_soak" and given.get("verdict") and isinstance(given.get("record"), Mapping):
            until = given.get("until")
            return VerdictReport(
                verdict=given["verdict"],
                decided=bool(given.get("decided")),
                summary=str(given.get("summary", "")),
                reasons=[str(reason) for reason in given.get("reasons") or []],
                missing=[str(part) for part in given.get("missing") or []],
                until=moment(until) if until is not None else None,
                record=dict(given["record"]),
            )
    return None
