# SPDX-License-Identifier: GPL-3.0-or-later
"""The form in which a log is written: where a record begins in it, when it was written, and how severe it is.

A text inside of a message is never taken for any of the three: the level is the word at one place of a record's first
line, not the first word that means a level.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

from .levels import STYLES, SYSLOG, beginnings, level_of, level_of_number
from .stamps import FORMS, TOLD, Stamp, epoch_of, stamp_of

# Bytes of a line in which time stamp and level stand.
HEAD_BYTES = 512
# A longer line is not read as JSON.
MAX_JSON = 64 * 1024
MAX_LAYOUTS = 4
MAX_WORDS = 12

# Between two words of a line's beginning: not `-`, which stands in names.
_BETWEEN = rb" \t\r\v\f:|\[\]()<>=,;\"'{}"
_ANSI = rb"\x1b\[[\d;]{0,16}[A-Za-z]"
WORD = re.compile(rb"[^" + _BETWEEN + rb"\n\x1b]+")
ANSI = re.compile(_ANSI)
_BOM = b"\xef\xbb\xbf"
_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh")


class Head(NamedTuple):
    """The first line of a record."""

    stamp: Stamp | None = None
    level: int | None = None
    """On the scale of Python's logging; None where it shows none."""
    text: bytes = b""
    """What follows time and level; the message where that is known."""
    trace: bytes = b""
    """The traceback, where it stands in the same line, as in JSON."""


@dataclass(frozen=True)
class Layout:
    """One form of a record's first line. A log has one, and more where several programs or loggers write to it."""

    form: str = ""
    """Of its time stamp, a name in `FORMS`; empty without one."""
    opening: str = ""
    """What stands before the time stamp, as `skeleton` puts it."""
    place: int | None = None
    """Which word is the level: 0 is the first behind the time stamp, -1 the first before it; None without levels."""
    style: str = ""
    """How the level is written, one of `STYLES`."""
    colours: bool = False
    time_key: str = ""
    level_key: str = ""
    message_key: str = ""
    """JSON: where in the object they stand."""
    mark: str = ""
    """What stands right before the level in each line, for a search."""
    json: bool = False
    python: bool = False
    """Whether the levels have the names that Python's logging has for them: fewer to search for."""

    @property
    def levelled(self) -> bool:
        """Whether records show their level."""
        return self.place is not None or bool(self.level_key)

    def described(self) -> str:
        """In words."""
        if self.json:
            told = [f"time: key `{self.time_key}`" if self.time_key else "no time", "no level"]
            if self.level_key:
                told[1] = f"level: key `{self.level_key}`"
            return "JSON; " + "; ".join(told)
        where = "at the line's start"
        if self.opening:
            where = f"after `{self.opening}`" if self.opening.strip() else "after a blank"
        told = [f"time: `{TOLD[self.form]}` {where}" if self.form else "no time", "no level"]
        if self.place is not None:
            number = self.place if self.place >= 0 else -1 - self.place
            which = _PLACES[number] if number < len(_PLACES) else f"{number + 1}th"
            side = "before the time" if self.place < 0 else "after the time" if self.form else "of the line"
            told[1] = f"level: {which} word {side}" if self.form != "glog" else "level: the letter before it"
        return "; ".join(told)


def skeleton(text: bytes) -> str:
    """What stands before a time stamp, its words as ``w``, blanks as one blank, the rest as it is."""
    text = re.sub(rb"[\w.-]+", b"w", ANSI.sub(b"", text))
    return re.sub(rb"[ \t]+", b" ", text).decode("latin-1")


def _opening(layout: Layout) -> bytes:
    words = 0
    pattern = rb"(?:" + _BOM + rb")?"
    between = rb"(?:" + _ANSI + rb")*" if layout.colours else b""
    for character in layout.opening:
        pattern += between
        if character == "w":
            words += 1
            level = layout.place is not None and layout.place == -words
            pattern += rb"(?P<level>[A-Za-z]+)" if level else rb"[\w.-]+"
        elif character == " ":
            pattern += rb"[ \t]+"
        else:
            pattern += re.escape(character.encode("latin-1"))
    return pattern + between


class Patterns(NamedTuple):
    """A layout's regular expressions."""

    head: re.Pattern[bytes]
    """Matches where a record begins."""
    level: re.Pattern[bytes] | None
    """Matches up to its level."""


