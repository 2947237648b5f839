"""The post-deploy check of a bot names everything that is not as it was rolled out, with the next step."""

from __future__ import annotations

from typing import Any

import pytest

from plugin_utils.gate.verified import verified
from tests.unit.gate.test_log_check import since, soak

UNIT = "webex-bot@jarvis.service"


def found(**changes: Any) -> dict[str, Any]:
    facts = {"processes": [{"supervisor": UNIT}], "unit": {"active": "active", "file_state": "enabled"}}
    sound = {"facts": facts, "problems": [], "soak": soak(), "since": since(1), "soak_problem": ""}
    return {**sound, **changes}


def test_a_sound_bot_passes_with_its_evidence() -> None:
    check = verified("jarvis", found(), UNIT, "/jarvis.log", 1)
    assert (check.passed, check.problem) == (True, "")
    assert "failed calls" in check.evidence


def with_facts(**changes: Any) -> dict[str, Any]:
    return {"facts": {**found()["facts"], **changes}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (with_facts(processes=[]), ["none running", "journalctl -u webex-bot@jarvis", "rollout.yml"]),
        (with_facts(processes=[{"supervisor": "nohup"}]), ["Found nohup"]),
        (with_facts(processes=[{"supervisor": UNIT}] * 2), ["expected one copy"]),
        (with_facts(unit={"active": "active", "file_state": "disabled"}), ["the unit is active and disabled"]),
        (with_facts(unit={"active": "failed", "file_state": "enabled"}), ["the unit is failed"]),
        ({"problems": ["cron starts jarvis too"]}, ["cron starts jarvis too"]),
        ({"since": None, "soak_problem": "its log is gone"}, ["its log is gone", "playbooks/verify.yml"]),
        ({"since": since(2)}, ["At most 1 are accepted", "--limit jarvis", "/jarvis.log"]),
    ],
)
def test_what_is_not_so_is_named(changes: dict[str, Any], words: list[str]) -> None:
    check = verified("jarvis", found(**changes), UNIT, "/jarvis.log", 1)
    assert not check.passed
    assert [word for word in words if word not in check.problem] == []


def test_everything_is_told_at_once() -> None:
    check = verified("jarvis", found(**with_facts(processes=[]), since=since(2)), UNIT, "/jarvis.log", 1)
    assert "none running" in check.problem
    assert "accepted" in check.problem
