"""Groups of a process that its user's accounts do not give it any more, or give it since; and its `PYTHONPATH`."""

from __future__ import annotations

import grp
from dataclasses import replace

import pytest
from ansible.module_utils.webex_rollout.found import FoundProcess, Seen
from ansible.module_utils.webex_rollout.plan import Asked, Plan, make_plan

FIRST, SECOND, THIRD = (entry.gr_name for entry in sorted(grp.getgrall(), key=lambda entry: entry.gr_gid)[:3])
IDS = {name: grp.getgrnam(name).gr_gid for name in (FIRST, SECOND, THIRD)}
PROCESS = FoundProcess(
    argv=["python", "bot.py"],
    executable="/usr/bin/python3",
    cwd="/srv/IR",
    environment=[],
    uid=0,
    gid=IDS[FIRST],
    groups=[],
    umask="0022",
    limits={},
    nice=0,
    ignored_signals=[],
    stdout="/dev/null",
    stderr="/dev/null",
)


def planned(gid: str, groups: list[str], gets: list[str]) -> Plan:
    asked = Asked("/usr/bin/python3", "bot.py", "/srv/IR", "x.log", gid=IDS[FIRST], groups=[IDS[n] for n in gets])
    process = replace(PROCESS, gid=IDS[gid], groups=[IDS[name] for name in groups])
    return make_plan("jarvis", asked, process, Seen("/usr/bin/python3", directory="/srv/IR"), "nohup", [7])


def rows(plan: Plan) -> dict[str, tuple[str, str, str, str]]:
    return {r.what: (r.found, r.wanted, r.fate, r.why) for r in plan.differences if r.what.startswith("group")}


@pytest.mark.parametrize(("keep", "expected"), [([], []), (["PYTHONPATH"], ["/srv/IR/lib", "/srv/IR", "/opt/x"])])
def test_the_patch_is_given_the_python_path_that_the_unit_has(keep: list[str], expected: list[str]) -> None:
    process = replace(PROCESS, environment=["PYTHONPATH=lib::/opt/x/"])
    asked = Asked("/usr/bin/python3", "bot.py", "/srv/IR", "x.log", keep=keep)
    plan = make_plan("jarvis", asked, process, Seen("/usr/bin/python3", directory="/srv/IR"), "nohup", [7])
    assert plan.python_path == expected


def test_the_same_groups_have_no_row() -> None:
    assert rows(planned(FIRST, [FIRST, SECOND], [FIRST, SECOND])) == {}


def test_a_primary_group_of_its_own_goes_into_the_unit() -> None:
    plan = planned(SECOND, [FIRST, SECOND], [FIRST, SECOND])
    assert rows(plan) == {"group": (SECOND, SECOND, "carried over", "")}
    assert ["Group", SECOND] in plan.unit["directives"]


@pytest.mark.parametrize(
    ("has", "gets", "words"),
    [
        ([FIRST, THIRD], [FIRST], f"jarvis has {THIRD}, which its user is not in any more"),
        ([FIRST], [FIRST, THIRD], f"its user is in {THIRD} since it was started"),
    ],
)
def test_what_a_login_left_behind_is_no_unit_s_to_give(has: list[str], gets: list[str], words: str) -> None:
    plan = planned(FIRST, has, gets)
    (row,) = rows(plan).values()
    assert row[2] == "noted"
    assert words in row[3]
    assert [each for each in plan.unit["directives"] if "Group" in each[0]] == []


def test_a_primary_group_that_its_user_is_not_in_is_not_given_either() -> None:
    plan = planned(THIRD, [FIRST], [FIRST])
    assert set(rows(plan)) == {"groups"}
    assert plan.unit["directives"] == []
