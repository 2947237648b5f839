# SPDX-License-Identifier: GPL-3.0-or-later
"""What older programs left in the state, as this one writes it. Pure functions over the content of sealed files.

A file is migrated when it is read and written in the new format when it is next saved; until then an older program
can still be put back. Format 1 is that of version 0.1.0; its soaks were not sealed. Those of format 2
had no channel; those of format 3 no commands of a bot, and less of a process that was found.
"""

from __future__ import annotations

from typing import Any

PHASES_OF_1 = {"blessed": "confirmed", "reverting": "rolling_back", "reverted": "rolled_back"}


def migrated(name: str, version: int, content: dict[str, Any]) -> dict[str, Any]:
    """The content of the sealed file `name`, written in an older `version`, in the present format.

    :raises KeyError: when it is not what that version wrote.
    """
    if name == "soak.json":
        return _soak_of_2(_soak_of_1(content) if version == 1 else content) if version < 3 else content
    return _state_of_1(content) if (name, version) == ("state.json", 1) else content


def _state_of_1(state: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had other words for the phases, and did not keep how long a stopped bot may take."""
    state = {"probation": None, **state}
    state["phase"] = PHASES_OF_1.get(state["phase"], state["phase"])
    state["roll_back_to"] = state.pop("revert_to")
    state["stop_seconds"] = 10.0
    return state


def _soak_of_1(soak: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had one time zone and one list of signatures for all logs, and other words. Cursors migrate themselves
    when they are next used, and the boot's shorter name is known to the clock."""
    soak = {key: value for key, value in soak.items() if key != "version"}
    soak["settings_hash"], soak["verdict"] = soak.pop("recipe"), soak.pop("outcome")
    every = {"timezone": soak.pop("timezone"), "signatures": soak.pop("signatures")}
    soak["own"] = _watched_of_1(soak["own"], every)
    soak["controls"] = {bot: _watched_of_1(watch, every) for bot, watch in soak["controls"].items()}
    if soak["decision"] is not None:
        decision = dict(soak["decision"])
        verdict = decision.pop("outcome")
        soak["decision"] = {**decision, "verdict": "pause" if verdict == "hold" else verdict}
    return soak


def _soak_of_2(soak: dict[str, Any]) -> dict[str, Any]:
    """Format 2 took the log's word for all, and the controller judged. Its time is not known to have been heard, so it
    begins anew; a verdict that was given stays. Nothing acts before a run has seen to it that the bot can be heard."""
    return {**soak, "elapsed": 0.0, "work": {}, "gate": {}, "acts": False, "record": None}


def _watched_of_1(watch: dict[str, Any], every: dict[str, Any]) -> dict[str, Any]:
    since = dict(watch["since"])
    if since:  # empty before the first look
        since["ready_line"] = since.pop("hearing")
        pool = dict(since["pool"])
        pool["log_level"] = pool.pop("hears")
        since["pool"] = pool
    return {**watch, "since": since, **every}
