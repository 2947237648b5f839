# SPDX-License-Identifier: GPL-3.0-or-later
"""A process as it was found: taken down, so that a rollback can start it again."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from .become import Account, account_of, as_account
from .errors import RolloutError
from .processes import Bot, Process, memory_of
from .procfs import UNREADABLE, status_fields, uids_of


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
            stdout, stderr = as_account(account, _files_of, [_output_of(process.pid, fd) for fd in (1, 2)])
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
        )


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
