# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart: the release that a bot runs, once more, by the way it is run."""

from __future__ import annotations

import time

from ..drift import edited_files
from ..errors import RolloutError
from ..found import start_problem
from ..launch import must_reopen_its_files, stop_all
from ..lock import act_under_lock
from ..processes import bot_pids
from ..state import Phase, Release, State
from ..store import Store, Vm
from .step import Result, start_runner
from .switch import ready_to_start


def restart(vm: Vm, bot: str, token: int | None = None, check: bool = False) -> Result:
    """Stop a bot and start the release that stays, once.

    A bot that is in the middle of an attempt, or whose files somebody has edited, is refused: a start would bring up
    what nobody has rolled out.
    """
    store = vm.store(bot)
    result = Result(bot, "restart", changed=True)
    if check:
        state = store.need()
        if store.release(state.current).stopped and not bot_pids(state.bot):
            return Result(bot, "restart", stopped=True, message="is left stopped").of(state)
        _must_be_restartable(store, state, store.release(state.current))
        result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
        result.message = "would be restarted"
        return result.of(state)
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        release = store.release(state.current)
        if release.stopped and not bot_pids(state.bot):
            return Result(bot, "restart", stopped=True, message="is left stopped").of(state)
        _must_be_restartable(store, state, release)
        result.pids_before = sorted(bot_pids(state.bot))
        if release.runner.kind == "unit" and release.runner.unit == state.unit:
            ready_to_start(vm, state)
        must_reopen_its_files(state.bot, "was not touched")
        begun = time.monotonic()
        stop_all(state.bot, [release.runner.unit or state.unit], state.stop_seconds, vm.timing)
        result.seconds_down = start_runner(store, state, release) - begun
        store.save(state)
        result.pids_after = sorted(bot_pids(state.bot))
        vm.audit("restart", bot, "ok", release=release.id, down=round(result.seconds_down, 2))
        return result.of(state)


def _must_be_restartable(store: Store, state: State, release: Release) -> None:
    """Refuse what a restart would not only restart."""
    bot = state.bot.name
    if state.phase not in (Phase.CONFIRMED, Phase.ROLLED_BACK, Phase.RECORDED):
        raise RolloutError(
            f"{bot} is {state.phase}, in the middle of a rollout, and was not restarted; see `webex-rollout status`"
        )
    if release.runner.kind == "none":
        raise RolloutError(f"{bot} did not run when it was found, and has no release since; start it by hand")
    if state.phase is Phase.CONFIRMED:
        edited = edited_files(store, state, release, state.bot.files.entries_of(release.manifest))
        if edited:
            raise RolloutError(
                f"{bot} was not restarted: {', '.join(edited)} was edited since, and would run without a rollout. "
                "Run rollout.yml, which rolls the edit out, or undo it"
            )
    problem = start_problem(state.bot, release.runner.process) if release.runner.kind == "process" else ""
    if problem:
        raise RolloutError(f"{bot} was not restarted: {problem}. It keeps running as it is")
