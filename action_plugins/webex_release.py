# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a rollout's step: says what the guard must find installed before anything is armed, and gives
what a soak begins with its types."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_release_options import SPECIFICATION
from module_utils.webex_soak_options import BEGUN
from plugin_utils.asking import ask, typed
from plugin_utils.installed import installed


class ActionModule(ActionBase):
    """Hands the step on; where the guard is armed, with the hashes of the program and its units."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take the step."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        if arguments.get("state") == "armed" or arguments.get("arm"):
            arguments["installed"] = installed()
        if arguments.get("soak"):
            arguments["soak"] = typed("webex_release: soak", arguments["soak"], {"argument_spec": BEGUN})
        result.update(ask(self, "webex_release", arguments, task_vars or {}, SPECIFICATION))
        return result
