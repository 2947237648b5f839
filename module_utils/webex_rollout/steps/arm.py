# SPDX-License-Identifier: GPL-3.0-or-later
"""Arm: open an attempt, and have the guard roll it back unless it is confirmed in time."""

from __future__ import annotations

import time
from collections.abc import Mapping

from ..clock import Deadline
from ..disk import sha256
from ..entries import Entry
from ..environment import EnvironmentPlan, render_environment
from ..errors import RolloutError
from ..lock import act_under_lock
from ..state import Phase, Runner, State
from ..store import RESERVE_BYTES, Store, Vm
from ..timer import start_guard
from ..tree import must_be_roots
from .step import Result, environment_plan


def _plan(store: Store, state: State) -> EnvironmentPlan | None:
    """Variables to carry over for an open attempt; None where a unit of the rollout has its file already."""
    runner = store.release(state.current).runner
    if runner.kind == "unit" and runner.unit == state.unit:
        return None
    carried_from = store.release(state.carried_from).runner if state.carried_from else Runner("none")
    return environment_plan(state.keep_variables, state.drop_variables, carried_from)


def arm(vm: Vm, bot: str, seconds: float, token: int | None = None, check: bool = False) -> Result:
    """Open an attempt: from now on files may change, and the guard rolls back what is not confirmed in time.

    Again within the same run it only moves the deadline. Writes the file of the carried variables, the first change.
    """
    store = vm.store(bot)
    result = Result(bot, "arm")
    if check:
        state = store.load()
        result.message = "would be armed"
        return result.of(state) if state else result
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        if state.phase.interrupted:
            raise RolloutError(
                f"{bot} is being rolled back to release {state.current} ({state.note}); record it again first"
            )
        _need_room(store, state)
        renewed = state.phase.open and token is not None and token == state.token
        if not renewed:
            state.attempt += 1
            state.phase, state.candidate, state.note, state.tries = Phase.ARMED, "", "", 0
        state.token = token or 0
        state.deadline, state.retry = Deadline.after(seconds), None
        with vm.mutex():  # the guard must not stop between its start and our deadline
            vm.reserve_room()
            start_guard()
            store.save(state)
        if not renewed:
            details = {"attempt": state.attempt, "token": state.token, "seconds": round(seconds)}
            vm.audit("arm", bot, "ok", **details, roll_back_to=state.current)
        plan = _plan(store, state)
        if plan is not None:
            result.changed = _write_environment(state, plan.carried)
            result.environment = plan.names()
        return result.of(state)


def _need_room(store: Store, state: State) -> None:
    """Refuse to begin where files could not be restored."""
    for path, size, directory, free in state.bot.files.room(state.files):
        needed = 2 * size + RESERVE_BYTES
        if free < needed:
            raise RolloutError(
                f"{state.bot.name}: the disk of {directory} has {free // 1024} kB left, "
                f"{needed // 1024} kB are needed to change {path} and to restore it. Nothing was changed. "
                "Free some and run again"
            )


def _write_environment(state: State, carried: Mapping[str, str]) -> bool:
    """Write the carried variables, readable for root alone; whether that changed anything."""
    path, data = state.environment_file, render_environment(state.bot.name, carried)
    must_be_roots(path)
    have, _ = state.bot.files.look_at(path)
    if not carried and have.kind == "file":  # nothing to carry: the file is somebody's own
        return False
    want = Entry("file", sha256(data), 0o600, 0, 0, time.time_ns())
    if have.identity == want.identity:
        return False
    state.bot.files.put_back(path, want, data)
    return True
