"""The post-deploy check: failed calls against a budget that grows with the VM's own time, whatever its clock shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from module_utils.webex_rollout.heard import Work
from module_utils.webex_rollout.soak import Soak, Watched
from plugin_utils.gate.log_check import log_check, seconds_watched


def soak(elapsed: float = 3000.0, failed: int = 5, problem: str = "", ever: bool = True) -> dict[str, Any]:
    clock = {"boot": "a", "since_boot": 5000.0, "epoch": 1e9}
    work = Work({"answered": 40 - failed, "timeouts": failed, "retried": 2}, ever=ever, problem=problem)
    return asdict(Soak("jarvis", "r1", clock, clock, elapsed, Watched("/jarvis.log", {}, {}), work))


def now(since_boot: float = 5600.0, boot: str = "a", epoch: float = 1e9 + 600) -> dict[str, Any]:
    return {"boot": boot, "since_boot": since_boot, "epoch": epoch}


def since(incidents: int, failures: int = 5, **at: Any) -> dict[str, Any]:
    return {"incidents": incidents, "failures": failures, "now": now(**at)}


def test_the_time_goes_on_after_the_last_look() -> None:
    assert seconds_watched(soak(), now()) == 3600


@pytest.mark.parametrize("epoch", [0.0, 1e9 - 7200, 2e9])
def test_a_clock_that_was_set_changes_nothing(epoch: float) -> None:
    assert log_check(since(1, epoch=epoch), soak(), 1) == log_check(since(1), soak(), 1)


def test_after_a_restart_only_the_time_since_then_is_certain() -> None:
    assert seconds_watched(soak(), now(since_boot=60.0, boot="b")) == 3060


@pytest.mark.parametrize(("incidents", "passed"), [(0, True), (1, True), (2, False)])
def test_as_many_as_are_accepted_pass(incidents: int, passed: bool) -> None:
    check = log_check(since(incidents), soak(), 1)
    assert (check.passed, check.allowed) == (passed, 1)


def test_a_part_of_an_hour_accepts_one_where_any_is_accepted() -> None:
    assert log_check(since(1), soak(60), 1).passed
    assert not log_check(since(1), soak(60), 0).passed


def test_a_log_full_of_words_is_no_failure() -> None:
    """Somebody writes "Read timed out" to the bot, which logs what it is sent."""
    assert log_check(since(500, 500), soak(failed=1), 1).passed
    assert not log_check(since(500, 500), soak(failed=2), 1).passed


def test_what_the_log_leaves_out_counts_all_the_same() -> None:
    assert not log_check(since(0, 0), soak(failed=2), 1).passed


@pytest.mark.parametrize(
    ("unheard", "why"),
    [
        ({"ever": False}, "not once so far"),
        ({"problem": "edited since it was rolled out: jarvis.py"}, "edited since it was rolled out: jarvis.py"),
        ({"problem": "it does not run"}, "it does not run"),
    ],
)
def test_what_is_not_heard_as_it_was_rolled_out_passes_nothing(unheard: dict[str, Any], why: str) -> None:
    check = log_check(since(0, 0), soak(failed=0, **unheard), 1)
    assert not check.passed
    assert check.evidence == (
        f"0 failed calls, 2 repeated, in 40 requests over 3600 s (the pool module is not heard: {why})"
    )
