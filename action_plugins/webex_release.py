# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a rollout's step: says what the guard must find installed before anything is armed, and gives
what a soak begins with its types."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.webex_release_options import SPECIFICATION
from module_utils.webex_soak_options import BEGUN
from plugin_utils.asking import ask
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
            arguments["soak"] = _typed(arguments["soak"])
        result.update(ask(self, "webex_release", arguments, task_vars or {}, SPECIFICATION))
        return result


def _typed(soak: dict[str, Any]) -> dict[str, Any]:
    """What a soak begins with, as `webex_soak` has its options: the VM's program takes it as it is."""
    checked = ArgumentSpecValidator(BEGUN).validate(soak)
    if checked.error_messages:
        raise AnsibleActionFail(f"webex_release: soak: {'; '.join(checked.error_messages)}")
    typed: dict[str, Any] = checked.validated_parameters
    return typed
