# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: refuse misspelt, unknown and renamed settings, on the controller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils.settings import known_settings, refused_settings  # noqa: E402


class ActionModule(ActionBase):
    """Compare the variables of the play's bots with the settings that the roles document.

    Takes no options, runs in full in check mode, reaches no VM and changes nothing. Argument specifications check types
    and let unknown names pass, so this refuses each variable that begins with ``bot_``, ``rollout_`` or ``webex_`` and
    is no setting, with the nearest name that is one, and each setting or value that has another name by now.
    """

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with one sentence for each name that is refused."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        by_bot = {bot: variables["hostvars"][bot] for bot in variables["ansible_play_hosts"]}
        refused = refused_settings(by_bot, known_settings())
        if refused:
            said = "; ".join(refused)
            result.update(failed=True, msg=f"{said}{'' if said.endswith('?') else '.'} Nothing was changed.")
        return result
