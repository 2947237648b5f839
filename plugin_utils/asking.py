"""Asks a VM what a module would be sent for: its program where it is the one of this run, or else the module itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from module_utils.webex_rollout.asked import MARK, OTHER
from module_utils.webex_rollout.paths import PROGRAM
from plugin_utils.gate.controls import vm_has
from plugin_utils.program import digest
from plugin_utils.unanswered import no_answer
from plugin_utils.words import printable

NOT_OURS = (OTHER, 2, 126, 127)
"""Exit statuses of another program, of one that knows no such question yet, and of a shell that finds none."""


def ask(
    action: ActionBase,
    module: str,
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
    specification: Mapping[str, Any],
    tries: bool = False,
) -> dict[str, Any]:
    """What the module returns for these arguments, a failure too; of one that ended without an answer, why, and
    ``unanswered``.

    :param variables: the task's.
    :param specification: the module's own, as `ArgumentSpecValidator` takes it: the program has nobody else to check
        its arguments.
    :param tries: ask the program though this run does not know yet whether it is there. Whatever ends it, the module is
        sent then, which must be fit to be asked twice.
    """
    if (tries or _is_ready(variables)) and action._is_pipelining_enabled("new"):
        found = _asked(action, module, typed(module, arguments, specification), variables, tries)
        if found is not None:
            return found
    answer: dict[str, Any] = action._execute_module(
        module_name=module, module_args=dict(arguments), task_vars=dict(variables)
    )
    # Where Ansible's own part of a module finds its Python too old, it may still be able to say so.
    if answer.get("failed") and (
        "module_stdout" in answer or str(answer.get("msg")).startswith("ansible-core requires")
    ):
        why = no_answer(action, answer)
        return {"failed": True, "msg": printable(why), "unanswered": True} if why else answer
    return answer


def typed(what: str, arguments: Mapping[str, Any], specification: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with their types and defaults, as `ArgumentSpecValidator` has them: the program takes them as they are.

    :raises AnsibleActionFail: for those that are none, in the name of `what`.
    """
    checked = ArgumentSpecValidator(**specification).validate(dict(arguments))
    if checked.error_messages:
        raise AnsibleActionFail(f"{what}: {'; '.join(checked.error_messages)}")
    parameters: dict[str, Any] = checked.validated_parameters
    return parameters


def _is_ready(variables: Mapping[str, Any]) -> bool:
    """Whether this run has found its own program on the VM, or has put it there, for whichever of its bots."""
    if (variables.get("rollout_bot") or {}).get("vm_ready") is True:
        return True
    if "rollout_bot" not in variables or "hostvars" not in variables:
        return False
    return vm_has("vm_ready", str(variables["inventory_hostname"]), variables["hostvars"])


def _chosen_python(action: ActionBase, variables: Mapping[str, Any]) -> str:
    """The VM's Python as the inventory has it; empty where Ansible is to find one."""
    chosen = action._templar.template(variables.get("ansible_python_interpreter")) or ""
    return chosen if chosen.startswith("/") and " " not in chosen else ""


def _asked(
    action: ActionBase, module: str, given: Mapping[str, Any], variables: Mapping[str, Any], tries: bool
) -> dict[str, Any] | None:
    """The program's answer; None where another one is there by now, or none."""
    request = {
        "program": digest(),
        "python": _chosen_python(action, variables),
        "module": module,
        "given": given,
        "check": action._task.check_mode,
    }
    done = action._low_level_execute_command(f"{PROGRAM} answer", in_data=json.dumps(request).encode())
    for line in done["stdout_lines"]:
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line[len(MARK) :])
            return answer
    if tries or done["rc"] in NOT_OURS:
        return None
    # Asked again in another way it would do again what it may have done half.
    last = (str(done["stderr"]).strip().splitlines() or ["no message"])[-1]
    raise AnsibleActionFail(printable(f"{module}: {PROGRAM} ended with status {done['rc']} and no answer: {last}"))
