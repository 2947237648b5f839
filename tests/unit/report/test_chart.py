"""The chart's geometry: what stands where, and how it fits."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugin_utils.report.chart import HEIGHT, MAX_AFTER, MAX_HOURS, MIN_AFTER, Chart, make_chart

BEGUN = datetime(2026, 11, 20, 9, 0, tzinfo=timezone(timedelta(hours=1)))
HOUR = timedelta(hours=1)


def reading(begun: datetime, length: timedelta, counts: dict[int, int]) -> dict[str, Any]:
    """A span of report.json; `counts` by the number of the hour."""
    hours = [{"start": (begun + number * HOUR).isoformat(), "incidents": count} for number, count in counts.items()]
    return {
        "begun": begun.isoformat(),
        "ended": (begun + length).isoformat(),
        "seconds": length.total_seconds(),
        "incidents": sum(counts.values()),
        "hours": hours,
    }


def draw(before: dict[str, Any] | None, after: dict[str, Any] | None) -> Chart:
    chart = make_chart({"before": before, "after": after})
    assert chart is not None
    return chart


def test_a_bar_for_each_hour_with_incidents_the_highest_as_high_as_the_chart() -> None:
    chart = draw(reading(BEGUN, 10 * HOUR, {0: 1, 4: 4}), reading(BEGUN + 10 * HOUR, 5 * HOUR, {12: 2}))
    assert [(bar.side, bar.height) for bar in chart.bars] == [
        ("before", HEIGHT / 4),
        ("before", HEIGHT),
        ("after", HEIGHT / 2),
    ]
    assert chart.peak == 4


def test_before_is_left_of_the_switch_and_after_is_right_of_it() -> None:
    chart = draw(reading(BEGUN, 100 * HOUR, {0: 1, 99: 1}), reading(BEGUN + 100 * HOUR, HOUR, {0: 1}))
    left, middle, right = (bar.x for bar in chart.bars)
    assert left == 0 < middle < chart.switch == right == 100 - MIN_AFTER


def test_a_long_time_after_leaves_room_for_the_time_before() -> None:
    chart = draw(reading(BEGUN, 2 * HOUR, {0: 1}), reading(BEGUN + 2 * HOUR, 48 * HOUR, {}))
    assert chart.switch == 100 - MAX_AFTER


def test_only_the_latest_week_is_drawn() -> None:
    chart = draw(reading(BEGUN, (24 * 365 - 1) * HOUR, {0: 3, 24 * 358: 2, 24 * 365 - 1: 1}), None)
    assert [(round(bar.x), bar.height) for bar in chart.bars] == [(0, HEIGHT), (99, HEIGHT / 2)], "not the first hour"
    assert chart.peak == 2


def test_every_hour_of_the_latest_week_has_its_bar() -> None:
    length = 3 * MAX_HOURS * HOUR - timedelta(minutes=1)
    chart = draw(reading(BEGUN, length, dict.fromkeys(range(3 * MAX_HOURS), 1)), None)
    assert len(chart.bars) == MAX_HOURS


def test_half_hour_zones_have_their_bars_too() -> None:
    kolkata = timezone(timedelta(hours=5, minutes=30))
    start = datetime.fromtimestamp(1795530301 // 3600 * 3600, kolkata)
    assert start.minute == 30
    chart = draw(reading(start + timedelta(minutes=12), 5 * HOUR, {}) | reading(start, 5 * HOUR, {1: 2}), None)
    assert len(chart.bars) == 1


def test_the_words_say_what_the_bars_show() -> None:
    chart = draw(reading(BEGUN, 10 * HOUR, {0: 1, 4: 4}), reading(BEGUN + 10 * HOUR, HOUR, {}))
    assert chart.description == "Before: 5 incidents, at most 4 in an hour. After: no incident."


def test_a_clock_set_back_is_no_error() -> None:
    chart = draw(reading(BEGUN, -5 * HOUR, {}), None)
    assert chart.description == "Before: no incident."


def test_no_log_no_chart() -> None:
    assert make_chart({"before": None, "after": None}) is None
    assert make_chart({"before": None, "after": reading(BEGUN, HOUR, {})}) is None


@given(
    st.integers(0, 400),
    st.dictionaries(st.integers(0, 400), st.integers(1, 500), max_size=40),
    st.integers(0, 60),
    st.dictionaries(st.integers(0, 60), st.integers(1, 500), max_size=10),
)
def test_everything_is_within_the_drawing(
    length: int, before: dict[int, int], length_after: int, after: dict[int, int]
) -> None:
    switch = BEGUN + length * HOUR
    chart = draw(reading(BEGUN, length * HOUR, before), reading(switch, length_after * HOUR, after))
    assert 0 < chart.switch < 100
    for bar in chart.bars:
        assert bar.x >= 0 and bar.x + bar.width <= 100.001
        assert 2 <= bar.height <= HEIGHT + 0.001
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.1)
    for tick in chart.ticks:
        assert 0 <= tick.x < chart.switch
