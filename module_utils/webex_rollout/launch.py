# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting. No copy of a bot is started before it is proven that none runs."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .clock import Timing, boot_clock
from .errors import RolloutError
from .processes import Bot, FoundProcess, bot_pids, restarting_parent_of
from .procfs import alive, all_pids, open_for_writing, read_stat
from .store import Store
from .system import POLL, run_command, to_bytes, wait_until
from .systemd import NOT_LOADED, Unit, show_unit, stop_unit, systemctl


class Identity(NamedTuple):
    """One process for good: a pid is used again, a pid with its start time is not."""

    pid: int
    start_time: int


def _family(pid: int) -> list[Identity]:
    """A process and those of its descendants that live in its session: they end with it.

    A child with a session of its own was meant to live on.
    """
    stats = {stat.pid: stat for stat in map(read_stat, all_pids()) if stat}
    if pid not in stats:
        return []
    found, family = [pid], [Identity(pid, stats[pid].start_time)]
    for parent in found:
        for stat in stats.values():
            if stat.ppid == parent and stat.session == stats[pid].session and stat.pid not in found:
                found.append(stat.pid)
                family.append(Identity(stat.pid, stat.start_time))
    return family


def _signal(identity: Identity, number: int) -> None:
    """Signal exactly this process."""
    if alive(*identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity[0], number)


def _stop_family(pid: int, seconds: float, kill_seconds: float) -> None:
    """End one copy and its children: ask, wait, insist."""
    family = _family(pid)

    def gone() -> bool:
        return not any(alive(*identity) for identity in family)

    main, children = family[:1], family[1:]
    for identity in main:
        _signal(identity, signal.SIGTERM)
    until = time.monotonic() + seconds
    wait_until(lambda: not any(alive(*identity) for identity in main), seconds)
    for identity in children:
        _signal(identity, signal.SIGTERM)
    if not wait_until(gone, max(0.5, until - time.monotonic())):
        for identity in family:
            _signal(identity, signal.SIGKILL)
        if not wait_until(gone, kill_seconds):
            left = ", ".join(str(identity[0]) for identity in family if alive(*identity))
            raise RolloutError(
                f"process {left} does not end even when killed; it hangs in the kernel. Look at the disk"
            )


def stop_all(bot: Bot, units: Sequence[str], seconds: float, timing: Timing) -> None:
    """End every copy of a bot and prove it: first those that a unit would start again, then the rest.

    A process has `seconds` to end by itself; what a unit's has is the unit's own setting.

    A unit is stopped even if it looks stopped: that also cancels a start which systemd has still in its queue.
    """
    for unit in units:
        shown = show_unit(unit)
        # A rollback removes the drop-in, and what is left is `bad-setting`: systemd refuses to stop what it cannot load
        # and does not run. A unit that runs is stopped even without its file.
        if shown.load not in NOT_LOADED or not shown.over:
            stop_unit(shown)
    for _ in range(3):
        copies = bot_pids(bot)
        if not copies:
            return
        for pid in copies:
            _stop_family(pid, seconds, timing.kill)
    parent = next((restarting_parent_of(pid) for pid in bot_pids(bot)), None)
    by = f"process {parent['pid']} ({parent['name']})" if parent else "something else"
    raise RolloutError(f"{bot.name} is started again as soon as it is stopped, by {by}. Stop that first and run again")


def _become(uid: int, gid: int, groups: Sequence[int]) -> None:
    """Become another user. Root only becomes less here."""
    os.setgroups(list(groups))
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _set_limits(limits: Mapping[str, Sequence[str]]) -> None:
    """Set resource limits as they were; where the kernel no longer allows the hard limit, as near as it does."""
    names = {
        "cpu time": resource.RLIMIT_CPU,
        "file size": resource.RLIMIT_FSIZE,
        "data size": resource.RLIMIT_DATA,
        "stack size": resource.RLIMIT_STACK,
        "core file size": resource.RLIMIT_CORE,
        "processes": resource.RLIMIT_NPROC,
        "open files": resource.RLIMIT_NOFILE,
        "locked memory": resource.RLIMIT_MEMLOCK,
        "address space": resource.RLIMIT_AS,
    }
    for name, kind in names.items():
        if name not in limits:
            continue
        soft, hard = (resource.RLIM_INFINITY if value == "unlimited" else int(value) for value in limits[name])
        try:
            resource.setrlimit(kind, (soft, hard))
        except (ValueError, OSError):
            _, allowed = resource.getrlimit(kind)
            soft = allowed if soft == resource.RLIM_INFINITY else min(soft, allowed if allowed != -1 else soft)
            resource.setrlimit(kind, (soft, allowed))


