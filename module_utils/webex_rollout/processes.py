# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes. A bot is found by what it runs (interpreter, script, directory), never by a pattern of names.

`pkill -f jarvis.py` also hits an editor, a tail, and the shell that runs it.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .clock import wall_start
from .files import Files
from .paths import checked_name
from .procfs import (
    Stat,
    all_pids,
    ancestors,
    open_for_writing,
    read_limits,
    read_nul_list,
    read_stat,
    same_root,
    status_fields,
    unit_of,
)
from .system import to_text, utc


@dataclass(frozen=True)
class Bot:
    """One bot: its script inside a checkout, and the Python that runs it."""

    name: str
    home: str
    script: str
    python: str
    user: str

    def __post_init__(self) -> None:
        """Refuse a name that would not be one directory and one unit instance."""
        checked_name(self.name)

    @property
    def files(self) -> Files:
        """The way to the files of its releases."""
        return Files(self.user, self.home)

    @property
    def script_path(self) -> str:
        """The script, with every symbolic link resolved; the file need not exist."""
        return os.path.realpath(os.path.join(self.home, self.script))


PYTHON_NAME = re.compile(r"^(python|pypy)[0-9.]*(-[\w.]+)?$")


# Options of the interpreter that take the next argument as their value.
PYTHON_VALUE_OPTIONS = {"-X", "-W", "--check-hash-based-pycs"}


SECRET_ARGUMENT = re.compile(
    r"^(--?[\w-]*(?:token|secret|passw|credential|api-?key)[\w-]*)(=.*)?$", re.IGNORECASE | re.DOTALL
)


SESSION_MULTIPLEXERS = {"tmux": "tmux", "screen": "screen"}


# Services which start people's sessions and jobs: a process in their cgroup is not theirs to restart.
SESSION_SERVICES = re.compile(
    r"^(sshd?|crond?|atd|anacron|telnet|([a-z]+-)?getty|user|emergency|rescue|debug-shell)(@.*)?\.service$"
)


# Parents that end with their child, and those which people's shells run in.
HARMLESS_PARENTS = {"su", "sudo", "timeout", "script", "setsid", "nohup", "login", "cron", "crond", "atd", "systemd"}


SHELL_NAMES = {"sh", "bash", "dash", "zsh", "ksh", "fish"}


SHELL_LOOP = re.compile(r"\b(while|until|for|watch)\b")


@dataclass
class Process:
    """One independent running copy of a bot. ``start_time``, in clock ticks since boot, makes the pid an identity."""

    pid: int
    ppid: int
    start_time: int
    started: str
    argv: list[str]
    cwd: str
    uid: int
    gid: int
    groups: list[int]
    umask: str
    limits: dict[str, list[str]]
    environment_names: list[str]
    supervisor: str
    unit: str
    unit_is_user: bool
    restarting_parent: dict[str, object] | None
    children: list[int]
    log_files: list[str]


def python_target(argv: Sequence[str]) -> tuple[str, str]:
    """What a Python command line runs: ``("script", path)``, ``("module", name)`` or ``("", "")``.

    Source: `python --help`; options may be joined (``-uB``), and ``-m``/``-c`` end the option list.
    """
    index = 1
    while index < len(argv):
        arg = argv[index]
        if arg in PYTHON_VALUE_OPTIONS:
            index += 2
        elif arg.startswith("--"):
            index += 1
        elif arg.startswith("-") and len(arg) > 1:
            letters = arg[1:]
            for position, letter in enumerate(letters):
                if letter == "c":
                    return "", ""
                if letter == "m":
                    name = letters[position + 1 :] or (argv[index + 1] if index + 1 < len(argv) else "")
                    return "module", name
                if letter in "XW":
                    index += 0 if letters[position + 1 :] else 1
                    break
            index += 1
        else:
            return ("", "") if arg == "-" else ("script", arg)
    return "", ""


def runs_script(argv: Sequence[str], cwd: str, script_path: str, pythonpath: Sequence[str] = ()) -> bool:
    """Whether this Python command line, given in this directory, runs that script."""
    kind, target = python_target(argv)
    if kind == "script":
        return os.path.realpath(os.path.join(cwd, target)) == script_path
    if kind == "module":
        relative = target.replace(".", "/")
        return any(
            os.path.realpath(os.path.join(cwd, base, relative + suffix)) == script_path
            for base in ["", *pythonpath]
            for suffix in (".py", "/__main__.py")
        )
    return False


def _is_bot(pid: int, bot: Bot) -> bool:
    """Whether this process runs the bot's script with a Python interpreter."""
    try:
        exe = os.readlink(f"/proc/{pid}/exe")
        if exe.endswith(" (deleted)"):  # the interpreter was upgraded under the running bot
            exe = exe[: -len(" (deleted)")]
        if not PYTHON_NAME.match(os.path.basename(exe)) and exe != os.path.realpath(bot.python):
            return False
        argv = read_nul_list(f"/proc/{pid}/cmdline")
        cwd = os.readlink(f"/proc/{pid}/cwd")
        pythonpath: list[str] = []
        if python_target(argv)[0] == "module":
            environ = read_nul_list(f"/proc/{pid}/environ")
            pythonpath = [v for e in environ if e.startswith("PYTHONPATH=") for v in e[11:].split(":") if v]
        return same_root(pid) and runs_script(argv, cwd, bot.script_path, pythonpath)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def redact_argv(argv: Sequence[str]) -> list[str]:
    """A command line fit for output: values of arguments named like secrets are masked."""
    shown: list[str] = []
    mask_next = False
    for arg in argv:
        match = SECRET_ARGUMENT.match(arg)
        if mask_next and not arg.startswith("-"):
            shown.append("***")
        elif match:
            shown.append(match.group(1) + ("=***" if match.group(2) else ""))
        else:
            shown.append(arg)
        mask_next = bool(match and not match.group(2))
    return shown


