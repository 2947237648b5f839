#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: the VM's half of the client patch: reads sources and compiles them. Its action plugin edits them."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: client_patch
short_description: Route every Webex client of a bot through the connection pool
description:
  - Finds every construction of a Webex client in a bot's source by what the name means, not by its spelling, puts the
    pool's function around it and leaves every other byte as it is; V(absent) takes it off again.
  - Reads the source from the managed machine, edits it on the controller, has the bot's own Python compile the result
    there, and writes it back with owner and mode kept. Nothing is written unless all of that succeeds.
  - Everything below O(home) is read, compiled and written by O(user), and no link leads out of O(home). A source that
    somebody has changed or swapped since it was read is refused.
  - Clients that are wrapped already, by this module or by hand, are recognised; of those only settings that differ
    are changed.
  - Follows the bot's imports inside the checkout and reports, or patches, the clients constructed there.
  - The controller's side does the editing, since the bots' Python need not have LibCST; this module reads, compiles and
    writes on the managed machine.
options:
  home:
    description: The bots' checkout on the managed machine. All paths are relative to it.
    type: path
    required: true
  script:
    description: The bot's script.
    type: str
    required: true
  state:
    description:
      - V(present) routes the clients through the pool, V(absent) takes them out again.
    type: str
    choices: [present, absent]
    default: present
  original:
    description:
      - For O(state=absent), a directory on the managed machine that holds the unpatched files under the same paths as
        in O(home), such as an older checkout, and that O(user) may read. Each construction is then restored exactly as
        it is there, whatever else has changed in the file since.
      - Without it the pool's function is taken off, and a timeout that was added or raised stays.
    type: path
  python:
    description: The bot's interpreter, which must compile the patched source before it is written. If omitted, the
      source is not compiled.
    type: path
  user:
    description: The bots' user, who does all of it if the task runs as root. If empty, the owner of O(home). Whoever is
      not root acts as himself.
    type: str
    default: ""
  scope:
    description: Patch the bot's script alone, or the modules of the checkout that it imports too.
    type: str
    choices: [script, imports]
    default: script
  pool_module:
    description:
      - Name under which the bot imports the pool module, if O(templates.import_line) leaves it open with
        C(__pool_module__). V(auto) chooses one that resolves as the bot is started.
      - A bot whose import would not resolve is refused; its own Python is asked, and runs nothing of the checkout.
    type: str
    default: auto
  search_paths:
    description: Directories of the checkout that are on the bot's C(sys.path), by C(PYTHONPATH) for example, besides
      those that the source puts there. The empty string is the checkout itself.
    type: list
    elements: str
    default: []
  start:
    description: How the bot is started, if that is known; else the script is thought to be started by its path.
    type: dict
    default: {}
    suboptions:
      command:
        description: The command line, with its interpreter.
        type: list
        elements: str
        default: []
      directory:
        description: Where it is started; the checkout if this is empty.
        type: str
        default: ''
      python_path:
        description: The directories of its C(PYTHONPATH).
        type: list
        elements: str
        default: []
  request_timeout:
    description:
      - Seconds. C(single_request_timeout) of an API client is added, or raised to this, and never lowered.
      - One that is not a number in the source is left as it is and reported.
    type: int
    default: 120
  backup:
    description: Keep a copy of each changed file beside it, with the time in its name.
    type: bool
    default: false
  templates:
    description: The text to put into the source.
    type: dict
    required: true
    suboptions:
      api_client:
        description:
          - What a WebexTeamsAPI or WebexAPI construction becomes, with C(__construction__) in its place. Must be one
            call, of a plain name, with the construction as its first argument and keywords after it.
        type: str
        required: true
      bot_client:
        description: The same for WebexBot and its subclasses.
        type: str
        required: true
      import_line:
        description: The import of the functions that the other two call, with C(__names__) in their place.
        type: str
        required: true
  read:
    description: Files to read; filled in on the controller.
    type: list
    elements: str
    default: []
  write:
    description: Sources to compile and write, in base64 by path; filled in on the controller.
    type: dict
    default: {}
  expected:
    description: What was read at these paths, as hashes; filled in on the controller.
    type: dict
    default: {}
  prove:
    description: The pool module's file and the imports that must lead to it; filled in on the controller.
    type: dict
    default: {}
  ahead:
    description: Read the script and what it seems to need, looked for in which C(directories); filled in on the
      controller.
    type: dict
    default: {}
  known:
    description: Do nothing unless these paths still are what the controller knows of them, as hashes; filled in on the
      controller.
    type: dict
    default: {}
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Runs in full, compiling included, and writes nothing.
    support: full
  diff_mode:
    description: Shows each changed file; whatever looks like a secret is masked, as in the report.
    support: full
"""

EXAMPLES = r"""
- name: Route jarvis's clients through the pool
  client_patch:
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    python: /home/vinay/pub/IR/.venv/bin/python
    templates:
      api_client: "{{ lookup('template', 'api_client.j2', template_vars={'construction': '__construction__'}) }}"
      bot_client: "{{ lookup('template', 'bot_client.j2', template_vars={'construction': '__construction__'}) }}"
      import_line: from src.utils.webex_pool_config import __names__

- name: Take jarvis's clients out of the pool again
  client_patch:
    home: /home/vinay/pub/IR
    script: webex_bots/jarvis.py
    state: absent
    original: /tmp/checkout-before-the-patch
    templates: "{{ my_templates }}"
"""

RETURN = r"""
constructions:
  description: Every client construction in the patched files, where it was found and what was done.
  returned: success
  type: list
  elements: dict
  sample:
    - path: webex_bots/jarvis.py
      line: 57
      column: 13
      kind: api
      name: webexteamssdk.WebexTeamsAPI
      action: wrapped
findings:
  description: What was left as it is and should be looked at, such as clients in other modules that the bot imports.
  returned: success
  type: list
  elements: dict
  sample:
    - path: src/components/war_room.py
      line: 12
      column: 11
      kind: other-module
      message: webexteamssdk.WebexTeamsAPI is constructed in a module that the bot imports, and stays unpooled
programs:
  description: Programs that the sources name and that confinement (C(bot_hardening)) may keep from the bot.
  returned: success
  type: list
  elements: dict
  sample:
    - {path: webex_bots/jarvis.py, line: 41, name: sudo}
pool:
  description: The pool module that the patched files import; its C(file), relative to the checkout, has to be there.
  returned: when there is one
  type: dict
  sample:
    file: src/utils/webex_pool_config.py
    module: src.utils.webex_pool_config
    written: src.utils.webex_pool_config
files:
  description: The files that were (or in check mode would be) written, with checksum and the backup's name if there
    is one.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.client_patch_options import SPECIFICATION
from ansible.module_utils.webex_rollout.questions.patch import answer


def main() -> None:
    """Run the module."""
    module = AnsibleModule(**SPECIFICATION, supports_check_mode=True)
    result = answer(module.params, module.check_mode)
    module.fail_json(**result) if result.get("failed") else module.exit_json(**result)


if __name__ == "__main__":
    main()
