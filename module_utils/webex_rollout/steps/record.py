# SPDX-License-Identifier: GPL-3.0-or-later
"""Record: write down what a bot is now, the release to roll back to."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..become import account_of
from ..clock import Deadline, boot_key, wall_start
from ..entries import Entry
from ..errors import RolloutError
from ..files import unchanged_since
from ..found import FoundProcess
from ..lock import act_under_lock
from ..parents import restart_problem
from ..paths import environment_file, unit_name
from ..processes import Bot, Process, bot_pids, doubt, doubtful_pids, find_processes
from ..procfs import ancestors
from ..sharing import being_written, is_shared, put_there, shared_found
from ..state import FileRule, Phase, Release, Runner, Running, State, release_id
from ..store import Store, Vm
from ..systemd import show_unit
from ..timer import start_guard
from ..traits import several
from .roll_back import roll_back_held
from .step import Result, environment_plan


@dataclass(frozen=True)
class Wanted:
    """What to record of a bot, and how."""

    bot: Bot
    files: Mapping[str, FileRule]
    take_over: bool = False
    keep_variables: Sequence[str] = ()
    drop_variables: Sequence[str] = ()
    stop_seconds: float = State.stop_seconds

    @property
    def unit(self) -> str:
        """The unit the rollout runs the bot under."""
        return unit_name(self.bot.name)

    @property
    def environment_file(self) -> str:
        """The file its variables are carried over in."""
        return environment_file(self.bot.name)

    def rules(self) -> dict[str, FileRule]:
        """Every managed path: those given, what they link to, and the environment file."""
        rules = dict(self.files)
        rules[self.environment_file] = FileRule()
        for path in list(rules):
            if not os.path.isabs(path) or os.path.normpath(path) != path:
                raise RolloutError(f"{self.bot.name}: {path!r} cannot be managed: give an absolute path without `..`")
            target = self.bot.files.real(path)
            if target != path and self.bot.files.look_at(path)[0].kind == "link":
                rules.setdefault(target, rules[path])
        return rules


def record(vm: Vm, wanted: Wanted, token: int | None = None, check: bool = False) -> Result:
    """Write down what a bot is now, the release to roll back to. Nothing of the bot itself is touched.

    While an attempt is open this changes nothing: what is on disk then is not what was found. An attempt that somebody
    left half-way is rolled back first.
    """
    store = vm.store(wanted.bot.name)
    if check:
        return _record(store, wanted, store.load(), check=True)
    with store.mutex():
        act_under_lock(vm, token)
        state = store.load()
        rolled_back = False
        if state is not None and state.phase.interrupted:
            roll_back_held(store, state, state.roll_back_to or state.current, "an earlier attempt was left half-way")
            state, rolled_back = store.need(), True
        result = _record(store, wanted, state, check=False)
        result.changed = result.changed or rolled_back
        return result


def _record(store: Store, wanted: Wanted, state: State | None, check: bool) -> Result:
    """Record with the mutex held, or look only."""
    result = Result(wanted.bot.name, "record")
    if state is not None and state.phase is Phase.ROLLED_BACK:
        result.reasons = [state.note]
    if state is not None and state.phase.open:
        if not check:
            state.stop_seconds = wanted.stop_seconds
            _manage_more(store, state, wanted.rules())
        result.pids_before = result.pids_after = sorted(bot_pids(wanted.bot))
        result.message = f"attempt {state.attempt} is open; release {state.current} stays the one to roll back to"
        return result.of(state)
    old = store.release(state.current) if state is not None and state.phase is not Phase.RECORDING else None
    found = _look_at_bot(store, wanted, state, old)
    _compare_found(result, wanted, state, old, found)
    if check:
        return result.of(state) if state else result
    if state is None or result.changed:
        state = _adopt(store, wanted, state, found)
    state.stop_seconds = wanted.stop_seconds
    state.keep_variables, state.drop_variables = list(wanted.keep_variables), list(wanted.drop_variables)
    if found.runner.kind == "process" and state.phase in (Phase.RECORDED, Phase.ROLLED_BACK):
        state.phase, state.deadline = Phase.RECORDED, Deadline.after(store.vm.timing.turn)
        with store.vm.mutex():
            start_guard()
            store.save(state)
    else:
        store.save(state)
    if result.changed:
        runs = found.runner.unit or found.runner.kind
        store.vm.audit("record", state.bot.name, "ok", release=state.current, runs=runs, copies=len(found.processes))
    return result.of(state)


@dataclass
class FoundBot:
    """A bot as it is at this moment."""

    rules: dict[str, FileRule]
    manifest: dict[str, Entry]
    contents: dict[str, bytes]  # by hash
    processes: list[Process]
    runner: Runner


def _look_at_bot(store: Store, wanted: Wanted, state: State | None, old: Release | None) -> FoundBot:
    """Files, processes and unit of a bot."""
    rules = {**(state.files if state else {}), **wanted.rules()}
    manifest, contents = {}, {}
    looks = wanted.bot.files.look_at_all(rules)
    for path, rule in rules.items():
        entry, data = looks[path]
        wanted.bot.files.must_be_restorable(path, entry)
        if is_shared(store, path, rule) and (put_there(store, path, entry) or being_written(store, path)):
            # By the rollout of another bot, so it is not what this one was found with
            before = old.manifest.get(path) if old else None
            entry, data = (before, store.bytes_of(before)) if before else shared_found(store, path, entry, data)
        manifest[path] = entry
        contents[entry.sha256] = data
    wanted.bot.script_path  # noqa: B018  refuses one outside of the checkout
    processes = find_processes(wanted.bot)
    _refuse_doubtful(wanted.bot)
    problem = several(wanted.bot.name, [(p.pid, p.argv, p.arguments) for p in processes])
    if problem and not wanted.bot.commands:
        raise RolloutError(f"{problem}. Nothing was done")
    return FoundBot(rules, manifest, contents, processes, _runner(wanted, processes))


def _runner(wanted: Wanted, processes: Sequence[Process]) -> Runner:
    """How the bot is run now. Refuses what would start it again behind the rollout's back."""
    own = show_unit(wanted.unit)
    if any(process.pid == own.main_pid for process in processes) or (own.enabled and not processes):
        return Runner("unit", wanted.unit, own.enabled)
    for process in processes:
        _refuse_restarting_parents(wanted, process)
    if not processes:
        return Runner("none")
    newest = processes[-1]
    foreign = show_unit(newest.supervisor) if newest.supervisor.endswith(".service") else None
    found = _taken_down(wanted.bot, newest)
    if foreign is None or not _belongs_to(newest.pid, foreign.main_pid):
        return Runner("process", process=found)
    if foreign.file_state == "transient":  # of systemd-run: once stopped, nobody can start it again
        return Runner("process", foreign.name, process=found)
    if not wanted.take_over:
        raise RolloutError(
            f"{wanted.bot.name} runs under the unit {foreign.name}, which is not the rollout's. Nothing was done. "
            f"To have it replaced by {wanted.unit}, set bot_take_over_starters; a rollback restores {foreign.name}"
        )
    return Runner("unit", foreign.name, foreign.enabled, found)


