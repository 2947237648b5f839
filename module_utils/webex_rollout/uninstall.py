# SPDX-License-Identifier: GPL-3.0-or-later
"""Uninstall: every bot back to what was found, then nothing of this project's left on the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import paths
from .bulletin import METRICS_DIR
from .errors import RolloutError
from .lock import act_under_lock
from .metrics import FILE
from .sharing import needed_by_others
from .state import Phase, State
from .steps.roll_back import roll_back
from .steps.step import Result
from .store import Store, Vm
from .system import wait_until
from .systemd import show_unit, systemctl
from .tree import is_roots

TIMERS = (paths.GUARD_TIMER, paths.WATCH_TIMER, paths.SAMPLING_TIMER)
# What earlier versions installed is among them.
OLD_LIBRARY = "/usr/local/lib/webex-rollout"
# A look, and what it may have to roll back, ends within this; the units' own limit is the same.
LOOK_SECONDS = 900.0


@dataclass
class Uninstalled:
    """What was done, or (in check mode) would be."""

    changed: bool = False
    to_roll_back: list[str] = field(default_factory=list)
    """Bots that do not run as they were found yet."""
    rolled_back: list[Result] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    """Paths that went, the files of the bots' releases among them; of a directory, itself alone."""
    kept: dict[str, str] = field(default_factory=dict)
    """What stays although it lies where this project's own files are, with the reason."""
    needed_by: list[str] = field(default_factory=list)
    """Other bots that still have a release: for them the program and its timers stay."""


def uninstall(vm: Vm, bots: Sequence[str], token: int | None = None, check: bool = False) -> Uninstalled:
    """Roll `bots` back to what was found and forget them; remove the rest once no bot of the machine has a release.

    Killed half-way, or refused for one of the bots, it goes on where it stopped when it is run again.

    :raises RolloutError: when a bot cannot be rolled back; nothing that a later rollback needs is removed then.
    """
    if not check:
        act_under_lock(vm, token)
    done = Uninstalled()
    stores = [vm.store(bot) for bot in bots]
    for store in stores:
        _must_be_known(store)
    leaving = [store for store in stores if store.load() is not None]
    done.to_roll_back = [store.bot for store in leaving if not at_rest(store.load())]
    problems = []
    for store in leaving:
        if store.bot in done.to_roll_back:
            try:
                _back_to_found(store, done, token, check)
            except RolloutError as error:  # what keeps one bot from going back is no reason for the others to stay
                problems.append(str(error))
    if problems:
        raise RolloutError(". Also: ".join(problems))
    if check:
        _count_what_is_shared(leaving, done)
    done.needed_by = [name for name in vm.bot_names() if name not in bots and not at_rest(vm.store(name).load())]
    forgotten = leaving if done.needed_by else [vm.store(name) for name in vm.bot_names()]
    for store in forgotten:
        _forget(store, done, check)
    if not done.needed_by:
        _remove_program(vm, done, check)
        _remove_state(vm, done, check)
    done.changed = bool(done.removed) or any(result.changed for result in done.rolled_back)
    return done


def at_rest(state: State | None) -> bool:
    """Whether a bot is as it was found, by the record: it was never changed, or has been rolled back to it."""
    return state is None or (
        state.current == "0" and state.phase in (Phase.RECORDING, Phase.RECORDED, Phase.ROLLED_BACK)
    )


def _must_be_known(store: Store) -> None:
    """Refuse a bot that runs under this project's unit and has no record: nobody knows what it was before."""
    if store.load() is None and show_unit(paths.unit_name(store.bot)).load == "loaded":
        raise RolloutError(
            f"{store.bot} has {paths.unit_name(store.bot)}, and {store.path} has no record of what was found before. "
            "Nothing was removed. Restore its state, or stop the unit, remove its files and start the bot by hand. "
            "Then run this again"
        )


def _back_to_found(store: Store, done: Uninstalled, token: int | None, check: bool) -> None:
    result = roll_back(store.vm, store.bot, "0", "uninstalled", token=token, check=check)
    if result.problems:
        raise RolloutError(f"{store.bot}: {'; '.join(result.problems)}. Put that right and run this again")
    done.rolled_back.append(result)
    found = store.release("0").manifest
    done.removed += [path for path in result.files if found[path].kind == "absent"]


