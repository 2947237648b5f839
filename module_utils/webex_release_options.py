# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of webex_release, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

from .webex_rollout.state import KEEP_RELEASES

OPTIONS: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "required": True,
        "choices": ["recorded", "armed", "switched", "checked", "confirmed", "rolled_back", "restarted"],
    },
    "token": {"type": "int", "no_log": False},
    "home": {"type": "str"},
    "script": {"type": "str"},
    "python": {"type": "str"},
    "user": {"type": "str"},
    "commands": {"type": "list", "elements": "list", "default": []},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "shared": {"type": "bool", "default": False},
            "restart": {"type": "bool", "default": True},
        },
    },
    "take_over": {"type": "bool", "default": False},
    "keep_variables": {"type": "list", "elements": "str", "default": []},
    "drop_variables": {"type": "list", "elements": "str", "default": []},
    "arm": {"type": "bool", "default": False},
    "seconds": {"type": "float", "default": 600},
    "installed": {"type": "dict", "default": {}},
    "stop_seconds": {"type": "float", "default": 10},
    "pending": {"type": "bool", "default": False},
    "start": {"type": "bool", "default": True},
    "settle": {"type": "float", "default": 30},
    "took_to_start": {"type": "float", "default": 0},
    "open_files": {"type": "int", "default": 0},
    "log": {"type": "str"},
    "log_cursor": {"type": "dict"},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "probe": {"type": "dict", "default": {}},
    "confirm": {"type": "bool", "default": False},
    "soak": {"type": "dict"},
    "keep": {"type": "int", "default": KEEP_RELEASES},
    "probation": {"type": "float", "default": 0},
    "inputs": {"type": "str", "default": ""},
    "to": {"type": "str", "default": "previous"},
    "own": {"type": "bool", "default": False},
    "reason": {"type": "str", "default": "the rollout failed"},
}

SPECIFICATION: dict[str, Any] = {
    "argument_spec": OPTIONS,
    "required_if": [("state", "recorded", ("home", "script", "python", "user"))],
}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
