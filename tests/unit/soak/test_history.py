"""What a bot is judged by after a release that was rolled back: not by what that one has logged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout.evidence import HISTORY_HOURS, HOUR
from ansible.module_utils.webex_rollout.steps.roll_back import forget_soak

from tests.unit.soak.test_soak import FAILED, Machine

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A bot whose release r1 failed thirty times, and was rolled back; of before, two failures are known."""
    machine = Machine(tmp_path, monkeypatch)
    machine.log("jarvis", FAILED.format(minute=3))
    machine.ask("begun", before=machine.before())
    machine.log("jarvis", "".join(FAILED.format(minute=minute) for minute in range(10, 40)))
    forget_soak(machine.store, "0")
    assert not machine.file.exists()
    return machine


def begun(machine: Machine, release: str = "r2") -> int:
    machine.ask("begun", release, before=machine.before())
    return int(machine.kept().own.history["incidents"])


def test_the_next_release_is_judged_by_what_was_before_the_one_that_failed(rolled_back: Machine) -> None:
    assert rolled_back.before()["incidents"] == 32
    assert begun(rolled_back) == 2
    forget_soak(rolled_back.store, "0")
    assert begun(rolled_back, "r1") == 2


def test_the_bot_is_compared_with_others_by_the_same(rolled_back: Machine) -> None:
    """Its burst had errors of another canary taken for chance."""
    state = rolled_back.state
    other = rolled_back.vm.store("tars")
    other.save(state)
    given = rolled_back.before()
    rolled_back.ask("begun", bot="jarvis", before=given)
    answers = rolled_back.ask(
        "begun",
        "r2",
        bot="tars",
        log=str(rolled_back.logs["tars"]),
        before={**given, "cursor": {**given["cursor"], "path": str(rolled_back.logs["tars"])}},
        controls=[rolled_back.control("jarvis")],
    )
    assert answers["soak"]["controls"]["jarvis"]["history"]["incidents"] == 2


def test_of_another_log_nothing_is_known(rolled_back: Machine) -> None:
    other = rolled_back.logs["jarvis"].rename(rolled_back.logs["jarvis"].with_name("other.log"))
    rolled_back.logs["jarvis"] = other
    assert begun(rolled_back) == 32


def test_what_was_longer_ago_than_a_week_says_little(rolled_back: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rolled_back.before()
    later = {**seen, "last_time": seen["last_time"] + HISTORY_HOURS * HOUR}
    monkeypatch.setattr(rolled_back, "before", lambda: later)
    assert begun(rolled_back) == 32


def test_what_a_promoted_release_logs_is_usual(rolled_back: Machine) -> None:
    begun(rolled_back, "r1")
    rolled_back.promote()
    assert begun(rolled_back) == 32


def test_a_rollback_does_not_fail_for_it(rolled_back: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(rolled_back)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rolled_back.store.vm, "write", full)
    forget_soak(rolled_back.store, "0")
    assert not rolled_back.file.exists()