def _count_what_is_shared(leaving: Sequence[Store], done: Uninstalled) -> None:
    """Each of several bots that leave keeps what the others share; the last of them would not."""
    names = {store.bot for store in leaving}
    for store, result in ((store, r) for r in done.rolled_back for store in leaving if store.bot == r.bot):
        state = store.need()
        for path, entry in state.bot.files.entries_of(result.kept_shared).items():
            if path not in done.removed and not set(needed_by_others(store, path, entry)) - names:
                done.removed.append(path)


def _forget(store: Store, done: Uninstalled, check: bool) -> None:
    """Remove what is kept of a bot. Its state goes last: without it, what is left of its releases is an error."""
    state = store.load()
    if state is not None and not check and not at_rest(state):
        raise RolloutError(f"{store.bot} is {state.phase} again: somebody acts on it. Run this again")
    if state is not None and os.path.lexists(state.environment_file):
        _remove(state.environment_file, done, check)
    keep = _note_backups(store, done)
    done.removed.append(str(store.path))
    if check:
        return
    for path in sorted(store.path.iterdir(), key=lambda path: path.name == "state.json"):
        if path.name not in keep:
            shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
    if not keep:
        store.path.rmdir()


def _note_backups(store: Store, done: Uninstalled) -> Collection[str]:
    """Edits of others that a rollback gave up are nobody's to remove."""
    backups = store.path / "backups"
    if not backups.is_dir() or not any(backups.iterdir()):
        return ()
    done.kept[str(backups)] = "somebody's edits that a rollback gave up; look at them, then remove them"
    return (backups.name,)


def _remove_program(vm: Vm, done: Uninstalled, check: bool) -> None:
    """Stop the timers, wait for the look that may be under way, and remove units, program and metrics."""
    units = [name for timer in TIMERS for name in (timer, timer.replace(".timer", ".service"))]
    there = [name for name in units if os.path.lexists(f"{paths.UNIT_DIR}/{name}")]
    if not check:
        for name in there:
            if name.endswith(".timer"):
                systemctl("disable", "--now", name)
        _wait_for_looks([name for name in there if name.endswith(".service")])
    for name in there:
        _remove(f"{paths.UNIT_DIR}/{name}", done, check)
    if there and not check:
        systemctl("daemon-reload")
    metrics = f"{METRICS_DIR}/{FILE}"
    # The token is a secret that nobody would look for any more.
    for path in (paths.PROBE_TOKEN_FILE, metrics, OLD_LIBRARY, paths.RUN_DIR, paths.CACHE_DIR, vm.program):
        if os.path.lexists(path) and is_roots(path):
            _remove(path, done, check)
        elif os.path.lexists(path):
            done.kept[path] = "it lies in a directory that others than root may write; remove it by hand"
    _remove_if_empty(paths.ENVIRONMENT_DIR, done, check)


def _wait_for_looks(services: Sequence[str]) -> None:
    """What a look of guard or watch has begun it has to end: half-way it would leave a bot stopped."""
    if not wait_until(lambda: all(show_unit(name).over for name in services), LOOK_SECONDS):
        raise RolloutError(f"{' or '.join(services)} does not end; `systemctl status` shows why. Run this again")


def _remove_if_empty(directory: str, done: Uninstalled, check: bool) -> None:
    """What is in the project's own directory and was not put there by it is its owner's."""
    if not os.path.isdir(directory):
        return
    left = sorted(
        path for path in (f"{directory}/{name}" for name in os.listdir(directory)) if path not in done.removed
    )
    for path in left:
        done.kept[path] = "it was put there by hand; remove it by hand"
    if not left:
        done.removed.append(directory)
        if not check:
            os.rmdir(directory)


def _remove_state(vm: Vm, done: Uninstalled, check: bool) -> None:
    """The machine's own part of the state. The lock that this very run acquired is no reason to call it a change."""
    if not vm.path.is_dir():
        return
    if (vm.path / "audit.log").exists() and done.removed:
        done.removed.append(str(vm.path))
    if check:
        return
    keep = {os.path.dirname(path) for path in done.kept}
    for path in vm.path.iterdir():
        if str(path) not in keep:
            shutil.rmtree(str(path)) if path.is_dir() else path.unlink()
    with contextlib.suppress(OSError):  # what is kept is in it
        vm.path.rmdir()


def _remove(path: str, done: Uninstalled, check: bool) -> None:
    done.removed.append(path)
    if not check:
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else Path(path).unlink()
