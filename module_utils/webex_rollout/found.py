# SPDX-License-Identifier: GPL-3.0-or-later
"""A process as it was found: taken down, so that a rollback can start it again."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .become import Account, account_of, as_account
from .command_line import parsed, python_paths
from .errors import RolloutError
from .paths import is_below
from .processes import Bot, Process, memory_of
from .procfs import UNREADABLE, ports_of, read_bounded, status_fields, uids_of, without_mark


@dataclass
class FoundProcess:
    """A process as it has to be started again: with its whole environment, so only for root's eyes.

    Its ids are a record; what is started becomes the bot's user as he is then.
    """

    argv: list[str]
    executable: str
    cwd: str
    environment: list[str]
    uid: int
    gid: int
    groups: list[int]
    umask: str
    limits: dict[str, list[str]]
    nice: int
    ignored_signals: list[int]
    stdout: str
    stderr: str
    streams: list[str] = field(default_factory=list)
    """Where its standard streams led, as /proc has it."""
    policy: int = 0
    priority: int = 0
    affinity: list[int] = field(default_factory=list)
    """The processors that it may use; empty for all that the machine's first process may."""
    oom_adjustment: int = 0
    peers: list[int] | None = field(default=None, compare=False)
    """The ports that it had connections to, for the start-up check; None where that was not recorded."""
    listening: list[int] = field(default_factory=list, compare=False)

    @classmethod
    def read(cls, process: Process, account: Account) -> FoundProcess:
        """Take down a running process of the bot's user.

        :raises RolloutError: when it has ended or changed meanwhile, or runs something that must not be started again.
        """
        base = f"/proc/{process.pid}"
        inherited = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)  # what nohup and `&` leave ignored
        try:
            ignored = int(status_fields(process.pid)["SigIgn"], 16)
            executable = os.readlink(base + "/exe")
            problem = executable_problem(os.stat(base + "/exe"), account)
            argv, environment = memory_of(process.pid)
            nice = os.getpriority(os.PRIO_PROCESS, process.pid)
            streams = [_output_of(process.pid, fd) for fd in (0, 1, 2)]
            stdout, stderr = as_account(account, _files_of, streams[1:])
            scheduled = _scheduled(process.pid)
            peers, listening = ports_of(process.pid)
        except UNREADABLE:
            raise _changed(process) from None
        if problem:
            raise RolloutError(f"process {process.pid} runs {executable}, which {problem}")
        if uids_of(process.pid) != (account.uid,) * 4:
            raise _changed(process)
        return cls(
            argv=argv,
            executable=executable,
            cwd=process.cwd,
            environment=environment,
            uid=process.uid,
            gid=process.gid,
            groups=process.groups,
            umask=process.umask,
            limits=process.limits,
            nice=nice,
            ignored_signals=[int(number) for number in inherited if ignored >> (number - 1) & 1],
            stdout=stdout,
            stderr=stderr,
            streams=streams,
            peers=sorted({*peers}),
            listening=listening,
            **scheduled,
        )


def _scheduled(pid: int) -> dict[str, Any]:
    """How the kernel treats a process, where that is not as it treats what systemd starts."""
    processors = os.sched_getaffinity(pid)
    return {
        "policy": os.sched_getscheduler(pid),
        "priority": os.sched_getparam(pid).sched_priority,
        "affinity": [] if processors == os.sched_getaffinity(1) else sorted(processors),
        "oom_adjustment": int(read_bounded(f"/proc/{pid}/oom_score_adj", 16)),
    }


def _changed(process: Process) -> RolloutError:
    return RolloutError(f"process {process.pid} ended, or became another one, while it was recorded; run again")


def executable_problem(status: os.stat_result, account: Account) -> str:
    """Why a program must not be started as the bot's user, to follow its name and `which`; empty if it may."""
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return (
            "is set-user-ID or set-group-ID and would run with other rights than the bot's; take these bits away "
            "(chmod ug-s), or start the bot with a Python without them, and run again"
        )
    if status.st_mode & stat.S_IWOTH or (
        status.st_mode & stat.S_IWGRP and _others_in(status.st_gid, {0, status.st_uid, account.uid})
    ):
        return "others may write, so anybody could make it something else; take that away (chmod go-w), and run again"
    return ""


