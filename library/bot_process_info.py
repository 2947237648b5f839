#!/usr/bin/python
"""Module: what runs of a bot, and what else would start it."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_process_info
short_description: Find the running copies of a bot, and everything else that would start it
description:
  - Finds the processes that run a bot's script, by what they run (interpreter, script, working directory), never by a
    name pattern. An editor on the script, a C(tail), a C(py_compile), or the same script of another checkout are not
    the bot. Forked children of a copy are listed with it and are not counted as copies.
  - Finds units, cron lines and start-up scripts that would start the same script.
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
    description: The user who runs the bot; copies run by others are found too.
    type: str
    required: true
  own_units:
    description: Beginnings of unit names that belong to the rollout itself and are not reported.
    type: list
    elements: str
    default: ["webex-bot@"]
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Reads only, so it runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Look what runs of jarvis
  bot_process_info:
    bot: jarvis
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    python: /home/vinay/pub/IR/.venv/bin/python
    user: vinay
  become: true
  register: jarvis_now
"""

RETURN = r"""
count:
  description: Number of independent running copies.
  returned: always
  type: int
processes:
  description: The copies, oldest first.
  returned: always
  type: list
  elements: dict
  contains:
    pid: {description: Process id., type: int}
    ppid: {description: Process id of the parent., type: int}
    start_time: {description: Clock ticks since boot; with the pid an identity., type: int}
    started: {description: The same as a time in UTC., type: str}
    argv: {description: Command line; values of arguments named like secrets are masked., type: list}
    cwd: {description: Working directory., type: str}
    uid: {description: Effective user id., type: int}
    gid: {description: Effective group id., type: int}
    groups: {description: Supplementary group ids., type: list}
    umask: {description: Octal., type: str}
    limits: {description: "Soft and hard limits by name, such as C({'open files': ['1024', '1048576']})", type: dict}
    environment_names: {description: Names of environment variables., type: list}
    supervisor: {description: "A unit's name, or one of V(nohup), V(tmux), V(screen), V(other).", type: str}
    unit: {description: The unit or scope whose cgroup holds the process., type: str}
    unit_is_user: {description: Whether that unit belongs to a user's own service manager., type: bool}
    keeper: {description: "A living parent that may start the bot again, as C(pid) and C(name); or none.", type: dict}
    children: {description: Forked children with the same command line., type: list}
    log_files: {description: Regular files open for writing., type: list}
starters:
  description: Other places that would start the script.
  returned: always
  type: list
  elements: dict
  contains:
    kind: {description: "One of V(unit), V(user unit), V(cron), V(script), V(supervisor).", type: str}
    file: {description: The file., type: str}
    line: {description: The line in it., type: int}
    what: {description: "The unit's name, the cron line's first field, or the file's name.", type: str}
    certain: {description: False where only a shell could tell., type: bool}
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bot_starters import find_starters
from ansible.module_utils.webex_rollout import Bot, find_processes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bot": {"type": "str", "required": True},
            "home": {"type": "path", "required": True},
            "script": {"type": "str", "required": True},
            "python": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "own_units": {"type": "list", "elements": "str", "default": ["webex-bot@"]},
        },
        supports_check_mode=True,
    )
    given = module.params
    bot = Bot(given["bot"], given["home"], given["script"], given["python"], given["user"])
    processes = find_processes(bot)
    module.exit_json(
        changed=False,
        count=len(processes),
        processes=[asdict(process) for process in processes],
        starters=[asdict(starter) for starter in find_starters(bot, own_units=given["own_units"])],
    )


if __name__ == "__main__":
    main()
