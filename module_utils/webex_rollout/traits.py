# SPDX-License-Identifier: GPL-3.0-or-later
"""What else speaks for a process's being a bot, where its command line does not: a launcher, a console script, a title.

A bot that was not recognised is not one that does not run. Looked at is every process of the bots' user that is no
known bot and no descendant of one: whether it holds the bot's log open, works in the checkout (or did, before that was
moved), names the bot, and has a connection to Webex. Only what shows a bot for certain is adopted; the rest is doubt,
and a reason to stop.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .become import Account, as_account, become, root_account
from .command_line import is_python, parsed, redact_argv
from .paths import is_below
from .processes import LOOK_SECONDS, NAMED_AT_MOST, Bot, started_from, was_below
from .procfs import (
    COMMAND_LINE_LIMIT,
    DESCRIPTORS_LIMIT,
    HTTPS_PORTS,
    UNANSWERED,
    all_pids,
    ancestors,
    for_each,
    open_for_writing,
    ports_of_proxies,
    read_bounded,
    read_nul_list,
    read_stat,
    remote_ports,
    same_root,
    uids_of,
    without_mark,
)

HOLDS_LOG, IN_CHECKOUT, NAMES_IT, TALKS = "holds its log open", "works in its checkout", "names it", "talks to Webex"


@dataclass(frozen=True)
class Sought:
    """A bot that no process was recognised as, and its log."""

    bot: Bot
    log: str


@dataclass(frozen=True)
class Suspect:
    """A process that may be a bot, with what speaks for it; ``argv`` is fit for output."""

    pid: int
    argv: list[str]
    traits: list[str]
    launcher: bool
    """Whether its command line could be run again: a Python script, module or code."""
    titled: bool = False
    """Whether it shows a title that it gave itself, and no longer how it was started."""
    below: int = 0
    """The process that it is a child of, where that is an unknown Python program as well."""

    @property
    def certain(self) -> bool:
        """Whether it is the bot: it holds the log or is named, a second trait agrees, and nobody else runs it."""
        strong = HOLDS_LOG in self.traits or NAMES_IT in self.traits
        return strong and len(self.traits) > 1 and self.launcher and not self.below


@dataclass
class Suspects:
    """What was found for one bot: the process to adopt, or those that leave a doubt."""

    adopted: int = 0
    doubtful: list[Suspect] = field(default_factory=list)


def find_suspects(sought: Sequence[Sought], known: Sequence[int], account: Account) -> dict[str, Suspects]:
    """Look for bots of one user that no process was recognised as, all at once.

    :param known: pids of the bots that were recognised. They, and what they have started, are nobody else.
    """
    pids = [pid for pid in all_pids() if pid != os.getpid() and uids_of(pid) == (account.uid,) * 4]
    own = {os.getpid(), *(stat.pid for stat in ancestors(os.getpid()))}
    seen = own | {*known}
    left = [pid for pid in pids if pid not in seen and not {stat.pid for stat in ancestors(pid)} & {*known}]
    given = [[s.bot.name, s.bot.home, s.bot.script, s.bot.python, s.log] for s in sought]
    rows = as_account(root_account(), _look, account, given, left, seconds=LOOK_SECONDS) if left and sought else []
    by_bot: dict[str, list[Suspect]] = {s.bot.name: [] for s in sought}
    for name, suspect in rows:
        by_bot[name].append(Suspect(**suspect))
    claimed = {each.pid for found in by_bot.values() for each in found if {HOLDS_LOG, NAMES_IT} & {*each.traits}}
    settled = {name: _settled(found, claimed) for name, found in by_bot.items()}
    adopted = [each.adopted for each in settled.values() if each.adopted]
    for name, one in settled.items():
        if adopted.count(one.adopted) > 1:  # several bots in one process
            settled[name] = Suspects(doubtful=[each for each in by_bot[name] if each.pid == one.adopted])
    return settled


def _settled(found: Sequence[Suspect], claimed: set[int]) -> Suspects:
    """One process that is the bot for certain is adopted; else all that speak for it are in doubt."""
    strong = [each for each in found if {HOLDS_LOG, NAMES_IT} & {*each.traits}]
    family = {each.pid for each in strong}
    tops = [each for each in strong if not family & {stat.pid for stat in ancestors(each.pid)}]
    programs = [each for each in tops if each.launcher] or tops
    if len(programs) == 1 and programs[0].certain:
        return Suspects(adopted=programs[0].pid)
    return Suspects(doubtful=programs or [each for each in found if each.pid not in claimed])


def _look(account: Account, bots: Sequence[Sequence[str]], pids: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """In a child: read memory and descriptors as root, become the user, compare paths."""
    shown = dict(zip(pids, for_each(_shown, pids, patience=3)))
    become(account)
    found = []
    for name, home, script, python, log in bots:
        place = _Place(name, home, script, python, log)
        for pid, seen in shown.items():
            if seen in (None, UNANSWERED):
                continue
            traits = place.traits(seen)
            if traits:
                command = parsed(seen["argv"]) if seen["python"] else None
                launcher = bool(command and command.words) and "--multiprocessing-fork" not in seen["argv"]
                below = next((each.pid for each in ancestors(pid) if _runs_python(shown, each.pid)), 0)
                argv = [word for word in redact_argv(seen["argv"]) if word]
                titled = command is not None and not command.words and not is_python(seen["argv"][0])
                shows = {"argv": argv, "launcher": launcher, "titled": titled}
                found.append((name, {"pid": pid, "traits": traits, "below": below, **shows}))
    return found


def _runs_python(shown: Mapping[int, Any], pid: int) -> bool:
    seen = shown.get(pid)
    return isinstance(seen, dict) and bool(seen["python"]) and bool(parsed(seen["argv"]).words)


def _shown(pid: int) -> dict[str, Any] | None:
    stat = read_stat(pid)
    argv = read_nul_list(f"/proc/{pid}/cmdline", COMMAND_LINE_LIMIT)
    if stat is None or stat.state in "ZX" or not argv or not same_root(pid):
        return None
    executable, environment = os.readlink(f"/proc/{pid}/exe"), read_nul_list(f"/proc/{pid}/environ")
    return {
        "argv": argv,
        "python": is_python(without_mark(executable)),
        "cwd": os.readlink(f"/proc/{pid}/cwd"),
        "environ": started_from(environment),
        "written": open_for_writing(pid),
        "talks": bool({*HTTPS_PORTS, *ports_of_proxies(environment)} & {*remote_ports(pid)}),
    }


class _Place:
    """One bot's paths, with every link followed."""

    def __init__(self, name: str, home: str, script: str, python: str, log: str) -> None:
        self.home, self.log = home, log
        self.real_home, self.real_log = os.path.realpath(home), os.path.realpath(log)
        self.script = os.path.realpath(os.path.join(home, script))
        self.venv = os.path.dirname(os.path.abspath(os.path.join(home, python)))
        stem = os.path.splitext(os.path.basename(script))[0]
        generic = {"bot", "main", "app", "run", "start", "__main__", "__init__", "index", "server"}
        self.names = {name.lower()} | ({stem.lower()} - generic)

    def traits(self, seen: Mapping[str, Any]) -> list[str]:
        """What speaks for a process's being this bot; nothing for one of another script with a log of its own."""
        found = []
        if any(self._is_log(path) for path in seen["written"]):
            found.append(HOLDS_LOG)
        if not seen["python"]:
            return found
        cwd, command = without_mark(seen["cwd"]), parsed(seen["argv"])
        called = os.path.join(cwd, command.program) if "/" in command.program else ""
        inside = is_below(cwd, self.real_home) or was_below(seen["cwd"], seen["environ"], self.home)
        target = os.path.join(cwd, command.words[0]) if command.kind == "script" else ""
        inside = inside or (
            bool(called) and is_below(self.venv, self.real_home) and os.path.dirname(called) == self.venv
        )
        inside = inside or (bool(target) and is_below(os.path.realpath(target), self.real_home))
        if inside:
            found.append(IN_CHECKOUT)
            if self._named(command.words if command.kind != "code" else command.words[:2]):
                found.append(NAMES_IT)
        if seen["talks"] and found:
            found.append(TALKS)
        if found == [IN_CHECKOUT] or (not {HOLDS_LOG, NAMES_IT} & {*found} and self._is_another(target, seen)):
            return []
        return found

    def _is_log(self, path: str) -> bool:
        """Whether an open file is the log: by its name, or as it was renamed or removed by a rotation."""
        for log in (self.log, self.real_log):
            if path == log or re.fullmatch(re.escape(log) + r"(\.\d+| \(deleted\))", path):
                return True
        return False

    def _named(self, words: Sequence[str]) -> bool:
        names = {part for word in words for part in re.split(r"[^a-z0-9_]+", word.lower())}
        parts = {part for name in names for part in (name, *name.split("_"))}
        return bool(self.names & (names if any("_" in name for name in self.names) else parts))

    def _is_another(self, target: str, seen: Mapping[str, Any]) -> bool:
        """Whether a process runs a script beside the bot's, and writes a log of its own in the checkout."""
        beside = bool(target) and os.path.dirname(os.path.realpath(target)) == os.path.dirname(self.script)
        return beside and any(is_below(path, self.real_home) for path in seen["written"])


