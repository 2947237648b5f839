# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a look at a log, which library/bot_log_info.py documents: asks the VM's program where it can."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.bot_log_info_options import SPECIFICATION
from plugin_utils.asking import ask


class ActionModule(ActionBase):
    """Hands the question on."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the log."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        return {**result, **ask(self, "bot_log_info", self._task.args, task_vars or {}, SPECIFICATION)}