@lru_cache(maxsize=64)
def patterns(layout: Layout) -> Patterns:
    """:raises KeyError, re.error: when the layout makes no sense."""
    opening = _opening(layout)
    form = FORMS[layout.form] if layout.form else b""
    if layout.form == "glog":
        form = form.replace(rb"(?P<l>", rb"(?P<level>")
    whole = opening + form + _behind(layout)
    if rb"(?P<level>" not in whole or layout.json:
        return Patterns(re.compile(opening + form), None)
    levelled = re.compile(whole + rb"(?![\w.])")
    return Patterns(re.compile(opening + form) if layout.form else levelled, levelled)


def _behind(layout: Layout) -> bytes:
    """What stands between time stamp and level, and it."""
    if layout.place is None or layout.place < 0 or layout.form == "glog":
        return b""
    blanks = rb"[" + _BETWEEN + rb"]"
    if layout.colours:
        blanks = rb"(?:" + blanks + rb"|" + _ANSI + rb")"
    word = rb"[^" + _BETWEEN + rb"\n\x1b]{1,200}"
    # Not fewer digits than there are: a pattern that can drop some tries so for each line.
    begin = rb"(?![.,:]?\d)" + blanks + rb"{1,20}" if layout.form else blanks + rb"{0,20}"
    return begin + (word + blanks + rb"{1,20}") * layout.place + rb"(?P<level>[A-Za-z]+)"


@dataclass(frozen=True)
class Dialect:
    """How a log is written, as it was learned; plain JSON both ways."""

    layouts: tuple[Layout, ...] = ()
    lines: int = 0
    """How many lines it was learned from."""

    @property
    def levelled(self) -> bool:
        """Whether records show their level. In a log without levels only tracebacks count."""
        return any(layout.levelled for layout in self.layouts)

    @property
    def dated(self) -> bool:
        """Whether records show when they were written."""
        return any(layout.form or layout.time_key for layout in self.layouts)

    @property
    def json(self) -> bool:
        """Whether a record may be a line of JSON."""
        return any(layout.json for layout in self.layouts)

    @property
    def timed_only(self) -> Layout | None:
        """The layout whose time stamps have no date, if one has."""
        return next((layout for layout in self.layouts if layout.form == "time" and not layout.json), None)

    def is_head(self, line: bytes) -> bool:
        """Whether a line, of which the first bytes are given, begins a record."""
        for layout in self.layouts:
            if layout.json:
                if line[:2] in (b'{"', b"{ "):
                    return True
            elif self._matches_head(layout, line):
                return True
        return False

    @staticmethod
    def _matches_head(layout: Layout, line: bytes) -> bool:
        found = patterns(layout).head.match(line)
        if found is None:
            return False
        return bool(layout.form) or layout.place is None or level_of(found["level"].decode(), layout.style) is not None

    def read(self, line: bytes) -> Head | None:
        """The head that a line is; None where it begins no record."""
        head = None
        for layout in self.layouts:
            found = _read_json(layout, line) if layout.json else _read_plain(layout, line)
            if found is not None and found.level is not None:
                return found
            head = head or found
        return head

    def words(self, least: int, below: int = 100) -> list[bytes]:
        """Texts of which each record from one level on has one in its first line, without those of another level on."""
        texts: set[bytes] = set()
        for layout in self.layouts:
            if layout.levelled:
                wanted = set(beginnings(layout.style, least, layout.python)) - set(
                    beginnings(layout.style, below, layout.python)
                )
                texts |= {(layout.mark + word).encode("latin-1") for word in wanted}
        return sorted(texts)

    def described(self) -> str:
        """In one sentence, with what to do where it is not enough."""
        if not self.layouts:
            return (
                "neither time nor level was found in its lines, so only tracebacks count, and not by the hour: let the "
                "bot log with a time stamp and a level (%(asctime)s %(levelname)s %(message)s)"
            )
        told = " / ".join(dict.fromkeys(layout.described() for layout in self.layouts))
        missing = [] if self.dated else ["its failures count, but not by the hour: let the bot log a time stamp"]
        if not self.levelled:
            missing.append("only tracebacks count in it: let the bot log the level (%(levelname)s)")
        return "; ".join([told, *missing])

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"layouts": [asdict(layout) for layout in self.layouts], "lines": self.lines}

    @classmethod
    def from_dict(cls, raw: Any) -> Dialect:
        """:raises ValueError: when this is none."""
        if not isinstance(raw, Mapping) or set(raw) != {"layouts", "lines"}:
            raise ValueError(f"its dialect is {raw!r:.80}")
        layouts = raw["layouts"]
        if not isinstance(layouts, list) or len(layouts) > MAX_LAYOUTS or not isinstance(raw["lines"], int):
            raise ValueError(f"its dialect is {raw!r:.80}")
        return cls(tuple(_layout(each) for each in layouts), raw["lines"])


