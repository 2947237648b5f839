"""The status of several VMs as one table and one document."""

from __future__ import annotations

import json
from typing import Any

from plugin_utils.status import ASKED, shown

JARVIS = {"bot": "jarvis", "phase": "confirmed", "release": "abc", "candidate": "", "main_pid": 7, "soak": "promote"}
TARS = {"bot": "tars", "phase": "rolled_back", "release": "0", "note": "it died", "main_pid": 8}


def answer(*bots: dict[str, Any], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    rest = {"lock": {"described": "free"}, "guard": {"active": False}, "audit": [], "notify": []}
    return {"stdout": json.dumps({**rest, "bots": bots, "problems": problems})}


def variables(**answers: dict[str, Any]) -> dict[str, Any]:
    hosts = {"jarvis": "vm1", "tars": "vm1", "msoar": "vm2"}
    groups = {"bots": list(hosts)}
    return {bot: {"ansible_host": vm, "groups": groups, ASKED: answers.get(bot, {})} for bot, vm in hosts.items()}


BOTS = ["jarvis", "tars", "msoar"]


def test_every_bot_has_a_row_also_one_that_was_never_rolled_out() -> None:
    status = shown(variables(jarvis=answer(JARVIS, TARS)), BOTS, BOTS)
    assert [line.split()[0] for line in status.table[:4]] == ["bot", "jarvis", "tars", "msoar"]
    assert "not rolled out" in status.table[3]
    assert "vm1: lock free, guard inactive" in status.table
    assert "tars was rolled back to release 0: it died" in status.table
    assert (status.problems, status.document["healthy"]) == ([], True)
    assert status.document["bots"]["jarvis"] == {"vm": "vm1", **JARVIS}
    assert {vm: about["installed"] for vm, about in status.document["vms"].items()} == {"vm1": True, "vm2": False}


def test_a_problem_names_its_vm_and_is_the_health() -> None:
    status = shown(variables(jarvis=answer(JARVIS, problems=("jarvis: does not run",))), BOTS, BOTS)
    assert status.table[-1] == "PROBLEM vm1: jarvis: does not run"
    assert (status.document["healthy"], status.document["problems"]) == (False, ["vm1: jarvis: does not run"])


def test_a_vm_that_could_not_be_reached_is_no_healthy_one() -> None:
    status = shown(variables(msoar=answer()), BOTS, ["msoar"])
    assert status.problems == ["jarvis: vm1 could not be asked", "tars: vm1 could not be asked"]


def test_what_is_no_status_is_a_problem() -> None:
    for text in ("{", "[1]"):
        status = shown(variables(jarvis={"stdout": text}), BOTS, BOTS)
        assert len(status.problems) == 1
        assert not status.document["healthy"]
