"""The program in a module's place: the same answer, and the module wherever another program is there, or none."""

from __future__ import annotations

import hashlib
import io
import json
import marshal
import os
import subprocess
import sys
import zipfile
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.module_utils.bot_log_info_options import SPECIFICATION
from ansible.module_utils.webex_rollout.asked import MARK, OTHER, ROOMS
from ansible.module_utils.webex_rollout.questions import log

from plugin_utils.asking import ask
from plugin_utils.program import build
from tests.unit.rollout.test_modules import load

webex_program = load("webex_program")


class Program:
    """A program that is installed in a directory of its own, with a cache beside it."""

    def __init__(self, root: Path) -> None:
        self.path, self.cache = root / "webex-rollout", root / "cache"
        content = build(cache=str(self.cache))
        self.sha256 = hashlib.sha256(content).hexdigest()
        webex_program.install(self.path, self.sha256, content)

    def compile(self) -> Path:
        webex_program.compile_program(self.path, self.sha256, self.cache)
        (kept,) = self.cache.iterdir()
        return kept

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.path), *arguments], input=stdin, capture_output=True, text=True, check=False)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "sbin").mkdir()
    return Program(tmp_path / "sbin")


def question(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "jarvis.log"
    path.write_text("2026-11-21 15:25:01,123 - x.py:88 - ERROR - Read timed out. (read timeout=60)\n")
    given = {"path": str(path), "user": "root", "cursor": None, "take": False, "history": True, "buckets": False}
    return {**given, "signatures": [], "timezone": None}


REQUEST = {"python": os.path.realpath(sys.executable), "module": "bot_log_info", "check": False}


def test_the_program_answers_as_the_module_does(program: Program, tmp_path: Path) -> None:
    given = question(tmp_path)
    done = program.run("answer", stdin=json.dumps({**REQUEST, "program": program.sha256, "given": given}))
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
    told, wanted = json.loads(line[len(MARK) :]), log.answer(given, False)
    for measured in ("now", "seconds", "cursor"):
        assert told.pop(measured) and wanted.pop(measured)
    assert told == json.loads(json.dumps(wanted)) and told["incidents"] == 1


@pytest.mark.parametrize("other", [{"program": "0" * 64}, {"module": "no_such_module"}, {"python": "/usr/bin/env"}])
def test_another_program_than_the_one_asked_says_so_and_does_nothing(
    program: Program, tmp_path: Path, other: dict[str, str]
) -> None:
    request = {**REQUEST, "program": program.sha256, "given": question(tmp_path)}
    done = program.run("answer", stdin=json.dumps({**request, **other}))
    assert (done.returncode, done.stdout) == (OTHER, "")


def test_every_module_that_is_asked_has_its_answer() -> None:
    root = Path(__file__).resolve().parents[3]
    asked = {path.stem for path in (root / "action_plugins").glob("*.py") if "import ask" in path.read_text()}
    assert asked == set(ROOMS)


# -- what it compiles to ----------------------------------------------------------------------------------------


def put_into(kept: Path, text: str) -> None:
    """Put other code for the command line, and for a question about a log, into what is kept."""
    code = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(compile(text, "x", "exec"))
    entries = io.BytesIO()
    with zipfile.ZipFile(kept) as old, zipfile.ZipFile(entries, "w") as new:
        for name in old.namelist():
            new.writestr(name, code if name.endswith(("/cli.pyc", "/questions/log.pyc")) else old.read(name))
    kept.write_bytes(entries.getvalue())


OURS = "def main():\n    print('compiled')\n"


def test_what_was_compiled_runs_and_what_others_may_write_does_not(program: Program) -> None:
    kept = program.compile()
    assert program.run("--version").stdout.startswith("webex-rollout ")
    put_into(kept, OURS)
    assert program.run().stdout == "compiled\n"
    for place, mode in ((kept, 0o622), (program.cache, 0o722)):
        before = place.stat().st_mode
        place.chmod(mode)
        assert program.run("--version").stdout.startswith("webex-rollout ")
        place.chmod(before)
    assert program.run().stdout == "compiled\n"


def test_what_was_compiled_of_another_program_or_python_goes_and_is_not_run(program: Program) -> None:
    kept = program.compile()
    put_into(kept, OURS)
    other = kept.with_name("0" * 64 + f".{sys.implementation.cache_tag}.zip")
    kept.rename(other)
    assert program.run("--version").stdout.startswith("webex-rollout ")
    assert program.compile() == kept


@pytest.mark.parametrize("damage", ["the code", "the archive", "all"])
def test_what_was_compiled_and_is_damaged_is_not_needed(program: Program, tmp_path: Path, damage: str) -> None:
    kept = program.compile()
    if damage == "the code":
        put_into(kept, "import webex_rollout.no_such_room\n")
    else:
        kept.write_bytes(kept.read_bytes()[:5000] if damage == "the archive" else b"")
    done = program.run("--version")
    assert done.stdout.startswith("webex-rollout ") and done.stderr == ""
    request = {**REQUEST, "program": program.sha256, "given": question(tmp_path)}
    assert program.run("answer", stdin=json.dumps(request)).stdout.startswith(MARK)


# -- the controller's side ----------------------------------------------------------------------------------------


class Action:
    """An action of which is noted what it asks, and how; the program ends so, and prints that."""

    def __init__(self, status: int = 0, stdout: str = "", stderr: str = "", pipelining: bool = True) -> None:
        self.done = {"rc": status, "stdout_lines": stdout.splitlines(), "stderr": stderr}
        self.asked: list[str] = []
        self.pipelining = pipelining
        self._task = SimpleNamespace(check_mode=False)
        self._templar = SimpleNamespace(template=lambda value: value)

    def _is_pipelining_enabled(self, _: str) -> bool:
        return self.pipelining

    def _low_level_execute_command(self, command: str, in_data: bytes) -> dict[str, Any]:
        assert b"/jarvis.log" in in_data and "jarvis" not in command
        self.asked.append("program")
        return self.done

    def _execute_module(self, **_: Any) -> dict[str, Any]:
        self.asked.append("module")
        return {"answered": "module"}


GIVEN = {"path": "/jarvis.log", "user": "root", "take": "yes"}
READY = {"rollout_bot": {"vm_ready": True}}


def beside(other: dict[str, Any], vm: str = "vm1") -> dict[str, Any]:
    """Variables of a bot that knows nothing of its VM yet, beside another one that was rolled out in this run."""
    bots = {"tars": {"rollout_bot": {"vm_ready": False}}, "jarvis": other}
    everybody = {
        bot: {**own, "ansible_host": vm if bot == "jarvis" else "vm1", "groups": {"bots": [*bots]}, "group_names": []}
        for bot, own in bots.items()
    }
    return {**everybody["tars"], "inventory_hostname": "tars", "hostvars": everybody}


ANSWER = f"a banner\n{MARK}" + '{"answered": "program"}\n'


@pytest.mark.parametrize(
    ("action", "variables", "asked"),
    [
        (Action(stdout=ANSWER), READY, ["program"]),
        (Action(stdout=ANSWER), {}, ["module"]),
        (Action(stdout=ANSWER), {"rollout_bot": {"vm_ready": False}}, ["module"]),
        (Action(stdout=ANSWER), beside(READY), ["program"]),
        (Action(stdout=ANSWER), beside(READY, vm="vm2"), ["module"]),
        (Action(stdout=ANSWER), beside({}), ["module"]),
        (Action(stdout=ANSWER, pipelining=False), READY, ["module"]),
        (Action(OTHER), READY, ["program", "module"]),
        (Action(127), READY, ["program", "module"]),
    ],
)
def test_the_module_goes_where_the_program_is_not(action: Any, variables: dict[str, Any], asked: list[str]) -> None:
    assert ask(action, "bot_log_info", GIVEN, variables, specification=SPECIFICATION) == {"answered": asked[-1]}
    assert action.asked == asked


def test_a_program_that_may_have_done_half_of_it_is_not_asked_again() -> None:
    action: Any = Action(1, stderr="Traceback\nMemoryError")
    with pytest.raises(AnsibleActionFail, match="ended with status 1 and no answer: MemoryError"):
        ask(action, "bot_log_info", GIVEN, READY, specification=SPECIFICATION)
    assert action.asked == ["program"]
    assert ask(action, "bot_log_info", GIVEN, READY, SPECIFICATION, tries=True) == {"answered": "module"}


def test_arguments_are_checked_before_the_program_gets_them() -> None:
    action: Any = Action(stdout=ANSWER)
    with pytest.raises(AnsibleActionFail, match=r"bot_log_info: .*take"):
        ask(action, "bot_log_info", {**GIVEN, "take": "perhaps"}, READY, specification=SPECIFICATION)
    assert action.asked == []