def suspicion(name: str, doubtful: Sequence[Suspect]) -> str:
    """What is wrong about processes that may be a bot; one sentence with its next step."""
    said = "; ".join(
        f"process {each.pid} ({' '.join(each.argv)[:120]}) {', '.join(each.traits)}"
        + (f", and is a child of process {each.below}, which runs it" if each.below else "")
        for each in doubtful[:NAMED_AT_MOST]
    )
    if any(each.titled for each in doubtful):
        cure = (
            "What shows a title in place of its command line could not be started again as it was. If that is "
            f"{name}, end it and run again: what does not run, the rollout starts, by bot_script or bot_command"
        )
    else:
        cure = (
            f"If that is {name}, say how it is run (bot_command), or end it and run again: what does not run, the "
            "rollout starts"
        )
    return (
        f"no process shows the command line of {name}, but it may run: {said}. Nothing is started beside it. {cure}; "
        "if it is not, end it or correct bot_log"
    )


def several(bot: str, processes: Sequence[tuple[int, Sequence[str], str]]) -> str:
    """Why processes of one script are not copies of one bot; empty if they are.

    :param processes: the pid of each, its command line fit for output, and its arguments as they are told apart.
    """
    if len({key for _, _, key in processes}) < 2:
        return ""
    said = "; ".join(f"pid {pid}: {' '.join(argv)[:100]}" for pid, argv, _ in processes[:NAMED_AT_MOST])
    return (
        f"{bot} runs as several processes with different arguments ({said}), and these are several bots. Give each a "
        "name of its own in the inventory, and say which is which by bot_arguments (bot_arguments: [--space, emea])"
    )


