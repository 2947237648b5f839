"""A VM whose Python runs no module: preflight's first look names it, its version, what is needed and what would do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from action_plugins import bot_info
from plugin_utils.asking import ask
from plugin_utils.unanswered import VmPython, python_problem
from tests.unit.preflight.test_preconditions import run

SPECIFICATION: dict[str, Any] = {"argument_spec": {}}
OLD = """\
#!/bin/sh
case "$1" in
-c) echo VERSION {version} ;;
*) echo "SyntaxError: future feature annotations is not defined" >&2; exit 1 ;;
esac
"""


ENDED = {
    "failed": True,
    "module_stdout": "",
    "module_stderr": "Traceback\nkeys in here\nMemoryError",
    "msg": "?",
}
BY_ANSIBLE = {
    "failed": True,
    "msg": "ansible-core requires a minimum of Python version 3.8. Current version: 3.7.16",
}
OWN = {"failed": True, "msg": "no user vinay", "bots": {}}


class Action:
    """An action whose module dies as on a Python that cannot read it; what it asks besides is asked of this machine."""

    def __init__(self, python: str, root: bool = True, answer: dict[str, Any] = ENDED) -> None:
        self._used_interpreter = f"#!{python}"
        self._play_context = SimpleNamespace(remote_addr="metcirt-lab")
        self.root, self.answer = root, answer

    def _execute_module(self, **_: Any) -> dict[str, Any]:
        return self.answer

    def _low_level_execute_command(self, command: str, sudoable: bool) -> dict[str, Any]:
        if sudoable:
            return {"rc": 0, "stdout": "0\n"} if self.root else {"rc": 1, "stdout": ""}
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        return {"rc": done.returncode, "stdout": done.stdout}


def python(place: Path, version: str) -> str:
    place.write_text(OLD.format(version=version))
    place.chmod(0o755)
    return str(place)


def answered(action: Any) -> dict[str, Any]:
    return ask(action, "bot_info", {}, {}, SPECIFICATION)


@pytest.mark.parametrize("version", ["2.7.18", "3.6.8", "3.7.16"])
@pytest.mark.parametrize("died", [ENDED, BY_ANSIBLE])
def test_a_python_that_is_too_old_is_named_with_both_versions(
    tmp_path: Path, version: str, died: dict[str, Any]
) -> None:
    called = python(tmp_path / "old python", version).replace(" ", "\\ ")
    answer = answered(Action(called, answer=died))
    assert answer["unanswered"] and answer["failed"]
    assert f"by which Ansible works on metcirt-lab, is Python {version}, and a rollout by ansible-core" in answer["msg"]
    assert "needs 3.8 or newer" in answer["msg"] and "ansible_python_interpreter" in answer["msg"]


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    answer = answered(Action(f"{tmp_path}/python3.6"))
    assert f"{tmp_path}/python3.6, by which Ansible works on metcirt-lab, does not run there (" in answer["msg"]
    assert "not found" in answer["msg"]


@pytest.mark.parametrize(
    ("others", "cure"),
    [
        ((), "install Python 3.8 or newer there (dnf install python3.11, apt install python3), and set"),
        (("/usr/bin/python3.11",), "set ansible_python_interpreter to /usr/bin/python3.11, which is there"),
    ],
)
def test_what_would_do_is_named(others: tuple[str, ...], cure: str) -> None:
    assert cure in python_problem("vm", VmPython("/usr/libexec/platform-python", "3.6.8", "", others))
    assert python_problem("vm", VmPython("/usr/bin/python3", "3.8.0", "", others)) == ""


def test_where_python_is_good_the_last_line_says_what_the_module_died_of() -> None:
    answer = answered(Action(sys.executable))
    assert answer["msg"] == "what was to look at metcirt-lab ended there without an answer: MemoryError"


def test_what_the_module_says_for_itself_is_passed_on() -> None:
    assert answered(Action("/nosuch/python", answer=OWN)) == OWN


@pytest.mark.parametrize(("version", "refused"), [("3.7.16", True), ("3.8.0", False), ("3.11.2", False)])
def test_a_python_that_older_ansible_core_takes_is_looked_at_in_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, refused: bool
) -> None:
    monkeypatch.setattr(bot_info, "ask", lambda *_, **__: {"bots": {}, "python": version})
    action: Any = Action(python(tmp_path / "python3", version))
    action._task = SimpleNamespace(args={}, async_val=0, check_mode=False)
    action._play_context.no_log = False
    action.__class__ = type("Looks", (Action, bot_info.ActionModule), {})
    monkeypatch.setattr(bot_info.ActionBase, "run", lambda *_: {})
    answer = action.run(task_vars={})
    assert bool(answer.get("failed")) == refused
    assert (f"is Python {version}, and a rollout" in answer.get("msg", "")) == refused


def test_who_cannot_become_root_is_told_by_sudo() -> None:
    assert "unanswered" not in answered(Action(sys.executable, root=False))


def test_preflight_says_it_once_a_vm_and_asks_nothing_more(tmp_path: Path) -> None:
    old = python(tmp_path / "python3.6", "3.6.8")
    options = (f"ansible_python_interpreter={old}", "ansible_host=metcirt-lab", "bot_user=root")
    status, said = run(tmp_path, *(word for option in options for word in ("-e", option)))
    assert status != 0
    problem = f"{old}, by which Ansible works on metcirt-lab, is Python 3.6.8, and a rollout by ansible-core"
    assert f"Refuse a VM that cannot be looked at: {problem}" in said and "jarvis failed" in said
    assert "tars failed" not in said
    assert said.count("Nothing was changed") == 2  # as it fails, and in the table at the end
    assert "cannot become root" not in said and "undefined" not in said