def running_problem(pid: int, account: Account) -> str:
    """Why what a process runs must not be started again, naming it; empty if it may, or has ended."""
    try:
        executable = os.readlink(f"/proc/{pid}/exe")
        problem = executable_problem(os.stat(f"/proc/{pid}/exe"), account)
    except UNREADABLE:
        return ""
    return f"it runs {executable}, which {problem}" if problem else ""


def _others_in(gid: int, known: set[int]) -> bool:
    """Whether anybody else is in a group."""
    try:
        names = grp.getgrgid(gid).gr_mem
    except KeyError:
        names = []
    everybody = pwd.getpwall()
    uids = {entry.pw_uid for entry in everybody if entry.pw_gid == gid or entry.pw_name in names}
    return bool(uids - known)


def _output_of(pid: int, fd: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return ""


def _files_of(targets: Sequence[str]) -> list[str]:
    """Where outputs go: a file's path, or /dev/null for whatever does not outlive its session (terminal, pipe)."""
    return [path if path.startswith("/") and os.path.isfile(path) else "/dev/null" for path in targets]


def executable_of(process: FoundProcess) -> str:
    """The file to run, as it was called: a virtual environment's Python knows itself by that path.

    To be asked as the bot's user: he decides where this looks.
    """
    called = process.argv[0]
    if "/" in called:
        return os.path.join(process.cwd, called)
    path = next((e[5:] for e in process.environment if e.startswith("PATH=")), os.defpath)
    return shutil.which(called, path=path) or process.executable


def start_problem(bot: Bot, process: FoundProcess | None) -> str:
    """Why the bot's Python, or a process as it was found, could not be started now; empty if it could."""
    account = account_of(bot.user)
    return str(as_account(account, _start_problem, bot.python if process is None else process, account))


def _start_problem(what: str | FoundProcess, account: Account) -> str:
    path = what if isinstance(what, str) else executable_of(what)
    if not os.access(path, os.X_OK):
        return f"{path} is not there to run it"
    problem = "" if isinstance(what, str) else executable_problem(os.stat(path), account)
    return f"{path} {problem}" if problem else ""


# -- what a plan has to know of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What only a look as the bot's user can tell of a process that was found."""

    program: str = ""
    program_problem: str = ""
    directory: str = ""
    """Its directory as the unit has to be given it."""
    is_script: bool = False
    """Whether what it runs is the bot's script."""
    moved: bool = False
    """Whether that is another one than where the process is, of a checkout that was moved under it."""
    unwritable: Sequence[str] = ()
    readers: Mapping[str, str] = field(default_factory=dict)
    """Who reads the pipes that its output goes to."""


def look(process: FoundProcess, home: str, script: str) -> dict[str, Any]:
    """What `Seen` holds, but for the readers. To be called as the bot's user."""
    program = executable_of(process)
    directory, moved = _directory(process, home)
    files = [path for path in map(file_of, process.streams[1:]) if path]
    return {
        "program": os.path.normpath(program),
        "program_problem": "" if os.access(program, os.X_OK) else f"{program} is not there to run it",
        "directory": directory,
        "moved": moved,
        "is_script": _runs(process.argv, directory, os.path.join(home, script)),
        "unwritable": [path for path in files if os.path.exists(path) and not os.access(path, os.W_OK)],
    }


def _runs(argv: Sequence[str], directory: str, script: str) -> bool:
    path = os.path.realpath(script)
    return parsed(argv).kind == "script" and path in map(os.path.realpath, python_paths(argv, directory))


def _directory(process: FoundProcess, home: str) -> tuple[str, bool]:
    """The directory to run it in: by the name that its shell called it, where that is in the checkout."""
    called = next((e[4:] for e in process.environment if e.startswith("PWD=")), "")
    inside = is_below(os.path.normpath(called), os.path.normpath(home))
    if os.path.realpath(home) == process.cwd:
        return os.path.normpath(home), False
    if inside and os.path.isdir(called):
        gone = os.path.realpath(called) != process.cwd
        if gone and without_mark(process.cwd) == process.cwd:
            # Either the shell changed its directory for the program alone, or the link moved on.
            target = parsed(process.argv).words[:1]
            gone = bool(target) and os.path.exists(os.path.join(called, target[0]))
        if gone or os.path.realpath(called) == process.cwd:
            return os.path.normpath(called), gone
    return process.cwd, False


def file_of(target: str) -> str:
    """The path of a stream that is a file, which still is there; else nothing."""
    is_file = target.startswith("/") and not target.startswith("/dev/") and without_mark(target) == target
    return target if is_file else ""
