# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of checkout_patch, which works on the controller alone: mostly those of client_patch."""

from __future__ import annotations

from typing import Any

from .client_patch_options import OPTIONS as CLIENT_PATCH

OF_ONE_BOT = ("script", "user", "backup", "start")
OPTIONS: dict[str, Any] = {
    "scripts": {"type": "raw", "default": []},
    **{name: option for name, option in CLIENT_PATCH.items() if name not in OF_ONE_BOT},
}
