#!/usr/bin/python
"""Module: one step of a bot's rollout, forward or back."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_release
short_description: Record, arm, switch, check, bless or revert the release a bot runs
description:
  - One step of a bot's rollout on its machine, by the same code as the program C(webex-rollout) and the guard.
  - V(recorded) writes down what the bot is now, the way back. V(armed) opens an attempt; from then on files may be
    written, and the guard on the machine takes back what is not V(blessed) by the deadline, whatever happens to the
    controller, the connection or the machine. V(switched) has exactly one process run under the unit, started from the
    files as they are, and restarts only where what runs is something else. V(checked) proves that the process stays.
    V(blessed) lets the release stay. V(reverted) goes back.
  - Recording a watch, arming and blessing are book-keeping of the rollout. They count as a change only where they
    change the bot (V(armed) writes the file of carried variables) or what it would be taken back to.
  - A failed V(checked) ends the attempt; the guard takes it back at its next tick unless V(reverted) does before.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  state:
    description: The step.
    type: str
    required: true
    choices: [recorded, armed, switched, checked, blessed, reverted]
  token:
    description: Fencing token of the machine's lock. A step with a token that is not the latest is refused.
    type: int
  home:
    description: The bots' checkout. Required for V(recorded).
    type: path
  script:
    description: The bot's script, relative to O(home). Required for V(recorded).
    type: str
  python:
    description: The Python that runs the bot. Required for V(recorded).
    type: path
  user:
    description: The user who runs the bot. Required for V(recorded).
    type: str
  unit:
    description: The unit to run the bot under, for V(recorded). By default C(webex-bot@<bot>.service).
    type: str
  environment_file:
    description:
      - File that carries the variables of the process that was found, readable for root alone. It is part of the
        release. By default C(/etc/webex-bots/<bot>.env).
    type: path
  files:
    description:
      - What a release consists of, for V(recorded). Paths that do not exist yet belong here too. Paths named once stay.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      shared:
        description: Whether several bots of the machine use it. It goes back only when no other bot needs it.
        type: bool
        default: false
      restart:
        description: Whether a process started from another content has to be restarted.
        type: bool
        default: true
  take_over:
    description: Whether V(recorded) may adopt a bot that runs under a unit of another name.
    type: bool
    default: false
  keep_variables:
    description: Shell patterns of variables to carry over in any case.
    type: list
    elements: str
    default: []
  drop_variables:
    description: Shell patterns of variables not to carry over, besides those of the session.
    type: list
    elements: str
    default: []
  watch:
    description: For V(recorded), seconds in which the guard starts a process as found again that a reboot took.
    type: float
    default: 900
  seconds:
    description: For V(armed), seconds from now to the deadline. Arming again in the same run moves it.
    type: float
    default: 600
  stop_seconds:
    description: For V(switched), seconds a process gets to end before it is killed.
    type: float
    default: 10
  pending:
    description: For V(switched) in check mode, whether files would have been written before.
    type: bool
    default: false
  hold:
    description: For V(checked), seconds the same process has to stay. One restart by systemd begins it anew.
    type: float
    default: 30
  open_files:
    description: For V(checked), the soft limit of open files wanted, or what the machine allows if that is less.
    type: int
    default: 0
  ports:
    description: For V(checked), the process needs a connection to one of them, or to a proxy of its environment.
    type: list
    elements: int
    default: [443]
  log:
    description: For V(checked), log in which the pool's ready line of the new process has to be.
    type: path
  log_cursor:
    description:
      - For V(checked), where to begin in O(log), with C(inode) and C(offset) as M(bot_log_info) returns them.
        Without it the whole log is searched.
    type: dict
  keep:
    description: For V(blessed), number of releases to keep. The ways back are never removed.
    type: int
    default: 5
  probation:
    description:
      - For V(blessed), seconds in which the guard still takes the release back should its unit end as failed. Counted
        from when the release was blessed first.
    type: float
    default: 0
  to:
    description: For V(reverted), V(previous), V(0) (as found) or a release.
    type: str
    default: previous
  reason:
    description: For V(reverted), what the audit says.
    type: str
    default: the rollout failed
  force:
    description: For V(reverted), give up edits made since by somebody else; their bytes are kept on the machine.
    type: bool
    default: false
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Says what would be done, also on a machine that was never deployed to.
    support: full
  diff_mode:
    description: Shows files by hash, and variables by name.
    support: full
"""

EXAMPLES = r"""
- name: Record what jarvis is
  webex_release:
    bot: jarvis
    state: recorded
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    python: /home/vinay/pub/IR/.venv/bin/python
    user: vinay
    files:
      - path: /home/vinay/pub/IR/webex_bots/jarvis.py
      - {path: /home/vinay/pub/IR/src/utils/webex_pool_config.py, shared: true}
    token: "{{ lock.token }}"

- name: Arm the guard
  webex_release: {bot: jarvis, state: armed, seconds: 600, token: "{{ lock.token }}"}

- name: Put jarvis back as he was found
  webex_release: {bot: jarvis, state: reverted, to: "0", reason: asked for}
"""

