"""The post-deploy check: failed calls against a budget that grows with the VM's own time, whatever its clock shows."""

from __future__ import annotations

from typing import Any

import pytest

from plugin_utils.gate.log_check import log_check, seconds_watched


def soak(elapsed: float = 3000.0) -> dict[str, Any]:
    return {"elapsed": elapsed, "clock": {"boot": "a", "since_boot": 5000.0, "epoch": 1e9}}


def now(since_boot: float = 5600.0, boot: str = "a", epoch: float = 1e9 + 600) -> dict[str, Any]:
    return {"boot": boot, "since_boot": since_boot, "epoch": epoch}


def since(incidents: int, ready: bool = True, **at: Any) -> dict[str, Any]:
    return {
        "incidents": incidents,
        "recovered": 2,
        "pool": {"requests": 40},
        "ready_line": ready,
        "now": now(**at),
    }


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


def test_without_a_ready_line_nothing_passes() -> None:
    check = log_check(since(0, ready=False), soak(), 1)
    assert not check.passed
    assert check.evidence == (
        "0 failed calls, 2 repeated, in 40 requests over 3600 s (the pool module's ready line was not seen)"
    )