def readers_of(pipes: Sequence[str], account: Account) -> dict[str, str]:
    """Who of a user's processes reads the pipes (``pipe:[7]``) that a bot writes to, by pid and name."""
    pids = [pid for pid in all_pids() if uids_of(pid) == (account.uid,) * 4] if pipes else []
    found: dict[str, str] = (
        as_account(root_account(), _readers, list(pipes), pids, seconds=LOOK_SECONDS) if pids else {}
    )
    return found


def _readers(pipes: Sequence[str], pids: Sequence[int]) -> dict[str, str]:
    def reads(pid: int) -> list[str]:
        base = f"/proc/{pid}"
        ends = []
        for fd in os.listdir(base + "/fd")[:DESCRIPTORS_LIMIT]:
            target = os.readlink(f"{base}/fd/{fd}")
            if target in pipes:
                flags = re.search(rb"^flags:\s*(\d+)", read_bounded(f"{base}/fdinfo/{fd}"), re.MULTILINE)
                if flags and int(flags.group(1), 8) & os.O_ACCMODE == os.O_RDONLY:
                    ends.append(target)
        return ends

    found = {}
    for pid, ends in zip(pids, for_each(reads, pids)):
        stat = read_stat(pid)
        for end in ends if isinstance(ends, list) and stat else []:
            found[end] = f"process {pid} ({stat.comm if stat else '?'})"
    return found
