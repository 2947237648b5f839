# SPDX-License-Identifier: GPL-3.0-or-later
"""The reasons against a rollout, and what is worth to be known: pure functions of what `facts` has found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .paths import unit_name
from .plan import NOTED, REFUSED, UNLESS_KEPT
from .processes import doubt

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


OLDEST_SYSTEMD = 235
"""The first that keeps a unit's runtime directory, and so a bot's channel, over a restart."""


@dataclass(frozen=True)
class Needs:
    """What the rollout asks of the machine, and what the settings say of how the bot is run."""

    log: str
    open_files: int
    connections: int
    min_free_mib: int
    take_over_starters: bool
    python_given: bool = False
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    output: str = "found"
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    timezone: str = ""
    guard_deadline: int = 0
    start: bool = True
    """Whether a bot that does not run is started."""
    data: tuple[str, ...] = ()
    """Directories that the bot writes besides its log's."""


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
        if not starter["counts"] and starter["kind"] != "start script"
    ]
    found += [
        f"{starter['file']} line {starter['line']} {starter['what']} of {name} when somebody calls it; put "
        "`systemctl restart webex-bots.target` in its place"
        for starter in facts["starters"]
        if starter["kind"] == "start script"
    ]
    found += [
        f"{starter['kind']} {starter['what']} ({starter['file']} line {starter['line']}) may start {name} too, as far "
        "as can be told without running it: look at it, and take it out if it does"
        for starter in facts["starters"]
        if starter["counts"] and not starter["certain"] and starter["kind"] != "start script"
    ]
    noted = [each for each in (facts["plan"] or {}).get("differences", []) if each["fate"] == NOTED and each["why"]]
    found += [
        f"{name} has {each['found']}, by which Python finds or runs other code; its unit gets that only if "
        "bot_environment_keep lists it"
        for each in noted
        if each["what"] == "environment" and each["why"].endswith(UNLESS_KEPT)
    ]
    found += [each["why"] for each in noted if each["what"] != "environment"]
    return found


def problems(facts: dict[str, Any], needs: Needs) -> list[str]:
    """Everything that forbids the rollout of this bot, each as one sentence with its next step."""
    return [*_checkout_problems(facts), *_owner_problems(facts, needs), *_room_problems(facts, needs)]


def _checkout_problems(facts: dict[str, Any]) -> Iterable[str]:
    bot, python, log = facts["bot"], facts["python"], facts["log"]
    if not facts["user_exists"]:
        if facts["unclear"]:
            return
        yield f"there is no user {bot['user']} on the VM; set bot_user to the one who runs the bot"
        return
    if facts["unseen"]:
        yield f"{bot['name']} could not be looked at: {facts['unseen']}"
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


def systemd_problem(version: int | None) -> str:
    """Why a VM cannot have the bots' units, whichever bot's; empty if it can.

    :param version: None where no systemd runs.
    """
    if version is None:
        return "systemd does not run on the VM, and the bots' units need it: give the bots a VM that is booted with it"
    if version < OLDEST_SYSTEMD:
        return f"systemd {version} runs on the VM, and the bots' units need {OLDEST_SYSTEMD}: upgrade the VM's system"
    return ""


def version_problems(path: str, python: str, packages: Mapping[str, str]) -> Iterable[str]:
    """What of a Python, and of what it has installed, is older than the pool module needs."""
    for name, version in {"python": python, **packages}.items():
        if _numbers(version) < _numbers(OLDEST[name]):
            cure = "set bot_python to a newer one" if name == "python" else f"pip install '{name}>={OLDEST[name]}'"
            yield f"{path} has {name} {version}, and the pool module needs {OLDEST[name]}; {cure}"


def _owner_problems(facts: dict[str, Any], needs: Needs) -> Iterable[str]:
    name = facts["bot"]["name"]
    for starter in facts["starters"]:
        by_hand = starter["kind"] == "start script"
        if starter["certain"] and starter["counts"] and not by_hand and not needs.take_over_starters:
            yield (
                f"{starter['kind']} {starter['what']} ({starter['file']} line {starter['line']}) starts {name} too, "
                f"and two copies answer everything twice; remove it, or set bot_take_over_starters to continue anyway"
            )
    if facts["doubtful"]:
        yield doubt(name, facts["doubtful"])
    yield from facts["unclear"]
    for difference in (facts["plan"] or {}).get("differences", []):
        if difference["fate"] == REFUSED:
            yield difference["why"]
    for process in facts["processes"]:
        if process["executable_problem"]:
            yield f"{name} (pid {process['pid']}) cannot be started again: {process['executable_problem']}"
        if process["restart_problem"]:
            yield process["restart_problem"]
            continue
        unit = process["supervisor"]
        own = unit_name(name)
        if unit.endswith(".service") and unit != own and not needs.take_over_starters:
            yield (
                f"{name} runs under {unit} (pid {process['pid']}), which would start a second copy; "
                f"disable that unit, or set bot_take_over_starters to continue anyway"
            )


def _room_problems(facts: dict[str, Any], needs: Needs) -> Iterable[str]:
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


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers at the beginning of a version, to compare by."""
    found = [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]
    return (*found, *[0] * (3 - len(found)))
