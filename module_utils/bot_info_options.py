# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of bot_info, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "str", "default": ""}
LIST: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
BOT: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "home": {"type": "str", "required": True},
    "script": {"type": "str", "required": True},
    "python": {"type": "str", "required": True},
    "python_given": {"type": "bool", "default": False},
    "user": {"type": "str", "required": True},
    "log": {"type": "str", "required": True},
    "data": LIST,
    "command": LIST,
    "arguments": LIST,
    "output": {"type": "str", "choices": ["found", "journal"], "default": "found"},
    "keep_variables": LIST,
    "drop_variables": LIST,
    "open_files": {"type": "int", "required": True},
    "connections": {"type": "int", "required": True},
    "min_free_mib": {"type": "int", "required": True},
    "guard_deadline": {"type": "int", "default": 0},
    "start": {"type": "bool", "default": True},
    "take_over_starters": {"type": "bool", "default": False},
    "search_paths": LIST,
    "inputs": TEXT,
    "settings_hash": TEXT,
    "signatures": {"type": "list", "elements": "dict", "default": []},
    "timezone": TEXT,
}
BOTS: dict[str, Any] = {"type": "list", "elements": "dict", "options": BOT}
OPTIONS: dict[str, Any] = {
    "bots": {**BOTS, "required": True},
    "others": {**BOTS, "default": []},
    "installed": {"type": "dict", "default": {}},
    "start_ahead": {"type": "bool", "default": True},
}

SPECIFICATION: dict[str, Any] = {"argument_spec": OPTIONS}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
