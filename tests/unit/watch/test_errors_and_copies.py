"""The watch on a real process: errors of any kind that the release makes, and copies that somebody starts beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.webex_rollout import drift
from ansible.module_utils.webex_rollout import soak as kept
from ansible.module_utils.webex_rollout import watch as room
from ansible.module_utils.webex_rollout.disk import unseal
from ansible.module_utils.webex_rollout.evidence import PROMOTE
from ansible.module_utils.webex_rollout.procfs import read_stat
from ansible.module_utils.webex_rollout.state import Phase

from tests.unit.watch.conftest import Canary
from tests.unit.watch.test_bulletin import told

if TYPE_CHECKING:
    from tests.unit.tell.receivers import Service

__all__ = ["told"]


# --- errors of other kinds --------------------------------------------------------------------------------------------


def write(canary: Canary, *lines: str) -> None:
    with (canary.machine.home / "logs/jarvis.log").open("a", encoding="utf-8") as log:
        log.writelines(line + "\n" for line in lines)


def before(canary: Canary, *errors: int) -> None:
    """Two days of log, with an error in each of these hours."""
    for hour in range(48):
        stamp = f"2026-02-{1 + hour // 24:02d} {hour % 24:02d}:00:00,000 - bot.py"
        write(canary, f"{stamp}:5 - INFO - a message was answered")
        if hour in errors:
            write(canary, f"{stamp}:7 - ERROR - TypeError: no such thing")


def raising(number: int) -> list[str]:
    """What a release logs that raises at each message, a minute apart."""
    lines = []
    for minute in range(number):
        stamp = f"2026-02-03 {minute // 60:02d}:{minute % 60:02d}:00,000"
        lines += [
            f"{stamp} - bot.py:7 - ERROR - Error processing message: execute() missing 1 required argument",
            "Traceback (most recent call last):",
            '  File "bot.py", line 7, in process',
            "TypeError: execute() missing 1 required argument",
        ]
    return lines


def test_a_release_that_raises_at_each_message_is_rolled_back(canary: Canary) -> None:
    canary.machine.home.joinpath("logs").mkdir(exist_ok=True)
    before(canary, 3)
    canary.rolled_out().works(3)
    write(canary, *raising(20))
    canary.does(answered=20, errors=20)
    canary.tick()
    assert canary.state.phase is Phase.ROLLED_BACK
    assert canary.state.note.startswith("20 errors of other kinds (0.0 due)")
    assert "TypeError" not in canary.state.note, "that kind was there before"


def test_one_that_raised_as_often_before_is_not(canary: Canary) -> None:
    canary.machine.home.joinpath("logs").mkdir(exist_ok=True)
    before(canary, *range(48))
    canary.rolled_out().works(9)
    write(canary, *raising(1))
    canary.does(answered=20, errors=1)
    canary.works(3)
    assert (canary.state.phase, canary.soak.verdict) == (Phase.CONFIRMED, PROMOTE)


def test_errors_that_people_write_are_told_and_count_for_nothing(canary: Canary) -> None:
    canary.machine.home.joinpath("logs").mkdir(exist_ok=True)
    before(canary)
    canary.rolled_out().works(9)
    write(canary, *raising(50))
    canary.does(answered=20)
    canary.works(3)
    assert (canary.state.phase, canary.soak.verdict) == (Phase.CONFIRMED, PROMOTE)
    assert canary.soak.record is not None
    assert "without 50 in the log that its process did not log as such" in canary.soak.record["verdict"]["summary"]


# --- second copies ----------------------------------------------------------------------------------------------------


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time is too short for a copy to be one."""
    monkeypatch.setattr(drift, "COPY_SECONDS", 0.0)


def messages(service: Service) -> list[str]:
    return [json.loads(body)["text"] for _, _, body in service.received]


@pytest.mark.usefixtures("at_once")
def test_a_second_copy_is_stopped_and_told_once(canary: Canary, told: Service) -> None:
    canary.rolled_out().works(2)
    ours, copy = canary.pid, canary.machine.nohup()
    said = f"jarvis runs a second time beside {canary.unit} (process {copy}); it was stopped"
    canary.does(answered=1)
    assert canary.tick() == [f"jarvis: {said}"]
    canary.works(2)
    assert canary.machine.pids() == [ours]
    assert messages(told).count(said) == 1
    assert canary.state.phase is Phase.CONFIRMED


@pytest.mark.usefixtures("at_once")
def test_what_is_only_to_be_told_is_left_alone(canary: Canary, told: Service) -> None:
    canary.rolled_out().works(2)
    soak = canary.soak
    soak.heals = False
    kept.save(canary.machine.vm.store("jarvis"), soak)
    ours, copy = canary.pid, canary.machine.nohup()
    canary.works(3)
    assert sorted(canary.machine.pids()) == sorted([ours, copy])
    assert messages(told).count(f"jarvis runs a second time beside {canary.unit} (process {copy})") == 1


@pytest.mark.usefixtures("at_once")
def test_the_only_copy_is_left_alone_and_so_is_one_for_something_else(canary: Canary) -> None:
    canary.rolled_out().works(2)
    other = canary.machine.start(canary.machine.python, "webex_bots/jarvis.py", "--report")
    canary.machine.wait_for(lambda: other in canary.machine.pids())
    canary.works(2)
    assert other in canary.machine.pids()
    canary.machine.systemd(["systemctl", "stop", canary.unit])
    copy = canary.machine.nohup()
    canary.idles(5)
    assert copy in canary.machine.pids()


def test_one_that_has_just_been_started_is_none_yet(canary: Canary) -> None:
    canary.rolled_out().works(2)
    copy = canary.machine.nohup()
    canary.works(2)
    assert read_stat(copy) is not None


@pytest.mark.usefixtures("at_once")
def test_it_is_stopped_for_as_long_as_the_program_is_there(canary: Canary) -> None:
    canary.rolled_out().works(2)
    soak = canary.soak
    soak.until = 60.0
    kept.save(canary.machine.vm.store("jarvis"), soak)
    copy = canary.machine.nohup()
    canary.idles(10)
    assert copy not in canary.machine.pids()


def test_a_soak_that_does_not_say_what_to_do_about_copies_is_read(canary: Canary) -> None:
    canary.rolled_out()
    store = canary.machine.vm.store("jarvis")
    raw = asdict(canary.soak)
    del raw["heals"]
    store.vm.write(store.soak_path, raw)
    assert "heals" not in unseal(store.soak_path)
    assert canary.soak.heals


def test_starts_in_an_outage_between_two_looks_are_nobodys_fault(
    canary: Canary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promoted bot is looked at every five minutes: it may end and be started again many times without Webex."""
    canary.rolled_out().works(11, answered=2)
    assert canary.soak.verdict == PROMOTE
    monkeypatch.setattr(room, "was_fair", lambda *_: False)  # minutes lie between the two looks
    for _ in range(5):
        canary.machine.systemd.restart_behind(canary.unit)
    canary.fresh()
    canary.tick(300)
    assert (canary.state.phase, canary.soak.work.crashes) == (Phase.CONFIRMED, 0)
    assert canary.soak.work.unsettled, "the next tick looks again"
