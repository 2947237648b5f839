"""Why a module that was sent to a VM came back without an answer, asked there in plain shell: a Python that is missing
or too old runs no module, not even one that would say so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible.errors import AnsibleError
from ansible.module_utils import basic
from ansible.plugins.action import ActionBase
from ansible.release import __version__ as CORE

from plugin_utils.words import printable

OLDEST_PYTHON = max((3, 8), tuple(getattr(basic, "_PY_MIN", ())))
"""Of the VM: the program's own, or what this ansible-core asks for."""

NEWEST_KNOWN = 15
"""Of Python 3: how far is looked for one that would do."""

USUAL_PYTHON = "/usr/bin/python3"
_SHOWN = 300


class VmPython(NamedTuple):
    """The Python that Ansible uses on a VM: how it is called, its version, or what was said in its place; and others
    that are there, the newest first."""

    called: str
    version: str
    said: str
    others: Sequence[str]


def no_answer(action: ActionBase, answer: Mapping[str, Any]) -> str:
    """A sentence for what a module's Python, or the module, died of; empty where root was not even reached.

    :param answer: of a module that ended without one.
    """
    host = action._play_context.remote_addr
    problem = python_problem(host, python_of(action))
    if problem or not _is_root(action):
        return problem
    last = (str(answer.get("module_stderr") or answer.get("msg") or "").strip().splitlines() or ["nothing"])[-1]
    return f"what was to look at {host} ended there without an answer: {last[:_SHOWN]}"


def python_problem(host: str, found: VmPython) -> str:
    """Why a VM's Python runs no module; empty if it would."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    if numbers(found.version) >= OLDEST_PYTHON:
        return ""
    newer = [each for each in found.others if each != found.called]
    if newer:
        cure = f"set ansible_python_interpreter to {newer[0]}, which is there"
    else:
        cure = (
            f"install Python {oldest} or newer there (dnf install python3.11, apt install python3), and set "
            "ansible_python_interpreter to it"
        )
    needs = f"a rollout by ansible-core {CORE} needs {oldest} or newer"
    if not found.version:
        said = f" ({found.said[:_SHOWN]})" if found.said else ""
        return f"{found.called}, by which Ansible works on {host}, does not run there{said}, and {needs}: {cure}"
    return (
        f"{found.called}, by which Ansible works on {host}, is Python {found.version}, and {needs}: {cure}. The bots "
        "keep the Python that they run with"
    )


def numbers(version: str) -> tuple[int, ...]:
    """A version to compare by."""
    return tuple(map(int, re.findall(r"\d+", version)[:3]))


def python_of(action: ActionBase) -> VmPython:
    """Ask the Python that the module was sent to for its version, and the VM for others."""
    called = (action._used_interpreter or USUAL_PYTHON).lstrip("#!").strip()
    asked = shlex.join([*shlex.split(called), "-c", 'import sys; print("VERSION %d.%d.%d" % sys.version_info[:3])'])
    names = [f"python3.{minor}" for minor in range(NEWEST_KNOWN, OLDEST_PYTHON[1] - 1, -1)]
    others = "; ".join(f"command -v {name}" for name in names)
    try:
        done = action._low_level_execute_command(f"{asked} 2>&1; echo OTHERS; {others}", sudoable=False)
    except AnsibleError as error:
        return VmPython(called, "", printable(str(error)), ())
    said, _, rest = done["stdout"].partition("OTHERS")
    version = re.search(r"^VERSION (\d+\.\d+\.\d+)\s*$", said, re.MULTILINE)
    last = (said.strip().splitlines() or [""])[-1]
    # The system's: a home's, which `command -v` may find, is its owner's, and Ansible would run it as root.
    found = [line.strip() for line in rest.splitlines() if line.startswith("/usr/")]
    return VmPython(called, version[1] if version else "", last, found)


def _is_root(action: ActionBase) -> bool:
    """Whether root can be become there, without any Python."""
    try:
        done = action._low_level_execute_command("id -u", sudoable=True)
    except AnsibleError:
        return False
    said: list[str] = done["stdout"].split()
    return done["rc"] == 0 and said[-1:] == ["0"]
