# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a bot answers the probe; and where it does not, whether others do."""

from __future__ import annotations

import contextlib

from .errors import RolloutError
from .messages import SILENT, UNKNOWN
from .own_checks import PROBE
from .probe import Asked, addressed, ask_bot
from .soak import Soak, load
from .store import Store

# Others that are asked where a bot does not answer.
OTHERS_AT_MOST = 3
# Seconds after which a bot that could not be asked is asked again.
ASK_AGAIN = 60.0
# Seconds by which a tick may come early: else the bot is asked at the next one, minutes later.
EARLY = 1.0


def answer_of(store: Store, soak: Soak, pid: int, now: float) -> Asked | None:
    """Ask a bot that runs, where that is due; None where it is not.

    One that does not answer is asked again at each look. Where none of the other bots answers either, that may be a
    fault of Webex' or the network's, and says nothing.
    """
    work, probe = soak.work, soak.probe
    if not probe:
        return None
    every = min(ASK_AGAIN, probe["every"]) if work.probed == UNKNOWN else probe["every"]
    if work.probed_at is not None and now - work.probed_at < every - EARLY and PROBE not in work.failing:
        return None
    asked = ask_bot(pid, [probe])
    others = _others(store, soak) if asked.state == SILENT else {}
    if others and ask_bot(pid, list(others.values())).state == SILENT:
        return Asked(UNKNOWN, f"{asked.said}, and neither do {', '.join(others)}: so it may be Webex")
    return asked


def _others(store: Store, soak: Soak) -> dict[str, dict[str, object]]:
    """How other bots of the machine are asked, those without the release first."""
    found = {name: watch.probe for name, watch in soak.controls.items() if watch.probe}
    for name in store.vm.bot_names():
        if name != soak.bot:
            with contextlib.suppress(RolloutError, OSError):
                other = load(store.vm.store(name))
                if other is not None and other.probe:
                    found.setdefault(name, other.probe)
    # At the same address it would be this bot that is asked again, in the others' names.
    others = [(name, probe) for name, probe in found.items() if addressed(probe) != addressed(soak.probe)]
    return dict(others[:OTHERS_AT_MOST])
