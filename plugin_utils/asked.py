"""What preflight asks a VM about: all its bots in one run of `bot_info`, as the settings describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plugin_utils.gate.controls import Variables, bots_of_vm
from plugin_utils.gate.settings_hash import settings_hash
from plugin_utils.inputs import inputs
from plugin_utils.settings import value_of

SETTINGS = {
    "home": "bot_home",
    "script": "bot_script",
    "python": "bot_python",
    "user": "bot_user",
    "log": "bot_log",
    "data": "bot_data",
    "command": "bot_command",
    "arguments": "bot_arguments",
    "output": "bot_output",
    "keep_variables": "bot_environment_keep",
    "drop_variables": "bot_environment_drop",
    "open_files": "webex_open_files",
    "min_free_mib": "rollout_min_free_mib",
    "start": "bot_start",
    "guard_deadline": "rollout_guard_deadline",
    "take_over_starters": "bot_take_over_starters",
    "search_paths": "webex_patch_search_paths",
    "signatures": "rollout_signatures",
    "timezone": "bot_timezone",
}
SESSIONS = 3
"""One bot has three HTTP sessions: its own client, the client inside WebexBot, and WebexBot's bare session."""


def asked(bot: str, variables: Variables, batch: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """``bots``, those of a batch that are on the machine of `bot`, and ``others`` that the inventory has there."""
    near = bots_of_vm(bot, variables)
    described = {each: _described(each, variables[each]) for each in near}
    return {
        "bots": [{**described[each], **_recorded(each, variables)} for each in near if each in batch],
        "others": [described[each] for each in near if each not in batch],
    }


def _recorded(bot: str, variables: Variables) -> dict[str, str]:
    """What has to be recorded of a bot of which nothing is left to do."""
    return {"inputs": inputs(bot, variables), "settings_hash": settings_hash(bot, variables[bot])}


def _described(bot: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    values = {option: value_of(name, bot, variables) for option, name in SETTINGS.items()}
    connections = SESSIONS * int(value_of("webex_pool_maxsize", bot, variables))
    usual = f"{value_of('bot_home', bot, variables)}/.venv/bin/python"
    return {"bot": bot, **values, "connections": connections, "python_given": values["python"] != usual}
