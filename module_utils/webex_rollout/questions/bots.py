# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers for `bot_info`: everything a rollout has to know about a VM's bots."""

from __future__ import annotations

import base64
import platform
from typing import Any

from ..ahead import BYTES_LIMIT, directories_on_path, read_ahead
from ..become import account_of, as_account
from ..errors import RolloutError
from ..facts import collect
from ..installed import must_be_installed
from ..look import Looked, found_of
from ..paths import unit_name
from ..processes import Bot
from ..refusals import Needs, notes, problems, systemd_problem
from ..settled import watch_problems
from ..side_by_side import side_by_side
from ..store import Vm
from ..systemd import systemd_version, units_seen_once
from ..words import printable


def _asked(given: dict[str, Any]) -> tuple[Bot, Needs]:
    """A bot as the collection wants it."""
    return Bot(given["bot"], given["home"], given["script"], given["python"], given["user"]), Needs(
        log=given["log"],
        data=tuple(given["data"]),
        open_files=given["open_files"],
        connections=given["connections"],
        min_free_mib=given["min_free_mib"],
        take_over_starters=given["take_over_starters"],
        python_given=given["python_given"],
        command=tuple(given["command"]),
        arguments=tuple(given["arguments"]),
        output=given["output"],
        keep=tuple(given["keep_variables"]),
        drop=tuple(given["drop_variables"]),
        timezone=given["timezone"],
        guard_deadline=given["guard_deadline"],
        start=given["start"],
    )


def _shared_differences(installed: dict[str, str]) -> list[str]:
    """What has to be done for all bots of this machine."""
    try:
        must_be_installed(installed)
    except RolloutError:
        return ["the VM's program or its units are not this project's"]
    return watch_problems()


def _looked(given: dict[str, Any]) -> Looked:
    """A bot as its rollout is asked for."""
    return Looked(*(given[name] for name in ("bot", "user", "inputs", "settings_hash", "signatures", "timezone")))


def _sources(facts: dict[str, Any], search_paths: list[str]) -> dict[str, Any] | None:
    """What a bot's patch is worked out from: it is needed next, and a question more costs more than the sources.

    None where they cannot be read, which is said when they are asked for.
    """
    home, script = facts["bot"]["home"], facts["bot"]["script"]
    directories = directories_on_path(home, search_paths, facts["plan"]["python_path"])
    try:
        contents, tried = as_account(account_of(facts["bot"]["user"]), read_ahead, home, script, directories)
    except (RolloutError, OSError):
        return None
    encoded = {path: base64.b64encode(data).decode("ascii") for path, data in contents.items()}
    return {"home": home, "script": script, "directories": directories, "tried": tried, "contents": encoded}


def answer(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Look at the bots."""
    bots = [_asked(each) for each in given["bots"]]
    vm = Vm()
    problem = systemd_problem(systemd_version())
    if problem:
        return {"failed": True, "msg": problem, "bots": {}}
    with units_seen_once([unit_name(each["bot"]) for each in given["bots"]]):
        return _looked_at(vm, bots, given)


def _looked_at(vm: Vm, bots: list[tuple[Bot, Needs]], given: dict[str, Any]) -> dict[str, Any]:
    shared = _shared_differences(given["installed"])
    try:
        found_each = side_by_side(lambda each: found_of(vm, _looked(each), shared), given["bots"])
        stand = dict(zip((each["bot"] for each in given["bots"]), found_each))
        settled = [bot for bot, found in stand.items() if not (given["start_ahead"] and found["differences"])]
        found = collect(vm, bots, [_asked(each) for each in given["others"]], settled)
    except RolloutError as error:
        return {"failed": True, "msg": printable(str(error)), "bots": {}}
    told = {
        bot.name: {
            "facts": found[bot.name],
            "problems": problems(found[bot.name], needs),
            "notes": notes(found[bot.name]),
            "vm_ready": not shared,
            "open_files_allowed": min(needs.open_files, found[bot.name]["limits"]["open_files"]),
            **stand[bot.name],
        }
        for bot, needs in bots
    }
    room = BYTES_LIMIT  # for all bots: who is left out is asked for his own
    for each in given["bots"]:
        its = told[each["bot"]]
        if each["bot"] not in settled and not its["problems"] and room > 0:
            its["sources"] = _sources(its["facts"], each["search_paths"])
            room -= sum(map(len, its["sources"]["contents"].values())) if its["sources"] else 0
    return {"changed": False, "python": platform.python_version(), "bots": told}