def run_found(process: FoundProcess) -> None:
    """Turn this process into the one that was found. Does not return."""
    _set_limits(process.limits)
    os.setpriority(os.PRIO_PROCESS, 0, process.nice)
    os.umask(int(process.umask or "022", 8))
    _become(process.uid, process.gid, process.groups)
    os.chdir(process.cwd)
    executable = executable_of(process)
    if not os.access(executable, os.X_OK):
        raise RolloutError(f"{os.path.join(process.cwd, executable)} is not there, or not for uid {process.uid} to run")
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN if number in process.ignored_signals else signal.SIG_DFL)
    # Detached whatever it was: the terminal or tmux it may have lived in is gone
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and what is ignored is inherited
    for fd, path in ((1, process.stdout), (2, process.stderr)):
        os.dup2(_open_output(path), fd)
    environment: dict[bytes, bytes] = {}
    for assignment in process.environment:
        name, _, value = assignment.partition("=")
        environment.setdefault(to_bytes(name), to_bytes(value))  # the first of two is the one that counts
    os.execve(to_bytes(executable), [to_bytes(arg) for arg in process.argv], environment)


def _open_output(path: str) -> int:
    """A file to append to, or /dev/null where that is not possible any more."""
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    except OSError:
        return os.open("/dev/null", os.O_WRONLY)


def executable_of(process: FoundProcess) -> str:
    """The file to run, as it was called: a virtual environment's Python knows itself by that path."""
    called = process.argv[0]
    if "/" in called:
        return called
    path = next((e[5:] for e in process.environment if e.startswith("PATH=")), os.defpath)
    return shutil.which(called, path=path) or process.executable


def start_found(store: Store, release: str) -> tuple[int, float]:
    """Start a release's process as it was found, out of everybody's cgroup; returns its pid, and when it came up.

    In a scope of its own: a process left in the cgroup of the guard's service would be ended with it, one in an SSH
    session's with the session. The command line holds names only; the program reads the environment from the state.
    """
    scope = f"webex-found-{store.bot}-{int(boot_clock() * 1000)}.scope"
    program = [sys.executable, "-I", store.vm.program, "--state", str(store.vm.path), "run-found", store.bot, release]
    described = f"--description=Webex bot {store.bot} as it was found"
    manager = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={scope}", described]
    process = subprocess.Popen(
        [*manager, "--", *program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    return _await_found(store.need().bot, process, store.vm.timing)


def _await_found(bot: Bot, process: subprocess.Popen[bytes], timing: Timing) -> tuple[int, float]:
    """Wait until a started process has become the bot, alone, and stays it for a moment."""
    begun = time.monotonic()
    seen = 0.0
    while time.monotonic() - begun < timing.start:
        if process.poll() is not None:
            said = process.stderr.read().decode("utf-8", "replace").strip().splitlines() if process.stderr else []
            last = f": {said[-1]}" if said else ""
            raise RolloutError(f"{bot.name} as it was found ended at once (status {process.returncode}){last}")
        if list(bot_pids(bot)) == [process.pid]:
            seen = seen or time.monotonic()
            if time.monotonic() - seen >= timing.found_settle:
                return process.pid, seen
        time.sleep(POLL)
    raise RolloutError(f"{bot.name} as it was found did not come up alone within {timing.start:.0f} s")


def start_unit(bot: Bot, unit: str, timing: Timing) -> Unit:
    """Start a unit and prove that its main process is the one running copy of the bot."""
    systemctl("reset-failed", unit)
    systemctl("start", unit)
    shown = show_unit(unit)

    def one_runs() -> bool:
        nonlocal shown
        if list(bot_pids(bot)) == [shown.main_pid]:
            return True
        shown = show_unit(unit)
        return shown.over or shown.crashed

    if not wait_until(one_runs, timing.start) or shown.over or shown.crashed:
        found = ", ".join(map(str, bot_pids(bot))) or "none"
        raise RolloutError(
            f"{bot.name} did not come up as exactly one process: {shown.end_described()}, processes: {found}"
        )
    return shown


def must_reopen_its_files(bot: Bot, outcome: str) -> None:
    """Refuse to stop a bot that could not open its log when it is started again; the error says `outcome` of it."""
    logs: set[str] = set()
    for pid in bot_pids(bot):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended by itself
            logs.update(filter(os.path.isfile, open_for_writing(pid, streams=False)))
    opens = "import sys; [open(path, 'ab').close() for path in sys.argv[1:]]"
    problem = _run_as_bot(bot, sys.executable, opens, *sorted(logs)) if logs else ""
    if problem:
        raise RolloutError(
            f"{bot.name} writes to files that {bot.user} could not open anew: {problem}. Nobody could start it again, "
            f"so it {outcome}. Make them writable and run this again"
        )


def _run_as_bot(bot: Bot, python: str, code: str, *arguments: str) -> str:
    """Run some Python as the bot's user; returns why it failed, or nothing."""
    done = run_command(["runuser", "-u", bot.user, "--", python, "-I", "-c", code, *arguments], timeout=30)
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return (said[-1] if said else f"exit status {done.returncode}") if done.returncode != 0 else ""
