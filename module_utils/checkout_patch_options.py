# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of checkout_patch, which works on the controller alone."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "home": {"type": "path", "required": True},
    "scripts": {"type": "raw", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "original": {"type": "path"},
    "python": {"type": "path"},
    "scope": {"type": "str", "choices": ["script", "imports"], "default": "script"},
    "pool_module": {"type": "str", "default": "auto"},
    "search_paths": {"type": "list", "elements": "str", "default": []},
    "request_timeout": {"type": "int", "default": 120},
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
