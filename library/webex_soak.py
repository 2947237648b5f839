#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the soak of a bot as its VM keeps it. Its action plugin judges it, and waits."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_soak
short_description: Watch a bot after a release until its VM has reached a verdict
description:
  - The VM reaches a verdict (C(promote), C(extend), C(roll back) or C(hold)) from what the bot is heard to
    do, the failures since the switch, the bot's own history, and bots on the same VM that do not have the release yet.
    C(docs/verdict.md) derives it, with its probabilities of error. This has it look, for up to O(wait), and shows it.
  - What was seen is kept in C(/var/lib/webex-rollout/<bot>/soak.json) (root, 0600). C(webex-rollout watch) looks and
    judges in the same way whoever is connected, and with O(act) rolls back what is worse.
  - A release that was promoted stays so; then no log is read.
  - Book-keeping, so it never reports a change, and it acts on nothing.
  - Lengths of time are measured by the VM's time since boot. Setting the VM's clock neither shortens nor lengthens a
    soak; when the VM is restarted, the time it was not up does not count.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  state:
    description:
      - V(watched) looks until there is a verdict or O(wait) is over.
      - V(read) returns what is kept.
      - V(looked) is the action's own, one look. A release that was promoted is not looked at; it has O(settings_hash)
        stated anew.
    type: str
    choices: [watched, read, looked]
    default: watched
  release:
    description: The release under watch. Another one than is kept begins a new soak. Needed unless O(state=read).
    type: str
  log:
    description: The bot's log. Needed to watch and to begin.
    type: str
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
      user:
        description: Who writes its log, and so reads it.
        type: str
        required: true
      log:
        description: Its log; C(~) is the home of its user.
        type: str
        required: true
      timezone:
        description: In which its log's times are; O(timezone) where it is not given.
        type: str
      signatures:
        description: Its signatures; O(signatures) where they are not given.
        type: list
        elements: dict
      probe:
        description: How it is asked for an answer, as O(probe).
        type: dict
  settings_hash:
    description:
      - Names the settings that the release was made with. Other ones than are kept begin a new soak. Empty leaves what
        is kept as it is.
    type: str
    default: ""
  soak_min:
    description: Seconds before which nothing is promoted. Needed to watch.
    type: float
  soak_max:
    description:
      - Seconds after which the verdict is C(hold) if it was C(extend) until then. Needed to watch and to begin.
    type: float
  watch:
    description: Seconds for which the VM goes on looking after O(soak_max).
    type: float
    default: 0
  act:
    description: Whether the VM rolls back what is worse by itself.
    type: bool
    default: true
  heal:
    description: Whether the VM stops a second copy of the bot beside its unit by itself.
    type: bool
    default: true
  checks:
    description:
      - Commands of the operator's own, each with C(name), C(command) (a list), C(required) and C(seconds), run as the
        bot's user at each look. While a required one fails, nothing is promoted; the others are told only.
    type: list
    elements: dict
    default: []
  probe:
    description:
      - How the bot is asked for an answer from another account, as C(to), C(text), C(expects), C(seconds) and C(every).
        While it does not answer, nothing is promoted. The account's token is in a file of root's on the machine.
    type: dict
    default: {}
  min_requests:
    description: Requests before which nothing is promoted; at least one is always needed. Needed to watch.
    type: int
  timeouts_per_hour:
    description: Incidents an hour that one bot may have. Needed to watch.
    type: float
  alpha:
    description: Accepted probability of rolling back a release that is not worse.
    type: float
    default: 0.01
  beta:
    description:
      - Accepted probability of promoting one with ten times the failures. 1 disables this condition; only the others
        count then.
    type: float
    default: 0.05
  wait:
    description: Seconds to wait for a verdict other than C(extend). With 0 there is one look.
    type: float
    default: 0
  poll:
    description: Seconds between two looks.
    type: float
    default: 10
  decision:
    description:
      - A human's verdict, which stays until another one is given; V(auto) withdraws it. Empty leaves it as it is.
    type: str
    choices: ["", promote, rollback, pause, auto]
    default: ""
  who:
    description: Who decided; filled in on the controller.
    type: str
    default: ""
  why:
    description: Why.
    type: str
    default: ""
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
    description: O(state=read) reads, everything else is skipped with a message.
    support: partial
"""

EXAMPLES = r"""
- name: Watch the canary
  webex_soak:
    bot: jarvis
    release: "{{ release }}"
    log: /home/vinay/pub/IR/logs/jarvis.log
    before: "{{ before }}"
    controls:
      - {bot: tars, user: vinay, log: /home/vinay/pub/IR/logs/tars.log}
    soak_min: 86400
    soak_max: 172800
    min_requests: 200
    timeouts_per_hour: 1
    wait: 3600
  register: soak

- name: Read the canary's soak
  webex_soak:
    bot: jarvis
    state: read
  register: soak
"""

RETURN = r"""
verdict:
  description: V(promote), V(extend), V(roll back) or V(hold).
  returned: when O(state=watched)
  type: str
reasons:
  description: Why, a clause each.
  returned: when O(state=watched)
  type: list
  elements: str
missing:
  description: What stands between the evidence and a promotion, a clause each.
  returned: when O(state=watched)
  type: list
  elements: str
summary:
  description: The evidence in one line.
  returned: when O(state=watched)
  type: str
problem:
  description: Why the log could not be read at the last look; empty if it could.
  returned: when O(state=watched)
  type: str
notes:
  description: What else should be known, a sentence each, such as that the VM's clock was set.
  returned: when O(state=watched)
  type: list
  elements: str
until:
  description: When a promotion is possible at the earliest, in seconds since the epoch; null if time alone will not do.
  returned: when O(state=watched)
  type: float
record:
  description: The verdict with all the evidence it rests on, from which it can be derived again.
  returned: when O(state=watched)
  type: dict
history:
  description: What the log held before the switch.
  returned: when O(state=watched)
  type: dict
since:
  description: What was written to the log since, as M(bot_log_info) returns it.
  returned: when O(state=watched)
  type: dict
series:
  description:
    - Points in time, each with the seconds since the epoch and of soak, requests, incidents, recovered calls, and
      incidents of O(controls).
  returned: when O(state=watched)
  type: list
  elements: list
decided:
  description: Whether a human has decided.
  returned: when O(state=watched)
  type: bool
soak:
  description:
    - What is kept; null if nothing is. C(release), made with C(settings_hash), has been watched for C(elapsed) seconds
      up to the last look, by the VM's time since boot. C(begun) and C(clock) are the VM's clock at the beginning and at
      the last look, as C(epoch), C(since_boot) and C(boot).
    - C(own) is the bot's log as C(log), C(cursor), C(history), C(since) (what M(bot_log_info) returns) and C(problem),
      C(controls) the same of each bot that it is compared with, by name.
    - C(verdict) is the last one, empty before the first, and C(record) its evidence. C(decision) is a human's as
      C(verdict), C(who), C(why) and C(when); null if there is none.
  returned: unless O(state=watched)
  type: dict
gate_state:
  description:
    - What the soak means for other bots. V(none) where the release that runs has not soaked, V(other) where it was made
      with another O(settings_hash), V(paused) where a human has paused the rollout, else the last verdict (V(extend)
      before the first).
  returned: unless O(state=watched)
  type: str
resumed:
  description: Whether the soak had begun before.
  returned: unless O(state=watched)
  type: bool
unstable:
  description: Why the release is not what runs, or was started again too often; empty while neither is so.
  returned: when O(state=looked)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_rollout.questions.soak import answer
from ansible.module_utils.webex_soak_options import SPECIFICATION


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
