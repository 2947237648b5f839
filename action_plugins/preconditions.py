# SPDX-License-Identifier: GPL-3.0-or-later
"""Action: refuse, on the controller and before anything is reached, what no run can do."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as CORE
from ansible.utils.display import Display

PROJECT = Path(__file__).resolve().parents[1]
# Ansible puts neither the project nor a plugin's own directory on the path.
sys.path.append(str(PROJECT))

from plugin_utils.preconditions import (  # noqa: E402
    canary_problem,
    core_problem,
    pool_problems,
    probes_problem,
    settings_problems,
    type_problems,
)
from plugin_utils.settings import known_settings, refused_settings, value_of  # noqa: E402


class ActionModule(ActionBase):
    """Look at ansible-core's version, the inventory and the settings of the play's bots.

    Runs in full in check mode, reaches no VM and changes nothing. Refuses each variable that begins with ``bot_``,
    ``rollout_`` or ``webex_`` and is no setting, with the nearest name that is one, and each setting or value that has
    another name by now: argument specifications let those pass. Then what is not of its setting's type, for all bots in
    one go, and settings that contradict each other. The option `staged` also asks for a canary.
    """

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fail with one sentence for each thing that is refused."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(argument_spec={"staged": {"type": "bool", "default": False}})
        refused = list(_refused(task_vars or {}, given["staged"]))
        if refused:
            said = "; ".join(refused)
            result.update(failed=True, msg=f"{said}{'' if said.endswith('?') else '.'} Nothing was changed.")
        elif not C.CONFIG_FILE or Path(C.CONFIG_FILE).resolve().parent != PROJECT:
            Display().warning(
                f"{C.CONFIG_FILE or 'no configuration'} is used, not the project's: no report, no pipelining. Set"
                f"  ANSIBLE_CONFIG={PROJECT}/ansible.cfg"
            )
        return result


def _refused(variables: Mapping[str, Any], staged: bool) -> Iterator[str]:
    problem = core_problem(CORE)
    if problem:
        yield problem
    by_bot = {bot: variables["hostvars"][bot] for bot in variables["ansible_play_hosts"]}
    # What follows reads the settings by their names, and then by their types.
    for refused in (refused_settings(by_bot, known_settings()), type_problems(by_bot, known_settings())):
        yield from refused
        if refused:
            return
    for bot, own in by_bot.items():
        # Only a checkout on this machine is patched without a bot.
        problems = settings_problems if "bots" in own["group_names"] else pool_problems
        yield from problems(bot, functools.partial(value_of, bot=bot, variables=own))
    # Of no concern to who rolls back, restarts or looks.
    probes = {bot: value_of("bot_probe", bot, own) for bot, own in by_bot.items()} if staged else {}
    problem = probes_problem(probes)
    if problem:
        yield problem
    problem = (
        canary_problem(variables["groups"], boolean(variables.get("rollout_skip_canary", False), strict=False))
        if staged
        else ""
    )
    if problem:
        yield problem