def _taken_down(bot: Bot, process: Process) -> FoundProcess:
    try:
        return FoundProcess.read(process, account_of(bot.user))
    except RolloutError as error:
        raise RolloutError(f"{bot.name}: {error}. Nothing was done") from None


def _refuse_doubtful(bot: Bot) -> None:
    """Refuse to start anything beside what may be the bot."""
    pids = doubtful_pids(bot)
    if pids:
        raise RolloutError(doubt(bot.name, pids))


def _belongs_to(pid: int, main_pid: int) -> bool:
    """Whether a process is a unit's main process or comes from it."""
    return main_pid > 1 and (pid == main_pid or any(stat.pid == main_pid for stat in ancestors(pid)))


def _refuse_restarting_parents(wanted: Wanted, process: Process) -> None:
    """Refuse a bot that somebody would start again: a second copy would run."""
    problem = restart_problem(wanted.bot.name, process)
    if problem:
        raise RolloutError(f"{problem}. Nothing was done")


def _compare_found(result: Result, wanted: Wanted, state: State | None, old: Release | None, found: FoundBot) -> None:
    """Fill in what was found and whether it is what is known already."""
    runner, manifest = found.runner, found.manifest
    result.pids_before = result.pids_after = [process.pid for process in found.processes]
    result.found = _found_facts(wanted.bot, found)
    result.environment = environment_plan(wanted.keep_variables, wanted.drop_variables, runner).names()
    result.files = sorted(
        path
        for path, entry in manifest.items()
        if old is None or path not in old.manifest or old.manifest[path].identity != entry.identity
    )
    same_runner = old is not None and _same_runner(old.runner, runner)
    if runner.kind == "process" and found.processes and state is not None and state.running is not None:
        newest = found.processes[-1]
        same_runner = same_runner and (newest.pid, newest.start_time) == (state.running.pid, state.running.start_time)
    described = None if state is None else (state.bot, state.unit, state.environment_file)
    same_bot = described == (wanted.bot, wanted.unit, wanted.environment_file)
    result.changed = bool(result.files) or not same_runner or not same_bot
    result.after = _described(manifest, runner)
    result.before = result.after
    if result.changed:
        result.before = _described(old.manifest, old.runner) if old else ""
    result.message = "is recorded" if not result.changed else "found as release " + (state.current if state else "0")


