#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: everything a rollout has to know about a bot before it may change anything."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_info
short_description: Gather facts about a bot, and the reasons against rolling it out
description:
  - Looks at the bot's checkout, script, Python, packages, log, running copies, unit and limits, and at units, cron
    lines and scripts that would start the same bot, in one round trip.
  - Names every reason against a rollout as one sentence with its next step.
  - Reads only. Values of environment variables never leave the machine, only their names do.
options:
  bot:
    description: Name of the bot.
    type: str
    required: true
  home:
    description: The bots' checkout.
    type: path
    required: true
  script:
    description: The bot's script, relative to O(home).
    type: str
    required: true
  python:
    description: The Python that runs the bot.
    type: path
    required: true
  user:
    description: The user who runs the bot.
    type: str
    required: true
  log:
    description: The bot's log, relative to O(home).
    type: str
    required: true
  open_files:
    description: The wanted limit of open files.
    type: int
    required: true
  connections:
    description: How many connections the bot's pools may hold at once.
    type: int
    required: true
  min_free_mib:
    description: How much room checkout and state directory must have, in MiB.
    type: int
    required: true
  take_over_starters:
    description: Accept other units, cron lines and scripts that start the bot.
    type: bool
    default: false
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reads only, so it runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Look at jarvis
  bot_info:
    bot: jarvis
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    python: /home/vinay/pub/IR/.venv/bin/python
    user: vinay
    log: logs/jarvis.log
    open_files: 65536
    connections: 150
    min_free_mib: 200
  become: true
  register: jarvis
"""

RETURN = r"""
problems:
  description: Reasons against a rollout, each a sentence with its next step.
  returned: always
  type: list
  elements: str
notes:
  description: What is worth to be known and forbids nothing, each a sentence.
  returned: always
  type: list
  elements: str
open_files_allowed:
  description: The largest limit up to O(open_files) that this machine lets be set.
  returned: always
  type: int
facts:
  description: What was found.
  returned: always
  type: dict
  contains:
    processes:
      description:
        - The running copies, oldest first, with C(pid), C(ppid), C(start_time) (clock ticks since boot), C(started),
          C(argv) (secrets masked), C(cwd), C(uid), C(gid), C(groups), C(umask), C(limits), C(environment_names),
          C(supervisor) (a unit, V(nohup), V(tmux), V(screen) or V(other)), C(unit), C(unit_is_user),
          C(restarting_parent) (a living parent that may start the bot again), C(children), C(log_files), C(steering)
          (names of variables that decide which code runs, carried over only if they are listed) and
          C(executable_problem) (why what it runs must not be started again).
      type: list
      elements: dict
    doubtful:
      description: Pids of processes that show the bot's command line, and no second trait of it.
      type: list
      elements: int
    namesakes:
      description: Processes of other users that name the bot's script, with C(pid) and C(user); they are left alone.
      type: list
      elements: dict
    starters:
      description:
        - Other places that would start the script, with C(kind) (V(unit), V(user unit), V(cron), V(script) or
          V(supervisor)), C(file), C(line), C(what), C(user) (who it would run as), C(counts) (false where that is
          neither root nor the bot's user) and C(certain), which is false where only a shell could decide.
      type: list
      elements: dict
    unit:
      description: The bot's unit as systemd sees it, with C(active), C(enabled), C(main_pid), C(restarts) and more.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_rollout.facts import Needs, collect, notes, problems
from ansible.module_utils.webex_rollout.processes import Bot


def main() -> None:
    """Run the module."""
    required = {"type": "str", "required": True}
    path = {"type": "path", "required": True}
    count = {"type": "int", "required": True}
    module = AnsibleModule(
        argument_spec={
            "bot": required,
            "home": path,
            "script": required,
            "python": path,
            "user": required,
            "log": required,
            "open_files": count,
            "connections": count,
            "min_free_mib": count,
            "take_over_starters": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    bot = Bot(given["bot"], given["home"], given["script"], given["python"], given["user"])
    needs = Needs(
        given["log"], given["open_files"], given["connections"], given["min_free_mib"], given["take_over_starters"]
    )
    facts = collect(bot, needs)
    module.exit_json(
        changed=False,
        facts=facts,
        problems=problems(facts, needs),
        notes=notes(facts),
        open_files_allowed=min(needs.open_files, facts["limits"]["open_files"]),
    )


if __name__ == "__main__":
    main()
