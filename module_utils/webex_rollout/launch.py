# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting. No copy of a bot is started before it is proven that none runs."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from .become import Account, account_of, as_account, become
from .clock import Timing, boot_clock
from .errors import RolloutError
from .found import FoundProcess, executable_of, executable_problem
from .parents import restarting_parent_of
from .processes import Bot, bot_pids
from .procfs import UNREADABLE, alive, all_pids, open_for_writing, read_stat, uids_of
from .store import Store
from .system import POLL, to_bytes, wait_until
from .systemd import NOT_LOADED, Unit, show_unit, stop_unit, systemctl


class Identity(NamedTuple):
    """One process for good: a pid is used again, a pid with its start time is not."""

    pid: int
    start_time: int


def _family(pid: int, uid: int) -> list[Identity]:
    """A process and those of its descendants that live in its session: they end with it.

    A child with a session of its own was meant to live on; one of another user's (a set-user-ID program) is not the
    bot's user's to end.
    """
    stats = {each.pid: each for each in map(read_stat, all_pids()) if each}
    if pid not in stats:
        return []
    found, family = [pid], [Identity(pid, stats[pid].start_time)]
    for parent in found:
        for child in stats.values():
            inside = child.ppid == parent and child.session == stats[pid].session and child.pid not in found
            if inside and uids_of(child.pid) == (uid,) * 4:
                found.append(child.pid)
                family.append(Identity(child.pid, child.start_time))
    return family


def _signal(identity: Identity, number: int) -> None:
    """Signal exactly this process: by a descriptor of it, where kernel and Python have them (5.3, 3.9)."""
    open_pid: Any = getattr(os, "pidfd_open", None)
    send: Any = getattr(signal, "pidfd_send_signal", None)
    with contextlib.suppress(ProcessLookupError):
        try:
            fd = open_pid(identity.pid) if open_pid and send else -1
        except ProcessLookupError:
            return
        except OSError:
            fd = -1  # an older kernel
        try:
            if not alive(*identity):
                return
            if fd >= 0:
                send(fd, number)
            else:
                os.kill(identity.pid, number)
        finally:
            if fd >= 0:
                os.close(fd)


def _stop_family(pid: int, uid: int, seconds: float, kill_seconds: float) -> None:
    """End one copy and its children: ask, wait, insist."""
    family = _family(pid, uid)

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
    account = account_of(bot.user)
    for _ in range(3):
        copies = bot_pids(bot)
        if not copies:
            return
        stop_copies(bot, copies, seconds, timing)
    parent = next((restarting_parent_of(pid, account) for pid in bot_pids(bot)), None)
    by = f"process {parent['pid']} ({parent['name']})" if parent else "something else"
    raise RolloutError(f"{bot.name} is started again as soon as it is stopped, by {by}. Stop that first and run again")


def stop_copies(bot: Bot, pids: Iterable[int], seconds: float, timing: Timing) -> None:
    """End some copies of a bot, each with its children: they are asked, and after `seconds` made to.

    :raises RolloutError: when one hangs in the kernel.
    """
    uid = account_of(bot.user).uid
    for pid in pids:
        _stop_family(pid, uid, seconds, timing.kill)


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


def _set_scheduling(process: FoundProcess) -> None:
    """Have the kernel treat this process as it treated the other one, as far as it still can."""
    os.setpriority(os.PRIO_PROCESS, 0, process.nice)
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, process.policy, os.sched_param(process.priority))
    with contextlib.suppress(OSError):  # a processor that is gone
        if process.affinity:
            os.sched_setaffinity(0, process.affinity)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(process.oom_adjustment))


def run_found(process: FoundProcess, account: Account, parent: int) -> NoReturn:
    """Turn this process into the one that was found, as the bots' user is now. Does not return.

    :param parent: who has asked for it. Without him nobody knows that a copy is on its way, and another is started.
    :raises RolloutError: when it cannot be started.
    """
    _set_limits(process.limits)
    _set_scheduling(process)
    os.umask(int(process.umask or "022", 8))
    become(account)
    os.chdir(process.cwd)
    executable = executable_of(process)
    if not os.access(executable, os.X_OK):
        raise RolloutError(f"{executable} is not there, or not for {account.name} to run")
    problem = executable_problem(os.stat(executable), account)
    if problem:
        raise RolloutError(f"{executable} {problem}")
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
    if os.getppid() != parent:
        raise RolloutError("the program that asked for it is gone")
    os.execve(to_bytes(executable), [to_bytes(arg) for arg in process.argv], environment)


def _open_output(path: str) -> int:
    """A file to append to, or /dev/null where that is not possible any more."""
    with contextlib.suppress(OSError, ValueError):
        # Not to wait for the reader of a FIFO; once it is known to be a file, that makes no difference any more
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.set_blocking(fd, True)
            return fd
        os.close(fd)
    return os.open("/dev/null", os.O_WRONLY)


def start_found(store: Store, release: str) -> tuple[int, float]:
    """Start a release's process as it was found, out of everybody's cgroup; returns its pid, and when it came up.

    In a scope of its own: a process left in the cgroup of the guard's service would be ended with it, one in an SSH
    session's with the session. The command line holds names only; the program reads the environment from the state.
    """
    scope = f"webex-found-{store.bot}-{int(boot_clock() * 1000)}.scope"
    program = [sys.executable, "-I", store.vm.program, "--state", str(store.vm.path), "run-found", store.bot, release]
    program.append(str(os.getpid()))
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


def start_seconds(took: float) -> float:
    """How long a start may take that took so long before."""
    return 1.5 * took + 5


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
        with contextlib.suppress(*UNREADABLE):  # it has just ended by itself
            logs.update(open_for_writing(pid, streams=False))
    problem = as_account(account_of(bot.user), _open_problem, sorted(logs)) if logs else ""
    if problem:
        raise RolloutError(
            f"{bot.name} writes to files that {bot.user} could not open anew: {problem}. Nobody could start it again, "
            f"so it {outcome}. Make them writable and run this again"
        )


def _open_problem(paths: Sequence[str]) -> str:
    """Why the present user cannot open some files to append to them; those that are gone are no problem."""
    for path in filter(os.path.isfile, paths):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY))
        except OSError as error:
            return f"{path}: {error.strerror}"
    return ""
