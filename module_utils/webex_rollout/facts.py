# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout has to know about a bot's machine before it may change anything, and the reasons against changing it.

Runs on the VM (standard library, Python 3.8 or later). `collect` looks, `problems` judges; only `collect` touches the
machine, and it changes nothing.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .paths import absolute, unit_name
from .processes import Bot, find_processes
from .procfs import allowed_open_files
from .starters import find_starters
from .system import run_command
from .systemd import show_unit

# Runs under the bot's own Python as the bot's user: what that Python is, which packages it has, whether it can parse
# the script, and what that user may do. Nothing is imported from the checkout and no bytecode is written.
PROBE = r"""
import json, os, sys
script, log = sys.argv[1:3]
facts = {"version": "%d.%d.%d" % sys.version_info[:3], "packages": {}, "syntax_error": None}
try:
    from importlib import metadata
    for name in ("webex_bot", "webexteamssdk", "webexpythonsdk", "requests", "urllib3"):
        try:
            facts["packages"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
except ImportError:
    facts["packages"] = None
try:
    with open(script, "rb") as source:
        compile(source.read(), script, "exec", dont_inherit=True)
except SyntaxError as error:
    facts["syntax_error"] = "line %s: %s" % (error.lineno, error.msg)
except (OSError, ValueError) as error:
    facts["syntax_error"] = str(error)
facts["log_readable"] = os.access(log, os.R_OK)
facts["log_writable"] = os.access(log if os.path.exists(log) else os.path.dirname(log), os.W_OK)
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
    """Everything preflight, the table and the roles need to know, in one look."""
    log = absolute(bot.home, needs.log)
    checkout = Path(bot.home).is_dir()
    return {
        "bot": asdict(bot),
        "user_exists": _user_exists(bot.user),
        "group": _group_of(bot.user),
        "checkout_exists": checkout,
        "script_exists": Path(bot.home, bot.script).is_file(),
        "log": {"path": log, "exists": Path(log).exists()},
        "python": _python(bot, log),
        "free_mib": {path: shutil.disk_usage(path).free >> 20 for path in _places(bot.home)},
        "limits": _limits(),
        "systemd": _systemd_version(),
        "unit": _unit(bot.name),
        "processes": [asdict(process) for process in find_processes(bot)],
        "starters": [asdict(starter) for starter in find_starters(bot)],
    }


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
    if python.get("error"):
        yield f"{bot['python']} does not work ({python['error']}); repair the virtual environment or set bot_python"
        return
    if facts["script_exists"] and python["syntax_error"]:
        yield (
            f"{bot['home']}/{bot['script']} does not parse with the bot's own Python {python['version']}: "
            f"{python['syntax_error']}; correct it first"
        )
    if python["packages"] is not None and not {"webexteamssdk", "webexpythonsdk"} & set(python["packages"]):
        yield f"{bot['python']} has neither webexteamssdk nor webexpythonsdk; install them or set bot_python"
    if log["exists"] and not python["log_readable"]:
        yield f"{bot['user']} may not read {log['path']}, so nothing could be judged by it; correct its owner and mode"
    if not python["log_writable"]:
        yield f"{bot['user']} may not write {log['path']}; correct the owner and mode of the file or its directory"


def _owner_problems(facts: dict[str, Any], needs: Needs) -> Iterable[str]:
    name = facts["bot"]["name"]
    for starter in facts["starters"]:
        if starter["certain"] and not needs.take_over_starters:
            yield (
                f"{starter['kind']} {starter['what']} ({starter['file']} line {starter['line']}) starts {name} too, "
                f"and two copies answer everything twice; remove it, or set bot_take_over_starters to continue anyway"
            )
    for process in facts["processes"]:
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


def _user_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _group_of(user: str) -> str | None:
    """Name of the user's own group, or its number where it has no name."""
    if not _user_exists(user):
        return None
    number = pwd.getpwnam(user).pw_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _python(bot: Bot, log: str) -> dict[str, Any]:
    if not _user_exists(bot.user):
        return {"error": f"no user {bot.user}"}
    if not os.access(bot.python, os.X_OK):
        return {"error": "no such file" if not Path(bot.python).exists() else "not executable"}
    script = str(Path(bot.home, bot.script))
    # -I: neither the checkout nor PYTHON* variables of this session may decide what is found.
    done = run_command(["runuser", "-u", bot.user, "--", bot.python, "-I", "-B", "-c", PROBE, script, log])
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"error": last[0]}
    return {"error": None, **json.loads(done.stdout)}


def _places(home: str) -> list[str]:
    """The checkout and the place of the saved releases, as far as they exist."""
    return [path for path in (home, "/var/lib") if Path(path).is_dir()]


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
