# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes. A bot is found by who runs it and by what it runs, never by a pattern of names.

`pkill -f jarvis.py` also hits an editor, a tail, and the shell that runs it. A process is the bot's if

* all four of its uids are the bots' user's, which is looked at before anything that its owner controls;
* it is a Python interpreter whose command line, read in its own directory, names the bot's script;
* a second trait agrees: it works in the checkout, or lives in the bot's unit, or was started by the bot's own Python,
  or holds a file of the checkout open for writing (its log).

What has the command line but no such trait is *doubtful*: nobody ends it, and a rollout is refused. A process of
another user that names the script is a *namesake*: a note. Whatever goes wrong while one looks at a process, it is not
the bot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .become import Account, account_of, as_account, become, root_account
from .clock import wall_start
from .command_line import is_python, parsed, python_paths, redact_argv, shown_words
from .errors import RolloutError
from .files import Files
from .parents import restarting_parent_of, supervisor_of
from .paths import OWN_UNITS, checked_name, is_below, unit_name
from .procfs import (
    COMMAND_LINE_LIMIT,
    MEMORY_LIMIT,
    UNANSWERED,
    UNREADABLE,
    Stat,
    all_pids,
    ancestors,
    for_each,
    open_for_writing,
    read_limits,
    read_nul_list,
    read_stat,
    same_root,
    status_fields,
    uids_of,
    unit_of,
    without_mark,
)
from .system import utc

LOOK_SECONDS = 15.0
# Each is looked at closely, which takes some hundredths of a second.
COPIES_AT_MOST = 64
NAMED_AT_MOST = 10  # in a message


@dataclass(frozen=True)
class Bot:
    """One bot: its script inside a checkout, and the Python that runs it.

    ``commands`` are further command lines that are the bot's, as `shown_words` has them, with absolute scripts: those
    of a launcher, or of one bot among several of one script, which then are told apart by their arguments.
    """

    name: str
    home: str
    script: str
    python: str
    user: str
    commands: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse a name that would not be one directory and one unit instance."""
        checked_name(self.name)
        object.__setattr__(self, "commands", tuple(tuple(words) for words in self.commands))

    @property
    def files(self) -> Files:
        """The way to the files of its releases."""
        return Files(self.user, self.home)

    @property
    def script_path(self) -> str:
        """The script, with every symbolic link resolved as its user sees them; the file need not exist.

        :raises BlockedError: when it leads out of the checkout.
        """
        return self.files.inside(self.script)


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

    @property
    def arguments(self) -> str:
        """What its program is given, fit for output: copies of one bot have the same."""
        return " ".join(parsed(self.argv).arguments)


# -- who is the bot --------------------------------------------------------------------------------------------


class _Look(NamedTuple):
    """What a process shows without its memory's being read: as long as this is the same, so is the answer."""

    pid: int
    start_time: int
    image: tuple[int, ...]
    executable: str
    cwd: str


# Answers by bot and look, for those who wait for a bot and ask again and again; links may come to lead elsewhere, so
# they are not kept for long.
_KEPT_SECONDS = 5.0
_kept: dict[tuple[Bot, _Look], tuple[float, str]] = {}


def _look_at(pid: int, uid: int) -> _Look | None:
    """Look at a process, if it is wholly this user's. The order matters: its owner comes first."""
    if uids_of(pid) != (uid,) * 4:
        return None
    stat = read_stat(pid)
    if stat is None or stat.state in "ZX":
        return None
    try:
        executable, cwd = os.readlink(f"/proc/{pid}/exe"), os.readlink(f"/proc/{pid}/cwd")
    except UNREADABLE:
        return None
    return _Look(pid, stat.start_time, stat.image, executable, cwd)


def _answers(bot: Bot) -> dict[int, str]:
    """What each process of the bot's user is to the bot: ``yes``, ``doubtful``, or ``no``."""
    account = account_of(bot.user)
    looks = [look for look in (_look_at(pid, account.uid) for pid in all_pids()) if look]
    now = time.monotonic()
    for key in [key for key, (until, _) in list(_kept.items()) if until < now]:
        _kept.pop(key, None)
    known = {look: kept[1] for look, kept in ((look, _kept.get((bot, look))) for look in looks) if kept}
    new = [look for look in looks if look not in known]
    if new:
        given = (bot.home, bot.script, bot.python, unit_name(bot.name), bot.commands)
        answers = as_account(root_account(), _judge, account, given, new, seconds=LOOK_SECONDS)
        for look, answer in zip(new, answers):
            known[look] = answer
            if answer != "doubtful":  # it may open its log at any moment
                _kept[bot, look] = (now + _KEPT_SECONDS, answer)
    return {look.pid: answer for look, answer in known.items()}


