#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the client patch over a whole local checkout. Its action plugin does all of it, on the controller."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: checkout_patch
short_description: Route the Webex clients of a local checkout through the connection pool
description:
  - Finds all scripts of a checkout by what they construct, wherever they are, and patches them as M(client_patch) does,
    so that the change can be committed upstream. Works on the controller alone; no VM is involved.
  - Puts the pool module where each script can import it as it is started; how that is follows from running commands,
    imports and changes of C(sys.path) that the checkout shows, and is proven by the bots' own Python before anything
    is written.
  - A script whose import would not resolve is not written; a file without a client, and a test, is skipped.
options:
  home:
    description: The checkout. All paths are relative to it.
    type: path
    required: true
  scripts:
    description: The scripts to patch, as a list or as one text. If empty, all that construct a client.
    type: raw
    default: []
  state:
    description: V(present) routes the clients through the pool, V(absent) takes them out again.
    type: str
    choices: [present, absent]
    default: present
  original:
    description: For O(state=absent), a directory with the unpatched files, such as an older checkout.
    type: path
  python:
    description: The bots' interpreter, which proves each import and must compile what is written. Where it does not
      exist, the engine's own model of Python's import has to do, and the summary says so.
    type: path
  scope:
    description: For scripts that are named, patch those alone, or the modules of the checkout that they import too.
    type: str
    choices: [script, imports]
    default: script
  pool_module:
    description: Name under which the scripts import the pool module. V(auto) chooses one that resolves for each.
    type: str
    default: auto
  search_paths:
    description: Directories of the checkout that are on the scripts' C(sys.path), by C(PYTHONPATH) for example. The
      empty string is the checkout itself.
    type: list
    elements: str
    default: []
  request_timeout:
    description: Seconds. As for M(client_patch).
    type: int
    default: 120
  templates:
    description: The text to put into the source, as for M(client_patch). C(__pool_module__) in O(templates.import_line)
      stands for the module's name.
    type: dict
    required: true
    suboptions:
      api_client:
        description: What the construction of an API client becomes.
        type: str
        required: true
      bot_client:
        description: What the construction of a bot becomes.
        type: str
        required: true
      import_line:
        description: The import of the pool's functions.
        type: str
        required: true
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Runs in full, proof and compiling included, and writes nothing.
    support: full
  diff_mode:
    description: Shows each changed file; whatever looks like a secret is masked, as in the report.
    support: full
"""

EXAMPLES = r"""
- name: Patch a checkout
  checkout_patch:
    home: /home/vinay/IR
    python: /home/vinay/IR/.venv/bin/python
    templates: "{{ my_templates }}"
"""

RETURN = r"""
summary:
  description: One line for each file, and for each thing that is left to do.
  returned: success
  type: list
  elements: str
commit_message:
  description: What a commit of the change may say; empty if nothing changed.
  returned: success
  type: str
files:
  description: The files that were (or in check mode would be) written, the pool modules among them.
  returned: success
  type: list
  elements: str
skipped_files:
  description: Files that mention Webex and are none of the bots, each with the reason.
  returned: success
  type: dict
refused_files:
  description: Files that construct a client and could not be patched, each with the reason.
  returned: success
  type: dict
constructions:
  description: Every client construction in the patched files, as for M(client_patch).
  returned: success
  type: list
  elements: dict
findings:
  description: What was left as it is and should be looked at, as for M(client_patch).
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.checkout_patch_options import OPTIONS


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    module.fail_json(msg="checkout_patch works on the controller; its action plugin was not found (action_plugins)")


if __name__ == "__main__":
    main()
