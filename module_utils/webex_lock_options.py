# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of webex_lock, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["acquired", "released"], "default": "acquired"},
    "token": {"type": "int", "no_log": False},
    "holder": {
        "type": "dict",
        "options": {
            "who": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "pid": {"type": "int", "required": True},
            "start_time": {"type": "str", "required": True},
            "place": {"type": "str", "required": True},
        },
    },
    "dead_token": {"type": "int", "default": 0, "no_log": False},
}

SPECIFICATION: dict[str, Any] = {
    "argument_spec": OPTIONS,
    "required_if": [("state", "released", ("token",)), ("state", "acquired", ("holder",))],
}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
