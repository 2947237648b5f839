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

import base64
import errno
import os
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.client_patch_options import OPTIONS, REQUESTS
from ansible.module_utils.webex_rollout.become import Account, account_for, as_account
from ansible.module_utils.webex_rollout.disk import sha256
from ansible.module_utils.webex_rollout.entries import Entry
from ansible.module_utils.webex_rollout.errors import BlockedError, RolloutError
from ansible.module_utils.webex_rollout.files import Files
from ansible.module_utils.webex_rollout.imports import import_problem
from ansible.module_utils.webex_rollout.sources import compile_problem
from ansible.module_utils.webex_rollout.tree import place_of
from ansible.module_utils.webex_rollout.words import printable


class Sources:
    """Sources of a checkout, read and written by the one whose they are."""

    def __init__(self, home: str, user: str) -> None:
        """Find out who acts."""
        self.home = home
        self.account: Account = account_for(user, home)
        self.files = Files(user, home, self.account)

    def read(self, paths: list[str], script: str) -> dict[str, bytes]:
        """Those of some paths that exist.

        :raises RolloutError: when the script is no file of the checkout, or a file of it cannot be read.
        """
        places = as_account(self.account, real_places, self.home, paths, os.path.normpath(script))
        looks = self.files.look_at_all(places.values())
        return {path: looks[real][1] for path, real in places.items() if looks[real][0].kind == "file"}

    def compile_all(self, python: str, sources: dict[str, bytes]) -> dict[str, str]:
        """What the interpreter reports, by path, of each source that it does not compile.

        :raises RolloutError: when the interpreter cannot be run.
        """
        problems = {
            path: compile_problem(python, path, source, account=self.account)
            for path, source in sorted(sources.items())
        }
        return {path: problem for path, problem in problems.items() if problem}

    def write_all(
        self, sources: dict[str, bytes], expected: dict[str, str], backup: bool, check: bool
    ) -> list[dict[str, Any]]:
        """Replace sources, each where the checkout's own links lead, with owner and mode kept.

        :raises RolloutError: when one is not what was read, before any is written.
        """
        places = as_account(self.account, real_places, self.home, list(sources), "")
        looks = self.files.look_at_all(places.values())
        for path in sources:
            entry, _ = looks.get(places.get(path, ""), (Entry("absent"), b""))
            if entry.kind != "file" or entry.sha256 != expected.get(path):
                raise RolloutError(f"{path} was changed while it was being patched. Nothing was written; run again")
        written = []
        for path, source in sources.items():
            entry, before = looks[places[path]]
            told = {"path": path, "checksum": sha256(source)}
            if not check:
                if backup:
                    told["backup_file"] = self._back_up(places[path], entry, before)
                new = replace(entry, sha256=told["checksum"], mtime_ns=time.time_ns())
                self.files.put_back(places[path], new, source)
            written.append(told)
        return written

    def _back_up(self, path: str, entry: Entry, data: bytes) -> str:
        copy = f"{path}.{time.strftime('%Y-%m-%dT%H-%M-%S')}~"
        self.files.put_back(copy, entry, data)
        return copy


def real_places(home: str, paths: list[str], script: str) -> dict[str, str]:
    """Where regular files of a checkout are, by path, once its links are followed; what is none is left out.

    :param script: a path that must not lead out of the checkout, nor be something else than a file.
    :raises BlockedError: when it does, or is.
    """
    found = {}
    for path in paths:
        try:
            with place_of(home, path, follow=True) as place:
                status = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
                real = str(Path(f"/proc/self/fd/{place.directory}").readlink() / place.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (BlockedError, OSError) as error:
            if path == script or (isinstance(error, OSError) and error.errno != errno.ELOOP):
                raise
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = real
        elif path == script:
            raise BlockedError(f"{path} is no regular file")
    return found


def act(given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Read what is asked for, or compile and write.

    :raises RolloutError: for all that cannot be done.
    """
    sources = Sources(given["home"], given["user"])
    contents = sources.read(given["read"], given["script"]) if given["read"] else {}
    new = {path: base64.b64decode(source) for path, source in given["write"].items()}
    errors = sources.compile_all(given["python"], new) if given["python"] else {}
    asked = given["prove"]
    problem = ""
    if asked:
        imports = [(str(name), list(path)) for name, path in asked["imports"]]
        problem = import_problem(given["python"], given["home"], asked["file"], imports, sources.account)
    files = []
    if new and not errors:
        files = sources.write_all(new, given["expected"], given["backup"], check)
    return {
        "changed": bool(files),
        "contents": {path: base64.b64encode(data).decode("ascii") for path, data in contents.items()},
        "errors": errors,
        "problem": problem,
        "files": files,
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={**OPTIONS, **REQUESTS}, supports_check_mode=True)
    try:
        result = act(module.params, module.check_mode)
    except RolloutError as error:
        module.fail_json(msg=printable(str(error)))
    except OSError as error:
        module.fail_json(msg=printable(f"{error.filename or 'a source'}: {error.strerror}"))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
