# SPDX-License-Identifier: GPL-3.0-or-later
"""Controller's side of a look at a VM, which library/bot_info.py documents: asks the VM's program where it can."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from module_utils.bot_info_options import SPECIFICATION
from plugin_utils.asking import ask
from plugin_utils.foreseen import SourcesAhead
from plugin_utils.unanswered import OLDEST_PYTHON, numbers, python_of, python_problem
from plugin_utils.unseen import unseen


class ActionModule(ActionBase):
    """Hands the question on."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the bots."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # The first question of a run: only its answer says whether this run's program is there.
        with unseen(self._play_context):
            answer = ask(self, "bot_info", self._task.args, task_vars or {}, SPECIFICATION, tries=True)
        if not answer.get("failed"):
            # Older ansible-core sends modules to a Python on which nobody has tried the program.
            old = numbers(answer["python"]) < OLDEST_PYTHON
            problem = python_problem(self._play_context.remote_addr, python_of(self)) if old else ""
            answer = {"failed": True, "msg": problem, "unanswered": True} if problem else answer
        for bot, its in answer.get("bots", {}).items():
            sources = its.pop("sources", None)
            if sources is not None:
                names = ("home", "script", "directories")
                SourcesAhead(bot, *(sources.pop(name) for name in names)).put(sources)
        # Without bots, what it says is a sentence for all of them.
        return {**result, **({"bots": {}} if answer.get("unanswered") else {}), **answer}
