# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll back: restore a release, files, units and process; the same for playbooks, guard and operators."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..clock import Deadline
from ..disk import unseal
from ..drift import stale_files
from ..entries import Entry
from ..errors import BlockedError, RolloutError
from ..found import start_problem
from ..history import keep_history
from ..launch import must_reopen_its_files, stop_all
from ..lock import act_under_lock
from ..processes import bot_pids
from ..sharing import is_shared, needed_by_others, put_there
from ..state import FileRule, Phase, Release, State
from ..store import Store, Vm
from ..systemd import show_unit
from ..timer import rest_guard, start_guard
from ..units import disable_unit, enable_unit, reload_units
from .step import Result, start_runner


@dataclass
class RollbackPlan:
    """What has to be done to be back at a release."""

    target: Release
    restore: dict[str, bytes] = field(default_factory=dict)  # path -> bytes to put there
    backups: dict[str, bytes] = field(default_factory=dict)  # path -> bytes there now that no release has
    blocked: dict[str, str] = field(default_factory=dict)  # path of the bot's user's -> why it cannot be restored
    kept_shared: list[str] = field(default_factory=list)
    process_stays: bool = False
    unit_stays: bool = False

    @property
    def empty(self) -> bool:
        """Whether everything is as the release wants it."""
        return not self.restore and self.process_stays and self.unit_stays


def roll_back(
    vm: Vm,
    bot: str,
    to: str = "previous",
    reason: str = "asked for",
    force: bool = False,
    token: int | None = None,
    own: bool = False,
    check: bool = False,
) -> Result:
    """Roll a bot back to `previous`, to ``0`` (as found), or to a named release, and have it run, once.

    With `own` only an attempt that was opened under this very `token`: a run that failed before it has opened one must
    not take a release back that somebody else put there.

    Where it runs that release already, this does nothing. A file whose content no release has was edited by others:
    nothing is done then, unless `force` is given; its bytes are kept either way.
    """
    store = vm.store(bot)
    if check:
        state = store.load()
        if state is None:
            return Result(bot, "rollback", message="never recorded, so there is nothing to roll back")
        plan = _plan_rollback(store, state, store.release(_rollback_target(store, state, to)), force)
        result = Result(bot, "rollback", not plan.empty, files=sorted(plan.restore), kept_shared=plan.kept_shared)
        return result.of(state)
    store.need()  # before the mutex, which makes a directory for the bot
    with store.mutex():
        act_under_lock(vm, token)
        state = store.need()
        if own and token != state.token:
            result = Result(bot, "rollback", message="this run has opened no attempt at it, so nothing was rolled back")
            result.pids_before = result.pids_after = sorted(bot_pids(state.bot))
            return result.of(state)
        # Files that this very run wrote after the guard had rolled its attempt back are no one else's
        force = force or (token is not None and token == state.token and state.phase is Phase.ROLLED_BACK)
        result = roll_back_held(store, state, _rollback_target(store, state, to), reason, force)
    rest_guard(vm)
    return result


def _rollback_target(store: Store, state: State, to: str) -> str:
    """Resolve the name of a release to roll back to."""
    if to == "previous":
        if state.phase is not Phase.CONFIRMED:
            return state.roll_back_to if state.phase is Phase.ROLLING_BACK else state.current
        if not state.previous:
            raise RolloutError(
                f"{state.bot.name} runs release {state.current}, and there is none before it; name one (`--to 0`)"
            )
        return state.previous
    matches = [name for name in store.release_names() if name == to or (len(to) >= 4 and name.startswith(to))]
    if len(matches) != 1:
        known = ", ".join(store.release_names())
        raise RolloutError(
            f"{state.bot.name} has {'no' if not matches else 'more than one'} release {to!r} (there are: {known})"
        )
    return matches[0]


