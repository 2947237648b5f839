"""Stamps are the bots' local time, also in the hour that comes twice and the one that does not come."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import pytest
from ansible.module_utils.webex_rollout.logs.cursor import look, look_at_all, take_cursor
from ansible.module_utils.webex_rollout.logs.dialect import Dialect
from ansible.module_utils.webex_rollout.logs.learning import learn
from ansible.module_utils.webex_rollout.logs.stamps import Clock


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clocks went back from 03:00 to 02:00 on 2026-10-25, forward from 02:00 to 03:00 on 2026-03-29."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


def moment(clock: Clock, line: bytes) -> float | None:
    """When a line was written that begins with an ISO date."""
    head = (learn([line], 0.0) if line else Dialect()).read(line)
    return clock.read(head.stamp) if head else None


def epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("stamp", "when"),
    [
        ("2026-07-01 12:00:00,250 - x", "2026-07-01T12:00:00.250+02:00"),
        ("2026-01-01 12:00:00 x", "2026-01-01T12:00:00+01:00"),
        ("2026-01-01T12:00:00.5 x", "2026-01-01T12:00:00.500+01:00"),
        ("[2026-01-01 12:00:00,123] x", "2026-01-01T12:00:00.123+01:00"),
        ("2026-01-01T12:00:00Z x", "2026-01-01T12:00:00+00:00"),
        ("2026-01-01 12:00:00,000-0530 x", "2026-01-01T12:00:00-05:30"),
        ("2026-10-25T02:30:00+01:00 x", "2026-10-25T02:30:00+01:00"),
    ],
)
def test_stamps_are_read(berlin: None, stamp: str, when: str) -> None:
    assert moment(Clock(), stamp.encode()) == pytest.approx(epoch(when), abs=0.001)


@pytest.mark.parametrize("line", ["", "2026", "apples", "2026-13-01 12:00:00", "2026-01-32 12:00:00"])
def test_what_is_no_stamp_is_none(berlin: None, line: str) -> None:
    assert moment(Clock(), line.encode()) is None


def test_an_hour_that_does_not_come_is_no_moment(berlin: None) -> None:
    assert moment(Clock(), b"2026-03-29 02:30:00,000") is None


def test_the_hour_that_comes_twice_is_told_apart_by_the_order(berlin: None) -> None:
    clock = Clock()
    stamps = [b"2026-10-25 01:59:00", b"2026-10-25 02:30:00", b"2026-10-25 02:59:58", b"2026-10-25 02:00:01"]
    read = [moment(clock, stamp) for stamp in [*stamps, b"2026-10-25 02:31:00", b"2026-10-25 03:00:00"]]
    begin = epoch("2026-10-25T01:59:00+02:00")
    assert [each - begin for each in read] == [0, 31 * 60, 3658, 3661, 5520, 7260]


def test_records_slightly_out_of_order_stay_in_their_hour(berlin: None) -> None:
    clock = Clock()
    first, second = moment(clock, b"2026-10-25 02:30:00,900"), moment(clock, b"2026-10-25 02:30:00,100")
    assert first - second == pytest.approx(0.8)


def test_failures_an_hour_apart_with_one_stamp_are_two(berlin: None, tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    records = ["02:30:00", "02:59:00", "02:30:01"]
    log.write_text("".join(f"2026-10-25 {stamp},000 - ERROR - Read timed out\n" for stamp in records))
    assert look_at_all(str(log)).tally.incidents == 3


def test_the_second_hour_is_known_over_looks(berlin: None, tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    log.touch()
    cursor = take_cursor(str(log))
    for stamp in ("02:59:00", "02:10:00", "02:11:00"):
        with log.open("a") as stream:
            stream.write(f"2026-10-25 {stamp},000 - ERROR - Read timed out\n")
        cursor = look(cursor).cursor
    assert cursor.tally.last_time == epoch("2026-10-25T02:11:00+01:00")


def test_a_log_without_stamps_says_so(tmp_path: Path) -> None:
    log = tmp_path / "bot.log"
    log.write_text("ERROR Read timed out\nERROR Read timed out\n")
    tally = look_at_all(str(log)).tally
    assert (tally.first_time, tally.last_time, tally.lines) == (None, None, 2)
