# SPDX-License-Identifier: GPL-3.0-or-later
"""The pool module's channel: what a bot's process has counted, from the bytes of its small file.

The bytes are of the bot's own making, so nothing in them is believed without bounds: whatever they are, parsing them
returns what they say or a reason, and never raises. Reading them is for who has become the bot's user
(`channel_files`), parsing them for anybody (`parse_channel`, `read_channel`).
"""

from __future__ import annotations

import os
import re
import stat
import struct
from binascii import crc32
from collections.abc import Mapping
from dataclasses import dataclass

SIZE, HEAD, MOST_FILES = 4096, 512, 64
HEADER = 32
NAME = re.compile(r"(?P<pid>[0-9]{1,10})-(?P<start>[0-9]{1,15})-[0-9]{1,2}\.channel", re.ASCII)
TORN = "it was being written"
"""The one reason that reading once more may end."""

_COUNTERS = (
    *("sequence", "at", "configured", "unfit", "requests", "answered", "timeouts", "connection_errors", "tls_errors"),
    *("other_errors", "server_errors", "rate_limited", "retried", "recycled", "open", "in_flight", "oldest_at"),
    *("last_answer_at", "errors"),
)
# As the pool module writes them: 64 bits each in the machine's byte order, and their sum. Version 1, which a bot may
# still have that was rolled out before, counts no errors.
_FORMS = {
    b"webex-pool-channel 1".ljust(HEADER - 1) + b"\n": struct.Struct(f"={len(_COUNTERS)}Q"),
    b"webex-pool-channel 2".ljust(HEADER - 1) + b"\n": struct.Struct(f"={len(_COUNTERS) + 1}Q"),
}
_MOST = 10**15
_NUMBER = rb"([0-9]{1,15})"
_PROCESS_FORM = re.compile(
    rb"process pid=([0-9]{1,10}) start=" + _NUMBER + rb" boot=([0-9a-f-]{36}) opened=" + _NUMBER + rb"((?: [!-~]+)*) *"
)
_SESSION_FORM = re.compile(rb"session=([a-z.]{1,32})((?: [!-~]+)*) *")
_PAIR_FORM = re.compile(rb"([a-z_]{1,32})=([A-Za-z0-9_.+/,-]{1,64})")


@dataclass(frozen=True)
class Session:
    """A configured session: its label (`api`, `bot.teams`, `bot.session`) and settings, as the ready line has them."""

    label: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Heard:
    """What one process of a bot has counted since it began. Times are milliseconds of CLOCK_BOOTTIME; 0 is never."""

    pid: int
    start_time: int
    """Field 22 of /proc/<pid>/stat: with `pid`, it names the process."""
    boot_id: str
    opened_at: int
    versions: Mapping[str, str]
    """`python`, `versions` (of requests and urllib3) and `version`, the pool module's own."""
    sessions: tuple[Session, ...]
    """The first 16 that differ; `configured` counts all."""
    sequence: int
    at: int
    """When it last wrote: as a request began or ended."""
    configured: int
    unfit: int
    """Objects that were given to be configured and could not be."""
    requests: int
    """Requests begun. All that ended are `answered`, or one of the four kinds of errors."""
    answered: int
    timeouts: int
    connection_errors: int
    tls_errors: int
    other_errors: int
    server_errors: int
    """Answers with 500 and above, `rate_limited` those with 429, that the bot was given: both are among `answered`."""
    rate_limited: int
    retried: int
    recycled: int
    open: int
    """Open connections, at most a second old."""
    in_flight: int
    oldest_at: int
    """When the oldest of the requests in flight began."""
    last_answer_at: int
    errors: int = 0
    """Records that the process logged at ERROR and above, or at WARNING with a traceback."""

    @property
    def failed(self) -> int:
        """Requests that ended without an answer."""
        return self.timeouts + self.connection_errors + self.tls_errors + self.other_errors

    def oldest_age(self, now: int) -> float:
        """Seconds for which the oldest request has been in flight at `now`; 0 without any."""
        return max(0, now - self.oldest_at) / 1000 if self.in_flight and self.oldest_at else 0.0

    def silent_for(self, now: int) -> float:
        """Seconds since the process last wrote."""
        return max(0, now - self.at) / 1000


def parse_channel(data: bytes) -> Heard | str:
    """What a channel's bytes say, or why they say nothing (`TORN`: read them once more)."""
    if len(data) != SIZE:
        return f"it has {len(data)} bytes instead of {SIZE}"
    form = _FORMS.get(data[:HEADER])
    if form is None:
        return "it is of another format"
    *counters, total = form.unpack_from(data, HEADER)
    body = data[HEAD:-10]
    if total != sum(counters) & 0xFFFFFFFFFFFFFFFF or data[-10:] != b" %08x\n" % crc32(body):
        return TORN
    first, *lines = body.rstrip(b" ").split(b"\n")
    found = _PROCESS_FORM.fullmatch(first)
    if found is None or len(lines) > 16 or max(counters) >= _MOST:
        return "it is not of the pool module's making"
    sessions = [_session(line) for line in lines]
    versions = _pairs(found[5])
    if versions is None or None in sessions:
        return "a session or a version in it is not of the pool module's making"
    return Heard(
        pid=int(found[1]),
        start_time=int(found[2]),
        boot_id=found[3].decode(),
        opened_at=int(found[4]),
        versions=versions,
        sessions=tuple(session for session in sessions if session),
        **dict(zip(_COUNTERS, counters)),
    )


def read_channel(name: str, data: bytes) -> Heard | str:
    """`parse_channel`, for a file that says by its name which process wrote it."""
    named, heard = NAME.fullmatch(name), parse_channel(data)
    if named is None:
        return "its name is not that of a channel"
    if isinstance(heard, Heard) and (heard.pid, heard.start_time) != (int(named["pid"]), int(named["start"])):
        return "it is of another process than its name says"
    return heard


def channel_files(directory: str) -> dict[str, bytes]:
    """The bytes of a directory's channels by their names, at most `MOST_FILES`: to be called as the bot's user.

    What is no plain file, or no channel's name, is passed over; a torn file is read again. No directory: no channels.
    """
    found: dict[str, bytes] = {}
    try:
        names: list[str] = sorted(name for name in os.listdir(directory) if NAME.fullmatch(name))
    except OSError:
        return found
    for name in names[:MOST_FILES]:
        for _attempt in range(5):
            data = _bytes_of(os.path.join(directory, name))
            if data is None:
                break
            found[name] = data
            if parse_channel(data) != TORN:
                break
    return found


def _bytes_of(path: str) -> bytes | None:
    """At most one byte more than a channel has; None for what is not a plain file, or gone."""
    try:
        # A pipe somebody put there must not keep the reader waiting.
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(file, SIZE + 1) if stat.S_ISREG(os.fstat(file).st_mode) else None
    except OSError:
        return None
    finally:
        os.close(file)


def _session(line: bytes) -> Session | None:
    found = _SESSION_FORM.fullmatch(line)
    settings = _pairs(found[2]) if found else None
    return Session(found[1].decode(), settings) if found and settings is not None else None


def _pairs(text: bytes) -> dict[str, str] | None:
    pairs = [_PAIR_FORM.fullmatch(pair) for pair in text.split()]
    return {pair[1].decode(): pair[2].decode() for pair in pairs if pair} if all(pairs) else None