def _plan_rollback(store: Store, state: State, target: Release, force: bool) -> RollbackPlan:
    """Compare what is with what the release wants. Refuses to overwrite what nobody here has written."""
    plan = RollbackPlan(target)
    final, edited = {}, []
    looks = state.bot.files.look_at_each(target.manifest)
    for path, want in sorted(target.manifest.items()):
        have, data = looks[path]
        final[path] = have
        if have.kind == "blocked":
            plan.blocked[path] = have.target
            del final[path]
            continue
        if have.identity == want.identity:
            continue
        rule = state.files.get(path, FileRule())
        if is_shared(store, path, rule) and needed_by_others(store, path, have):
            plan.kept_shared.append(path)
            del final[path]  # a process is not ended for a file that stays as it is
            continue
        final[path] = want
        plan.restore[path] = store.bytes_of(want)
        if not _is_ours(store, path, have, rule):
            plan.backups[path] = data
            if not (force or state.phase is Phase.ARMED or path in state.restoring):
                edited.append(path)
    if edited:
        raise RolloutError(
            f"{state.bot.name} is not rolled back to release {target.id}: {', '.join(edited)} was edited "
            "since the rollout wrote it. Nothing was changed. Undo that edit, or give it up with "
            f"`webex-rollout rollback {state.bot.name} --force` (its bytes are kept on the machine)"
        )
    _plan_process(state, plan, final)
    return plan


def _is_ours(store: Store, path: str, have: Entry, rule: FileRule) -> bool:
    """Whether overwriting loses nothing: some release has this content, or there is none."""
    if have.kind == "absent" or have.content in store.known_contents(path):
        return True
    return is_shared(store, path, rule) and put_there(store, path, have)


def _plan_process(state: State, plan: RollbackPlan, final: Mapping[str, Entry]) -> None:
    """Whether the process, and the units, are what the release wants already."""
    runner = plan.target.runner
    own = show_unit(state.unit)
    copies = list(bot_pids(state.bot))
    if runner.kind == "unit":
        unit = own if runner.unit == state.unit else show_unit(runner.unit)
        alone = copies == [unit.main_pid]
        plan.unit_stays = unit.enabled == runner.enabled and (unit is own or (own.over and not own.enabled))
    else:
        # A unit that crashes has no process at times, and will have one again.
        alone = len(copies) == 1 and copies != [own.main_pid] if runner.kind == "process" else own.over and not copies
        plan.unit_stays = own.over and not own.enabled
    stale = stale_files(state, copies[0], final) if len(copies) == 1 else []
    plan.process_stays = alone and not stale


def roll_back_held(store: Store, state: State, target: str, reason: str, force: bool = False) -> Result:
    """Roll back, with the mutex held. Killed half-way, it leaves the phase `rolling_back`, and the guard continues."""
    bot = state.bot.name
    result = Result(bot, "rollback", pids_before=sorted(bot_pids(state.bot)), reasons=[reason])
    result.before = f"{bot}: pids {result.pids_before}\n"
    try:
        plan = _plan_rollback(store, state, store.release(target), force)
        pending = state.pending
        if not plan.empty:
            _must_be_startable(state, plan, bool(result.pids_before))
            mark_rolling_back(store, state, target, reason, plan.restore)
            # Once more: of bots that leave a shared file side by side, the last to be marked sees that nobody needs it
            plan = _plan_rollback(store, state, plan.target, force)
            for path, data in plan.backups.items():
                store.vm.audit("back_up", bot, "ok", path=path, kept=str(store.back_up(path, data)))
            result.seconds_down = _restore(store, state, plan)
            result.changed = True
        if result.changed or pending:
            with store.vm.mutex():
                for path, entry in plan.target.manifest.items():
                    with contextlib.suppress(BlockedError):
                        state.bot.files.clear_away(path, entry)
            _mark_rolled_back(store, state, target, "; ".join([reason, *_left_behind(plan)]))
            down = round(result.seconds_down, 2)
            done = "incomplete" if plan.blocked else "ok"
            store.vm.audit("rollback", bot, done, release=target, attempt=state.attempt, down=down, reason=state.note)
    except (RolloutError, OSError, KeyError) as error:
        _note_failure(store, state, error)
        raise
    result.files, result.kept_shared = sorted(plan.restore), plan.kept_shared
    result.pids_after = sorted(bot_pids(state.bot))
    result.after = f"{bot}: pids {result.pids_after}\n"
    result.problems = _left_behind(plan)
    result.message = "; ".join([f"back at release {target}", *result.problems])
    return result.of(state)


