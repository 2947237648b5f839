# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of client_patch, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "home": {"type": "path", "required": True},
    "script": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "original": {"type": "path"},
    "python": {"type": "path"},
    "user": {"type": "str", "default": ""},
    "scope": {"type": "str", "choices": ["script", "imports"], "default": "script"},
    "pool_module": {"type": "str", "default": "auto"},
    "search_paths": {"type": "list", "elements": "str", "default": []},
    "start": {
        "type": "dict",
        "default": {},
        "options": {
            "command": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "str", "default": ""},
            "python_path": {"type": "list", "elements": "str", "default": []},
        },
    },
    "request_timeout": {"type": "int", "default": 120},
    "backup": {"type": "bool", "default": False},
    "templates": {
        "type": "dict",
        "required": True,
        "options": {
            "api_client": {"type": "str", "required": True},
            "bot_client": {"type": "str", "required": True},
            "import_line": {"type": "str", "required": True},
        },
    },
}

# What the action asks of the module; a task may not.
REQUESTS: dict[str, Any] = {
    "read": {"type": "list", "elements": "str", "default": []},
    # A source may hold a token; without no_log Ansible would write it to the VM's journal.
    "write": {"type": "dict", "default": {}, "no_log": True},
    "expected": {"type": "dict", "default": {}},
    "prove": {"type": "dict", "default": {}},
    "ahead": {"type": "dict", "default": {}},
    "known": {"type": "dict", "default": {}},
}

SPECIFICATION: dict[str, Any] = {"argument_spec": {**OPTIONS, **REQUESTS}}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
