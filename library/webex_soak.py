#!/usr/bin/python
"""Documentation of the action plugin webex_soak, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_soak
short_description: Watch a bot's log after a release and say what it proves
description:
  - Has the bot's log read by M(bot_soak), again and again for up to O(wait), and comes to a verdict
    (C(promote), C(extend), C(roll back) or C(hold)) from the failures since the switch, the bot's own history, and bots
    on the same VM that do not have the release yet. C(docs/verdict.md) says how, and with which probabilities of error.
  - What was seen is kept on the VM, so a later call goes on where this one ended, by whichever hand it ended.
  - A release that was promoted stays so; then nothing is read.
  - Changes nothing and acts on nothing.
  - Lengths of time are measured by the VM's time since boot. Setting the VM's clock neither shortens nor lengthens a
    soak; when the VM is restarted, the time it was not up does not count.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  release:
    description: The release under watch. Another one than is kept on the VM begins a new soak.
    type: str
    required: true
  log:
    description: The bot's log.
    type: path
    required: true
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
    description: Names the settings the release was made with; kept with the soak.
    type: str
    default: ""
  soak_min:
    description: Seconds before which nothing is promoted.
    type: float
    required: true
  soak_max:
    description: Seconds after which the verdict is C(hold) if it was C(extend) until then.
    type: float
    required: true
  min_requests:
    description: Requests before which nothing is promoted; at least one is always needed.
    type: int
    required: true
  timeouts_per_hour:
    description: Failed calls an hour that one bot may have.
    type: float
    required: true
  alpha:
    description: Accepted probability of rolling back a release that is not worse.
    type: float
    default: 0.01
  beta:
    description:
      - Accepted probability of promoting one with ten times the failures. With 1 no certainty is asked for, only the
        other conditions count.
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
      - A verdict by hand. It is kept on the VM and stays until another one is given; C(auto) takes it back.
      - Recorded with the name of who runs this, and O(why).
    type: str
    choices: ["", promote, rollback, hold, auto]
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
  timezone:
    description: As in M(bot_log_info).
    type: str
    default: ""
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Is skipped with a message.
    support: none
"""

EXAMPLES = r"""
- name: Watch the canary
  webex_soak:
    bot: jarvis
    release: "{{ release }}"
    log: /home/vinay/pub/IR/logs/jarvis.log
    before: "{{ before }}"
    controls:
      - {bot: tars, log: /home/vinay/pub/IR/logs/tars.log}
    soak_min: 86400
    soak_max: 172800
    min_requests: 200
    timeouts_per_hour: 1
    wait: 3600
  register: soak
"""

RETURN = r"""
outcome:
  description: C(promote), C(extend), C(roll back) or C(hold).
  returned: always
  type: str
reasons:
  description: Why, a clause each.
  returned: always
  type: list
  elements: str
missing:
  description: What stands between the evidence and C(promote), a clause each.
  returned: always
  type: list
  elements: str
summary:
  description: The evidence in one line.
  returned: always
  type: str
problem:
  description: Why the log could not be read at the last look; empty if it could.
  returned: always
  type: str
notes:
  description: What else should be known, as that the VM's clock was set.
  returned: always
  type: list
  elements: str
until:
  description: When a promotion is possible at the earliest, in seconds since the epoch; null if time alone will not do.
  returned: always
  type: float
record:
  description: The verdict with all the evidence it rests on, from which it can be derived again.
  returned: always
  type: dict
history:
  description: What the log held before the switch.
  returned: always
  type: dict
since:
  description: What M(bot_log_info) returned last.
  returned: always
  type: dict
series:
  description:
    - Points in time, each with the seconds since the epoch and of soak, requests, incidents, recovered calls, and
      incidents of O(controls).
  returned: always
  type: list
  elements: list
decided:
  description: Whether a human has decided.
  returned: always
  type: bool
"""