def _layout(raw: Any) -> Layout:
    names = {each.name for each in fields(Layout)}
    if not isinstance(raw, Mapping) or set(raw) != names:
        raise ValueError(f"a layout of its dialect is {raw!r:.80}")
    texts = [raw[name] for name in sorted(names - {"place", "colours", "json", "python"})]
    right = (
        all(isinstance(text, str) and len(text) <= 120 for text in texts)
        and all(isinstance(raw[name], bool) for name in ("colours", "json", "python"))
        and (raw["place"] is None or (isinstance(raw["place"], int) and abs(raw["place"]) <= MAX_WORDS))
        and raw["form"] in ("", *FORMS)
        and raw["style"] in ("", *STYLES)
        and (bool(raw["style"]) or (raw["place"] is None and not raw["level_key"]))
    )
    if not right:
        raise ValueError(f"a layout of its dialect is {raw!r:.80}")
    layout = Layout(**raw)
    try:
        layout.mark.encode("latin-1")
        patterns(layout)
    except (KeyError, UnicodeError, re.error):
        raise ValueError(f"a layout of its dialect is {raw!r:.80}") from None
    return layout


def _read_plain(layout: Layout, line: bytes) -> Head | None:
    found = patterns(layout)
    head = found.head.match(line)
    if head is None:
        return None
    stamp = stamp_of(head) if layout.form else None
    end, level = head.end(), None
    if found.level is not None:
        whole = found.level.match(line)
        if whole is not None:
            level = level_of(whole["level"].decode(), layout.style)
            end = whole.end() if level is not None and layout.form != "glog" else end
    if level is None and not layout.form and layout.place is not None:
        return None
    return Head(stamp, level, line[end:HEAD_BYTES])


# --- JSON -------------------------------------------------------------------------------------------------------------

_TRACES = (
    *("exc_info", "exception", "exc", "exc_text", "stack", "stack_trace", "traceback", "error.stack_trace"),
    *("err.stack", "record.exception.traceback", "text"),
)


def value_at(found: Any, path: str) -> Any:
    """What an object has under a key, or under keys with dots between, one within the other; None without."""
    if isinstance(found, dict) and path in found:
        return found[path]
    for key in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(key)
    return found


def json_object(line: bytes) -> dict[str, Any] | None:
    """The object that a line is; None where it is none."""
    if not line.startswith(b"{") or len(line) > MAX_JSON:
        return None
    try:
        found = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError, OverflowError):
        return None
    return found if isinstance(found, dict) else None


def json_stamp(value: Any, form: str) -> Stamp | None:
    """The time stamp that a value is."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return Stamp(epoch=epoch_of(float(value))) if 1e9 <= value < 2e18 else None
    if not isinstance(value, str) or form not in FORMS:
        return None
    match = re.match(FORMS[form], value[:80].encode("utf-8", "replace"))
    return stamp_of(match) if match else None


def json_level(value: Any, style: str) -> int | None:
    """The level that a value is."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) < 4:
            value = int(value)
        else:
            return level_of(value[:20], style)
    return level_of_number(value, style or SYSLOG)


def _read_json(layout: Layout, line: bytes) -> Head | None:
    found = json_object(line)
    if found is None:
        return Head() if line[:2] in (b'{"', b"{ ") else None
    stamp = json_stamp(value_at(found, layout.time_key), layout.form) if layout.time_key else None
    level = json_level(value_at(found, layout.level_key), layout.style) if layout.level_key else None
    text = value_at(found, layout.message_key) if layout.message_key else ""
    traces = [value_at(found, path) for path in _TRACES]
    trace = next((each for each in traces if isinstance(each, str) and "Traceback (most recent" in each), "")
    return Head(stamp, level, _bytes(text)[:MAX_JSON], _bytes(trace))


def _bytes(text: Any) -> bytes:
    return text.encode("utf-8", "replace") if isinstance(text, str) else b""