def _judge(account: Account, bot: Sequence[Any], looks: Sequence[_Look]) -> list[str]:
    """Say of each look what it is to the bot. In a child: reads memory and descriptors as root, then becomes the user,
    and only then follows any path."""
    home, script, python, unit, commands = bot
    shown = for_each(_memory_of, looks, patience=3)
    become(account)
    real_home, real_python = os.path.realpath(home), os.path.realpath(python)
    matches = _matcher(home, script, commands)
    answers = []
    for look, memory in zip(looks, shown):
        answer = "no"
        called = without_mark(look.executable)
        if memory == UNANSWERED:
            answer = "doubtful" if is_python(called) else "no"
        elif memory is not None and (is_python(called) or called == real_python):
            argv, environ, opened, in_unit = memory
            if in_unit == [unit, False]:
                answer = "yes"  # whatever it calls itself
            elif in_unit[0].startswith(OWN_UNITS) and not in_unit[1]:
                answer = "no"  # another bot of the same script
            elif matches(argv, look.cwd, environ):
                traits = (
                    is_below(look.cwd, real_home),
                    was_below(look.cwd, environ, home),
                    "/" in argv[0] and _same_venv(os.path.join(look.cwd, argv[0]), python),
                    any(is_below(path, real_home) for path in opened),
                )
                answer = "yes" if any(traits) else "doubtful"
        answers.append(answer)
    return answers


def _matcher(
    home: str, script: str, commands: Sequence[Sequence[str]]
) -> Callable[[Sequence[str], str, Mapping[str, str]], bool]:
    """What says of a command line, its directory and its variables whether it runs the bot. Follows links."""
    called_script = os.path.normpath(os.path.join(home, script))
    real_script = os.path.realpath(called_script)
    known = [(list(words), os.path.realpath(words[0]) if words[0][:1] == "/" else "") for words in commands]

    def runs_script(argv: Sequence[str], cwd: str, environ: Mapping[str, str]) -> bool:
        paths = python_paths(argv, cwd, environ.get("PYTHONPATH", "").split(":"))
        if real_script in map(os.path.realpath, paths):
            return True
        # Of a checkout that was moved, or to which a link led that leads elsewhere by now: as its shell called it.
        called = python_paths(argv, environ.get("PWD", cwd))
        return cwd != environ.get("PWD") and called_script in map(os.path.normpath, called)

    by_arguments = any(
        real_script in (path, *map(os.path.realpath, python_paths(["python", *words], home))) for words, path in known
    )

    def matches(argv: Sequence[str], cwd: str, environ: Mapping[str, str]) -> bool:
        words = shown_words(argv)
        for wanted, path in known:
            if path and words[1:] == wanted[1:] and words[:1] and os.path.realpath(os.path.join(cwd, words[0])) == path:
                return True
            if words == wanted:
                return True
        return not by_arguments and runs_script(argv, cwd, environ)

    return matches


def was_below(cwd: str, environ: Mapping[str, str], home: str) -> bool:
    """Whether a process was started below a checkout that was renamed or removed since, or led to by another link."""
    called = environ.get("PWD", "")
    gone = without_mark(cwd) != cwd or os.path.realpath(called) != cwd
    return gone and is_below(os.path.normpath(called), os.path.normpath(home))


def _memory_of(look: _Look) -> list[Any] | None:
    """Command line, the variables that say from where it was started, written files and unit of a process."""
    argv = read_nul_list(f"/proc/{look.pid}/cmdline", COMMAND_LINE_LIMIT)
    unit, of_user = unit_of(look.pid)
    if not argv or not (parsed(argv).words or unit.startswith(OWN_UNITS)) or not same_root(look.pid):
        return None
    environ = started_from(read_nul_list(f"/proc/{look.pid}/environ"))
    return [argv, environ, open_for_writing(look.pid), [unit, of_user]]


def started_from(environment: Sequence[str]) -> dict[str, str]:
    """The variables of a process that say where it was started, and where its modules are."""
    entries = (entry.partition("=") for entry in reversed(environment))  # of two assignments the first counts
    return {name: value for name, _, value in entries if name in ("PWD", "PYTHONPATH")}


