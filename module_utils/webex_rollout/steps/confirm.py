# SPDX-License-Identifier: GPL-3.0-or-later
"""Confirm: let the release stay."""

from __future__ import annotations

from ..clock import Deadline
from ..errors import RolloutError
from ..inputs import keep_inputs
from ..lock import act_under_lock
from ..processes import bot_pids
from ..procfs import alive
from ..state import KEEP_RELEASES, Phase, State
from ..store import Vm
from ..timer import rest_guard
from .roll_back import forget_soak
from .step import Result, must_be_open


def confirm(
    vm: Vm,
    bot: str,
    token: int | None = None,
    keep: int = KEEP_RELEASES,
    probation: float = 0.0,
    inputs: str = "",
    check: bool = False,
) -> Result:
    """Let the release stay: it passed its check, and the process that did still runs, alone.

    For `probation` seconds the guard still rolls it back if its unit ends as failed. `inputs` names what the release is
    made from, where the caller knows.
    """
    store = vm.store(bot)
    result = Result(bot, "confirm")
    if check:
        state = store.load()
        result.message = "would be confirmed"
        return result.of(state) if state else result
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        if state.phase is not Phase.CONFIRMED:
            must_be_open(state, token, (Phase.CHECKED,))
            stopped = store.release(state.candidate).stopped
            _must_run_as_checked(state, stopped)
            result.changed = state.candidate != state.current
            if result.changed:
                state.previous, state.current = state.current, state.candidate
                state.probation = None if stopped else Deadline.after(probation)
            state.phase, state.candidate, state.deadline, state.note = Phase.CONFIRMED, "", None, ""
            store.save(state)
            store.prune(state, keep)
            if stopped:  # what it did before says nothing of what will be started
                forget_soak(store, state.current)
            if inputs:
                keep_inputs(store, state.current, inputs, state.bot)
            vm.audit("confirm", bot, "ok", release=state.current, attempt=state.attempt, previous=state.previous)
    rest_guard(vm)
    result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
    return result.of(state)


def _must_run_as_checked(state: State, stopped: bool) -> None:
    """Refuse to confirm another process than the one that was checked, or any of a bot that is left stopped."""
    copies = sorted(bot_pids(state.bot))
    running = state.running
    if stopped and not copies:
        return
    if running is None or copies != [running.pid] or not alive(running.pid, running.start_time):
        checked = running.pid if running else "none"
        now = ", ".join(map(str, copies)) or "none"
        raise RolloutError(
            f"{state.bot.name} is not the process that was checked (pid {checked}, now {now}). "
            "Check it again before it is confirmed"
        )
