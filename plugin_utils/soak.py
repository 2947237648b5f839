"""What a soak, as `module_utils/bot_soak.py` keeps it on the VM, says: as evidence for the verdict, and to people.

Pure functions over the soak as plain JSON. All times are the VM's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from plugin_utils.verdict import HOLD, PROMOTE, ROLL_BACK, Control, Decision, Evidence, History, Settings, Verdict, span

HOUR = 3600
# What a bot did longer ago than a week says little about what it does now.
HISTORY_HOURS = 7 * 24

DECISIONS = {"promote": PROMOTE, "rollback": ROLL_BACK, "hold": HOLD}


def history(look: Mapping[str, Any]) -> History:
    """The last week of what a bot's log held before."""
    first, last = look.get("first_time"), look.get("last_time")
    if first is None or last is None or last <= first:
        return History()
    begin_ = max(first, last - HISTORY_HOURS * HOUR)
    hourly = sorted(
        (int(hour) // HOUR, int(count))
        for hour, count in (look.get("hours") or {}).items()
        if int(hour) + HOUR > begin_
    )
    return History(sum(count for _, count in hourly), (last - begin_) / HOUR, tuple(hourly))


def evidence(soak: Mapping[str, Any], settings: Settings) -> Evidence:
    """What a soak shows by now."""
    own, elapsed, decision = soak["own"], float(soak["elapsed"]), soak["decision"]
    since = own["since"]
    pool = since.get("pool") or {}
    controls = tuple(
        Control(bot, int(watch["since"]["incidents"]), (elapsed - watch["begun"]) / HOUR, history(watch["history"]))
        for bot, watch in sorted(soak["controls"].items())
        if not watch["problem"] and watch["since"] and not watch["since"].get("gaps") and elapsed > watch["begun"]
    )
    return Evidence(
        bot=soak["bot"],
        elapsed=elapsed,
        incidents=int(since.get("incidents", 0)),
        failures=int(since.get("failures", 0)),
        recovered=int(since.get("recovered", 0)) or int(pool.get("retried", 0)),
        requests=int(pool.get("requests", 0)),
        pool_failed=int(pool.get("failed", 0)),
        hearing=bool(since.get("ready_line", False)),
        hears=pool.get("log_level"),
        dated=bool(since.get("dated", False)) or not since.get("lines", 0),
        gaps=tuple(since.get("gaps") or ()),
        problem=own["problem"],
        history=history(own["history"]),
        controls=controls,
        decision=Decision(DECISIONS[decision["outcome"]], decision["who"], decision["why"]) if decision else None,
        settings=settings,
    )


def notes(soak: Mapping[str, Any]) -> list[str]:
    """What else should be known about the soak's times."""
    found, boots = [], soak["boots"]
    if soak["clock_set"]:
        found.append(f"the VM's time was set by {soak['clock_set']:+.0f} s; the soak is timed by its time since boot")
    if boots:
        found.append(f"the VM was restarted {boots} time{'s' if boots > 1 else ''}; it counts while it ran")
    return found + [
        f"{bot} is not compared with: {watch['problem']}" for bot, watch in soak["controls"].items() if watch["problem"]
    ]


def progress(evidence_: Evidence, verdict: Verdict, earliest: float | None) -> str:
    """One line on how a soak stands."""
    settings, figures = evidence_.settings, verdict.figures
    line = (
        f"{evidence_.bot}: {verdict.outcome} after {span(evidence_.elapsed)} of {span(settings.soak_min)}; "
        f"{evidence_.incidents} incidents in {evidence_.requests} requests"
    )
    if figures.due is not None:
        line += f" ({figures.due:.1f} due)"
    if verdict.missing:
        line += f"; missing: {', '.join(verdict.missing)}"
    if earliest is not None and earliest > evidence_.elapsed:
        line += f"; promote in {span(earliest - evidence_.elapsed)} at the earliest"
    return line


def worth_showing(shown: Sequence[float], elapsed: float, terminal: bool, changed: bool) -> bool:
    """Whether to show progress now, given when it was shown: at every look in a terminal, elsewhere when something has
    changed or twice the time has passed, so that a quiet day leaves some ten lines in a log."""
    if terminal or changed or not shown:
        return True
    return elapsed - shown[-1] >= max(60.0, shown[-1] - shown[0])


def at(epoch: float) -> str:
    """A time of the clock, in this machine's zone, for people."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(epoch))
