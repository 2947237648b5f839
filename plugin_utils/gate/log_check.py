"""The post-deploy check: a bot's failed calls since its switch against what is accepted of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from module_utils.webex_rollout.soak import Soak

HOUR = 3600


@dataclass(frozen=True)
class LogCheck:
    """`allowed` is in failed calls; `evidence` is one line for people."""

    passed: bool
    allowed: int
    evidence: str


def seconds_watched(soak: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """Seconds since the switch in which the bot can have failed, by the VM's time since boot, which nobody can set.

    After a restart of the VM only the time since then is certain.

    :param soak: what the VM keeps of the soak; its ``elapsed`` is as of the last look, at its ``clock``.
    :param now: the VM's clock, as `bot_log_info` returns it.
    """
    clock = soak["clock"]
    since_look = now["since_boot"] - (clock["since_boot"] if now["boot"] == clock["boot"] else 0)
    return float(soak["elapsed"] + max(0.0, since_look))


def log_check(since: Mapping[str, Any], soak: Mapping[str, Any], per_hour: float) -> LogCheck:
    """Compare the calls that failed since the switch with `per_hour` of them.

    The log says how many incidents they were; a line of it that no failed call bears out, as the pool module counts
    them, is none. A bot that the VM has not heard, or not as it was rolled out, passes nothing.

    :param since: what `bot_log_info` counted since the soak's cursor.
    :param soak: what the VM keeps of the soak.
    """
    seconds = seconds_watched(soak, since["now"])
    allowed = math.ceil(float(per_hour) * seconds / HOUR)
    seen = Soak.load(soak).evidence()
    seen = replace(seen, incidents=int(since["incidents"]), failures=int(since["failures"]))
    heard = "is heard" if seen.heard and not seen.silence else f"is not heard: {seen.silence or 'not once so far'}"
    evidence = (
        f"{seen.counted} failed calls, {seen.recovered} repeated, in {seen.requests} requests over {seconds:.0f} s "
        f"(the pool module {heard})"
    )
    if seen.failing:
        evidence += f"; failing checks: {'; '.join(seen.failing)}"
    passed = seen.heard and not seen.silence and seen.counted <= allowed and not seen.failing
    return LogCheck(passed, allowed, evidence)
