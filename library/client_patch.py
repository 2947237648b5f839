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
  - Clients that are wrapped already, by this module or by hand, are recognised; of those only settings that differ
    are changed.
  - Follows the bot's imports inside the checkout and reports, or patches, the clients constructed there.
  - The controller's side does the editing, since the bots' Python need not have LibCST; this module reads and compiles
    on the managed machine and changes nothing there.
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
        in O(home), such as an older checkout. Each construction is then restored exactly as it is there, whatever else
        has changed in the file since.
      - Without it the pool's function is taken off, and a timeout that was added or raised stays.
    type: path
  python:
    description: The bot's interpreter, which must compile the patched source before it is written. If omitted, the
      source is not compiled.
    type: path
  user:
    description: Who runs the interpreter, if the task runs as root. Root itself if empty; a bot's interpreter often
      belongs to the bot's user, so do not leave it empty on a VM.
    type: str
    default: ""
  scope:
    description: Patch the bot's script alone, or the modules of the checkout that it imports too.
    type: str
    choices: [script, imports]
    default: script
  search_paths:
    description: Directories in which imports are looked up after the script's own. The empty string is the checkout
      itself.
    type: list
    elements: str
    default: [""]
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
  compile:
    description: Sources to compile, in base64 by path; filled in on the controller.
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
files:
  description: The files that were (or in check mode would be) written, with checksum and the backup's name if there
    is one.
  returned: success
  type: list
  elements: dict
"""

import base64
import os
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.client_patch_options import OPTIONS, REQUESTS
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.sources import compile_problem


def read(home: Path, paths: list[str]) -> dict[str, str]:
    """The files that exist below a checkout, in base64.

    :raises OSError: when one exists and cannot be read.
    """
    found = [path for path in paths if (home / path).is_file()]
    return {path: base64.b64encode((home / path).read_bytes()).decode("ascii") for path in found}


def compile_all(python: str, sources: dict[str, str], user: str) -> dict[str, str]:
    """What the interpreter reports, by path, of each source (in base64) that it does not compile.

    :raises RolloutError: when the interpreter cannot be run.
    """
    problems = {
        path: compile_problem(python, path, base64.b64decode(source), user) for path, source in sorted(sources.items())
    }
    return {path: problem for path, problem in problems.items() if problem}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**OPTIONS, **REQUESTS}, supports_check_mode=True)
    given = module.params
    if given["compile"] and not given["python"]:
        module.fail_json(msg="compile needs python, the interpreter to compile with")
    user = given["user"] if os.geteuid() == 0 else ""
    try:
        contents = read(Path(given["home"]), given["read"])
        errors = compile_all(given["python"], given["compile"], user)
    except RolloutError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"cannot read {error.filename}: {error.strerror}")
    module.exit_json(changed=False, contents=contents, errors=errors)


if __name__ == "__main__":
    main()
