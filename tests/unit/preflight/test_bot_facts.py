"""Every reason against a rollout is found, alone, and said with the file or setting and the next step."""

from __future__ import annotations

import ast
import copy
from typing import Any

import pytest
from ansible.module_utils.webex_rollout.procfs import open_files_ceiling
from ansible.module_utils.webex_rollout.refusals import OLDEST, Needs, notes, problems

from plugin_utils.settings import PROJECT

NEEDS = Needs("logs/jarvis.log", open_files=65536, connections=150, min_free_mib=200, take_over_starters=False)
GOOD: dict[str, Any] = {
    "bot": {
        "name": "jarvis",
        "home": "/srv/IR",
        "script": "webex_bots/jarvis.py",
        "python": "/srv/IR/.venv/bin/python",
        "user": "vinay",
    },
    "user_exists": True,
    "checkout_exists": True,
    "script_exists": True,
    "script_problem": "",
    "log": {"path": "/srv/IR/logs/jarvis.log", "exists": True, "readable": True, "writable": True},
    "python": {
        "error": None,
        "version": "3.11.2",
        "packages": {"webexteamssdk": "1.6.1"},
        "syntax_error": None,
        "start_problem": "",
    },
    "free_mib": {"/srv/IR": 1000, "/var/lib": 1000},
    "limits": {"file_max": 10**6, "files_open": 1000, "open_files": 1048576},
    "processes": [],
    "doubtful": [],
    "unseen": "",
    "unclear": [],
    "plan": None,
    "namesakes": [],
    "starters": [],
}
PROCESS = {"supervisor": "nohup", "pid": 7, "steering": [], "executable_problem": "", "restart_problem": ""}
CRON: dict[str, Any] = {
    "kind": "cron",
    "file": "/etc/cron.d/bots",
    "line": 3,
    "what": "@reboot",
    "certain": True,
    "user": "root",
    "counts": True,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """A copy of GOOD with one thing different."""
    facts = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    inner = facts
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return facts


def test_nothing_speaks_against_a_sound_bot() -> None:
    assert problems(GOOD, NEEDS) == []
    newest = {"webexteamssdk": "1.6.1", "requests": "2.22.0", "urllib3": "2.5.0.post1"}
    assert problems(changed("python.packages", newest), NEEDS) == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("user_exists", False, ["no user vinay", "bot_user"]),
        ("unseen", "acting as vinay: no answer within 60 s", ["jarvis could not be looked at", "no answer"]),
        ("checkout_exists", False, ["/srv/IR is not there", "bot_home"]),
        ("script_exists", False, ["/srv/IR/webex_bots/jarvis.py is not there", "bot_script"]),
        ("python", {"error": "no such file"}, ["/srv/IR/.venv/bin/python", "no such file", "bot_python"]),
        ("python.start_problem", "webex_bots/jarvis.py, line 3, imports x.y", ["line 3, imports x.y", "start again"]),
        ("python.syntax_error", "line 7: invalid syntax", ["jarvis.py", "3.11.2", "line 7: invalid syntax"]),
        (
            "python.packages",
            {"webexteamssdk": "1.6.1", "requests": "2.22", "urllib3": "1.24.3"},
            ["has urllib3 1.24.3, and the pool module needs 1.25.2", "pip install 'urllib3>=1.25.2'"],
        ),
        ("python.version", "3.6.9", ["has python 3.6.9, and the pool module needs 3.7; set bot_python"]),
        ("python.packages", {"requests": "2.32"}, ["has no SDK that is known here"]),
        ("log.readable", False, ["may not read /srv/IR/logs/jarvis.log", "owner and mode"]),
        ("log.writable", False, ["may not write /srv/IR/logs/jarvis.log", "owner and mode"]),
        ("starters", [CRON], ["/etc/cron.d/bots line 3", "@reboot", "starts jarvis too", "bot_take_over_starters"]),
        ("processes", [{**PROCESS, "supervisor": "old.service"}], ["old.service", "pid 7", "bot_take_over_starters"]),
        ("script_problem", "jarvis.py leads out of /srv/IR", ["leads out of"]),
        ("doubtful", [7, 8], ["process 7, 8", "jarvis", "end it"]),
        ("processes", [{**PROCESS, "executable_problem": "it runs x, which y"}], ["pid 7", "it runs x, which y"]),
        ("free_mib", {"/var/lib": 5}, ["/var/lib has 5 MiB", "rollout_min_free_mib"]),
        ("limits.open_files", 100, ["100 open files", "fs.nr_open"]),
        ("limits.files_open", 10**6 - 10, ["fs.file-max is 1000000"]),
    ],
)
def test_each_reason_is_one_sentence_with_its_next_step(path: str, value: Any, words: list[str]) -> None:
    found = problems(changed(path, value), NEEDS)
    assert len(found) == 1, found
    assert [word for word in words if word not in found[0]] == []


def test_what_others_have_is_a_note() -> None:
    facts = changed("namesakes", [{"pid": 7, "user": "otheruser"}])
    facts["starters"] = [{**CRON, "user": "otheruser", "counts": False}]
    why = "PYTHONPATH: only if bot_environment_keep lists them"
    row = {"what": "environment", "found": "PYTHONPATH", "wanted": "without", "fate": "noted", "why": why}
    facts["plan"] = {"differences": [row]}
    assert problems(facts, NEEDS) == []
    namesake, starter, variable = notes(facts)
    assert "process 7 of otheruser" in namesake
    assert "/etc/cron.d/bots line 3" in starter
    assert "PYTHONPATH" in variable
    assert "bot_environment_keep" in variable
    assert notes(GOOD) == []
    # What is carried over since the operator lists it is no note.
    facts["plan"] = {"differences": []}
    facts["processes"] = [{**PROCESS, "steering": ["PYTHONPATH"]}]
    assert len(notes(facts)) == 2


def test_several_reasons_are_all_told_at_once() -> None:
    facts = changed("starters", [CRON])
    facts["doubtful"] = [7]
    assert len(problems(facts, NEEDS)) == 2


def test_the_projects_own_unit_and_uncertain_starters_are_no_objection() -> None:
    facts = changed("processes", [{**PROCESS, "supervisor": "webex-bot@jarvis.service"}])
    facts["starters"] = [{**CRON, "certain": False}]
    assert problems(facts, NEEDS) == []


def test_starters_are_accepted_when_told_to_take_over() -> None:
    facts = changed("starters", [CRON])
    facts["processes"] = [{**PROCESS, "supervisor": "old.service"}]
    take_over = Needs("logs/jarvis.log", 65536, 150, 200, take_over_starters=True)
    assert problems(facts, take_over) == []


@pytest.mark.parametrize(
    ("nr_open", "pid1_hard", "may_raise", "allowed"),
    [
        (1048576, "524288", True, 1048576),
        (1048576, "20000", True, 1048576),
        (1048576, "20000", False, 20000),
        (1048576, "unlimited", False, 1048576),
        (4096, "524288", True, 4096),
        (4096, "524288", False, 4096),
        (4096, "1024", False, 1024),
    ],
)
def test_open_files_never_exceed_what_the_kernel_lets_be_set(
    nr_open: int, pid1_hard: str, may_raise: bool, allowed: int
) -> None:
    assert open_files_ceiling(nr_open, pid1_hard, may_raise) == allowed


def test_the_oldest_versions_are_those_that_the_pool_module_names_itself() -> None:
    tree = ast.parse((PROJECT / "files/webex_pool_config.py").read_text())
    (named,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OLDEST"
    ]
    assert named == OLDEST
