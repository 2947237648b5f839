# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout has to know about a VM and its bots before it may change anything.

It looks, and changes nothing; `refusals` judges what was found.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from .become import Account, account_of, as_account, expanded, group_name
from .beforehand import Asked as AskedBefore
from .beforehand import before_start_rows, took_to_start, webex_rows, zone_rows
from .command_line import absolute_words, redact_argv, shown_words
from .environment import steers
from .errors import RolloutError
from .found import FoundProcess, Seen, look, running_problem
from .interpreter import interpreter
from .namesakes import find_namesakes
from .parents import restart_problem
from .paths import absolute, relative, unit_name
from .plan import LIMITS, Asked, Plan, make_plan
from .processes import Bot, Process, describe_process, doubtful_pids, find_processes
from .procfs import allowed_open_files
from .reach import Ways
from .refusals import OLDEST, Needs
from .side_by_side import side_by_side
from .sources import compile_problem
from .starter_kept import Kept
from .starter_places import find_starters
from .starting import start_problem
from .store import Vm
from .system import run_command
from .systemd import show_unit
from .traits import Sought, find_suspects, readers_of, several, suspicion


@dataclass
class _Known:
    """What is known of a bot before its processes are judged."""

    bot: Bot
    needs: Needs
    account: Account | None
    processes: list[Process] = field(default_factory=list)
    doubtful: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    recorded: FoundProcess | None = None
    took_to_start: float = 0.0
    unseen: str = ""
    """Why it could not be looked at: that is its own user's affair, and keeps no other bot from being looked at."""


