"""Action: refuse misspelt settings, on the controller; documented in library/known_settings.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils.settings import known_settings, unknown_settings  # noqa: E402


class ActionModule(ActionBase):
    """Compare the names of all variables of the play's bots with the names that the roles document."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with one sentence for each unknown name."""
        result = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        variables = task_vars or {}
        names_by_bot = {bot: variables["hostvars"][bot] for bot in variables["ansible_play_hosts"]}
        unknown = unknown_settings(names_by_bot, known_settings(PROJECT / "roles"))
        if unknown:
            result.update(failed=True, msg=f"{'; '.join(unknown)}. Nothing was changed.")
        return result
