# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs, against what should run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from .clock import boot_clock, boot_key, wall_start
from .command_line import target_and_after
from .entries import Entry
from .errors import RolloutError
from .files import unchanged_since
from .processes import COPIES_AT_MOST, bot_pids, memory_of, oldest_first
from .procfs import read_stat, unit_of
from .sharing import is_shared, put_there
from .state import FileRule, Phase, Release, Running, State
from .store import Store, Vm
from .systemd import Unit, show_unit

# systemd may start a killed bot again once; it has to settle anew then. The second time is the release's fault.
RESTARTS_ALLOWED = 1
# What has run for less is no second copy yet.
COPY_SECONDS = 20.0


def failed_on_probation(state: State) -> str:
    """Why a release that was confirmed cannot stay after all; empty while it can, and once its probation is over.

    The project's units are started again without an end, but an operator's own drop-in may limit that: such a unit ends
    as failed, and stays down. One that did so because it did not stop in time was stopped by others: that is no such
    end.
    """
    if state.phase is not Phase.CONFIRMED or not state.previous or state.probation is None or state.probation.past():
        return ""
    unit = show_unit(state.unit)
    return unit.end_described() if unit.active == "failed" and unit.result != "timeout" else ""


def unstable(vm: Vm, bot: str, release: str) -> str:
    """Why a release under watch is not what runs, or does not run any more; empty while it does."""
    state = vm.store(bot).load()
    if state is None or release != {Phase.CONFIRMED: state.current, Phase.CHECKED: state.candidate}.get(state.phase):
        now = f"release {state.current}, {state.phase}: {state.note or 'no reason given'}" if state else "no record"
        return f"release {release} is not what it runs any more ({now})"
    unit = show_unit(state.unit)
    return unit.end_described() if unit.active == "failed" else ""


def edited_files(store: Store, state: State, release: Release, looks: Mapping[str, Entry]) -> list[str]:
    """Files that are not what the release has. One shared with a bot whose rollout is further on is no edit."""
    differing = [path for path, entry in looks.items() if entry.content != release.manifest[path].content]
    rules = state.files
    return sorted(
        path
        for path in differing
        if not (is_shared(store, path, rules.get(path, FileRule())) and put_there(store, path, looks[path]))
    )


def reasons_to_restart(state: State, manifest: Mapping[str, Entry]) -> list[str]:
    """Why what runs is not what is wanted: the files as they are, once, under the unit."""
    copies = list(bot_pids(state.bot))
    unit = show_unit(state.unit)
    if not copies:
        return ["it does not run"]
    if len(copies) > 1:
        return [f"it runs {len(copies)} times (pids {', '.join(map(str, copies))})"]
    if copies != [unit.main_pid]:
        return [f"it runs outside {state.unit} (pid {copies[0]})"]
    return [f"{path} has changed since it was started" for path in stale_files(state, copies[0], manifest)]


def stale_files(state: State, pid: int, manifest: Mapping[str, Entry]) -> list[str]:
    """Files that a process was not started from. Of one that was not started from here only the times tell."""
    stat = read_stat(pid)
    if stat is None:
        return sorted(manifest)
    paths = sorted(path for path, rule in state.files.items() if rule.restart and path in manifest)
    running = state.running
    if running and (running.pid, running.start_time, running.boot) == (pid, stat.start_time, boot_key()):
        return [path for path in paths if running.files.get(path) != manifest[path].identity]
    started = wall_start(stat.start_time)
    touched = state.bot.files.touched(paths)
    return [path for path in paths if not unchanged_since(touched.get(path), started)]


def second_copies(state: State, unit: Unit) -> dict[int, int]:
    """Copies of a bot beside its unit, which runs: pids with start times.

    Only what runs with the unit's own arguments is a copy of it, and only after a while: a script may be run for a
    moment, or for something else. Of very many the oldest: the others are met at the next look.
    """
    if unit.active != "active" or not unit.main_pid or read_stat(unit.main_pid) is None:
        return {}
    copies = bot_pids(state.bot)
    in_unit = [pid for pid in copies if unit_of(pid) == (state.unit, False)]
    found: dict[int, int] = {}
    for pid in oldest_first({*copies} - {*in_unit, unit.main_pid})[:COPIES_AT_MOST]:
        stat = read_stat(pid)
        if stat and boot_clock() - stat.start_time / os.sysconf("SC_CLK_TCK") >= COPY_SECONDS:
            with contextlib.suppress(RolloutError, OSError):
                ours = memory_of(next(iter(in_unit), unit.main_pid))[0]
                if target_and_after(memory_of(pid)[0]) == target_and_after(ours):
                    found[pid] = stat.start_time
    return found


def note_running(state: State, release: Release) -> None:
    """Note which process runs, and from which files."""
    unit = show_unit(state.unit)
    stat = read_stat(unit.main_pid)
    if stat is None:
        raise RolloutError(f"{state.bot.name} ended right after its start: {unit.end_described()}")
    files = {path: release.manifest[path].identity for path, rule in state.files.items() if rule.restart}
    state.running = Running(unit.main_pid, stat.start_time, boot_key(), files, unit.restarts)
