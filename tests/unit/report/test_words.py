"""How times, durations and lists are worded."""

from __future__ import annotations

import pytest

from plugin_utils.words import about, at, clock, counted, date, duration, measured, moment, named, number, zone

SWITCH = 1795530301.0


def test_measured_times() -> None:
    lengths = [0.04, 9.96, 59.6, 61, 600, 3599, 3660, 36001, 90000, 20 * 86400, None]
    assert [measured(length) for length in lengths] == [
        "0.0 s",
        "10.0 s",
        "1 min",
        "1 min 1 s",
        "10 min",
        "59 min",
        "1 h 1 min",
        "10 h",
        "1 d 1 h",
        "20 d",
        "an unknown time",
    ]
    assert [about(length) for length in (3.21, 200, 90 * 60, 49 * 3600)] == ["3.2 s", "3 min", "2 h", "2 d"]


def test_times_to_come_are_rounded_up() -> None:
    assert [duration(length) for length in (50.2, 2460, 7500, 86400)] == ["51 s", "41 min", "2 h 5 min", "24 h"]


def test_moments() -> None:
    assert moment(SWITCH) == "2026-11-24T15:25:01+01:00"
    assert at(SWITCH) == "2026-11-24 15:25 CET"
    assert (date(moment(SWITCH)), clock(moment(SWITCH))) == ("24 Nov 2026, 15:25:01", "15:25:01")


@pytest.mark.parametrize(
    ("offset", "words"), [("+01:00", "UTC+01:00"), ("-03:30", "UTC-03:30"), ("+00:00", "UTC"), ("-00:00", "UTC")]
)
def test_zones(offset: str, words: str) -> None:
    assert zone(f"2026-11-24T15:25:01{offset}") == words


def test_numbers() -> None:
    assert [counted(count, "incident") for count in (0, 1, 14)] == ["no incident", "1 incident", "14 incidents"]
    assert (number(0.0234), number(53.4), number(1e9)) == ("0.023", "53", "more than a million")


def test_bots_in_a_sentence() -> None:
    assert named([]) == ""
    assert named(["jarvis"]) == "jarvis"
    assert named(["jarvis", "tars", "msoar"]) == "jarvis, tars and msoar"
    assert named(["jarvis", "tars", "msoar", "toodles"]) == "4 bots"