RETURN = r"""
phase:
  description: Where the bot's rollout stands.
  returned: when recorded
  type: str
release:
  description: The release that stays; V(0) is what was found first.
  returned: always
  type: str
candidate:
  description: The release under trial.
  returned: always
  type: str
previous:
  description: The release that V(reverted) would go to once this one is blessed.
  returned: always
  type: str
attempt:
  description: Number of the latest attempt.
  returned: always
  type: int
deadline:
  description: Until when the attempt has to be blessed, in UTC.
  returned: always
  type: str
seconds_left:
  description: Seconds to the deadline.
  returned: always
  type: float
reasons:
  description: Why the process was (or would be) restarted or taken back. For V(recorded), why it was the last time.
  returned: always
  type: list
files:
  description: For V(recorded), files that differ from what is recorded. For V(reverted), files put back.
  returned: always
  type: list
kept_shared:
  description: For V(reverted), shared files left as they are because another bot needs them.
  returned: always
  type: list
pids_before:
  description: Independent copies of the bot before.
  returned: always
  type: list
pids_after:
  description: Independent copies of the bot after.
  returned: always
  type: list
seconds_down:
  description: Seconds between the first signal to the old process and the proof of the new one.
  returned: always
  type: float
found:
  description:
    - For V(recorded), what a unit has to take over, as C(runs), C(unit), C(copies), C(supervisor), C(uid), C(gid),
      C(groups), C(umask), C(open_files) and C(newer_than_process).
  returned: always
  type: dict
environment:
  description: Names of the variables that are C(carried), C(dropped) and C(refused) (systemd could not hand them on).
  returned: always
  type: dict
checks:
  description: For V(checked), the parts of the check as C(name), C(ok) and C(detail).
  returned: always
  type: list
  elements: dict
message:
  description: What was, or would be, done.
  returned: always
  type: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_rollout import (
    KEEP_RELEASES,
    Bot,
    CheckFailedError,
    FileRule,
    Proof,
    Result,
    RolloutError,
    Vm,
    Wanted,
    arm,
    bless,
    check_start,
    record,
    revert,
    switch,
)

ARGUMENTS = {
    "bot": {"type": "str", "required": True},
    "state": {
        "type": "str",
        "required": True,
        "choices": ["recorded", "armed", "switched", "checked", "blessed", "reverted"],
    },
    "token": {"type": "int", "no_log": False},
    "home": {"type": "path"},
    "script": {"type": "str"},
    "python": {"type": "path"},
    "user": {"type": "str"},
    "unit": {"type": "str"},
    "environment_file": {"type": "path"},
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "path", "required": True},
            "shared": {"type": "bool", "default": False},
            "restart": {"type": "bool", "default": True},
        },
    },
    "take_over": {"type": "bool", "default": False},
    "keep_variables": {"type": "list", "elements": "str", "default": []},
    "drop_variables": {"type": "list", "elements": "str", "default": []},
    "watch": {"type": "float", "default": 900},
    "seconds": {"type": "float", "default": 600},
    "stop_seconds": {"type": "float", "default": 10},
    "pending": {"type": "bool", "default": False},
    "hold": {"type": "float", "default": 30},
    "open_files": {"type": "int", "default": 0},
    "ports": {"type": "list", "elements": "int", "default": [443]},
    "log": {"type": "path"},
    "log_cursor": {"type": "dict"},
    "keep": {"type": "int", "default": KEEP_RELEASES},
    "probation": {"type": "float", "default": 0},
    "to": {"type": "str", "default": "previous"},
    "reason": {"type": "str", "default": "the rollout failed"},
    "force": {"type": "bool", "default": False},
}


def _wanted(given: dict) -> Wanted:
    """What to record."""
    return Wanted(
        bot=Bot(given["bot"], given["home"], given["script"], given["python"], given["user"]),
        files={file["path"]: FileRule(file["shared"], file["restart"]) for file in given["files"]},
        unit=given["unit"] or "",
        environment_file=given["environment_file"] or "",
        take_over=given["take_over"],
        keep_variables=given["keep_variables"],
        drop_variables=given["drop_variables"],
        watch=given["watch"],
    )


def act(vm: Vm, given: dict, check: bool) -> Result:
    """Take the step that is asked for."""
    bot, token = given["bot"], given["token"]
    if given["state"] == "recorded":
        return record(vm, _wanted(given), token, check)
    if given["state"] == "armed":
        return arm(vm, bot, given["seconds"], token, check)
    if given["state"] == "switched":
        return switch(vm, bot, token, given["stop_seconds"], check, given["pending"])
    if given["state"] == "checked":
        cursor = given["log_cursor"] or {}
        place = {
            "log": given["log"] or "",
            "inode": int(cursor.get("inode", 0)),
            "offset": int(cursor.get("offset", 0)),
        }
        proof = Proof(given["hold"], given["open_files"], given["ports"], **place)
        return check_start(vm, bot, proof, token, check)
    if given["state"] == "blessed":
        return bless(vm, bot, token, given["keep"], given["probation"], check)
    return revert(vm, bot, given["to"], given["reason"], given["force"], token, check)


def report(result: Result) -> dict:
    """A result as a module returns it."""
    returned = asdict(result)
    returned["diff"] = {"before": returned.pop("before"), "after": returned.pop("after")}
    return returned


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_if=[("state", "recorded", ("home", "script", "python", "user"))],
        supports_check_mode=True,
    )
    try:
        result = act(Vm(), module.params, module.check_mode)
    except CheckFailedError as error:
        module.fail_json(msg=str(error), **report(error.result))
    except RolloutError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{module.params['bot']}: {error.filename or 'the machine'}: {error.strerror}")
    else:
        module.exit_json(**report(result))


if __name__ == "__main__":
    main()