def _same_runner(old: Runner, new: Runner) -> bool:
    """Whether two ways to run are one. Under a unit the process does not count: systemd starts it anew."""
    same_unit = (old.kind, old.unit, old.enabled) == (new.kind, new.unit, new.enabled)
    return same_unit and (old.kind != "process" or old.process == new.process)


def _found_facts(bot: Bot, found: FoundBot) -> dict[str, object]:
    """What a unit has to take over from the process that was found; names and numbers only."""
    facts: dict[str, object] = {"runs": found.runner.kind, "unit": found.runner.unit, "copies": len(found.processes)}
    if found.processes:
        newest = found.processes[-1]
        started = wall_start(newest.start_time)
        touched = bot.files.touched(found.manifest)
        facts.update(
            supervisor=newest.supervisor,
            uid=newest.uid,
            gid=newest.gid,
            groups=newest.groups,
            umask=newest.umask,
            open_files=newest.limits.get("open files", []),
            # written after the process began: what runs is not what is on disk, and only the disk can be restored
            newer_than_process=sorted(
                p
                for p, e in found.manifest.items()
                if e.kind == "file" and not unchanged_since(touched.get(p), started)
            ),
        )
    return facts


def _described(manifest: Mapping[str, Entry], runner: Runner) -> str:
    """A release as lines for a diff: no contents."""
    lines = [
        f"{path} {e.kind} {e.sha256[:12]}{e.target} {e.mode:04o} {e.uid}:{e.gid}"
        for path, e in sorted(manifest.items())
    ]
    return "\n".join([*lines, f"run by {runner.unit or runner.kind}{', at boot' if runner.enabled else ''}", ""])


def _adopt(store: Store, wanted: Wanted, state: State | None, found: FoundBot) -> State:
    """Make what was found the release that the next attempt is rolled back to."""
    if state is None:
        state = State(wanted.bot, wanted.unit, wanted.environment_file, found.rules)
        store.save(state)  # phase `recording`: until it is left, releases on disk may be incomplete
    for data in found.contents.values():
        store.keep(data)
    store.extend_releases({path: e for path, e in found.manifest.items() if path not in state.files})
    first = state.phase is Phase.RECORDING or state.current == "0"
    name = "0" if first else release_id(found.manifest, found.runner)
    store.write_release(Release(name, "found", time.time(), found.manifest, found.runner))
    state.bot, state.unit, state.environment_file = wanted.bot, wanted.unit, wanted.environment_file
    state.files, state.current, state.candidate, state.phase = found.rules, name, "", Phase.RECORDED
    if found.runner.process is not None:
        state.carried_from = name
    state.deadline, state.running = None, None
    if found.processes:
        newest = found.processes[-1]
        files = {path: found.manifest[path].identity for path, rule in found.rules.items() if rule.restart}
        state.running = Running(newest.pid, newest.start_time, boot_key(), files)
    return state


def _manage_more(store: Store, state: State, rules: Mapping[str, FileRule]) -> None:
    """Take up paths that an open attempt did not manage so far: nobody has written them yet."""
    new = {path: rule for path, rule in rules.items() if path not in state.files}
    if new:
        looks = state.bot.files.look_at_all(new)
        for _, data in looks.values():
            store.keep(data)
        store.extend_releases({path: entry for path, (entry, _) in looks.items()})
        state.files.update(new)
        store.save(state)
