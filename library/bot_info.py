#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: everything a rollout has to know about a VM's bots before it may change anything."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_info
short_description: Gather facts about a machine's bots, the plan of each, and the reasons against rolling it out
description:
  - Looks at each bot's checkout, script, Python, packages, log, running copies, unit and limits, and at units, cron
    lines and scripts that would start the same bot, in one round trip.
  - Names every reason against a rollout as one sentence with its next step.
  - Reads only. Values of environment variables never leave the machine, only their names do.
options:
  bots:
    description: The bots of the machine to look at, all in one run.
    type: list
    elements: dict
    required: true
    suboptions: &bot
      bot:
        description: Name of the bot.
        type: str
        required: true
      home:
        description: The bots' checkout. Here and in the other paths C(~) is the home of O(bots[].user).
        type: str
        required: true
      script:
        description: The bot's script, relative to its checkout or in it.
        type: str
        required: true
      python:
        description: The Python that runs the bot, relative to its checkout if not absolute.
        type: str
        required: true
      python_given:
        description: Whether that Python was chosen, and goes before the one that the bot is found to run with.
        type: bool
        default: false
      user:
        description: The user who runs the bot.
        type: str
        required: true
      log:
        description: The bot's log, relative to its checkout if not absolute.
        type: str
        required: true
      data:
        description: Directories that the bot writes besides its log's, relative to its checkout if not absolute.
        type: list
        elements: str
        default: []
      command:
        description: What the Python runs in place of what the bot's process shows.
        type: list
        elements: str
        default: []
      arguments:
        description: The arguments in place of those that the bot's process shows; bots of one script are told by them.
        type: list
        elements: str
        default: []
      output:
        description: Where its output goes, as it was found or to the journal.
        type: str
        choices: [found, journal]
        default: found
      keep_variables:
        description: Shell patterns of variables to carry over in any case.
        type: list
        elements: str
        default: []
      drop_variables:
        description: Shell patterns of variables not to carry over.
        type: list
        elements: str
        default: []
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
      start:
        description: Whether it is started if it does not run.
        type: bool
        default: true
      guard_deadline:
        description: Seconds after which a start that is not proven is rolled back; 0 if nothing is to be started.
        type: int
        default: 0
      take_over_starters:
        description: Accept other units, cron lines and scripts that start the bot.
        type: bool
        default: false
      search_paths:
        description: Directories of the checkout that are on its path besides its script's own, as for M(client_patch).
        type: list
        elements: str
        default: []
      inputs:
        description: Hash of the settings and the project, as M(webex_release) keeps it of a confirmed release.
        type: str
        default: ""
      settings_hash:
        description: Hash of what a soak stands for, as M(webex_soak) keeps it.
        type: str
        default: ""
      signatures:
        description: What counts as a failure in the log, as for M(bot_log_info).
        type: list
        elements: dict
        default: []
      timezone:
        description: In which the log's times are; the VM's if empty.
        type: str
        default: ""
  others:
    description: Further bots of the machine, as O(bots), of which nothing is asked. Their processes are nobody else's.
    type: list
    elements: dict
    default: []
    suboptions: *bot
  installed:
    description: Hashes by path of what the guard and the watch have to run; filled in on the controller.
    type: dict
    default: {}
  start_ahead:
    description:
      - Whether the bots may be started anew. Then the sources are read that M(client_patch) asks for, and kept on the
        controller for the run. If not, and of a bot that is as it is wanted, nothing is asked that only a
        start may fail of, as whether its source parses, its imports are found, and its log is there.
    type: bool
    default: true
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reads only, so it runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Look at jarvis
  bot_info:
    bots:
      - bot: jarvis
        home: /home/vinay/pub/IR
        script: webex_bots/jarvis.py
        python: /home/vinay/pub/IR/.venv/bin/python
        user: vinay
        log: logs/jarvis.log
        open_files: 65536
        connections: 150
        min_free_mib: 200
  become: true
  register: vm
"""

RETURN = r"""
python:
  description: Version of the Python that answered.
  returned: success
  type: str
bots:
  description:
    - By the name of each bot C(problems), the reasons against a rollout, and C(notes), what is worth to be known and
      forbids nothing, each a sentence; C(open_files_allowed), the largest limit up to C(open_files) that this machine
      lets be set; C(vm_ready), whether the VM's program and units are this run's; and C(facts).
    - C(differences) is what a rollout has to do with the bot, a reason each; empty where it takes part in nothing.
      C(stopped) is whether it was left stopped, as M(webex_release) does with O(bots[].start=false).
      C(soak) is what is kept of its soak, as M(webex_soak) returns it, but without cursor, points in time, record and
      what it is compared with; null if nothing is kept. C(since) has the C(incidents) and C(failures) logged since that
      began, and C(now), the VM's clock; C(soak_problem) says why one of the two cannot be had.
  returned: always
  type: dict
  contains:
    plan:
      description:
        - How the unit will run the bot. C(differences) from what was found, each with C(what), C(found), C(wanted),
          C(fate) (V(changed), V(carried over), V(noted) or V(refused)) and C(why); C(python); C(unit) with C(command),
          C(directory) and C(directives); C(commands), by which the bot is known from now on.
      type: dict
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
from ansible.module_utils.bot_info_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.bots import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