def _must_be_startable(state: State, plan: RollbackPlan, runs: bool) -> None:
    """Refuse to end a running process for one that cannot be started."""
    if not runs or plan.process_stays or plan.target.runner.kind == "none":
        return
    process = plan.target.runner.process if plan.target.runner.kind == "process" else None
    problem = start_problem(state.bot, process)
    if problem:
        raise RolloutError(
            f"{state.bot.name} is not rolled back to release {plan.target.id}: {problem}. "
            "It keeps running as it is. Restore that and run this again"
        )
    must_reopen_its_files(state.bot, f"keeps running as it is, not rolled back to release {plan.target.id}")


def _left_behind(plan: RollbackPlan) -> list[str]:
    """What the bot's user has to put right himself: the rest is back, and trying again would not help."""
    return [f"{path} could not be restored: {why}" for path, why in sorted(plan.blocked.items())]


def mark_rolling_back(store: Store, state: State, target: str, reason: str, paths: Iterable[str]) -> None:
    """Write down that the bot is being rolled back, and which of its files are given up; have the guard see to it."""
    given_up = {*state.restoring, *paths, *(state.files if state.phase is Phase.ARMED else ())}
    state.phase, state.roll_back_to, state.note, state.restoring = Phase.ROLLING_BACK, target, reason, sorted(given_up)
    with store.vm.mutex():
        with contextlib.suppress(RolloutError):  # without a guard a rollback is still worth trying
            start_guard()
        store.save(state)


def forget_soak(store: Store, target: str) -> None:
    """The log of a release that was rolled back is no evidence for its next attempt; the target's own stays."""
    damaged_or_none = contextlib.suppress(FileNotFoundError, RolloutError)  # who needs it will report that
    with store.soak_mutex(), damaged_or_none:
        soak = unseal(store.soak_path)
        if soak.get("release") != target:
            keep_history(store, soak)
            store.soak_path.unlink()


def _mark_rolled_back(store: Store, state: State, target: str, reason: str) -> None:
    """Write down that the bot is back."""
    forget_soak(store, target)
    if state.previous == target:
        state.previous = ""
    state.phase, state.current, state.candidate, state.roll_back_to = Phase.ROLLED_BACK, target, "", ""
    state.note, state.restoring, state.deadline, state.retry, state.tries = reason, [], None, None, 0
    store.save(state)


def _restore(store: Store, state: State, plan: RollbackPlan) -> float:
    """Put units, files and the process back; returns the seconds without a process."""
    runner = plan.target.runner
    to_own_unit = runner.kind == "unit" and runner.unit == state.unit
    for unit in _units_to_leave_boot(plan, "" if to_own_unit and runner.enabled else state.unit):
        disable_unit(store.vm, unit)
    begun = time.monotonic()
    if not plan.process_stays:
        units = [state.unit] + ([runner.unit] if runner.kind == "unit" and not to_own_unit else [])
        stop_all(state.bot, units, state.stop_seconds, store.vm.timing)
    for path, data in plan.restore.items():
        with store.vm.mutex():  # a shared one may be restored by two bots at once
            try:
                state.bot.files.put_back(path, plan.target.manifest[path], data)
            except BlockedError as error:
                plan.blocked[path] = str(error)
    if runner.kind == "process":  # needs nothing of systemd, so it comes first
        up = begun if plan.process_stays else start_runner(store, state, plan.target)
        reload_units(store.vm)
        return up - begun
    reload_units(store.vm)
    if runner.kind == "unit" and runner.enabled:
        enable_unit(store.vm, runner.unit)
    return 0.0 if plan.process_stays else start_runner(store, state, plan.target) - begun


def _units_to_leave_boot(plan: RollbackPlan, own: str) -> list[str]:
    """Units that a boot must not start any more: the bot's own, and those whose files are removed. Disabled after the
    removal they would leave their links behind."""
    removed = [path for path in plan.restore if plan.target.manifest[path].kind == "absent"]
    pattern = re.compile(r"/systemd/system/[^/@]+\.(service|target|timer|socket)\Z")
    return ([own] if own else []) + [os.path.basename(path) for path in removed if pattern.search(path)]


def _note_failure(store: Store, state: State, error: Exception) -> None:
    """Write down that the rollback failed, and when to try again."""
    state.tries += 1
    state.note = str(error)
    timing = store.vm.timing
    state.retry = Deadline.after(min(timing.retry * 2 ** (state.tries - 1), timing.retry_at_most))
    store.vm.audit("rollback", state.bot.name, "failed", tries=state.tries, error=str(error))
    with contextlib.suppress(RolloutError, OSError):
        store.save(state)
