# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard's timer: awake only while there is something to guard."""

from __future__ import annotations

from .drift import failed_on_probation
from .errors import RolloutError
from .paths import GUARD_TIMER
from .store import Vm
from .systemd import show_unit, systemctl


def guard_needed(vm: Vm) -> list[str]:
    """Bots that the guard has to look after. One whose state cannot be read is one."""
    needed = []
    for name in vm.bot_names():
        try:
            state = vm.store(name).load()
            if state and (state.pending or state.watched or failed_on_probation(state)):
                needed.append(name)
        except RolloutError:
            needed.append(name)
    return needed


def start_guard() -> None:
    """Have the guard look every few seconds, and after a boot. The caller holds the machine's mutex."""
    timer = show_unit(GUARD_TIMER)
    if timer.active == "active" and timer.enabled:
        return
    systemctl("enable", "--now", GUARD_TIMER)
    timer = show_unit(GUARD_TIMER)
    if timer.active != "active" or not timer.enabled:
        raise RolloutError(
            f"{GUARD_TIMER} does not run ({timer.end_described()}), so nothing would roll the bots back. "
            f"Nothing was changed. `systemctl status {GUARD_TIMER}` shows why"
        )


def rest_guard(vm: Vm) -> None:
    """Stop the guard's timer when nothing is left to guard."""
    with vm.mutex():
        if not guard_needed(vm) and show_unit(GUARD_TIMER).active == "active":
            systemctl("disable", "--now", GUARD_TIMER)
            if guard_needed(vm):  # a unit that failed since the look above has woken a guard that we then stopped
                start_guard()
