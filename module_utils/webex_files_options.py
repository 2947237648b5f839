# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of webex_files, which its action checks on the controller and its module on the VM."""

from __future__ import annotations

from typing import Any

FILE: dict[str, Any] = {
    # No `path`: that would expand variables and ~.
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "directory"], "default": "present"},
    "template": {"type": "str"},
    "src": {"type": "str"},
    "mode": {"type": "str"},
    "compile_with": {"type": "str"},
}
OPTIONS: dict[str, Any] = {
    "files": {"type": "list", "elements": "dict", "required": True, "options": FILE},
    "home": {"type": "str", "default": ""},
    "user": {"type": "str", "default": ""},
    "verify": {"type": "list", "elements": "str", "default": []},
}

# What the action asks of the module; a task may not.
REQUESTS: dict[str, Any] = {
    # A file may hold a secret; without no_log Ansible would write it to the VM's journal.
    "contents": {"type": "dict", "default": {}, "no_log": True},
    "diff_limit": {"type": "int", "default": 0},
}

SPECIFICATION: dict[str, Any] = {"argument_spec": {**OPTIONS, **REQUESTS}}
"""What the module takes, as `AnsibleModule` and `ask` want it."""
