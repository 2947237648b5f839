"""The geometry of a bot's chart: incidents by the hour before the switch, and since.

Widths are per cent and heights CSS pixels: without a viewBox the drawing stretches with the page while its text keeps
its size, which is what makes one drawing good for a phone and for a sheet of paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from plugin_utils.words import counted

HOUR = timedelta(hours=1)
HEIGHT = 96
"""Pixels from the baseline to the highest bar."""

MAX_HOURS = 7 * 24
"""Hours shown before the switch, and since; the latest ones."""

MIN_AFTER, MAX_AFTER = 30.0, 60.0
"""Share of the width, in per cent, for what came after: room for its heading on a phone, however short it was."""


@dataclass(frozen=True)
class Bar:
    """One hour with incidents."""

    x: float
    y: float
    width: float
    height: float
    side: str
    title: str


@dataclass(frozen=True)
class Tick:
    """A mark on the time axis; every other one is `minor`, for wide screens only."""

    x: float
    label: str
    minor: bool


@dataclass(frozen=True)
class Label:
    """A side's heading: what it is, where it begins, how long it was in seconds (if known)."""

    name: str
    left: float
    length: float | None
    incidents: int


@dataclass(frozen=True)
class Chart:
    """Everything that is drawn. `switch` is where the two sides meet."""

    bars: list[Bar]
    ticks: list[Tick]
    switch: float
    peak: int
    sides: list[Label]
    description: str


@dataclass(frozen=True)
class Side:
    """The hours of one side in order, without a gap."""

    name: str
    hours: list[datetime]
    counts: Mapping[datetime, int]

    @property
    def peak(self) -> int:
        """The most incidents in any of the hours."""
        return max(self.counts.get(hour, 0) for hour in self.hours)


def make_chart(bot: Mapping[str, Any]) -> Chart | None:
    """The chart of one bot; None where its log was not read by the hour.

    :param bot: as report.json has it.
    """
    sides = [_side(name, bot[name]) for name in ("before", "after") if bot[name] and bot[name]["begun"]]
    if not sides or not any(side.name == "before" or side.counts for side in sides):
        return None
    switch = _switch(sides)
    peak = max(1, *(side.peak for side in sides))
    bars, ticks, labels = [], [], []
    for side in sides:
        left, width = (0.0, switch) if side.name == "before" else (switch, 100.0 - switch)
        places = [(hour, left + width * number / len(side.hours)) for number, hour in enumerate(side.hours)]
        bars += _bars(side, places, width / len(side.hours), peak)
        if side.name == "before":
            ticks = _ticks(places, left, width)
        labels.append(Label(side.name, left, bot[side.name]["seconds"], bot[side.name]["incidents"]))
    return Chart(bars, ticks, switch, peak, labels, " ".join(_describe(side, bot[side.name]) for side in sides))


def _side(name: str, reading: Mapping[str, Any]) -> Side:
    counts = {datetime.fromisoformat(hour["start"]): hour["incidents"] for hour in reading["hours"]}
    first = min([_hour_of(reading["begun"]), *counts])
    last = max([first, _hour_of(reading["ended"] or reading["begun"]), *counts])
    shown = min(MAX_HOURS, (last - first) // HOUR + 1)
    return Side(name, [last - number * HOUR for number in reversed(range(shown))], counts)


def _hour_of(time: str) -> datetime:
    """The hour of a time, as the log's hours are cut: by the epoch, which is not the clock's hour in every zone."""
    parsed = datetime.fromisoformat(time)
    return datetime.fromtimestamp(parsed.timestamp() // 3600 * 3600, parsed.tzinfo)


def _switch(sides: Sequence[Side]) -> float:
    """Where the sides meet, in per cent of the width."""
    if len(sides) == 1:
        return 100.0 if sides[0].name == "before" else 0.0
    before, after = (len(side.hours) for side in sides)
    share = 100.0 * after / (before + after)
    return 100.0 - min(MAX_AFTER, max(MIN_AFTER, share))


def _bars(side: Side, places: Sequence[tuple[datetime, float]], width: float, peak: int) -> list[Bar]:
    bars = []
    # Few hours would make bars as broad as a hand.
    broad = min(width, 4.0)
    for hour, x in places:
        count = side.counts.get(hour, 0)
        if count:
            height = max(2.0, HEIGHT * count / peak)
            title = f"{hour:%d %b %H}:00, {count}"
            bars.append(Bar(round(x, 3), round(HEIGHT - height, 1), round(broad * 0.86, 3), height, side.name, title))
    return bars


def _ticks(places: Sequence[tuple[datetime, float]], left: float, width: float) -> list[Tick]:
    """Midnights; where there is none, the first hour."""
    midnights = [(hour, x) for hour, x in places if hour.hour == 0 and left + 6 < x < left + width - 6]
    if not midnights:
        hour, x = places[0]
        return [Tick(round(x, 3), f"{hour:%d %b %H}:00", False)]
    step = -(-len(midnights) // 6)
    return [
        Tick(round(x, 3), f"{hour.day} {hour:%b}", number % 2 == 1)
        for number, (hour, x) in enumerate(midnights[::step])
    ]


def _describe(side: Side, reading: Mapping[str, Any]) -> str:
    peak = f", at most {side.peak} in an hour" if side.peak > 1 else ""
    return f"{side.name.capitalize()}: {counted(reading['incidents'], 'incident')}{peak}."
