# SPDX-License-Identifier: GPL-3.0-or-later
"""Learns a log's dialect from lines of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from .dialect import (
    ANSI,
    HEAD_BYTES,
    MAX_LAYOUTS,
    MAX_WORDS,
    WORD,
    Dialect,
    Layout,
    json_level,
    json_object,
    json_stamp,
    skeleton,
    value_at,
)
from .levels import LETTER, PINO, PYTHON, SYSLOG, style_of
from .stamps import DAY, FORMS, Clock, stamp_of

# Lines that are looked at, from one sample.
MAX_LINES = 600
# A layout that fewer of the records have is no layout of the log.
LEAST_SHARE = 0.05
# A time stamp further to the right belongs to the message.
_MAX_OPENING = 80
_MAX_OPENING_WORDS = 5

# What stands in a message that is shown as JSON or as Python shows a text, and before no record.
_QUOTING = re.compile(r"\\|[{}]|\".*\"|'.*'|\"w|'w")

_FORMS = [(form, re.compile(rb"(?<![\w.:-])(?:" + pattern + rb")")) for form, pattern in FORMS.items()]
_TIME_KEYS = (
    *("timestamp", "@timestamp", "time", "ts", "asctime", "datetime", "date", "created", "t", "eventTime"),
    *("record.time.timestamp", "record.time.repr", "__REALTIME_TIMESTAMP"),
)
_LEVEL_KEYS = (
    *("level", "levelname", "severity", "lvl", "loglevel", "log_level", "log.level", "level_name", "levelName"),
    *("record.level.name", "levelno", "level_number", "priority", "PRIORITY"),
)
_MESSAGE_KEYS = ("message", "msg", "event", "record.message", "text", "log", "MESSAGE")


class _Line(NamedTuple):
    """A line with a time stamp."""

    form: str
    match: re.Match[bytes]
    text: bytes
    before: list[bytes]
    behind: list[bytes]


def learn(lines: Sequence[bytes], written: float) -> Dialect:
    """The dialect of a log with these lines, in their order, which was last written at a moment."""
    told = [line for line in lines if line.strip()][:MAX_LINES]
    layouts = _json_layouts([line for line in told if line.startswith(b"{")], len(told))
    plain = [line[:HEAD_BYTES].rstrip(b"\r\n") for line in told if not line.startswith(b"{")]
    if not layouts or len(plain) * 2 > len(told):
        layouts += _dated_layouts(plain, written)
    else:  # lines of a JSON message, or another logger's: one whose records show their level, as JSON's do
        records = [line for line in plain if _stamped(line)]
        if len(records) >= LEAST_SHARE * len(told):
            layouts += [each for each in _dated_layouts(records, written) if each.levelled]
    if not layouts:
        layouts = _undated_layouts(plain)
    return Dialect(tuple(layouts[:MAX_LAYOUTS]), len(told))


def _dated_layouts(lines: Sequence[bytes], written: float) -> list[Layout]:
    groups: dict[tuple[str, str, bool], list[_Line]] = {}
    for line in lines:
        found = _stamped(line)
        if found:
            form, opening, colours = found[0]
            either = "day first" if form == "month first" else form
            groups.setdefault((either, opening, colours), []).append(found[1])
    layouts: list[tuple[bool, int, list[Layout]]] = []
    for (form, opening, colours), members in groups.items():
        if form == "day first" and not _day_first(members, written):
            form = "month first"
        layout = Layout(form, opening, colours=colours)
        levelled = _with_levels(layout, members)
        layouts.append((bool(levelled), len(members), levelled or [layout]))
    if not layouts:
        return []
    # Without levels they may be lines of a message; with some that have levels, they are.
    with_levels = [each for each in layouts if each[0]]
    most = sum(count for _, count, _ in with_levels)
    if most < LEAST_SHARE * sum(count for _, count, _ in layouts):
        with_levels = []
    kept = sorted(with_levels or [max(layouts, key=lambda each: each[1])], key=lambda each: -each[1])
    least = LEAST_SHARE * sum(count for _, count, _ in kept)
    return [layout for _, count, group in kept if count >= least for layout in group]


def _stamped(line: bytes) -> tuple[tuple[str, str, bool], _Line] | None:
    """The time stamp nearest to a line's start, with form and opening, when that is where a record's stands."""
    colours = ANSI.search(line[:_MAX_OPENING]) is not None
    clean = ANSI.sub(b"", line) if colours else line
    clean = clean[3:] if clean.startswith(b"\xef\xbb\xbf") else clean
    first: tuple[int, str, re.Match[bytes]] | None = None
    for form, pattern in _FORMS:
        match = pattern.search(clean, 0, _MAX_OPENING + 64)
        if match and match.start() <= _MAX_OPENING and (first is None or match.start() < first[0]):
            first = match.start(), form, match
    if first is None:
        return None
    opening = skeleton(clean[: first[0]])
    if opening.count("w") > _MAX_OPENING_WORDS or len(opening) > 40 or _QUOTING.search(opening):
        return None
    behind = WORD.findall(clean[first[2].end() :])[: MAX_WORDS + 1]
    before = re.findall(rb"[\w.-]+", clean[: first[0]])
    return (first[1], opening, colours), _Line(first[1], first[2], clean, before, behind)


def _with_levels(layout: Layout, members: Sequence[_Line]) -> list[Layout]:
    """The layout with the places at which the level stands; none when most lines have no level."""
    if layout.form == "glog":
        return [replace(layout, style=LETTER, place=0)]
    found: Counter[tuple[str, int]] = Counter()
    words_at: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}
    for member in members:
        words = [(word, -1 - number) for number, word in enumerate(member.before)]
        words += [(word, number) for number, word in enumerate(member.behind)]
        written = {place: word for word, place in words}
        styles = [(_style(word), place) for word, place in words]
        # A letter may be anything, a word of three letters or more hardly.
        named = [each for each in styles if each[0] not in ("", LETTER)] or [each for each in styles if each[0]]
        if named:
            found[named[0]] += 1
            words_at.setdefault(named[0], []).append((written[named[0][1]], member.text))
    return [
        replace(
            layout,
            style=style,
            place=place,
            mark="" if layout.colours else _before(words_at[style, place]),
            python=any(word.upper() == b"WARNING" for word, _ in words_at[style, place]),
        )
        for style, place in _usual(found, len(members))
    ]


def _before(levels: Sequence[tuple[bytes, bytes]]) -> str:
    """What stands right before the level in each of these lines, given as the level and the line; empty when it may
    differ: a level that is put to the right has more blanks before it the shorter it is."""
    if len({len(word.partition(b"/")[0]) for word, _ in levels}) < 2:
        return ""
    marks = set()
    for word, line in levels:
        at = line.find(word)
        marks.add(line[at - 2 : at] if at >= 2 else b"")
    mark = marks.pop() if len(marks) == 1 else b""
    return mark.decode("latin-1") if mark.strip() and mark.isascii() and not mark.isalnum() else ""


def _usual(found: Counter[tuple[str, int]], lines: int) -> list[tuple[str, int]]:
    """Style and place of the level, the places from left to right."""
    if not found:
        return []
    style = max({each[0] for each in found}, key=lambda one: sum(n for each, n in found.items() if each[0] == one))
    places = {place: number for (each, place), number in found.items() if each == style}
    if sum(places.values()) * 2 < lines:
        return []
    usual = [place for place, number in places.items() if number >= LEAST_SHARE * lines]
    return [(style, place) for place in sorted(usual, key=lambda place: (place >= 0, abs(place)))][: MAX_LAYOUTS - 1]


def _style(word: bytes) -> str:
    text = word.partition(b"/")[0].decode("latin-1")
    return (style_of(text) or "") if text.isascii() else ""


def _undated_layouts(lines: Sequence[bytes]) -> list[Layout]:
    """Of lines that begin with their level, or with a name and it."""
    found: Counter[tuple[str, int]] = Counter()
    colours = False
    starts = [line for line in lines if line[:1] not in b" \t"]
    for line in starts:
        clean = ANSI.sub(b"", line)
        colours = colours or clean != line
        words = [(_style(word), place) for place, word in enumerate(WORD.findall(clean)[:3])]
        named = [each for each in words if each[0] and (each[0] != LETTER or each[1] == 0)]
        if named:
            found[named[0]] += 1
    for style, place in _usual(found, sum(found.values())):
        if found[style, place] * 10 >= len(starts) * 3:
            return [Layout(place=place, style=style, colours=colours)]
    return []


def _day_first(members: Sequence[_Line], written: float) -> bool:
    """Whether dates that may be read both ways begin with the day."""
    matches = [each.match for each in members if each.form == "day first"]
    if any(int(match["d"]) > 12 for match in matches):
        return True
    if len(matches) < len(members):  # a second number above 12 is no month
        return False
    readings = []
    for day_first in (True, False):
        clock = Clock()
        moments = []
        for match in matches:
            stamp = stamp_of(match)
            stamp = stamp if day_first else stamp._replace(day=stamp.month, month=stamp.day)
            moment = clock.read(stamp)
            moments.append(-1.0 if moment is None else moment)
        back = sum(later < earlier - DAY for earlier, later in zip(moments, moments[1:]))
        late = sum(moment > written + DAY for moment in moments)
        jumps = moments[-1] - moments[0]
        readings.append((back + late, jumps, abs(written - moments[-1]), not day_first))
    american = any(match["p"] for match in matches) or matches[0]["s"] == b"/"
    one, other = readings
    if one[0] != other[0]:
        return one[0] < other[0]
    if abs(one[2] - other[2]) > DAY:  # the last line is about as old as the file
        return one[2] < other[2]
    return not american


def _json_layouts(lines: Sequence[bytes], of: int) -> list[Layout]:
    objects = [(each, line) for each, line in ((json_object(line), line) for line in lines) if each is not None]
    if not objects or len(objects) < LEAST_SHARE * of:
        return []
    half = len(objects) / 2
    time_key, form = _time_key([each for each, _ in objects])
    level_key, style = "", ""
    for key in _LEVEL_KEYS:
        values = [value for value in (value_at(each, key) for each, _ in objects) if value is not None]
        named = [one for one in (_json_style(key, value, values) for value in values) if one]
        if len(named) >= half:
            level_key, style = key, Counter(named).most_common(1)[0][0]
            break
    message = next(
        (key for key in _MESSAGE_KEYS if sum(isinstance(value_at(each, key), str) for each, _ in objects) >= half), ""
    )
    if not time_key and not level_key:
        return []
    mark = _mark(level_key, [line for _, line in objects]) if level_key else ""
    return [Layout(form, "", None, style, False, time_key, level_key, message, mark, json=True)]


def _time_key(objects: Sequence[dict[str, Any]]) -> tuple[str, str]:
    for key in _TIME_KEYS:
        values = [value_at(each, key) for each in objects]
        for form in FORMS:
            if sum(json_stamp(value, form) is not None for value in values) * 2 >= len(objects):
                return key, form
    return "", ""


def _json_style(key: str, value: Any, values: Sequence[Any]) -> str:
    if isinstance(value, str) and not value.isdigit():
        return style_of(value[:20]) or ""
    if json_level(value, PINO) is None:
        return ""
    if all(str(each) in "01234567" for each in values[:50]):
        return SYSLOG
    return PYTHON if key in ("levelno", "level_number") else PINO


def _mark(key: str, lines: Sequence[bytes]) -> str:
    """What stands before the level in each of the lines; empty when it differs."""
    name = key.rpartition(".")[2] if value_at(json_object(lines[0]), key) is not None else key
    pattern = re.compile(
        rb'(?<!\\)"(?:' + re.escape(key.encode()) + b"|" + re.escape(name.encode()) + rb')"\s{0,4}:\s{0,4}"?'
    )
    marks = {found.group() for found in map(pattern.search, lines) if found}
    return marks.pop().decode("latin-1") if len(marks) == 1 else ""