def _may_restart(parent: Stat) -> bool:
    """Whether a parent could start its child again: a shell in a loop, or a program nobody here knows."""
    if parent.comm in HARMLESS_PARENTS or parent.comm.lower().startswith(("sshd", "tmux", "screen")):
        return False
    try:
        argv = read_nul_list(f"/proc/{parent.pid}/cmdline")
        cwd = os.readlink(f"/proc/{parent.pid}/cwd")
    except (FileNotFoundError, ProcessLookupError):
        return False
    if os.path.basename(argv[0].lstrip("-")) not in SHELL_NAMES:
        return True
    arguments = [arg for arg in argv[1:] if not arg.startswith("-")]
    if not arguments:  # a login or terminal shell
        return False
    if any(re.match(r"^-[a-z]*c$", arg) for arg in argv[1:]):
        return bool(SHELL_LOOP.search(arguments[0]))
    try:
        script = Path(os.path.join(cwd, arguments[0])).read_bytes()
    except OSError:
        return True
    return bool(SHELL_LOOP.search(to_text(script)))


def restarting_parent_of(pid: int) -> dict[str, object] | None:
    """A living parent that may start the bot again when it ends (a restart loop, supervisord), as pid and name."""
    parent = next(ancestors(pid), None)
    return {"pid": parent.pid, "name": parent.comm} if parent and _may_restart(parent) else None


def supervisor_of(pid: int, ignores_hangup: bool, unit: str) -> str:
    """Who looks after a process: a unit's name, ``tmux``, ``screen``, ``nohup`` or ``other``."""
    for ancestor in ancestors(pid):
        for prefix, name in SESSION_MULTIPLEXERS.items():
            if ancestor.comm.lower().startswith(prefix):
                return name
    if unit.endswith(".service") and not SESSION_SERVICES.match(unit):
        return unit
    return "nohup" if ignores_hangup else "other"


def describe_process(pid: int, children: list[int]) -> Process | None:
    """Everything that may be shown of a process; None when it ended, or its pid was reused, meanwhile."""
    base = f"/proc/{pid}"
    before = read_stat(pid)
    if before is None:
        return None
    try:
        status = status_fields(pid)
        unit, unit_is_user = unit_of(pid)
        ignores_hangup = bool(int(status["SigIgn"], 16) & 1)
        supervisor = supervisor_of(pid, ignores_hangup, unit)
        process = Process(
            pid=pid,
            ppid=before.ppid,
            start_time=before.start_time,
            started=utc(wall_start(before.start_time)),
            argv=redact_argv(read_nul_list(base + "/cmdline")),
            cwd=os.readlink(base + "/cwd"),
            uid=int(status["Uid"].split()[1]),
            gid=int(status["Gid"].split()[1]),
            groups=[int(group) for group in status["Groups"].split()],
            umask=status.get("Umask", ""),
            limits=read_limits(pid),
            environment_names=sorted({e.split("=", 1)[0] for e in read_nul_list(base + "/environ") if "=" in e}),
            supervisor=supervisor,
            unit=unit,
            unit_is_user=unit_is_user,
            restarting_parent=restarting_parent_of(pid),
            children=sorted(children),
            log_files=open_for_writing(pid),
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    after = read_stat(pid)
    return process if after and after.start_time == before.start_time else None


def bot_pids(bot: Bot) -> dict[int, list[int]]:
    """Independent copies of the bot and, for each, its forked children that show the same command line.

    A fork shows its parent's command line until it runs another program; it is told from a copy by its ancestry.
    """
    matching = {pid for pid in all_pids() if _is_bot(pid, bot)}
    copies: dict[int, list[int]] = {}
    forks: list[tuple[int, int]] = []
    for pid in sorted(matching):
        above = [stat.pid for stat in ancestors(pid) if stat.pid in matching]
        if above:
            forks.append((above[-1], pid))
        else:
            copies[pid] = []
    for top, pid in forks:
        copies.setdefault(top, []).append(pid)
    return copies


def find_processes(bot: Bot) -> list[Process]:
    """Every independent running copy of the bot, oldest first."""
    found = (describe_process(pid, children) for pid, children in bot_pids(bot).items())
    return sorted((p for p in found if p), key=lambda p: (p.start_time, p.pid))


@dataclass
class FoundProcess:
    """A process as it has to be started again: with its whole environment, so only for root's eyes."""

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
    def read(cls, process: Process) -> FoundProcess:
        """Take down a running process. ProcessLookupError or FileNotFoundError if it ends meanwhile."""
        base = f"/proc/{process.pid}"
        ignored = int(status_fields(process.pid)["SigIgn"], 16)
        inherited = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)  # what nohup and `&` leave ignored
        return cls(
            argv=read_nul_list(base + "/cmdline"),
            executable=os.readlink(base + "/exe"),
            cwd=process.cwd,
            environment=read_nul_list(base + "/environ"),
            uid=process.uid,
            gid=process.gid,
            groups=process.groups,
            umask=process.umask,
            limits=process.limits,
            nice=os.getpriority(os.PRIO_PROCESS, process.pid),
            ignored_signals=[int(number) for number in inherited if ignored >> (number - 1) & 1],
            stdout=_output_of(process.pid, 1),
            stderr=_output_of(process.pid, 2),
        )


def _output_of(pid: int, fd: int) -> str:
    """Where an output goes: a file's path, or /dev/null for whatever does not outlive its session (terminal, pipe)."""
    try:
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:
        return "/dev/null"
    return target if target.startswith("/") and os.path.isfile(target) else "/dev/null"
