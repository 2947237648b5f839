# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of bot_log_info, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

FLAG: dict[str, Any] = {"type": "bool", "default": False}
OPTIONS: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "cursor": {"type": "dict"},
    "take": FLAG,
    "history": FLAG,
    "buckets": FLAG,
    "signatures": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "text": {"type": "str", "required": True},
            "kind": {"type": "str", "choices": ["failure", "recovered", "notice"], "default": "failure"},
        },
    },
    "timezone": {"type": "str"},
}

SPECIFICATION: dict[str, Any] = {"argument_spec": OPTIONS, "mutually_exclusive": [("cursor", "take", "history")]}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
