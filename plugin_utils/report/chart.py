"""The geometry of a bot's chart: time-outs by the hour before the switch, and since.

Widths are per cent and heights CSS pixels: without a viewBox the drawing stretches with the page while its text keeps
its size, which is what makes one drawing good for a phone and for a sheet of paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)
HEIGHT = 96
"""Pixels from the baseline to the highest bar."""

MAX_HOURS = 7 * 24
"""Hours shown before the switch, and since; the latest ones."""

QUIET = 7 * 24
"""Hours without a time-out from which on a stretch is cut out and marked: a log may lie idle for months."""

CUT = 5
"""Hours' worth of room that the mark of such a stretch takes."""

MIN_AFTER, MAX_AFTER = 30.0, 60.0
"""Share of the width, in per cent, for what came after: room for its heading on a phone, however short it was."""


@dataclass(frozen=True)
class Bar:
    """One hour with time-outs."""

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
    """Everything that is drawn. `switch` is where the two sides meet, `cuts` where quiet weeks are left out."""

    bars: list[Bar]
    ticks: list[Tick]
    cuts: list[float]
    switch: float
    peak: int
    sides: list[Label]
    description: str


@dataclass(frozen=True)
class Side:
    """The hours of one side in order; None stands for a quiet stretch that is left out."""

    name: str
    hours: list[datetime | None]
    counts: Mapping[datetime, int]

    @property
    def room(self) -> int:
        """Width in hours."""
        return sum(1 if hour else CUT for hour in self.hours)

    @property
    def peak(self) -> int:
        return max((self.counts.get(hour, 0) for hour in self.hours if hour), default=0)


def make_chart(bot: Mapping[str, Any]) -> Chart | None:
    """The chart of one bot of report.json; None where its log was not read by the hour."""
    sides = [_side(name, bot[name]) for name in ("before", "after") if bot[name] and bot[name]["begun"]]
    if not sides or not any(side.name == "before" or side.counts for side in sides):
        return None
    switch = _switch(sides)
    peak = max(1, *(side.peak for side in sides))
    bars, ticks, cuts, labels = [], [], [], []
    for side in sides:
        left, width = (0.0, switch) if side.name == "before" else (switch, 100.0 - switch)
        places = _places(side, left, width)
        bars += _bars(side, places, width / side.room, peak)
        cuts += [x + CUT / 2 * width / side.room for hour, x in places if hour is None]
        if side.name == "before":
            ticks = _ticks(places, left, width)
        labels.append(Label(side.name, left, bot[side.name]["seconds"], bot[side.name]["incidents"]))
    return Chart(bars, ticks, cuts, switch, peak, labels, " ".join(_describe(side, bot[side.name]) for side in sides))


def _side(name: str, reading: Mapping[str, Any]) -> Side:
    counts = {datetime.fromisoformat(hour["start"]): hour["incidents"] for hour in reading["hours"]}
    first = min([_hour_of(reading["begun"]), *counts])
    last = max([_hour_of(reading["ended"] or reading["begun"]), *counts])
    hours: list[datetime | None] = []
    hour = first
    while hour <= last:
        following = min((other for other in counts if other > hour), default=last)
        hours.append(hour)
        if following - hour > QUIET * HOUR:
            hours.append(None)
            hour = following
        else:
            hour += HOUR
    return Side(name, hours[-MAX_HOURS:], counts)


def _hour_of(time: str) -> datetime:
    """The hour of a time, as the log's hours are cut: by the epoch, which is not the clock's hour in every zone."""
    moment = datetime.fromisoformat(time)
    return datetime.fromtimestamp(moment.timestamp() // 3600 * 3600, moment.tzinfo)


def _switch(sides: Sequence[Side]) -> float:
    """Where the sides meet, in per cent of the width."""
    if len(sides) == 1:
        return 100.0 if sides[0].name == "before" else 0.0
    share = 100.0 * sides[1].room / (sides[0].room + sides[1].room)
    return 100.0 - min(MAX_AFTER, max(MIN_AFTER, share))


def _places(side: Side, left: float, width: float) -> list[tuple[datetime | None, float]]:
    """Each hour with its left edge."""
    places, used = [], 0
    for hour in side.hours:
        places.append((hour, left + width * used / side.room))
        used += 1 if hour else CUT
    return places


def _bars(side: Side, places: Sequence[tuple[datetime | None, float]], width: float, peak: int) -> list[Bar]:
    bars = []
    # Few hours would make bars as broad as a hand.
    broad = min(width, 4.0)
    for hour, x in places:
        count = side.counts.get(hour, 0) if hour else 0
        if hour and count:
            height = max(2.0, HEIGHT * count / peak)
            title = f"{hour:%d %b %H}:00, {count}"
            bars.append(Bar(round(x, 3), round(HEIGHT - height, 1), round(broad * 0.86, 3), height, side.name, title))
    return bars


def _ticks(places: Sequence[tuple[datetime | None, float]], left: float, width: float) -> list[Tick]:
    """Midnights; where there is none, the first hour."""
    midnights = [(hour, x) for hour, x in places if hour and hour.hour == 0 and left + 6 < x < left + width - 6]
    if not midnights:
        hour, x = next((hour, x) for hour, x in places if hour)
        return [Tick(round(x, 3), f"{hour:%d %b %H}:00", False)]
    step = -(-len(midnights) // 6)
    return [
        Tick(round(x, 3), f"{hour.day} {hour:%b}", number % 2 == 1)
        for number, (hour, x) in enumerate(midnights[::step])
    ]


def _describe(side: Side, reading: Mapping[str, Any]) -> str:
    count = reading["incidents"]
    words = "no time-out" if count == 0 else f"{count} time-out{'s' if count > 1 else ''}"
    peak = f", at most {side.peak} in an hour" if side.peak > 1 else ""
    return f"{side.name.capitalize()}: {words}{peak}."
