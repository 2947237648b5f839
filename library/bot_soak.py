#!/usr/bin/python
"""Module: looks at a soaking bot's logs and keeps on the VM what was seen."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_soak
short_description: Look at a soaking bot's logs and keep what was seen on the VM
description:
  - Keeps a bot's soak in C(/var/lib/webex-rollout/<bot>/soak.json) (root, 0600), which C(webex-rollout-soak.timer) goes
    on filling between two runs. M(webex_soak) calls this module and judges what it returns.
  - Book-keeping, so it never reports a change. In check mode it only reads.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  state:
    description:
      - C(read) returns what is kept, C(looked) reads the logs first and begins a soak where none of this O(release) is
        kept, C(judged) keeps O(record).
    type: str
    choices: [read, looked, judged]
    default: read
  release:
    description: The release under watch. Another one than is kept begins a new soak.
    type: str
  log:
    description: The bot's log.
    type: path
  before:
    description: What M(bot_log_info) returned with C(history) and C(buckets) right before the switch. Needed to begin.
    type: dict
  controls:
    description: Bots on the same VM that do not have the release.
    type: list
    elements: dict
    default: []
    suboptions:
      bot:
        description: Name of the bot.
        type: str
        required: true
      log:
        description: Its log.
        type: path
        required: true
  recipe:
    description: Names the settings the release was made with.
    type: str
    default: ""
  until:
    description: Seconds of soak after which the timer no longer looks.
    type: float
    default: 0
  decision:
    description:
      - A human's verdict, which stays until another one is given; C(auto) takes it back. Empty leaves it as it is.
    type: str
    choices: ["", promote, rollback, hold, auto]
    default: ""
  who:
    description: Who decided. Needed with O(decision).
    type: str
    default: ""
  why:
    description: Why.
    type: str
    default: ""
  record:
    description: The verdict on this soak with all its evidence, for C(judged).
    type: dict
  signatures:
    description: As in M(bot_log_info).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: A short name.
        type: str
        required: true
      text:
        description: The text itself.
        type: str
        required: true
      kind:
        description: What a record with it is.
        type: str
        choices: [failure, recovered, notice]
        default: failure
  timezone:
    description: As in M(bot_log_info).
    type: str
    default: ""
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reads only.
    support: full
"""

EXAMPLES = r"""
- name: How far is the canary?
  bot_soak:
    bot: jarvis
  register: soak
"""

RETURN = r"""
soak:
  description: What is kept; null if nothing is.
  returned: always
  type: dict
standing:
  description:
    - What the soak says for other bots. C(none) where the release that runs has not soaked, C(other) where it was made
      with another O(recipe), C(paused) where a human holds the rollout, else the last verdict (C(extend) before the
      first).
  returned: always
  type: str
resumed:
  description: Whether the soak had begun before.
  returned: always
  type: bool
unsteady:
  description: Why the release is not what runs, or was started again too often; empty while neither is so.
  returned: when O(state=looked)
  type: str
"""

import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bot_soak import STATE_DIR, Soak, SoakError, begin, load, locked, save, state_path
from ansible.module_utils.webex_rollout.clock import vm_clock
from ansible.module_utils.webex_rollout.drift import unstable
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.store import Vm


def act(given: dict[str, Any], check: bool, state_dir: Path = STATE_DIR) -> dict[str, Any]:
    """Do what is asked for and say how the soak stands.

    :raises SoakError: when what is kept, or what was given, cannot be used.
    """
    path = state_path(given["bot"], state_dir)
    if check or given["state"] == "read":
        soak = load(path)
        return {"soak": _content(soak), "resumed": soak is not None}
    with locked(path):
        soak = load(path)
        if soak is not None and given["release"] and soak.release != given["release"]:
            soak = None
        resumed = soak is not None
        if given["state"] == "judged":
            if soak is None:
                raise SoakError(f"{given['bot']}: there is no soak of release {given['release']} to keep a verdict of")
            soak.record, soak.outcome = given["record"], given["record"]["verdict"]["outcome"]
        else:
            soak = soak or begin(given["bot"], given["release"], given["log"], given["before"] or {})
            _tell(soak, given)
            soak.watch({control["bot"]: control["log"] for control in given["controls"]})
            soak.look(vm_clock())
        save(path, soak)
    return {"soak": _content(soak), "resumed": resumed}


def _tell(soak: Soak, given: dict[str, Any]) -> None:
    """What a run knows and the timer needs; what a human decided."""
    soak.signatures, soak.timezone = given["signatures"], given["timezone"]
    soak.recipe, soak.until = given["recipe"], given["until"]
    if given["decision"] == "auto":
        soak.decision = None
    elif given["decision"]:
        if not given["who"]:
            raise SoakError(f"{soak.bot}: a verdict by hand needs a name: who decides?")
        soak.decision = {"outcome": given["decision"], "who": given["who"], "why": given["why"], "when": _utc()}


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _content(soak: Soak | None) -> dict[str, Any] | None:
    return None if soak is None else soak.to_dict()


def standing(soak: dict[str, Any] | None, running: str, recipe: str) -> str:
    """What the soak says for other bots, given the release that the VM holds for proven."""
    if soak is None or soak["release"] != running:
        return "none"
    if recipe and soak["recipe"] != recipe:
        return "other"
    if soak["decision"] and soak["decision"]["outcome"] == "hold":
        return "paused"
    return soak["outcome"] or "extend"


def _running(bot: str) -> str:
    state = Vm().store(bot).load()
    return state.current if state is not None else ""


def main() -> None:
    """Run the module."""
    signature = {
        "name": {"type": "str", "required": True},
        "text": {"type": "str", "required": True},
        "kind": {"type": "str", "choices": ["failure", "recovered", "notice"], "default": "failure"},
    }
    control = {"bot": {"type": "str", "required": True}, "log": {"type": "path", "required": True}}
    text = {"type": "str", "default": ""}
    module = AnsibleModule(
        argument_spec={
            "bot": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["read", "looked", "judged"], "default": "read"},
            "release": {"type": "str"},
            "log": {"type": "path"},
            "before": {"type": "dict"},
            "controls": {"type": "list", "elements": "dict", "default": [], "options": control},
            "recipe": text,
            "until": {"type": "float", "default": 0},
            "decision": {**text, "choices": ["", "promote", "rollback", "hold", "auto"]},
            "who": text,
            "why": text,
            "record": {"type": "dict"},
            "signatures": {"type": "list", "elements": "dict", "default": [], "options": signature},
            "timezone": text,
        },
        required_if=[("state", "looked", ("release", "log")), ("state", "judged", ("release", "record"))],
        supports_check_mode=True,
    )
    given = module.params
    if given["timezone"]:
        os.environ["TZ"] = given["timezone"]
        time.tzset()
    try:
        result = act(given, module.check_mode)
        told = standing(result["soak"], _running(given["bot"]), given["recipe"])
        if given["state"] == "looked":
            result["unsteady"] = unstable(Vm(), given["bot"], given["release"])
    except (RolloutError, SoakError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, standing=told, **result)


if __name__ == "__main__":
    main()
