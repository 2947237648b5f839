# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: build the VM's program, and hand it over only where another one is installed."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_rollout.paths import PROGRAM
from plugin_utils.program import build, digest


class ActionModule(ActionBase):
    """Asks for the hash of a program that is there first: where it is the one wanted, its bytes need not be sent."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Install the program if it differs."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        check = self._task.check_mode
        is_there = check or self._low_level_execute_command(f"test -e {PROGRAM}")["rc"] == 0
        answer = self._ask({"sha256": digest()}, task_vars) if is_there else {"changed": True}
        if answer["changed"] and not check:
            content = base64.b64encode(build()).decode("ascii")
            answer = self._ask({"sha256": digest(), "content": content}, task_vars)
        return {**result, **answer}

    def _ask(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_name="webex_program", module_args=arguments, task_vars=task_vars
        )
        if answer.get("failed"):
            raise AnsibleActionFail(str(answer.get("msg") or "webex_program failed and gave no reason"))
        return answer