def collect(
    vm: Vm,
    given: Sequence[tuple[Bot, Needs]],
    others: Sequence[tuple[Bot, Needs]] = (),
    settled: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """Everything preflight, the table and the roles need to know of a VM's bots by their names, in one look.

    What lies below a checkout is looked at by a child that has become the bot's user, as he sees it.

    :param others: bots of the VM that are not asked for; their processes are nobody else's.
    :param settled: names of bots that need not be started: of them nothing is asked that only a start may fail of.
    """
    everybody = [_recognised(vm, bot, needs) for bot, needs in (*given, *others)]
    asked = everybody[: len(given)]
    _tell_apart(everybody)
    _search_further(asked, everybody)
    machine = {
        "limits": _limits(),
        "unit_limits": _unit_limits(),
        "starters": Kept(),
        "pythons": {},
        "ways": Ways(lasts=math.inf),
        "settled": settled,
    }
    return dict(zip((known.bot.name for known in asked), side_by_side(partial(_facts, machine=machine), asked)))


def _recognised(vm: Vm, bot: Bot, needs: Needs) -> _Known:
    """The processes that a bot's script, or what was recorded of it, shows to be the bot."""
    try:
        account = account_of(bot.user)
    except RolloutError:
        return _Known(bot, needs, None)
    try:
        bot, needs = _in_full(bot, needs, account)
    except RolloutError as error:
        return _Known(bot, needs, None, problems=[str(error)])
    state = recorded = None
    with contextlib.suppress(RolloutError):
        state = vm.store(bot.name).load()
        if state is not None and state.carried_from:
            recorded = vm.store(bot.name).release(state.carried_from).runner.process
    commands = state.bot.commands if state is not None and not (needs.command or needs.arguments) else ()
    if needs.command:
        commands = (tuple(absolute_words(shown_words(["python", *needs.command, *needs.arguments]), bot.home)),)
    bot = replace(bot, commands=commands)
    known = _Known(bot, needs, account, recorded=recorded)
    try:
        known.processes, known.doubtful = find_processes(bot), doubtful_pids(bot)
    except (RolloutError, OSError) as error:
        known.unseen = str(error)
    return known


def _in_full(bot: Bot, needs: Needs, account: Account) -> tuple[Bot, Needs]:
    """A bot with the paths of its settings as the machine has them: absolute, but for the script, which is the
    checkout's."""
    home = os.path.normpath(expanded(bot.home, account))

    def whole(path: str) -> str:
        return absolute(home, expanded(path, account))

    bot = replace(bot, home=home, script=relative(home, expanded(bot.script, account)), python=whole(bot.python))
    command = (expanded(needs.command[0], account), *needs.command[1:]) if needs.command else ()
    return bot, replace(needs, log=whole(needs.log), data=tuple(map(whole, needs.data)), command=command)


def _tell_apart(everybody: Sequence[_Known]) -> None:
    """Give each bot of a script that several share its own processes, and say where that cannot be done."""
    claimed: dict[int, str] = {}
    for known in everybody:
        if known.needs.arguments and not known.needs.command:
            wanted = " ".join(redact_argv(["-", *known.needs.arguments])[1:])
            for process in known.processes:
                if process.arguments == wanted or process.unit == unit_name(known.bot.name):
                    claimed[process.pid] = known.bot.name
    for known in everybody:
        name = known.bot.name
        own = [process for process in known.processes if claimed.get(process.pid) == name]
        left = [process for process in known.processes if process.pid not in claimed]
        sharing = [other for other in everybody if other is not known and _same_script(other.bot, known.bot)]
        if own or (known.needs.arguments and sharing):
            if left and not own:
                known.problems.append(several(name, [(p.pid, p.argv, str(p.pid)) for p in left]) or _other(name, left))
            known.processes = own
        else:
            known.processes = left
            problem = several(name, [(p.pid, p.argv, p.arguments) for p in left])
            known.problems += [problem] if problem else []


def _same_script(one: Bot, other: Bot) -> bool:
    return absolute(one.home, one.script) == absolute(other.home, other.script)


def _other(name: str, left: Sequence[Process]) -> str:
    return (
        f"pid {left[0].pid} runs the script of {name} with other arguments ({' '.join(left[0].argv)[:100]}) than its "
        "bot_arguments, and other bots of the inventory share that script: correct bot_arguments, or end it"
    )


def _search_further(asked: Sequence[_Known], everybody: Sequence[_Known]) -> None:
    """Look for bots that no process was recognised as by other traits than their command lines."""
    missing = [k for k in asked if k.account and not k.unseen and not k.processes and not k.doubtful]
    pids = [p.pid for known in everybody for p in known.processes] + [pid for k in everybody for pid in k.doubtful]
    for account in {known.account for known in missing if known.account}:
        sought = {k.bot.name: k for k in missing if k.account == account and not k.problems}
        given = [Sought(known.bot, known.needs.log) for known in sought.values()]
        try:
            suspects = find_suspects(given, pids, account)
        except (RolloutError, OSError) as error:
            for known in sought.values():
                known.unseen = str(error)
            continue
        for name, found in suspects.items():
            known = sought[name]
            process = describe_process(found.adopted, [], account) if found.adopted else None
            if process is not None:
                known.processes = [process]
            elif found.doubtful:
                known.problems.append(suspicion(name, found.doubtful))


def _facts(known: _Known, machine: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of one bot."""
    bot, needs, account = known.bot, known.needs, known.account
    log = absolute(bot.home, needs.log)
    facts: dict[str, Any] = {
        "bot": asdict(bot),
        "user_exists": False,
        "group": None,
        "checkout_exists": False,
        "script_exists": False,
        "script_problem": "",
        "log": {"path": log, "exists": False, "readable": False, "writable": False},
        "data": needs.data,
        "python": {"error": f"no user {bot.user}"},
        "free_mib": {},
        "limits": machine["limits"],
        "unit": _unit(bot.name),
        "processes": [],
        "doubtful": known.doubtful,
        "unseen": known.unseen,
        "unclear": known.problems,
        "namesakes": [],
        "starters": [],
        "plan": None,
        "took_to_start": 0.0,
    }
    if account is None:
        return facts
    facts["user_exists"] = True
    if not known.unseen:
        try:
            facts.update(_seen(known, account, log, machine))
        except (RolloutError, OSError) as error:
            facts["unseen"] = str(error)
    return facts


def _seen(known: _Known, account: Account, log: str, machine: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen of a bot, as its user sees it."""
    bot = known.bot
    planned = _planned(known, account, machine)
    bot = replace(bot, python=planned.python, commands=tuple(map(tuple, planned.commands)))
    seen = as_account(account, _look_as_user, bot.home, bot.script, bot.python, log)
    return {
        "bot": asdict(bot),
        "group": group_name(account.gid),
        "checkout_exists": seen["checkout"],
        "script_exists": seen["script"],
        "script_problem": _script_problem(bot) if seen["script"] else "",
        "log": {"path": log, **seen["log"]},
        "python": _python(bot, account, seen, machine),
        "free_mib": {**seen["free_mib"], **_free_mib("/var/lib")},
        "processes": [
            {
                **asdict(process),
                "steering": list(filter(steers, process.environment_names)),
                "executable_problem": running_problem(process.pid, account),
                "restart_problem": restart_problem(bot.name, process),
            }
            for process in known.processes
        ],
        "namesakes": [namesake._asdict() for namesake in find_namesakes(bot)],
        "starters": [asdict(starter) for starter in find_starters(bot, kept=machine["starters"])],
        "plan": planned.shown(),
        "took_to_start": known.took_to_start,
    }


def _planned(known: _Known, account: Account, machine: Mapping[str, Any]) -> Plan:
    """How the bot's unit will run it, from what runs, or from what ran when it was recorded."""
    bot, needs, processes = known.bot, known.needs, known.processes
    own = unit_name(bot.name)
    newest = processes[-1] if processes else None
    found = known.recorded
    if newest is not None and newest.unit != own:
        try:
            found = FoundProcess.read(newest, account)
        except RolloutError:
            found = None  # what it runs must not be started again, which is said by itself
    asked = Asked(
        python=bot.python,
        script=bot.script,
        home=bot.home,
        log=needs.log,
        python_given=needs.python_given,
        command=needs.command,
        arguments=needs.arguments,
        output=needs.output,
        start=needs.start,
        keep=needs.keep,
        drop=needs.drop,
        unit=own,
        open_files=min(needs.open_files, machine["limits"]["open_files"]),
        limits=machine["unit_limits"],
        oom_adjustment=machine["limits"]["oom_adjustment"],
        nice=os.getpriority(os.PRIO_PROCESS, 1),
        gid=account.gid,
        groups=account.groups,
    )
    seen = Seen()
    if found is not None:
        pipes = [stream for stream in found.streams if stream.startswith("pipe:")]
        looked = as_account(account, look, found, bot.home, bot.script)
        seen = Seen(**looked, readers=readers_of(pipes, account))
    runs = " + ".join(dict.fromkeys(own if p.unit == own else p.supervisor for p in processes))
    plan = make_plan(bot.name, asked, found, seen, runs, [process.pid for process in processes])
    before = AskedBefore(
        bot.name, account, needs.log, needs.timezone, needs.start, needs.guard_deadline, processes, found
    )
    if bot.name not in machine["settled"]:
        known.took_to_start = took_to_start(before)
        plan.differences += before_start_rows(before, bot.home, known.took_to_start)
    plan.differences += [*zone_rows(before), *webex_rows(before, machine["ways"])]
    return plan


def _look_as_user(home: str, script: str, python: str, log: str) -> dict[str, Any]:
    """What the bot's user sees of his checkout; `python` is what is wrong with that file, or nothing."""
    runs = os.access(python, os.X_OK)
    return {
        "checkout": os.path.isdir(home),
        "script": os.path.isfile(os.path.join(home, script)),
        "log": {
            "exists": os.path.exists(log),
            "readable": os.access(log, os.R_OK),
            "writable": os.access(log if os.path.exists(log) else os.path.dirname(log), os.W_OK),
        },
        "python": "" if runs else "not executable" if os.path.exists(python) else "no such file",
        "free_mib": _free_mib(home),
    }


def _free_mib(path: str) -> dict[str, int]:
    """How much room there is where a directory is; nothing where it is not."""
    try:
        status = os.statvfs(path)
    except OSError:
        return {}
    return {path: status.f_bavail * status.f_frsize >> 20}


def _script_problem(bot: Bot) -> str:
    """Why the script could not be part of a release; empty if it could."""
    try:
        bot.files.look_at(bot.script_path)
    except (RolloutError, OSError) as error:
        return str(error)
    return ""


def _python(bot: Bot, account: Account, seen: dict[str, Any], machine: Mapping[str, Any]) -> dict[str, Any]:
    """The bot's Python, and what it makes of the script where that is to be started."""
    if seen["python"]:
        return {"error": seen["python"]}
    key = (account.name, bot.python)
    if key not in machine["pythons"]:
        machine["pythons"][key] = interpreter(bot.python, account, OLDEST)
    answer: dict[str, Any] = machine["pythons"][key]
    if answer["error"]:
        return answer
    starts = seen["script"] and bot.name not in machine["settled"]
    return {
        **answer,
        "syntax_error": _syntax_error(bot) if starts else None,
        "start_problem": start_problem(bot.python, bot.home, bot.script, account) if starts else "",
    }


def _syntax_error(bot: Bot) -> str | None:
    """Why the bot's Python cannot parse the script; None if it can."""
    try:
        path = bot.script_path
        return compile_problem(bot.python, path, bot.files.look_at(path)[1], bot.user) or None
    except (RolloutError, OSError):
        return None  # `script_problem` has it


def _limits() -> dict[str, int]:
    return {
        "file_max": int(Path("/proc/sys/fs/file-max").read_text()),
        "files_open": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
        "open_files": allowed_open_files(),
        "oom_adjustment": int(Path("/proc/1/oom_score_adj").read_text()),
    }


def _unit_limits() -> dict[str, list[str]]:
    """What a unit has of each limit by itself, soft and hard, as /proc would say it."""
    names = {name: directive.replace("Limit", "DefaultLimit", 1) for name, directive in LIMITS.items()}
    wanted = ",".join(f"{each},{each}Soft" for each in names.values())
    done = run_command(["systemctl", "show", f"--property={wanted}"])
    got = dict(line.split("=", 1) for line in done.stdout.decode().splitlines() if "=" in line)
    said = {key: "unlimited" if value == "infinity" else value for key, value in got.items()}
    return {name: [said[f"{each}Soft"], said[each]] for name, each in names.items() if f"{each}Soft" in said}


def _unit(bot: str) -> dict[str, Any]:
    unit = show_unit(unit_name(bot))
    return {**asdict(unit), "enabled": unit.enabled}
