# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: rolls back, on the VM and by itself, what was not confirmed in time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from .bulletin import rolled_back
from .clock import Deadline
from .drift import failed_on_probation
from .errors import BusyError, RolloutError
from .processes import bot_pids
from .reach import Ways, is_fair, weather_of
from .state import Phase, State
from .steps.roll_back import mark_rolling_back, roll_back_held
from .steps.step import start_runner
from .store import Store, Vm
from .systemd import show_unit
from .timer import rest_guard
from .weather import WAIT_AT_MOST

# Every start of a bot may register a device with Webex, whose number is limited: stop trying before none is left.
TRIES_AT_MOST = 8


def _due(state: State) -> str:
    """Why a bot has to be rolled back now; empty if it has not."""
    if state.phase is Phase.CONFIRMED:
        return failed_on_probation(state)
    if state.phase.open:
        if state.deadline is None or state.deadline.rebooted():
            return "the machine was booted again before it was confirmed"
        return f"not confirmed within {state.deadline.seconds:.0f} s" if state.deadline.past() else ""
    if state.phase.interrupted:
        waiting = state.retry is not None and not state.retry.rebooted() and not state.retry.past()
        return "" if waiting or state.tries >= TRIES_AT_MOST else state.note or "left half-way"
    return ""


def guard(vm: Vm) -> list[str]:
    """Roll back every attempt that is due, and start what a reboot took. Returns what is wrong, a line a bot.

    All that is due is marked before the first is rolled back: a shared file is given up only by those who leave it.
    """
    problems: dict[str, str] = {}
    waits = partial(_waits_for_weather, {}, Ways())  # what was asked in this tick need not be asked again
    for step in (partial(_mark_due, waits), partial(_roll_back_marked, waits), _restart_lost):
        for name in vm.bot_names():
            if name not in problems:
                _guarded(vm, name, step, problems)
    with contextlib.suppress(BusyError):
        rest_guard(vm)
    return [f"{name}: {problem}" for name, problem in problems.items()]


def _guarded(vm: Vm, name: str, step: Callable[[Store, State], None], problems: dict[str, str]) -> None:
    """Do one step for one bot; whatever goes wrong with it must not keep the others from theirs."""
    try:
        store = vm.store(name)
        with store.mutex(wait=0):
            state = store.load()
            if state is not None and state.phase is not Phase.RECORDING:
                step(store, state)
    except BusyError:
        pass  # somebody acts on it right now; the next tick is seconds away
    except RolloutError as error:
        problems[name] = str(error)
    except Exception as error:  # the guard has to get to the next bot, whatever this is
        problems[name] = f"{type(error).__name__}: {error}"


def _waits_for_weather(waiting: dict[str, bool], ways: Ways, store: Store, state: State) -> bool:
    """Whether a rollback waits because Webex cannot be reached: the release that it brings back could not start either,
    and each try would be used up for nothing. Not for ever: the VM may be wrong about the weather."""
    name = state.bot.name
    if name not in waiting:
        weather = weather_of(store, state, show_unit(state.unit).main_pid, ways)
        waiting[name] = not is_fair(weather) and weather.bad_for < WAIT_AT_MOST
    return waiting[name]


def _mark_due(waits: Callable[[Store, State], bool], store: Store, state: State) -> None:
    """Write down that a bot has to be rolled back."""
    reason = _due(state)
    if reason and state.phase is not Phase.ROLLING_BACK and not waits(store, state):
        store.vm.audit("guard", state.bot.name, "due", phase=state.phase, attempt=state.attempt, reason=reason)
        target = state.previous if state.phase is Phase.CONFIRMED else state.current
        mark_rolling_back(store, state, target, reason, ())
    if not reason and state.phase.interrupted and state.tries >= TRIES_AT_MOST:
        raise RolloutError(
            f"given up after {state.tries} tries: {state.note}. Once that is fixed: "
            f"`webex-rollout rollback {state.bot.name}`"
        )


def _roll_back_marked(waits: Callable[[Store, State], bool], store: Store, state: State) -> None:
    """Roll back a bot that is marked, and whose next try is due."""
    if state.phase is Phase.ROLLING_BACK and _due(state) and not waits(store, state):
        tried, reason = state.candidate or state.current, state.note
        roll_back_held(store, state, state.roll_back_to or state.current, reason)
        rolled_back(store.vm, state.bot.name, tried, state.attempt, reason)


def _restart_lost(store: Store, state: State) -> None:
    """Start a process as found that a reboot took while its bot waited for its turn."""
    if not state.watched or state.deadline is None:
        return
    if state.deadline.past():
        state.deadline = None
    elif not state.deadline.rebooted() or bot_pids(state.bot):
        return
    else:
        left = state.deadline.remaining()
        release = store.release(state.current)
        start_runner(store, state, release)
        state.deadline = Deadline.after(left)
        store.vm.audit("guard", state.bot.name, "started", release=release.id, reason="a reboot took it")
    store.save(state)
