"""A soak as it is kept between runs: when it began, how long it lasted, where its logs were read up to.

Pure functions over plain JSON, which the role keeps on the VM. All times are the VM's: `epoch` for people, `since_boot`
for lengths of time, because nobody can set it and it runs on through suspension.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from plugin_utils.verdict import HOLD, PROMOTE, ROLL_BACK, Control, Decision, Evidence, History, Settings, Verdict, span

HOUR = 3600
# What a bot did longer ago than a week says little about what it does now.
HISTORY_HOURS = 7 * 24
# More than this between the two clocks is no slewing: somebody, or a late synchronisation, has set the time.
CLOCK_SET_SECONDS = 30

DECISIONS = {"promote": PROMOTE, "rollback": ROLL_BACK, "roll back": ROLL_BACK, "hold": HOLD}


class SoakError(ValueError):
    """What was kept of a soak cannot be used; the message says what to do."""


@dataclass
class Watched:
    """A log that is read during the soak."""

    log: str
    cursor: dict[str, Any]
    history: dict[str, Any]
    """What `bot_log_info` returned for the time before, without its cursor."""
    begun: float = 0.0
    """Seconds of soak at which it was begun to be watched."""
    since: dict[str, Any] = field(default_factory=dict)
    """What `bot_log_info` returned last, without its cursor."""
    problem: str = ""


@dataclass
class Soak:
    """One release of one bot under watch."""

    bot: str
    release: str
    begun: dict[str, Any]
    """The VM's clock when the cursor was taken, right before the switch."""
    clock: dict[str, Any]
    """The VM's clock at the last look."""
    elapsed: float
    own: Watched
    controls: dict[str, Watched] = field(default_factory=dict)
    clock_set: float = 0.0
    """By how many seconds the VM's time was set meanwhile."""
    boots: int = 0
    """How often the VM was started anew."""
    record: dict[str, Any] | None = None
    """The last verdict with its evidence."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def passed(self, now: Mapping[str, Any]) -> None:
        """Add the time since the last look. After a restart of the VM only the time since then is certain."""
        if now["boot"] == self.clock["boot"]:
            seconds = max(0.0, now["since_boot"] - self.clock["since_boot"])
            jump = now["epoch"] - self.clock["epoch"] - seconds
            self.clock_set += jump if abs(jump) > CLOCK_SET_SECONDS else 0.0
        else:
            seconds = max(0.0, now["since_boot"])
            self.boots += 1
        self.elapsed += seconds
        self.clock = dict(now)


def begin(bot: str, release: str, log: str, before: Mapping[str, Any]) -> Soak:
    """A soak that begins with what `bot_log_info` returned, with its option history, right before the switch.

    :raises SoakError: when that is something else.
    """
    try:
        now = dict(before["now"])
        return Soak(bot, release, now, dict(now), 0.0, watched(log, before))
    except (KeyError, TypeError) as error:
        raise SoakError(
            f"{bot}: the soak has no beginning: `before` must be what bot_log_info returned with history ({error})"
        ) from error


def watched(log: str, before: Mapping[str, Any], begun: float = 0.0) -> Watched:
    """A log to watch from the cursor in `before` on.

    :raises KeyError: when there is none.
    """
    history = {
        key: before.get(key) for key in ("incidents", "lines", "recovered", "hours", "first_time", "last_time", "gaps")
    }
    return Watched(log, dict(before["cursor"]), history, begun)


def resume(state: Any, bot: str, release: str) -> Soak | None:
    """The soak that `state` (text or mapping, as kept on the VM) is about; None when it is about another release.

    :raises SoakError: when it is damaged.
    """
    if not state:
        return None
    try:
        raw = json.loads(state) if isinstance(state, str) else dict(state)
        known = {each.name for each in fields(Soak)}
        if set(raw) != known:
            raise ValueError(f"{', '.join(sorted(known ^ set(raw)))} missing or unknown")
        if raw["release"] != release:
            return None
        if raw["bot"] != bot:
            raise ValueError(f"it belongs to {raw['bot']}")
        own = Watched(**raw.pop("own"))
        controls = {name: Watched(**each) for name, each in raw.pop("controls").items()}
        soak = Soak(**raw, own=own, controls=controls)
        soak.elapsed = float(soak.elapsed)
        if (
            not math.isfinite(soak.elapsed)
            or soak.elapsed < 0
            or not {"epoch", "since_boot", "boot"} <= set(soak.clock)
        ):
            raise ValueError("its times make no sense")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SoakError(
            f"{bot}: what was kept of the soak is damaged ({error}); remove it on the VM and run again, "
            "the soak then begins anew"
        ) from error
    return soak


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


def evidence(soak: Soak, settings: Settings, decision: Decision | None = None) -> Evidence:
    """What a soak shows by now."""
    own = soak.own
    since = own.since
    pool = since.get("pool") or {}
    controls = tuple(
        Control(bot, int(control.since["incidents"]), (soak.elapsed - control.begun) / HOUR, history(control.history))
        for bot, control in sorted(soak.controls.items())
        if not control.problem and control.since and not control.since.get("gaps") and soak.elapsed > control.begun
    )
    return Evidence(
        bot=soak.bot,
        elapsed=soak.elapsed,
        incidents=int(since.get("incidents", 0)),
        failures=int(since.get("failures", 0)),
        recovered=int(since.get("recovered", 0)) or int(pool.get("retried", 0)),
        requests=int(pool.get("requests", 0)),
        pool_failed=int(pool.get("failed", 0)),
        hearing=bool(since.get("hearing", False)),
        hears=pool.get("hears"),
        dated=bool(since.get("dated", False)) or not since.get("lines", 0),
        gaps=tuple(since.get("gaps") or ()),
        problem=own.problem,
        history=history(own.history),
        controls=controls,
        decision=decision,
        settings=settings,
    )


def decided(outcome: str, who: str, why: str) -> Decision | None:
    """A human's decision, if one was made.

    :raises SoakError: when it is none that there is, or nobody's.
    """
    if not outcome:
        return None
    if outcome not in DECISIONS:
        raise SoakError(f"rollout_verdict is {outcome!r}; it can be promote, rollback or hold")
    if not who:
        raise SoakError("a verdict by hand needs a name: who decides?")
    return Decision(DECISIONS[outcome], who, why)


def notes(soak: Soak) -> list[str]:
    """What else should be known about the soak's times."""
    found = []
    if soak.clock_set:
        found.append(f"the VM's time was set by {soak.clock_set:+.0f} s; the soak is timed by its time since boot")
    if soak.boots:
        found.append(f"the VM was restarted {soak.boots} time{'s' if soak.boots > 1 else ''}; it counts while it ran")
    return found + [
        f"{bot} is not compared with: {watch.problem}" for bot, watch in soak.controls.items() if watch.problem
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
