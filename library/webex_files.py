#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the files that a rollout writes, root's own and those of a checkout. Its action plugin renders them."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_files
short_description: Write files of a rollout, each by the one it belongs to
description:
  - Writes, or removes, a list of files in one run. Nothing of the list is touched unless all of it can be, and has
    passed its checks.
  - A file below O(home) is looked at, written and removed by a process that has become the bots' user, and no link
    leads out of O(home). Its owner is that user.
  - Every other file is root's own, and refused where somebody else could change one of the directories above it.
  - Contents travel as arguments of the module, never through a file in somebody's home.
  - A file that differs is replaced in one step. Missing directories above it are made, with mode 0755.
options:
  files:
    description: What is wanted, in the order in which it is written.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path, without links of its own at its end; such a link is replaced.
        type: str
        required: true
      state:
        description:
          - V(present) for a file, V(directory) for a directory of root's, V(absent) for neither. What is removed of
            root's own may be a directory with all that it holds.
        type: str
        choices: [present, absent, directory]
        default: present
      template:
        description: For V(present), a template of the role.
        type: str
      src:
        description: For V(present), a file of the role, or an absolute path on the controller.
        type: str
      mode:
        description: Octal, in quotes. V(0644) by default, V(0755) for a directory.
        type: str
      compile_with:
        description: An interpreter that must compile the file, run as the bots' user.
        type: str
  home:
    description: The bots' checkout, if a file belongs to one.
    type: str
    default: ""
  user:
    description: The bots' user. If empty, the checkout's owner for root; whoever is not root acts as himself.
    type: str
    default: ""
  verify:
    description:
      - Units that C(systemd-analyze verify) must accept with the files of the list in their places, on a copy, before
        one is written. Not in check mode.
    type: list
    elements: str
    default: []
  contents:
    description: The contents by path, in base64; filled in on the controller.
    type: dict
    default: {}
  diff_limit:
    description: Up to how many bytes a file's old content is returned; filled in on the controller.
    type: int
    default: 0
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Looks and compiles, and writes nothing.
    support: full
  diff_mode:
    description: Whatever looks like a secret is masked, as in the report. Contents of environments are not shown.
    support: full
"""

EXAMPLES = r"""
- name: Install the pool module
  webex_files:
    home: /home/vinay/pub/IR
    user: vinay
    files:
      - path: /home/vinay/pub/IR/src/utils/webex_pool_config.py
        src: webex_pool_config.py
        compile_with: /home/vinay/pub/IR/.venv/bin/python

- name: Install a unit
  webex_files:
    files:
      - path: /etc/systemd/system/webex-bots.target
        template: webex-bots.target.j2
    verify: [webex-bots.target]
"""

RETURN = r"""
files:
  description: What was, or in check mode would be, written, made or removed.
  returned: success
  type: list
  elements: dict
  sample:
    - path: /etc/systemd/system/webex-bots.target
      change: written
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_files_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.files import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