def _same_venv(called: str, python: str) -> bool:
    """Whether two interpreters are the same virtual environment's; the system's is everybody's."""
    directory = os.path.realpath(os.path.dirname(called))
    return directory == os.path.realpath(os.path.dirname(python)) and os.path.exists(directory + "/../pyvenv.cfg")


def bot_pids(bot: Bot) -> dict[int, list[int]]:
    """Independent copies of the bot and, for each, its forked children that show the same command line.

    A fork shows its parent's command line until it runs another program; it is told from a copy by its ancestry.

    :raises RolloutError: when the bot's user does not exist, or his processes could not be looked at in time.
    """
    matching = {pid for pid, answer in _answers(bot).items() if answer == "yes"}
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


def doubtful_pids(bot: Bot) -> list[int]:
    """Processes of the bot's user that show its command line, and nothing else of it."""
    return sorted(pid for pid, answer in _answers(bot).items() if answer == "doubtful")


def doubt(name: str, pids: Sequence[int]) -> str:
    """What is wrong about processes that may be the bot, or not; one sentence with its next step."""
    listed = ", ".join(map(str, pids[:NAMED_AT_MOST]))
    return (
        f"process {listed} shows the command line of {name}, but neither works in the checkout, nor writes a file "
        f"there, nor runs the bot's own Python, so nobody can tell whether it is {name}. Nothing is started beside it: "
        "end it, or start the bot from its checkout"
    )


# -- what may be shown of it -----------------------------------------------------------------------------------


def describe_process(pid: int, children: list[int], account: Account) -> Process | None:
    """Everything that may be shown of a process; None when it ended, or its pid was reused, meanwhile."""
    before = read_stat(pid)
    if before is None:
        return None
    try:
        argv, environ = memory_of(pid)
        process = _described(before, children, account, argv, environ)
    except (*UNREADABLE, RolloutError):
        return None
    after = read_stat(pid)
    same = after and after.start_time == before.start_time and uids_of(pid) == (account.uid,) * 4
    return process if same else None


def memory_of(pid: int) -> tuple[list[str], list[str]]:
    """Command line and environment of a process, undecodable bytes kept as surrogates.

    :raises RolloutError: when its memory could not be read in time.
    :raises OSError: when it has ended.
    """
    argv, environ = as_account(root_account(), _read_memory, pid, seconds=LOOK_SECONDS)
    return argv, environ


def _read_memory(pid: int) -> list[list[str]]:
    return [read_nul_list(f"/proc/{pid}/{name}", MEMORY_LIMIT) for name in ("cmdline", "environ")]


def _described(stat: Stat, children: list[int], account: Account, argv: list[str], environ: list[str]) -> Process:
    pid, base = stat.pid, f"/proc/{stat.pid}"
    status = status_fields(pid)
    unit, unit_is_user = unit_of(pid)
    ignores_hangup = bool(int(status["SigIgn"], 16) & 1)
    return Process(
        pid=pid,
        ppid=stat.ppid,
        start_time=stat.start_time,
        started=utc(wall_start(stat.start_time)),
        argv=redact_argv(argv),
        cwd=os.readlink(base + "/cwd"),
        uid=int(status["Uid"].split()[1]),
        gid=int(status["Gid"].split()[1]),
        groups=[int(group) for group in status["Groups"].split()],
        umask=status.get("Umask", ""),
        limits=read_limits(pid),
        environment_names=sorted({entry.split("=", 1)[0] for entry in environ if "=" in entry}),
        supervisor=supervisor_of(pid, ignores_hangup, unit),
        unit=unit,
        unit_is_user=unit_is_user,
        restarting_parent=restarting_parent_of(pid, account),
        children=sorted(children),
        log_files=open_for_writing(pid),
    )


def oldest_first(pids: Iterable[int]) -> list[int]:
    """Processes in the order in which they were started, without those that have ended."""
    return [stat.pid for stat in sorted(filter(None, map(read_stat, pids)), key=lambda stat: stat.start_time)]


def find_processes(bot: Bot) -> list[Process]:
    """The independent running copies of the bot, oldest first; of very many the first `COPIES_AT_MOST`."""
    account, copies = account_of(bot.user), bot_pids(bot)
    found = (describe_process(pid, copies[pid], account) for pid in oldest_first(copies)[:COPIES_AT_MOST])
    return sorted((p for p in found if p), key=lambda p: (p.start_time, p.pid))
