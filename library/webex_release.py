#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: one step of a bot's rollout, forward or back."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_release
short_description: Record, arm, switch, check, confirm, roll back or restart the release of a bot
description:
  - One step of a bot's rollout on its machine, by the same code as the program C(webex-rollout) and the guard.
  - V(recorded) writes down what the bot is now, the release to roll back to. V(armed) opens an attempt, where the
    machine's program and units are what this run has installed; from then on files may be written, and the guard on
    the machine rolls back what is not V(confirmed) by the deadline, whatever happens to the controller, the connection
    or the machine. V(switched) has exactly one process run under the unit, started from the files as they are, and
    restarts only where what runs is something else. V(checked) proves that the process stays, and with O(confirm) goes
    on. V(confirmed) lets the release stay. V(rolled_back) restores an earlier one. V(restarted) stops the bot and
    starts the release that stays.
  - Recording again, arming and confirming are book-keeping of the rollout. They count as a change only where they
    change the bot (V(armed) writes the file of carried variables) or what it would be rolled back to.
  - A failed V(checked) ends the attempt; the guard rolls it back at its next tick unless V(rolled_back) does before.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  state:
    description: The step.
    type: str
    required: true
    choices: [recorded, armed, switched, checked, confirmed, rolled_back, restarted]
  token:
    description: Fencing token of the machine's lock. A step with a token that is not the latest is refused.
    type: int
  home:
    description: The bots' checkout. Required for V(recorded).
    type: str
  script:
    description: The bot's script, relative to O(home). Required for V(recorded).
    type: str
  python:
    description: The Python that runs the bot. Required for V(recorded).
    type: str
  user:
    description: The user who runs the bot. Required for V(recorded).
    type: str
  commands:
    description:
      - Command lines that are the bot's although its script alone does not tell it, for V(recorded), as C(commands) of
        a plan of M(bot_info); each a list of words, secrets masked.
    type: list
    elements: list
    default: []
  files:
    description:
      - What a release consists of, for V(recorded). Paths that do not exist yet belong here too. Paths named once stay.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
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
  arm:
    description: For V(recorded), whether the guard is armed at once, as by V(armed).
    type: bool
    default: false
  seconds:
    description: For V(armed), or with O(arm), seconds from now to the deadline. Arming again in the same run moves it.
    type: float
    default: 600
  installed:
    description: For V(armed), or with O(arm), hashes by path of what the guard has to run; filled in on the controller.
    type: dict
    default: {}
  stop_seconds:
    description: For V(recorded), seconds a stopped process has to end by itself, in a switch and in a rollback.
    type: float
    default: 10
  pending:
    description: For V(switched) in check mode, whether files would have been written before.
    type: bool
    default: false
  start:
    description: For V(switched), whether a bot that does not run is started. Otherwise it is left stopped.
    type: bool
    default: true
  settle:
    description: For V(checked), seconds the same process has to stay. After one restart by systemd they begin anew.
    type: float
    default: 30
  took_to_start:
    description: For V(checked), seconds that the process before needed to be at work. The check waits accordingly.
    type: float
    default: 0
  open_files:
    description: For V(checked), the soft limit of open files wanted, or what the machine allows if that is less.
    type: int
    default: 0
  log:
    description: For V(checked), log in which the pool's ready line of the new process has to be if it has no channel.
    type: str
  checks:
    description:
      - For V(checked), commands of the operator's own, each with C(name), C(command) (a list), C(required) and
        C(seconds); those that are required have to end with 0 when run as the bot's user.
    type: list
    elements: dict
    default: []
  probe:
    description:
      - For V(checked), how the bot is asked for an answer from another account, as C(to), C(text), C(expects) and
        C(seconds). The account's token is in a file of root's on the machine; without it, or with nothing here, the bot
        is not asked.
    type: dict
    default: {}
  log_cursor:
    description:
      - For V(checked), where to begin in O(log), as M(bot_log_info) returns it. Without it the whole log is
        searched, and of a process that has passed before nothing is asked.
    type: dict
  confirm:
    description: For V(checked), whether what passes is confirmed at once, as by V(confirmed).
    type: bool
    default: false
  soak:
    description:
      - With O(confirm), what a soak of the release begins with, which it does before it is confirmed; options of
        M(webex_soak). Without it none begins. A release that is kept already, with the same C(settings_hash), keeps its
        verdict and its history; the time and the counts begin anew.
    type: dict
  keep:
    description:
      - For V(confirmed), or with O(confirm), number of releases to keep. Those that a bot could be rolled back to
        always stay.
    type: int
    default: 5
  probation:
    description:
      - For V(confirmed), or with O(confirm), seconds in which the guard still rolls the release back should its unit
        end as failed. Counted from when the release was confirmed first.
    type: float
    default: 0
  inputs:
    description:
      - For V(confirmed), or with O(confirm), hash of the settings and the project that the release is made from.
    type: str
    default: ""
  to:
    description: For V(rolled_back), V(previous), V(0) (as found) or a release.
    type: str
    default: previous
  own:
    description:
      - For V(rolled_back), whether only an attempt is rolled back that was opened under this O(token). What somebody
        else has put there stays then.
    type: bool
    default: false
  reason:
    description: For V(rolled_back), the reason that the audit log gives.
    type: str
    default: the rollout failed
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reports what would be done, also on a machine that was never deployed to.
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

- name: Roll jarvis back to what was found
  webex_release: {bot: jarvis, state: rolled_back, to: "0", reason: asked for}
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
  description: The release that V(rolled_back) would return to once this one is confirmed.
  returned: always
  type: str
attempt:
  description: Number of the latest attempt.
  returned: always
  type: int
deadline:
  description: Until when the attempt has to be confirmed, in UTC.
  returned: always
  type: str
seconds_left:
  description: Seconds to the deadline.
  returned: always
  type: float
reasons:
  description: Why the process was (or would be) restarted or rolled back. For V(recorded), why it was the last time.
  returned: always
  type: list
files:
  description: For V(recorded), files that differ from what is recorded. For V(rolled_back), files restored.
  returned: always
  type: list
stopped:
  description: Whether the bot does not run, and is left so.
  returned: success
  type: bool
problems:
  description: What of a rollback the bot's user has to put right himself, such as a path that leads out of the
    checkout now. Everything else is back; the module fails, and says so.
  returned: success
  type: list
  elements: str
kept_shared:
  description: For V(rolled_back), shared files left as they are because another bot needs them.
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
  description: Names of the variables that are C(carried), C(dropped), C(steering) (they decide which code runs, so they
    are dropped unless listed) and C(refused) (systemd could not hand them on).
  returned: always
  type: dict
checks:
  description: For V(checked), the parts of the check as C(name), C(ok), C(detail) and C(value).
  returned: always
  type: list
  elements: dict
message:
  description: What was, or would be, done.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_release_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.release import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
