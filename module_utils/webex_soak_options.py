# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of webex_soak, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

from .webex_rollout.questions.soak import GATE

TEXT: dict[str, Any] = {"type": "str", "default": ""}
SIGNATURE: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "text": {"type": "str", "required": True},
    "kind": {"type": "str", "choices": ["failure", "recovered", "notice"], "default": "failure"},
}
CONTROL: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "user": {"type": "str", "required": True},
    "log": {"type": "str", "required": True},
    "timezone": {"type": "str"},
    "signatures": {"type": "list", "elements": "dict"},
    "probe": {"type": "dict"},
}
OPTIONS: dict[str, Any] = {
    "bot": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["watched", "read"], "default": "watched"},
    "release": {"type": "str"},
    "log": {"type": "str"},
    "before": {"type": "dict"},
    "controls": {"type": "list", "elements": "dict", "default": [], "options": CONTROL},
    "settings_hash": TEXT,
    "soak_min": {"type": "float"},
    "soak_max": {"type": "float"},
    "watch": {"type": "float", "default": 0},
    "act": {"type": "bool", "default": True},
    "heal": {"type": "bool", "default": True},
    "checks": {"type": "list", "elements": "dict", "default": []},
    "probe": {"type": "dict", "default": {}},
    "min_requests": {"type": "int"},
    "timeouts_per_hour": {"type": "float"},
    "alpha": {"type": "float", "default": 0.01},
    "beta": {"type": "float", "default": 0.05},
    "wait": {"type": "float", "default": 0},
    "poll": {"type": "float", "default": 10},
    "decision": {**TEXT, "choices": ["", "promote", "rollback", "pause", "auto"]},
    "why": TEXT,
    "signatures": {"type": "list", "elements": "dict", "default": [], "options": SIGNATURE},
    "timezone": TEXT,
}

OF_A_LOOK = ("bot", "state", "release", "wait", "poll", "decision", "why")
BEGUN: dict[str, Any] = {
    **{name: option for name, option in OPTIONS.items() if name not in OF_A_LOOK},
    "log": {**OPTIONS["log"], "required": True},
    "soak_max": {**OPTIONS["soak_max"], "required": True},
}
"""What a run says of a soak: as `webex_release` begins it, and again at each look."""

# What the action asks of the module; a task may not.
REQUESTS: dict[str, Any] = {
    "state": {**OPTIONS["state"], "choices": [*OPTIONS["state"]["choices"], "looked"]},
    "who": TEXT,
}

# Of the module, which knows no `watched`: that is the action's.
SPECIFICATION: dict[str, Any] = {
    "argument_spec": {**OPTIONS, **REQUESTS},
    "required_if": [
        ("state", "looked", ("release", "log", *GATE)),
    ],
}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
