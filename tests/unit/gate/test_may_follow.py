"""Whether the fleet may follow, and the sentences that people see where it may not."""

from __future__ import annotations

from typing import Any

import pytest

from plugin_utils.gate.may_follow import Answer, may_follow

FLEET = ["tars", "toodles"]


def canary(gate_state: str, name: str = "jarvis", **decision: str) -> dict[str, Any]:
    return {"item": name, "gate_state": gate_state, "soak": {"decision": decision or None}}


def test_the_fleet_follows_a_promoted_canary() -> None:
    assert may_follow([canary("promote")], FLEET, "act") == Answer()


def test_the_fleet_waits_for_the_slowest_canary() -> None:
    answer = may_follow([canary("promote"), canary("extend", "alfred")], FLEET, "act")
    assert answer == Answer(
        waiting="alfred still soaks; the verdict above shows what is missing. Run the same command again later; "
        "rollout_wait lets a run wait for it. The fleet waits."
    )


def test_without_evidence_the_fleet_is_refused_with_both_ways_out() -> None:
    assert may_follow([canary("none")], FLEET, "act") == Answer(
        "tars, toodles: jarvis has not been rolled out, or was rolled back since, so there is no evidence for this "
        "release. Nothing was changed. Roll the canary out first (ansible-playbook rollout.yml --limit jarvis), or set "
        "rollout_skip_canary to continue without."
    )


def test_other_settings_are_no_evidence() -> None:
    refusal = may_follow([canary("other")], ["tars"], "act").refusal
    assert refusal.startswith("tars: jarvis has soaked with other settings, templates or another pool module, so ")


def test_a_canary_that_failed_refuses_the_fleet() -> None:
    for state in ("hold", "roll back"):
        assert may_follow([canary(state)], ["tars"], "act") == Answer(
            "tars: the verdict on jarvis does not let the fleet follow. Nothing was changed. Run rollout.yml --limit "
            "jarvis to see why; decide with -e rollout_verdict=promote or -e rollout_verdict=rollback."
        )


def test_a_pause_names_who_paused() -> None:
    paused = canary("paused", who="ann@desk", when="2026-02-03T10:00:00Z", why="")
    assert may_follow([paused], FLEET, "act") == Answer(
        waiting="jarvis is paused by ann@desk since 2026-02-03T10:00:00Z (no reason given); -e rollout_verdict=auto "
        "lets the evidence decide again. The fleet waits."
    )


@pytest.mark.parametrize("state", ["promote", "hold", "roll back", "extend"])
def test_a_gate_that_observes_neither_refuses_nor_lets_go(state: str) -> None:
    answer = may_follow([canary(state)], FLEET, "observe")
    assert answer.refusal == ""
    assert answer.waiting.endswith("The gate only observes (rollout_gate). The fleet waits.")


def test_a_gate_that_observes_still_wants_a_canary() -> None:
    assert may_follow([canary("none")], FLEET, "observe").refusal != ""
