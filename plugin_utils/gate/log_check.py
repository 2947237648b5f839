"""The post-deploy check: a bot's failed calls since its switch against what is accepted of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    """Compare what `bot_log_info` counted since the soak's cursor with `per_hour` failed calls."""
    seconds = seconds_watched(soak, since["now"])
    allowed = math.ceil(float(per_hour) * seconds / HOUR)
    ready = bool(since["ready_line"])
    evidence = (
        f"{since['incidents']} failed calls, {since['recovered']} repeated, in {since['pool']['requests']} requests "
        f"over {seconds:.0f} s (the pool module's ready line was {'' if ready else 'not '}seen)"
    )
    return LogCheck(ready and since["incidents"] <= allowed, allowed, evidence)
