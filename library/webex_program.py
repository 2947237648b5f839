#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module: install the VM's program. Its action plugin builds it."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: webex_program
short_description: Install the program that rolls back and watches bots on their VM
description:
  - Installs C(/usr/local/sbin/webex-rollout), the same text that the modules of this project import, as one zip
    application. Its first line names the Python that Ansible uses there.
  - The controller's side builds the program and sends it only where another one is installed. It is tried before it
    takes the other one's place, in one step.
  - What it compiles to is kept in C(/var/cache/webex-rollout), for most of its runs take less time than compiling it.
  - A machine whose state was written by a newer program is refused.
options:
  sha256:
    description: Hash of the program without its first line; filled in on the controller.
    type: str
    required: true
  content:
    description: The program in base64, to be installed; filled in on the controller. Without it nothing is written.
    type: str
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Installs nothing, and reports whether it would.
    support: full
"""

EXAMPLES = r"""
- name: Install the VM's program
  webex_program:
  become: true
"""

RETURN = r"""
path:
  description: Where the program is.
  returned: always
  type: str
version:
  description: Version of the program that is wanted.
  returned: always
  type: str
"""

import base64
import hashlib
import io
import marshal
import os
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.webex_rollout import __version__
from ansible.module_utils.webex_rollout.disk import STATE_VERSION, format_of, write_whole
from ansible.module_utils.webex_rollout.errors import RolloutError
from ansible.module_utils.webex_rollout.installed import FIRST_LINE, is_installed
from ansible.module_utils.webex_rollout.paths import CACHE_DIR, PROGRAM, SAMPLING_TIMER, STATE_DIR, UNIT_DIR
from ansible.module_utils.webex_rollout.system import run_command
from ansible.module_utils.webex_rollout.systemd import systemctl
from ansible.module_utils.webex_rollout.tree import must_be_roots
from ansible.module_utils.webex_rollout.words import printable


def refuse_newer_state(state_dir: Path) -> None:
    """An older program could not read what a newer one has written, least of all to roll a bot back.

    :raises RolloutError: when there is such a file.
    """
    for path in (state_dir / "lock.json", *state_dir.glob("*/state.json")):
        if format_of(path) > STATE_VERSION:
            raise RolloutError(
                f"{path} was written by a newer program (format {format_of(path)}, this one knows {STATE_VERSION}). "
                "Nothing was installed. Run the newer checkout of this project"
            )


def install(program: Path, sha256: str, content: bytes) -> None:
    """Try the program, then put it in the other one's place.

    :raises RolloutError: when it does not match its hash, or does not run here.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RolloutError("the program arrived damaged; nothing was installed. Run again")
    must_be_roots(str(program))
    trial = program.with_name(f".{program.name}.trial")
    try:
        write_whole(trial, FIRST_LINE + content, 0o755)
        done = run_command([sys.executable, "-I", str(trial), "--version"])
    finally:
        trial.unlink(missing_ok=True)
    if done.returncode != 0:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise RolloutError(f"the program does not run with {sys.executable}: {last}. Nothing was installed")
    write_whole(program, FIRST_LINE + content, 0o755)


def stop_sampling() -> None:
    """Stop the log sampling of version 0.1.0, which would run a program that knows it no more.

    :raises RolloutError: when systemd does not.
    """
    if os.path.lexists(f"{UNIT_DIR}/{SAMPLING_TIMER}"):
        systemctl("disable", "--now", SAMPLING_TIMER)


def compile_program(program: Path, sha256: str, cache: Path) -> None:
    """Keep what the program compiles to, for it to run; what is kept of another program or Python goes."""
    must_be_roots(str(cache))
    kept = cache / f"{sha256}.{sys.implementation.cache_tag}.zip"
    if kept.exists():
        return
    content = program.read_bytes()
    compiled = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as sources, zipfile.ZipFile(compiled, "w") as archive:
        for name in sources.namelist():
            code = compile(sources.read(name), f"{program}/{name}", "exec", dont_inherit=True)
            # As of PEP 552: not to be compared with a source, which is not there.
            archive.writestr(f"{name}c", MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in cache.iterdir():
        old.unlink()
    write_whole(kept, compiled.getvalue(), 0o600)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"sha256": {"type": "str", "required": True}, "content": {"type": "str", "no_log": True}},
        supports_check_mode=True,
    )
    sha256, content = module.params["sha256"], module.params["content"]
    program = Path(PROGRAM)
    try:
        refuse_newer_state(Path(STATE_DIR))
        changed = not is_installed(program, sha256)
        if changed and content and not module.check_mode:
            stop_sampling()
            install(program, sha256, base64.b64decode(content))
        if not module.check_mode and (content or not changed):
            compile_program(program, sha256, Path(CACHE_DIR))
    except RolloutError as error:
        module.fail_json(msg=printable(str(error)))
    except OSError as error:
        module.fail_json(
            msg=printable(f"cannot install {PROGRAM}: {error.filename or 'the machine'}: {error.strerror}")
        )
    module.exit_json(changed=changed, path=PROGRAM, version=__version__)


if __name__ == "__main__":
    main()
