#!/usr/bin/python
"""Module: read source files of a checkout, or have the bot's own Python compile new ones."""

# ansible-doc wants the documentation before the imports.
# ruff: noqa: E402

from __future__ import annotations

DOCUMENTATION = r"""
module: bot_sources
short_description: Read and compile Python sources on the machine that runs them
description:
  - Returns the contents of those of the given files that exist, all in one round trip.
  - Compiles sources given as text with a given interpreter, without running or writing them.
  - Changes nothing. Made for M(client_patch), which edits on the controller.
options:
  home:
    description: The checkout; all paths are relative to it.
    type: path
    required: true
  paths:
    description: Files to read.
    type: list
    elements: str
    default: []
  compile:
    description: Sources to compile, in base64, by path.
    type: dict
    default: {}
  python:
    description: The interpreter that compiles. Required with O(compile).
    type: path
author: [The webex-bot-rollout authors]
attributes:
  check_mode:
    description: Runs in full in check mode.
    support: full
"""

EXAMPLES = r"""
- name: Read a bot and its configuration
  bot_sources:
    home: /home/vinay/pub/IR
    paths: [webex_bots/jarvis.py, my_config.py]
"""

RETURN = r"""
files:
  description: Contents in base64, by path; files that do not exist are left out.
  returned: success
  type: dict
errors:
  description: What the interpreter says, by path, of each source that it does not compile.
  returned: success
  type: dict
"""

import base64
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

# Source on stdin, so that nothing is written; -I and -S: nothing of the user's is run or imported.
COMPILE = "import sys; compile(sys.stdin.buffer.read(), sys.argv[1], 'exec', dont_inherit=True)"


def read(home: Path, paths: list[str]) -> dict[str, str]:
    """The files that exist, in base64."""
    found = [path for path in paths if (home / path).is_file()]
    return {path: base64.b64encode((home / path).read_bytes()).decode("ascii") for path in found}


def compile_error(python: str, path: str, source: bytes) -> str:
    """The last lines of what the interpreter says; empty if it compiles."""
    done = subprocess.run(
        [python, "-I", "-S", "-c", COMPILE, path],
        input=source,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    location = next((line.strip() for line in reversed(lines) if line.strip().startswith("File ")), "")
    return ": ".join(part for part in (location, lines[-1] if lines else f"exit code {done.returncode}") if part)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "home": {"type": "path", "required": True},
            "paths": {"type": "list", "elements": "str", "default": []},
            "compile": {"type": "dict", "default": {}},
            "python": {"type": "path"},
        },
        supports_check_mode=True,
    )
    python = module.params["python"]
    if module.params["compile"] and not python:
        module.fail_json(msg="compile needs python, the interpreter to compile with")
    errors = {}
    try:
        files = read(Path(module.params["home"]), module.params["paths"])
        for path, content in sorted(module.params["compile"].items()):
            error = compile_error(python, path, base64.b64decode(content))
            if error:
                errors[path] = error
    except subprocess.TimeoutExpired:
        module.fail_json(msg=f"{python} did not compile a source within 60 s")
    except OSError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, files=files, errors=errors)


if __name__ == "__main__":
    main()
