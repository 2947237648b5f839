#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the lock of a bots' machine. Its action plugin adds who asks."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_lock
short_description: Acquire or release the lock of a bots' machine
description:
  - One rollout of a machine at a time. A refused run reports who holds the lock, from where, since and until when.
  - The controller's side adds who asks, from which host, with which process. A holder on the same host whose process
    is gone is taken over at once; one elsewhere when its lock has expired.
  - Every step of M(webex_release) with the lock's token renews it for another 15 minutes; without one it expires, and
    may be taken over.
  - Several bots of one machine may ask in one run; they get the same token.
options:
  state:
    description: Whether to acquire or to release the lock.
    type: str
    choices: [acquired, released]
    default: acquired
  token:
    description: For V(released), the token the lock was acquired with. Somebody else's lock is left alone.
    type: int
  holder:
    description: Who asks; filled in on the controller.
    type: dict
    suboptions:
      who:
        description: The person who began the run.
        type: str
        required: true
      host:
        description: The controller's name.
        type: str
        required: true
      pid:
        description: The run's process on the controller.
        type: int
        required: true
      start_time:
        description: When that process started, by the controller's kernel.
        type: str
        required: true
      place:
        description: The controller, as distinguished from others of the same name.
        type: str
        required: true
  dead_token:
    description: Token of a holder known to be dead; filled in on the controller.
    type: int
    default: 0
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Acquires nothing, and refuses nothing; RV(message) shows who holds the lock.
    support: full
"""

EXAMPLES = r"""
- name: Acquire the machine's lock
  webex_lock:
  register: lock

- name: Release the machine's lock
  webex_lock:
    state: released
    token: "{{ lock.token }}"
"""

RETURN = r"""
token:
  description: Fencing token, to be given to M(webex_release); larger with every new holder. None in check mode.
  returned: always
  type: int
holder:
  description: Who holds the lock, as C(who), C(host), C(pid), C(start_time) and C(place).
  returned: always
  type: dict
held_by_us:
  description: Whether this run holds the lock.
  returned: always
  type: bool
message:
  description: Who holds the lock, from where, since and until when.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_lock_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.lock import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
