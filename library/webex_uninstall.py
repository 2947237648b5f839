#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: leave a machine as it was found."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_uninstall
short_description: Roll bots back to what was found, and remove this project from their machine
description:
  - Each bot goes back to release 0 (files byte for byte, the process as it was found), and what is kept of it is
    removed. Once no bot of the machine has a release any more, so are program, units, timers, metrics and state.
  - Files that somebody put into this project's directories, and edits that a rollback gave up, stay and are named.
  - Run again it goes on where it stopped.
options:
  bots:
    description: The machine's bots that leave.
    type: list
    elements: str
    required: true
  token:
    description: Fencing token of the machine's lock. One that is not the latest is refused.
    type: int
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Names all that would be restored and removed.
    support: full
  diff_mode:
    description: Shows what is removed, by its path.
    support: full
"""

EXAMPLES = r"""
- name: Leave the machine as it was found
  webex_uninstall:
    bots: [jarvis, tars]
    token: "{{ lock.token }}"
"""

RETURN = r"""
to_roll_back:
  description: Bots that did not run as they were found.
  returned: success
  type: list
  elements: str
restored:
  description: Files that were there before, and have their content of then again.
  returned: success
  type: list
  elements: str
removed:
  description: Files and directories that went; of a directory, itself alone.
  returned: success
  type: list
  elements: str
kept:
  description: What stays in this project's own directories, by its path, with the reason.
  returned: success
  type: dict
needed_by:
  description: Other bots that have a release. While there is one, program, timers and state stay.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.store import Vm
from ansible.module_utils.webex_rollout.uninstall import uninstall
from ansible.module_utils.webex_rollout.words import printable


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "bots": {"type": "list", "elements": "str", "required": True},
            "token": {"type": "int", "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        done = uninstall(Vm(), module.params["bots"], module.params["token"], module.check_mode)
    except RolloutError as error:
        module.fail_json(msg=printable(str(error)))
    except OSError as error:
        module.fail_json(msg=printable(f"{error.filename or 'the machine'}: {error.strerror}. Run this again"))
    module.exit_json(
        changed=done.changed,
        to_roll_back=done.to_roll_back,
        restored=sorted({path for result in done.rolled_back for path in result.files} - set(done.removed)),
        removed=sorted(done.removed),
        kept=done.kept,
        needed_by=done.needed_by,
        diff={"before": "".join(f"{path}\n" for path in sorted(done.removed)), "after": ""},
    )


if __name__ == "__main__":
    main()
