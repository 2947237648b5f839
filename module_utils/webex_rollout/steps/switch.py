# SPDX-License-Identifier: GPL-3.0-or-later
"""Switch: have exactly one process run under the unit, started from the files as they are."""

from __future__ import annotations

import time

from ..clock import Deadline
from ..drift import note_running, reasons_to_restart
from ..errors import RolloutError
from ..launch import must_reopen_its_files, start_unit, stop_all
from ..lock import act_under_lock
from ..processes import bot_pids
from ..sources import compile_problem
from ..state import Phase, Release, Runner, State, release_id
from ..store import Store, Vm
from ..systemd import show_unit
from ..units import disable_unit, enable_unit, reload_units
from .step import Result, must_be_open, units_at_boot


def _candidate(store: Store, state: State, stopped: bool) -> tuple[Release, dict[str, bytes]]:
    """The release that is on disk now, with its bytes."""
    looks = state.bot.files.look_at_all(state.files)
    manifest = {path: entry for path, (entry, _) in looks.items()}
    runner = Runner("none") if stopped else Runner("unit", state.unit, True)
    current = store.release(state.current)
    name = release_id(manifest, runner)
    if current.origin == "found" and release_id(current.manifest, current.runner) == name:
        name = current.id  # nothing to do: what was found is what is wanted
    return Release(name, "rollout", time.time(), manifest, runner), {e.sha256: data for e, data in looks.values()}


def _stays_stopped(state: State, start: bool) -> bool:
    """Whether a bot that does not run is left so. One that systemd is about to start again does run."""
    return not start and not bot_pids(state.bot) and show_unit(state.unit).over


def switch(
    vm: Vm,
    bot: str,
    token: int | None = None,
    check: bool = False,
    pending: bool = False,
    start: bool = True,
) -> Result:
    """Have exactly one process run under the unit, started from the files as they are now.

    Restarts only where what runs is something else. `pending` tells check mode that files would change first. Without
    `start` a bot that does not run is left stopped, with its files as they are for its next start.
    """
    store = vm.store(bot)
    result = Result(bot, "switch")
    if check:
        return _would_switch(store, result, pending, start)
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        must_be_open(state, token)
        result.stopped = _stays_stopped(state, start)
        candidate, contents = _candidate(store, state, result.stopped)
        result.pids_before = sorted(bot_pids(state.bot))
        result.reasons = [] if result.stopped else reasons_to_restart(state, candidate.manifest)
        if candidate.id not in store.release_names():
            for data in contents.values():
                store.keep(data)
            store.write_release(candidate)
        if result.reasons:
            ready_to_start(vm, state)
            state.candidate, state.phase = candidate.id, Phase.SWITCHING
            state.note = "the switch was left half-way"
            store.save(state)
            result.seconds_down = _replace_process(store, state)
            result.changed = True
        elif not result.stopped:
            for unit in units_at_boot(state):
                result.changed = enable_unit(vm, unit) or result.changed
        if result.stopped:
            reload_units(vm)
            state.running = None
        else:
            note_running(state, candidate)
        state.candidate, state.note = candidate.id, ""
        state.phase = Phase.CHECKED if state.phase is Phase.CHECKED and not result.changed else Phase.SWITCHED
        if result.changed and state.deadline:  # from now on the bot is at risk, however long writing its files took
            state.deadline = Deadline.after(state.deadline.seconds)
        store.save(state)
        result.pids_after = sorted(bot_pids(state.bot))
        result.before = f"{bot}: release {state.current}\n"
        result.after = f"{bot}: release {candidate.id}\n"
        if result.changed:
            details = {"release": candidate.id, "attempt": state.attempt, "down": round(result.seconds_down, 2)}
            vm.audit("switch", bot, "ok", **details, reason="; ".join(result.reasons))
        return result.of(state)


def _would_switch(store: Store, result: Result, pending: bool, start: bool) -> Result:
    """What a switch would do, as far as that can be told before files are written."""
    state = store.load()
    if state is None:
        result.changed, result.message = True, "would be put under its unit, if it runs or is to be started"
        return result
    if _stays_stopped(state, start):
        result.stopped, result.message = True, "would be left stopped"
        return result.of(state)
    manifest = {path: entry for path, (entry, _) in state.bot.files.look_at_all(state.files).items()}
    result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
    result.reasons = reasons_to_restart(state, manifest)
    if pending and not result.reasons:
        result.reasons = ["files would have changed since it was started"]
    result.changed = bool(result.reasons)
    result.message = "would be restarted: " + "; ".join(result.reasons) if result.changed else "would keep running"
    return result.of(state)


def ready_to_start(vm: Vm, state: State) -> None:
    """Find out what can be found out before the old process is stopped."""
    reload_units(vm)
    unit = show_unit(state.unit)
    if unit.load != "loaded":
        raise RolloutError(
            f"{state.unit} cannot be started ({unit.load}{': ' + unit.load_error if unit.load_error else ''}). "
            f"{state.bot.name} was not touched. `systemd-analyze verify {state.unit}` shows more"
        )
    source = state.bot.files.look_at(state.bot.script_path)[1]
    problem = compile_problem(state.bot.python, state.bot.script_path, source, state.bot.user)
    if problem:
        raise RolloutError(
            f"{state.bot.python} cannot compile {state.bot.script_path}: {problem}. {state.bot.name} was not touched"
        )
    must_reopen_its_files(state.bot, "was not touched")


def _replace_process(store: Store, state: State) -> float:
    """Stop whatever runs, prove that it is gone, start the unit; returns the seconds between."""
    current = store.release(state.current)
    units = [state.unit]
    if current.runner.unit not in ("", state.unit):
        disable_unit(store.vm, current.runner.unit)
        units.append(current.runner.unit)
    for unit in units_at_boot(state):
        enable_unit(store.vm, unit)
    begun = time.monotonic()
    stop_all(state.bot, units, state.stop_seconds, store.vm.timing)
    start_unit(state.bot, state.unit, store.vm.timing)
    return time.monotonic() - begun
