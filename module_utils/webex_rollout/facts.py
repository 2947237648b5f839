# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout has to know about a bot's machine before it may change anything, and the reasons against changing it.

Runs on the VM (standard library, Python 3.8 or later). `collect` looks, `problems` judges; only `collect` touches the
machine, and it changes nothing.
"""

from __future__ import annotations

import grp
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .become import Account, account_of, as_account, run_as
from .environment import steers
from .errors import RolloutError
from .found import running_problem
from .paths import absolute, unit_name
from .processes import Bot, doubt, doubtful_pids, find_namesakes, find_processes
from .procfs import allowed_open_files
from .sources import compile_problem
from .starters import find_starters
from .starting import start_problem
from .system import run_command
from .systemd import show_unit

# The oldest versions that the pool module works with, as it says itself (OLDEST; a test compares).
OLDEST = {
    "python": "3.7",
    "requests": "2.22.0",
    "urllib3": "1.25.2",
    "webexteamssdk": "1.0",
    "webexpythonsdk": "2.0.0",
    "ciscosparkapi": "0.6",
    "wxc_sdk": "0.5.0",
    "webex_bot": "0.2.3",
    "webexteamsbot": "0.1.0",
}
SDKS = ("webexteamssdk", "webexpythonsdk", "ciscosparkapi", "wxc_sdk", "webexteamsbot")

# Runs under the bot's own Python as the bot's user: what that Python is, and which packages it has. Nothing is imported
# from the checkout and no bytecode is written.
PROBE = r"""
import json, sys
facts = {"version": "%d.%d.%d" % sys.version_info[:3], "packages": {}}
try:
    from importlib import metadata
    for name in sys.argv[1:]:
        try:
            facts["packages"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
except ImportError:  # before Python 3.8
    try:
        from pkg_resources import working_set
        found = {each.key.replace("-", "_"): each.version for each in working_set}
        facts["packages"] = {name: found[name] for name in sys.argv[1:] if name in found}
    except ImportError:
        facts["packages"] = None
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Needs:
    """What the rollout asks of the machine."""

    log: str
    open_files: int
    connections: int
    min_free_mib: int
    take_over_starters: bool


def collect(bot: Bot, needs: Needs) -> dict[str, Any]:
    """Everything preflight, the table and the roles need to know, in one look.

    What lies below the checkout is looked at by a child that has become the bot's user, as he sees it.
    """
    log = absolute(bot.home, needs.log)
    facts: dict[str, Any] = {
        "bot": asdict(bot),
        "user_exists": False,
        "group": None,
        "checkout_exists": False,
        "script_exists": False,
        "script_problem": "",
        "log": {"path": log, "exists": False, "readable": False, "writable": False},
        "python": {"error": f"no user {bot.user}"},
        "free_mib": {},
        "limits": _limits(),
        "systemd": _systemd_version(),
        "unit": _unit(bot.name),
        "processes": [],
        "doubtful": [],
        "namesakes": [],
        "starters": [],
    }
    try:
        account = account_of(bot.user)
    except RolloutError:
        return facts
    seen = as_account(account, _look_as_user, bot.home, bot.script, bot.python, log)
    facts.update(
        user_exists=True,
        group=_group_name(account.gid),
        checkout_exists=seen["checkout"],
        script_exists=seen["script"],
        script_problem=_script_problem(bot) if seen["script"] else "",
        log={"path": log, **seen["log"]},
        python=_python(bot, account, seen),
        free_mib={**seen["free_mib"], **_free_mib("/var/lib")},
        processes=[
            {
                **asdict(process),
                "steering": list(filter(steers, process.environment_names)),
                "executable_problem": running_problem(process.pid, account),
            }
            for process in find_processes(bot)
        ],
        doubtful=doubtful_pids(bot),
        namesakes=[namesake._asdict() for namesake in find_namesakes(bot)],
        starters=[asdict(starter) for starter in find_starters(bot)],
    )
    return facts


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


def notes(facts: dict[str, Any]) -> list[str]:
    """What is worth to be known and forbids nothing, each as one sentence."""
    name, user = facts["bot"]["name"], facts["bot"]["user"]
    found = [
        f"process {namesake['pid']} of {namesake['user']} names the script of {name}; it is not {user}'s, so it is not "
        f"{name}, and is left alone"
        for namesake in facts["namesakes"]
    ]
    found += [
        f"{starter['kind']} {starter['what']} of {starter['user']} ({starter['file']} line {starter['line']}) names "
        f"the script of {name}, and cannot start it as {user}"
        for starter in facts["starters"]
        if not starter["counts"]
    ]
    found += [
        f"process {process['pid']} of {name} has {', '.join(process['steering'])}, which decide what code it runs; its "
        "unit gets them only if bot_environment_keep lists them"
        for process in facts["processes"]
        if process["steering"]
    ]
    return found


def problems(facts: dict[str, Any], needs: Needs) -> list[str]:
    """Everything that forbids the rollout of this bot, each as one sentence with its next step."""
    return [*_checkout_problems(facts), *_owner_problems(facts, needs), *_room_problems(facts, needs)]


def _checkout_problems(facts: dict[str, Any]) -> Iterable[str]:
    bot, python, log = facts["bot"], facts["python"], facts["log"]
    if not facts["user_exists"]:
        yield f"there is no user {bot['user']} on the VM; set bot_user to the one who runs the bot"
        return
    if not facts["checkout_exists"]:
        yield f"the checkout {bot['home']} is not there; set bot_home to the directory of the bots' checkout"
        return
    if not facts["script_exists"]:
        yield f"the script {bot['home']}/{bot['script']} is not there; set bot_script or drop the bot"
    elif facts["script_problem"]:
        yield facts["script_problem"]
    if python.get("error"):
        yield f"{bot['python']} does not work ({python['error']}); repair the virtual environment or set bot_python"
        return
    if python["syntax_error"]:
        yield (
            f"{bot['home']}/{bot['script']} does not parse with the bot's own Python {python['version']}: "
            f"{python['syntax_error']}; correct it first"
        )
    elif python["start_problem"]:
        yield (
            f"{bot['home']}/{python['start_problem']}: {bot['name']} would not start again if it were ended now; "
            "repair the checkout first"
        )
    if python["packages"] is not None and not set(SDKS) & set(python["packages"]):
        yield f"{bot['python']} has no SDK that is known here ({', '.join(SDKS)}); install it or set bot_python"
    yield from version_problems(bot["python"], python["version"], python["packages"] or {})
    if log["exists"] and not log["readable"]:
        yield f"{bot['user']} may not read {log['path']}, so nothing could be judged by it; correct its owner and mode"
    if not log["writable"]:
        yield f"{bot['user']} may not write {log['path']}; correct the owner and mode of the file or its directory"


def version_problems(path: str, python: str, packages: Mapping[str, str]) -> Iterable[str]:
    """What of a Python, and of what it has installed, is older than the pool module needs."""
    for name, version in {"python": python, **packages}.items():
        if _numbers(version) < _numbers(OLDEST[name]):
            cure = "set bot_python to a newer one" if name == "python" else f"pip install '{name}>={OLDEST[name]}'"
            yield f"{path} has {name} {version}, and the pool module needs {OLDEST[name]}; {cure}"


def _owner_problems(facts: dict[str, Any], needs: Needs) -> Iterable[str]:
    name = facts["bot"]["name"]
    for starter in facts["starters"]:
        if starter["certain"] and starter["counts"] and not needs.take_over_starters:
            yield (
                f"{starter['kind']} {starter['what']} ({starter['file']} line {starter['line']}) starts {name} too, "
                f"and two copies answer everything twice; remove it, or set bot_take_over_starters to continue anyway"
            )
    if facts["doubtful"]:
        yield doubt(name, facts["doubtful"])
    for process in facts["processes"]:
        if process["executable_problem"]:
            yield f"{name} (pid {process['pid']}) cannot be started again: {process['executable_problem']}"
        unit = process["supervisor"]
        own = unit_name(name)
        if unit.endswith(".service") and unit != own and not needs.take_over_starters:
            yield (
                f"{name} runs under {unit} (pid {process['pid']}), which would start a second copy; "
                f"disable that unit, or set bot_take_over_starters to continue anyway"
            )


def _room_problems(facts: dict[str, Any], needs: Needs) -> Iterable[str]:
    if facts["systemd"] is None:
        yield "systemd does not run on the VM; the bots' units need it"
    for path, free in facts["free_mib"].items():
        if free < needs.min_free_mib:
            yield f"{path} has {free} MiB free, not {needs.min_free_mib}; make room or lower rollout_min_free_mib"
    limits = facts["limits"]
    allowed = min(needs.open_files, limits["open_files"])
    if allowed < needs.connections:
        yield (
            f"the kernel allows {allowed} open files a process and the pools may need {needs.connections}; "
            f"raise fs.nr_open or lower webex_pool_maxsize"
        )
    if limits["file_max"] - limits["files_open"] < needs.connections:
        yield (
            f"fs.file-max is {limits['file_max']} with {limits['files_open']} in use, and this bot may need "
            f"{needs.connections} more; raise fs.file-max"
        )


def _group_name(gid: int) -> str:
    """Name of the user's own group, or its number where it has no name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _python(bot: Bot, account: Account, seen: dict[str, Any]) -> dict[str, Any]:
    """The bot's Python, as the bot's user runs it; what it answers is data."""
    if seen["python"]:
        return {"error": seen["python"]}
    try:
        # -I: neither the checkout nor PYTHON* variables may decide what is found.
        status, output, errors = run_as(account, [bot.python, "-I", "-B", "-c", PROBE, *OLDEST])
        if status != 0:
            last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {status}"]
            return {"error": last[0]}
        answer = json.loads(output)
        version, packages = str(answer["version"]), answer["packages"]
        if packages is not None:
            packages = {str(name): str(number) for name, number in packages.items()}
    except RolloutError as error:
        return {"error": str(error)}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {"error": "it does not answer as a Python does"}
    return {
        "error": None,
        "version": version,
        "packages": packages,
        "syntax_error": _syntax_error(bot, seen),
        "start_problem": start_problem(bot.python, bot.home, bot.script, account) if seen["script"] else "",
    }


def _syntax_error(bot: Bot, seen: dict[str, Any]) -> str | None:
    """Why the bot's Python cannot parse the script; None if it can, or there is none to parse."""
    if not seen["script"]:
        return None
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
    }


def _systemd_version() -> int | None:
    if not Path("/run/systemd/system").is_dir():
        return None
    return int(run_command(["systemctl", "--version"]).stdout.split()[1])


def _unit(bot: str) -> dict[str, Any]:
    unit = show_unit(unit_name(bot))
    return {**asdict(unit), "enabled": unit.enabled}


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version, to compare by."""
    found = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return (*found, *[0] * (3 - len(found)))
