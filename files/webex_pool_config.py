# SPDX-License-Identifier: MIT
"""Connection pools for Webex bots that do not wait for connections nobody answers any more.

A NAT, firewall or proxy forgets a TCP connection that was silent for a while without notifying either end. `requests`
keeps such a connection in its pool and hands it out again: the request goes nowhere and the bot waits for its whole
read time-out. A larger pool or more retries do not end that wait. What ends it, and what this module sets up for every
HTTP session of a bot:

* TCP keep-alive, so that the connection is not forgotten, or its loss is noticed while it is idle;
* a connection which has been idle for too long, or whose keep-alive probes go unanswered, is not used again;
* a time-out on every request, and a bound on how long sent data may stay unacknowledged;
* repeats of what failed, but never of a request that could then act twice.

    from src.utils.webex_pool_config import configure_webex_api_session, configure_webex_bot_session

    webex_api = configure_webex_api_session(WebexTeamsAPI(access_token=token, single_request_timeout=120))
    bot = configure_webex_bot_session(WebexBot(teams_bot_token=token))

It reports what it does on the logger `webex_pool_config`, in one line per configured session (`webex-pool ready …`) and
one line a minute while requests are made (`webex-pool stats …`), without tokens and without URLs.

What it needs is in `OLDEST`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import mmap
import os
import random
import re
import socket
import ssl
import sys
import threading
import time
import types
import weakref
from binascii import crc32
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, UnrewindableBodyError
from requests.utils import rewind_body
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry
from urllib3.util.timeout import Timeout

__all__ = [
    "OLDEST",
    "PoolSettings",
    "configure_webex_api_session",
    "configure_webex_bot_session",
    "enable_pool_logging",
    "get_webex_api",
]

__version__ = "0.2.0"

# The oldest versions that this module works with. A literal: preflight reads it without importing this file.
OLDEST = {
    "python": "3.7",
    "requests": "2.22.0",
    "urllib3": "1.25.2",
    "webexteamssdk": "1.0",
    "webexpythonsdk": "2.0.0",
    "ciscosparkapi": "0.6",
    "wxc_sdk": "0.5.0",
    "webex_bot": "0.2.3",
    "webexteamsbot": "0.1.0",
}

# Not `__name__`: the log check looks for this name wherever the file was put (src.utils.…).
logger = logging.getLogger("webex_pool_config")

_VERSIONS = (
    f"versions=requests/{requests.__version__},urllib3/{urllib3.__version__} "  # type: ignore[attr-defined]
    f"version={__version__}"
)
# The session for which nobody but this module waits when Webex limits the rate.
BARE_SESSION = "bot.session"
RETRY_STATUSES = (429, 500, 502, 503, 504)
RETRY_METHODS = ("GET", "POST", "PUT", "DELETE")
# Twice has the effect of once (RFC 9110 section 9.2.2). Webex has no key that would make a POST like that.
IDEMPOTENT_METHODS = ("GET", "PUT", "DELETE")
# The one POST that may act twice: webex_bot registers its websocket anew after each failure, and uses the last answer.
_REGISTRATION = re.compile(r"/wdm/api/v\d+/devices$")
# These answers mean that the server did nothing with the request (RFC 6585 section 4, RFC 9110 section 15.6.4).
NOT_PROCESSED_STATUSES = (429, 503)


# --- Settings ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolSettings:
    """Everything that can be set, with its default. Times are in seconds.

    Raises `TypeError` or `ValueError`, naming the setting, for a value outside the stated range.
    """

    pool_connections: int = 50
    """How many hosts have a pool (1 to 10000)."""
    pool_maxsize: int = 50
    """How many idle connections are kept per host (1 to 10000). More may be open at once while in use."""
    max_retries: int = 3
    """How often a request is repeated at most (0 to 10)."""
    request_timeout: float = 120
    """Read time-out where the caller sets none. The client inside a bot gets at least this one."""
    connect_timeout: float = 10
    """For the TCP connect, and again for the TLS handshake; never more than the read time-out. Three lost SYNs fit
    into 10 s (sent at 0, 1, 3 and 7 s)."""
    first_attempt: float = 10
    """Read time-out of the first attempt of a request that may be repeated, at least; what the caller's time-out leaves
    is for the repeat. A host that has lately taken more than half of it gets twice of what it took, and all of the
    caller's time-out if that is more than half of it, so that a slow answer is waited for."""
    keepalive_idle: int = 15
    """Silence before the first keep-alive probe. Half of 30 s, the shortest idle limit of a NAT met in the field."""
    keepalive_interval: int = 5
    """Between unanswered probes."""
    keepalive_count: int = 3
    """Unanswered probes after which the connection is dead (1 to 127)."""
    user_timeout: float = 30
    """How long sent data or probes may stay unacknowledged (`TCP_USER_TIMEOUT`; 0: the system's own limit, which is
    about 15 minutes on Linux). It overrides keepalive_count, so idle + interval * count is the value that fits."""
    max_idle: float = 180
    """A connection idle for longer is not used again. It is for what keep-alive cannot see, a proxy that answers the
    probes itself: below the 4 minutes which are the shortest limit of the large clouds' gateways (Azure)."""
    post_max_idle: float = 5
    """The same for a request that cannot be repeated (a POST): a few seconds, so that it goes over a connection that
    has just worked, or over a new one."""
    backoff: float = 1
    """Waits before the repeats are backoff * 1, 2, 4, … and up to a quarter more; 0 before the first repeat if there
    was no answer at all."""
    retry_after_cap: float = 300
    """A `Retry-After` above this is cut to it."""
    stats_interval: float = 60
    """Least time between two stats lines."""

    def __post_init__(self) -> None:
        for name, (kind, low, high) in _RANGES.items():
            value = getattr(self, name)
            wanted = f"{name} must be {'an int' if kind is int else 'a number of seconds'} from {low} to {high}"
            if isinstance(value, bool) or not isinstance(value, (int, kind)):
                raise TypeError(f"{wanted}, not {value!r}")
            if not low <= value <= high:  # NaN too
                raise ValueError(f"{wanted}, not {value!r}")


_RANGES: dict[str, tuple[type[float], float, float]] = {
    "pool_connections": (int, 1, 10_000),
    "pool_maxsize": (int, 1, 10_000),
    "max_retries": (int, 0, 10),
    "request_timeout": (float, 0.01, 86_400),
    "connect_timeout": (float, 0.01, 86_400),
    "first_attempt": (float, 0.01, 86_400),
    "keepalive_idle": (int, 1, 32_767),
    "keepalive_interval": (int, 1, 32_767),
    "keepalive_count": (int, 1, 127),
    "user_timeout": (float, 0, 86_400),
    "max_idle": (float, 0.01, 86_400),
    "post_max_idle": (float, 0, 86_400),
    "backoff": (float, 0, 3_600),
    "retry_after_cap": (float, 0, 86_400),
    "stats_interval": (float, 0.01, 86_400),
}


def _settings(pool_connections: int, pool_maxsize: int, max_retries: int, others: dict[str, Any]) -> PoolSettings:
    unknown = sorted(set(others) - set(_RANGES))
    if unknown:
        raise TypeError(f"unknown setting {', '.join(unknown)}; the settings are {', '.join(_RANGES)}")
    return PoolSettings(pool_connections, pool_maxsize, max_retries, **others)


# --- Evidence ---------------------------------------------------------------------------------------------------------

# Most distinct lines that are kept: a bot may make a client for each message.
_MOST_LINES = 16
_FAILURES = ("timeout", "connection", "tls", "other")
_COUNTERS = (
    *("sequence", "at", "sessions", "unfit", "requests", "answered", *_FAILURES, "server_errors", "rate_limited"),
    *("retried", "recycled", "open", "in_flight", "oldest", "last_answer", "errors", "sum"),
)
_PLACE = {name: number for number, name in enumerate(_COUNTERS)}
_SEQUENCE, _AT, _REQUESTS, _SUM = (_PLACE[name] for name in ("sequence", "at", "requests", "sum"))
_OPEN, _IN_FLIGHT, _OLDEST, _LAST_ANSWER = (_PLACE[name] for name in ("open", "in_flight", "oldest", "last_answer"))


def _now() -> int:
    """Milliseconds on the clock that a watcher outside shares: it goes on while the machine sleeps; nobody sets it."""
    return (time.clock_gettime_ns(_CLOCK) if _CLOCK else time.monotonic_ns()) // 1_000_000


_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", 0)


class _Channel:
    """The counters of this process in a small file of its own, which a watcher can read at any moment.

    The file is in the directory that `WEBEX_POOL_CHANNEL` names, and is mapped: a system call costs a request more than
    all that is counted here. Two things must not come of that. A bot may close descriptors that are not its own, and
    get their numbers for its files; so nothing is ever written by one, nor closed. And who cuts a mapped file off ends
    the process (SIGBUS); so nobody may write to it by its name, not even its owner. The counters end with their sum,
    the rest with its CRC-32, so that a reader notices what was being written. Nothing here raises; what goes wrong is
    left in `problem`.
    """

    SIZE, HEAD, MOST_FILES = 4096, 512, 64
    MAGIC = b"webex-pool-channel 2".ljust(31) + b"\n"
    RECORD = slice(len(MAGIC), len(MAGIC) + 8 * len(_COUNTERS))
    # Python's mapping has a descriptor of its own, which it closes when it goes. So none goes.
    _maps: list[mmap.mmap] = []  # noqa: RUF012 - all of the process's

    def __init__(self, directory: str, sessions: list[str]) -> None:
        self.sessions = sessions
        self.problem = ""
        self._directory = Path(directory)
        self.map: mmap.mmap | None = None
        """What is written to, the counters at `RECORD`; None where that cannot be."""
        self.look_after = 0
        """When to look at the file the next time."""
        self._path = Path()
        self._inode = 0

    def look(self, now: int) -> None:
        """See, once a second, that the file is there: it may have been removed."""
        self.look_after = now + 1000
        try:
            self._look(now)
        except Exception as error:
            self._fail(error, now)

    def describe(self, now: int) -> None:
        """Rewrite the part that says what this process is and which sessions it has."""
        try:
            if self.map is not None:
                self.map[self.HEAD :] = self._process(now)
        except Exception as error:
            self._fail(error, now)

    def close(self) -> None:
        self.map = None

    def _look(self, now: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            found = self._path.lstat()
            if self.map is not None and (found.st_ino, found.st_size) == (self._inode, self.SIZE):
                return
        self.close()
        if not self._directory.is_absolute():
            raise ValueError("WEBEX_POOL_CHANNEL must name a directory by its absolute path")
        self._make_room()
        if len(self._maps) >= self.MOST_FILES:
            raise OSError(f"its file was removed {len(self._maps)} times")
        self._path = self._directory / self._name()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()  # it was this process's, before it executed itself anew
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
        try:
            if os.pwrite(file, self.MAGIC.ljust(self.HEAD, b"\0") + self._process(now), 0) != self.SIZE:
                raise OSError("no space left")
            self._inode = os.fstat(file).st_ino
            self.map = mmap.mmap(file, self.SIZE)
            self._maps.append(self.map)
        except BaseException:
            self._path.unlink()
            raise
        finally:
            os.close(file)

    def _name(self) -> str:
        """This process may have several copies of this module; what they share is the logger."""
        names: dict[str, int] = logger.__dict__.setdefault("channels", {})
        stem = f"{os.getpid()}-{_start_time()}"
        return f"{stem}-{names.setdefault(f'{stem}-{id(self)}', len(names)) % self.MOST_FILES}.channel"

    def _make_room(self) -> None:
        """Remove the oldest files of processes that ended: a bot may fork for each message."""
        files = list(self._directory.glob("*.channel"))
        ended = [file for file in files if not Path("/proc", file.name.split("-")[0]).exists()]
        if len(files) - len(ended) >= self.MOST_FILES:
            raise OSError(f"{len(files)} processes have one already")
        ended.sort(key=lambda file: file.lstat().st_mtime)
        for file in ended[: max(0, len(files) + 1 - self.MOST_FILES)]:
            file.unlink()

    def _process(self, now: int) -> bytes:
        boot = "00000000-0000-0000-0000-000000000000"
        with contextlib.suppress(OSError):  # a confined bot may not see it (ProcSubset=pid)
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        python = ".".join(map(str, sys.version_info[:3]))
        lines = [
            f"process pid={os.getpid()} start={_start_time()} boot={boot} opened={now} python={python} {_VERSIONS}",
            *self.sessions,
        ]
        size = self.SIZE - self.HEAD - 10
        body = "\n".join(lines).encode("ascii", "replace")[:size].ljust(size)
        return b"%s %08x\n" % (body, crc32(body))

    def _fail(self, error: Exception, now: int) -> None:
        self.close()
        self.look_after = now + 60_000
        self.problem = self.problem or f"{type(error).__name__}: {error}"


def _start_time() -> int:
    """Field 22 of /proc/self/stat; the name before it may hold anything."""
    return int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])


class _Evidence:
    """The counters of this process and where they are reported: lines and the channel. Safe across threads."""

    __slots__ = (
        *("_channel", "_connections", "_counts", "_in_flight", "_last_stats", "_limited", "_lock", "_pending"),
        *("_record", "_reported"),
    )

    def __init__(self) -> None:
        self._channel: _Channel | None = None
        self.reset()

    def reset(self) -> None:
        self._lock = threading.RLock()  # a finalizer may come back here in the midst of it
        # The counters as they are written: 64 bits each, in this machine's byte order. What changes one changes the
        # last, their sum, by as much: to add all of them up takes longer than all else that is done to them.
        self._record = bytearray(8 * len(_COUNTERS))
        self._counts = memoryview(self._record).cast("Q")
        self._limited = 0
        self._in_flight: dict[int, int] = {}
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pending: list[str] = []
        self._reported: set[str] = set()
        self._last_stats = -math.inf
        directory, inherited = os.environ.get("WEBEX_POOL_CHANNEL"), self._channel
        if inherited:  # this is a child: its parent's file is not its own
            inherited.close()
        self._channel = _Channel(directory, inherited.sessions if inherited else []) if directory else None

    def count(self, name: str, number: int = 1) -> None:
        with self._lock:
            self._counts[_PLACE[name]] += number
            self._counts[_SUM] += number

    def limited(self) -> None:
        """Count an answer with 429, also one that the request is repeated for."""
        with self._lock:
            self._limited += 1

    def track(self, connection: object) -> None:
        """Count `connection` as open for as long as it exists and has a socket."""
        with self._lock:
            self._connections.add(connection)

    def ready(self, session: str) -> None:
        """Report a configured session, once for many alike; the line is kept until logging is set up to take it."""
        with self._lock:
            self.count("sessions")
            if session not in self._reported and len(self._reported) < _MOST_LINES:
                self._reported.add(session)
                self._pending.append(f"webex-pool ready pid={os.getpid()} session={session} {_VERSIONS}")
            if self._channel:
                now = _now()
                if f"session={session}" not in self._channel.sessions and len(self._channel.sessions) < _MOST_LINES:
                    self._channel.sessions.append(f"session={session}")
                    self._channel.describe(now)
                self._publish(self._channel, now, 0)
        self.log_pending()

    def error(self) -> None:
        """Count a record of the bot's own at ERROR, or with a traceback: no text in a log can make one."""
        with self._lock:
            self._counts[_PLACE["errors"]] += 1
            if self._channel:
                self._publish(self._channel, _now(), 1)

    def log_pending(self) -> None:
        if not logger.hasHandlers():
            return
        with self._lock:
            lines, self._pending = self._pending, []
        for line in lines:
            self._log(line)

    def began(self) -> int:
        """Count a request that begins; `ended` wants the number."""
        with self._lock:
            self._counts[_REQUESTS] = number = self._counts[_REQUESTS] + 1
            if self._channel:
                self._in_flight[number] = now = _now()
                self._publish(self._channel, now, 1)
        return number

    def ended(self, number: int, outcome: str, status: int, interval: float) -> None:
        """Count a request that has ended, `answered` or with a failure; write what is due, at most one stats line per
        `interval` seconds."""
        now = _now()
        with self._lock:
            self._counts[_PLACE[outcome]] += 1
            if status >= 500:
                self.count("server_errors")
            elif status == 429:
                self.count("rate_limited")
            if self._channel:
                self._in_flight.pop(number, None)
                more = 1
                if outcome == "answered":
                    more += now - self._counts[_LAST_ANSWER]
                    self._counts[_LAST_ANSWER] = now
                self._publish(self._channel, now, more)
            if now - self._last_stats < 1000 * interval and not self._pending:
                return
        self.log_pending()
        with self._lock:
            if now - self._last_stats < 1000 * interval:
                return
            self._last_stats = now
            counts = dict(zip(_COUNTERS, self._counts), open=self._count_open(), rate_limited=self._limited)
            problem = self._channel.problem if self._channel else ""
        counts["failed"] = sum(counts[name] for name in _FAILURES)
        counts["requests"] = counts["answered"] + counts["failed"]
        order = ("requests", "retried", "failed", "recycled", "open", "rate_limited")
        pairs = " ".join(f"{name}={counts[name]}" for name in order)
        self._log(f"webex-pool stats pid={os.getpid()} {pairs}")
        if problem:
            self.warn_once(f"webex-pool channel off for now: {problem}")

    def _count_open(self) -> int:
        return sum(1 for connection in self._connections if connection.sock is not None)

    def _publish(self, channel: _Channel, now: int, more: int) -> None:
        """Write the counters into the channel, which are `more` than is in their sum."""
        counts = self._counts
        if now > channel.look_after:
            channel.look(now)
            counts[_OPEN] = self._count_open()
            # And once a second all of them, lest what a signal's handler breaks off in the midst spoils it for good.
            counts[_SUM], more = sum(counts[:_SUM]), 0
        in_flight = len(self._in_flight)
        oldest = next(iter(self._in_flight.values())) if in_flight else 0  # a dict has its entries by age
        counts[_SUM] += more + 1 + now - counts[_AT] + in_flight - counts[_IN_FLIGHT] + oldest - counts[_OLDEST]
        counts[_SEQUENCE] += 1
        counts[_AT] = now
        counts[_IN_FLIGHT] = in_flight
        counts[_OLDEST] = oldest
        if channel.map is not None:
            channel.map[channel.RECORD] = self._record

    def warn_once(self, line: str) -> None:
        with self._lock:
            new = line not in self._reported and len(self._reported) < 2 * _MOST_LINES
            self._reported.add(line) if new else None
        if new:
            logger.disabled = False
            logger.warning(line)

    @staticmethod
    def _log(line: str) -> None:
        # Set each time: `logging.config` disables loggers it does not know, and a root at WARNING would silence INFO.
        logger.disabled = False
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
        logger.info(line)


def _count_errors() -> None:
    """Count the errors that this process logs, whatever its handlers make of them."""
    made = logging.getLogRecordFactory()

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = made(*args, **kwargs)
        with contextlib.suppress(Exception):
            traced = bool(record.exc_info) and record.exc_info[0] is not None  # type: ignore[index]
            if record.levelno >= logging.ERROR or (traced and record.levelno >= logging.WARNING):
                _evidence.error()
        return record

    logging.setLogRecordFactory(make)


_evidence = _Evidence()
if os.environ.get("WEBEX_POOL_CHANNEL"):
    _count_errors()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_evidence.reset)


# --- Connections ------------------------------------------------------------------------------------------------------


class _Attempt(threading.local):
    """What adapter, pool and connection share about the attempt that this thread is making."""

    careful: bool = False
    """Whether only a connection which has just worked, or a new one, will do."""
    sent: bool = True
    """False if it is certain that no byte of the request has been written."""


_attempt = _Attempt()


# What the mixins below are mixed into; at run time the class that is made names it.
if TYPE_CHECKING:
    _Connection = HTTPConnection
    _Pool = HTTPConnectionPool
else:
    _Connection = _Pool = object


class _TrackedConnection(_Connection):
    """Is counted, and knows how long it lay idle. Mixed into urllib3's connection classes."""

    used_at: float = math.inf
    """When it was last taken out of the pool for a request."""

    def connect(self) -> None:
        try:
            super().connect()
        except BaseException:
            # What was written until then (CONNECT, the TLS handshake) is not the request. Once there is a connection,
            # nobody knows how much of it the kernel took.
            _attempt.sent = False
            raise
        _evidence.track(self)

    def unusable(self, now: float, max_idle: float) -> bool:
        """Whether to open a new connection instead of using this one, which lay idle in the pool."""
        idle = now - self.used_at
        return self.sock is not None and (idle > max_idle or (idle > 1 and _unanswered_probes(self.sock)))


def _unanswered_probes(sock: Any) -> bool:
    """Whether a keep-alive probe is out and unanswered: seconds before the kernel gives the connection up.

    `tcpi_probes` is byte 3 of `struct tcp_info` since Linux 2.6 (linux/tcp.h); elsewhere the answer is no. No probe is
    sent in the first second, the least that can be set.
    """
    if not _HAS_TCP_INFO:
        return False
    try:
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)[3])
    except (AttributeError, OSError):  # TLS within TLS has no getsockopt
        return False


_HAS_TCP_INFO = sys.platform.startswith("linux") and hasattr(socket, "TCP_INFO")


class _HTTPConnection(_TrackedConnection, HTTPConnection):
    pass


class _HTTPSConnection(_TrackedConnection, HTTPSConnection):
    pass


class _RecyclingPool(_Pool):
    """Does not hand out connections that may be dead. Mixed into urllib3's pool classes."""

    settings: PoolSettings
    socket_options: list[tuple[int, int, int]]
    fresh: float
    """A connection used less than these seconds ago needs no look."""
    _swept = -math.inf

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Here and not among the manager's arguments, where they would be part of the key of every look-up.
        super().__init__(*args, **kwargs, socket_options=self.socket_options)

    def _get_conn(self, timeout: Any = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        now = time.monotonic()
        if now - connection.used_at > self.fresh or now - self._swept > 1:
            connection = self._fit(connection, now)
        connection.used_at = now
        return connection

    def _fit(self, connection: Any, now: float) -> Any:
        """This connection, or a new one if it lay idle for too long."""
        if now - self._swept > 1:
            self._swept = now
            self._sweep(now)
        max_idle = self.settings.max_idle
        if _attempt.careful:
            max_idle = min(max_idle, self.settings.post_max_idle)
        if not connection.unusable(now, max_idle):
            return connection
        connection.close()
        _evidence.count("recycled")
        return self._new_conn()

    def _sweep(self, now: float) -> None:
        """Close what nobody will use again: the pool is a stack, so its bottom is met only in the largest burst."""
        unusable = []
        pool = self.pool
        if pool is None:  # closed meanwhile
            return
        with pool.mutex:
            for index, connection in enumerate(pool.queue):
                if connection is not None and connection.unusable(now, self.settings.max_idle):
                    pool.queue[index] = None  # as urllib3 marks a free place
                    unusable.append(connection)
        for connection in unusable:
            connection.close()
        _evidence.count("recycled", len(unusable))


def _pool_classes(settings: PoolSettings, socket_options: dict[str, tuple[int, int, int]]) -> dict[str, type]:
    """The pool classes by scheme, with `settings`: urllib3 passes no arguments of ours on to a pool.

    They keep urllib3's names, which are part of every error message and so of what people search their logs for.
    """
    classes = {}
    common = {
        "settings": settings,
        "socket_options": list(socket_options.values()),
        "fresh": min(0.1, settings.post_max_idle, settings.max_idle),
    }
    for scheme, base, connection in (
        ("http", HTTPConnectionPool, _HTTPConnection),
        ("https", HTTPSConnectionPool, _HTTPSConnection),
    ):
        own = {**common, "ConnectionCls": connection}
        classes[scheme] = type(base.__name__, (_RecyclingPool, base), own)
    return classes


def _socket_options(settings: PoolSettings) -> dict[str, tuple[int, int, int]]:
    """The options that this system knows and accepts, as arguments of `setsockopt`."""
    tcp = socket.IPPROTO_TCP
    # macOS calls the idle time TCP_KEEPALIVE; Python knows that name from 3.10 on.
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", 0x10 if sys.platform == "darwin" else None))
    options: dict[str, tuple[int, Any, int]] = {
        "nodelay": (tcp, socket.TCP_NODELAY, 1),  # urllib3's own, which ours replace
        "keepalive": (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        "idle": (tcp, idle, settings.keepalive_idle),
        "interval": (tcp, getattr(socket, "TCP_KEEPINTVL", None), settings.keepalive_interval),
        "count": (tcp, getattr(socket, "TCP_KEEPCNT", None), settings.keepalive_count),
        "user_timeout": (tcp, getattr(socket, "TCP_USER_TIMEOUT", None), round(settings.user_timeout * 1000)),
    }
    return {name: option for name, option in options.items() if option[1] is not None and _is_accepted(option)}


def _is_accepted(option: tuple[int, int, int]) -> bool:
    """Try `option` out: one that the system refuses would make every connect fail."""
    try:
        with socket.socket() as sock:
            sock.setsockopt(*option)
    except OSError:
        return False
    return True


# --- Requests ---------------------------------------------------------------------------------------------------------


# Its name before urllib3 1.26.
_METHODS = "allowed_methods" if hasattr(Retry, "DEFAULT_ALLOWED_METHODS") else "method_whitelist"


class _AdapterRetry(Retry):
    """The retry settings, where people look for them (`adapter.max_retries`); the adapter itself does the repeating.

    urllib3 would repeat by method and status alone: it does not know whether the request was written, nor whether its
    body can be sent again, and a body that breaks off is none of its business.
    """

    def increment(self, *args: Any, **kwargs: Any) -> Any:
        return Retry(0, read=False).increment(*args, **kwargs)


class _Adapter(HTTPAdapter):
    """Sends requests over recycling pools and repeats those that may be repeated. `label` is the session's name."""

    __attrs__ = [*HTTPAdapter.__attrs__, "settings", "label", "socket_options"]  # noqa: RUF012 - a list by contract

    def __init__(self, settings: PoolSettings, label: str) -> None:
        self.settings = settings
        self.label = label
        self.socket_options = _socket_options(settings)
        methods: Any = {_METHODS: RETRY_METHODS}
        retry = _AdapterRetry(
            total=settings.max_retries,
            backoff_factor=settings.backoff,
            status_forcelist=RETRY_STATUSES,
            raise_on_status=False,  # or the SDK would get a RetryError instead of the answer
            **methods,
        )
        super().__init__(settings.pool_connections, settings.pool_maxsize, max_retries=retry)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        # Weak: from urllib3 2 on a pool closes its connections when nobody has it any more.
        self._pools: weakref.WeakValueDictionary[tuple[Any, ...], Any] = weakref.WeakValueDictionary()
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pool_classes(self.settings, self.socket_options)

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool of a request's host. To find it from the request takes requests (from 2.32 on) longer than all that
        is done here for a request, so the way is gone once."""
        if proxies or cert is not None or not verify:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        key = (*(request.url or "").split("/", 3)[:3], verify)  # scheme, nothing, host and port
        pool = self._pools.get(key)
        if pool is None or pool.pool is None:  # closed by an older urllib3
            pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
            if len(self._pools) >= self.settings.pool_connections:
                self._pools.clear()
            self._pools[key] = pool
        return pool

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):  # the manager for SOCKS has pools of its own
            return super().proxy_manager_for(proxy, socket_options=list(self.socket_options.values()), **kwargs)
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _pool_classes(self.settings, self.socket_options)
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        settings = self.settings
        twice = _may_act_twice(request)
        number, outcome, status = _evidence.began(), "other", 0
        try:
            patience = _Patience(request, timeout, settings, twice and not stream)
            repeats = 0
            while True:
                _attempt.careful, _attempt.sent = not twice, True
                try:
                    response = HTTPAdapter.send(self, request, stream, patience.timeout, verify, cert, proxies)
                    if not stream:
                        try:
                            response.content  # noqa: B018 - reads it: a body that breaks off is a failure too
                        except ssl.SSLError as error:  # requests before 2.28 lets it through
                            raise requests.exceptions.SSLError(error, response=response) from error
                    patience.answered()
                    wait = None
                    if response.status_code in RETRY_STATUSES:
                        wait = self._wait_after_answer(request, response, repeats)
                    if wait is None:
                        outcome, status = "answered", response.status_code
                        return response
                except requests.RequestException as error:
                    wait = self._wait_after_error(request, error, repeats) if patience.failed() else None
                    if wait is None:
                        outcome = _kind(error)
                        raise
                repeats += 1
                _evidence.count("retried")
                time.sleep(wait)
                patience.begin(last=repeats >= settings.max_retries)
        finally:
            _evidence.ended(number, outcome, status, settings.stats_interval)

    def _wait_after_answer(
        self, request: requests.PreparedRequest, response: requests.Response, repeats: int
    ) -> float | None:
        """Seconds until the request may be repeated after this answer, whose status is one of `RETRY_STATUSES`; None if
        it is the one to return."""
        if response.status_code == 429:
            _evidence.limited()
            self._mend_retry_after(response)
        if repeats >= self.settings.max_retries or not self._may_repeat_answer(request, response):
            return None
        after = self._retry_after(response)
        wait = self._backoff(repeats) if after is None else after
        response.close()
        _log_repeat(request, str(response.status_code), repeats, wait)
        return wait

    def _wait_after_error(
        self, request: requests.PreparedRequest, error: requests.RequestException, repeats: int
    ) -> float | None:
        """Seconds until the request may be repeated after this error; None if it is the one to raise."""
        if repeats >= self.settings.max_retries or not self._may_repeat_error(request, error):
            return None
        wait = 0 if repeats == 0 else self._backoff(repeats)
        _log_repeat(request, type(error).__name__, repeats, wait)
        return wait

    def _may_repeat_error(self, request: requests.PreparedRequest, error: requests.RequestException) -> bool:
        if not isinstance(error, (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)):
            return False
        if not _attempt.sent:
            return request.method in RETRY_METHODS
        return _may_act_twice(request) and _rewind(request)

    def _may_repeat_answer(self, request: requests.PreparedRequest, response: requests.Response) -> bool:
        status = response.status_code
        if status == 429 and self.label != BARE_SESSION:
            return False  # the SDKs wait for a 429 themselves, see their `wait_on_rate_limit`
        harmless = request.method in RETRY_METHODS if status in NOT_PROCESSED_STATUSES else _may_act_twice(request)
        return harmless and _rewind(request)

    def _backoff(self, repeats: int) -> float:
        # Scattered, or the threads of one burst would come back together.
        return self.settings.backoff * 2.0**repeats * random.uniform(1, 1.25)

    def _retry_after(self, response: requests.Response) -> float | None:
        value = response.headers.get("Retry-After")
        if value is None or response.status_code not in NOT_PROCESSED_STATUSES:
            return None
        try:
            seconds: float = self.max_retries.parse_retry_after(value)
        except (InvalidHeader, ValueError, TypeError, OverflowError):
            return None
        return min(max(0.0, seconds), self.settings.retry_after_cap)

    def _mend_retry_after(self, response: requests.Response) -> None:
        """Make `Retry-After` what the SDKs can read: whole seconds, capped. They fail on a date, and obey hours."""
        if "Retry-After" not in response.headers:
            return
        seconds = self._retry_after(response)
        if seconds is None:
            del response.headers["Retry-After"]
        else:
            response.headers["Retry-After"] = str(math.ceil(seconds))


class _Pace:
    """The longest that each host has lately taken to answer what may be repeated; by method, too."""

    LATELY, MOST_HOSTS = 600, 64

    def __init__(self) -> None:
        self.slow: dict[str, tuple[float, float]] = {}

    def took(self, request: requests.PreparedRequest, seconds: float, now: float) -> None:
        if seconds >= self.slowest(request, now):
            if len(self.slow) >= self.MOST_HOSTS:
                self.slow.clear()
            self.slow[self._host(request)] = (seconds, now)

    def slowest(self, request: requests.PreparedRequest, now: float) -> float:
        seconds, at = self.slow.get(self._host(request), (0.0, now))
        return seconds if now - at < self.LATELY else 0.0

    @staticmethod
    def _host(request: requests.PreparedRequest) -> str:
        return f"{request.method} {(request.url or '').split('/', 3)[2]}"


_pace = _Pace()


class _Patience:
    """The time-outs of a request's attempts, which share the read time-out that the caller gave. `timeout` is that of
    the attempt; the first begins at once.

    An answer that was lost never comes, so the first attempt is short. Whoever has used up the time of one has all
    that is left for the next. What may not be repeated, and what has too little time to share, has all of it each time.
    """

    __slots__ = ("_began", "_connect", "_left", "_request", "_short", "_slow", "timeout")

    def __init__(self, request: requests.PreparedRequest, timeout: Any, settings: PoolSettings, again: bool) -> None:
        first = settings.first_attempt
        again = again and settings.max_retries > 0
        if not again or not (request.body is None or isinstance(request.body, (str, bytes))):
            first = 0
        self._request = request
        self._began = time.monotonic()
        shares = _shares(timeout, settings.connect_timeout, settings.request_timeout, first)
        self.timeout, self._short, self._slow, self._connect, self._left = shares
        if _pace.slow and self._slow < math.inf:
            self._short = max(first, 2 * _pace.slowest(request, self._began))
            self._short = self._short if self._short <= self._left / 2 else 0.0
            self.timeout = (self._connect, self._short or self._left)

    def begin(self, last: bool) -> None:
        """Begin another attempt."""
        self._began = time.monotonic()
        if self._short:
            self.timeout = (self._connect, self._left if last else min(self._short, self._left))

    def answered(self) -> None:
        took = time.monotonic() - self._began
        if took > self._slow:
            _pace.took(self._request, took, self._began + took)

    def failed(self) -> bool:
        """Whether there is any time left for another attempt."""
        if not self._short:
            return True
        now = time.monotonic()
        spent = now - self._began
        self._left -= spent
        if self._left <= 0:
            # Perhaps it is alive, and slower than anything lately: the next request gets all of its time at once.
            _pace.took(self._request, spent, now)
        if spent >= self._short:
            self._short = self._left
        return self._left > 0


@lru_cache(maxsize=64)
def _shares(timeout: Any, connect: float, read: float, first: float) -> tuple[Any, float, float, float, float]:
    """How attempts share a caller's time-out, with `connect` and `read` for what it leaves open, if no host is slow.

    `first` is the read time-out of a first attempt, 0 if there is no second. Returns the first attempt's time-out; its
    read time-out if that is a share, else 0; after how long an answer was slow; connect and read time-out.
    """
    whole = _timeouts(timeout, connect, read)
    if not isinstance(whole, tuple) or not isinstance(whole[1], (int, float)):
        return whole, 0.0, math.inf, 0.0, 0.0
    short = first if first <= whole[1] / 2 else 0.0
    # As urllib3 has it in the end; else each request would be checked for it anew.
    ready = Timeout(connect=whole[0], read=short or whole[1])
    return ready, short, first / 2 if first else math.inf, whole[0], whole[1]


def _timeouts(timeout: Any, connect_timeout: float, read_timeout: float) -> Any:
    """The caller's time-outs, with ours for those left open, and a connect time-out separate from the read one."""
    connect, read = timeout if isinstance(timeout, tuple) and len(timeout) == 2 else (None, timeout)
    if read is None:
        read = read_timeout
    if connect is None and isinstance(read, (int, float)):
        connect = min(connect_timeout, read)
    return read if connect is None else (connect, read)  # a urllib3.Timeout stays as it is


def _kind(error: requests.RequestException) -> str:
    """Which of `_FAILURES` this is."""
    if isinstance(error, requests.exceptions.SSLError):
        return "tls"
    reason = error.args[0] if error.args else None  # a body that stays away is a ConnectionError for `requests`
    if isinstance(error, requests.Timeout) or isinstance(reason, urllib3.exceptions.TimeoutError):
        return "timeout"
    return "connection" if isinstance(error, (requests.ConnectionError, ChunkedEncodingError)) else "other"


def _log_repeat(request: requests.PreparedRequest, reason: str, repeats: int, wait: float) -> None:
    logger.debug("webex-pool repeat=%d method=%s reason=%s wait=%.1f", repeats + 1, request.method, reason, wait)


def _may_act_twice(request: requests.PreparedRequest) -> bool:
    return request.method in IDEMPOTENT_METHODS or (
        request.method == "POST" and _REGISTRATION.search(request.url or "") is not None
    )


def _rewind(request: requests.PreparedRequest) -> bool:
    """Whether the body can be sent once more; a file is set back to its start for that."""
    if request.body is None or isinstance(request.body, (str, bytes)):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True


# --- Interface --------------------------------------------------------------------------------------------------------


def configure_webex_api_session(
    api_instance: Any,
    pool_connections: int = 50,
    pool_maxsize: int = 50,
    max_retries: int = 3,
    *,
    strict: bool = False,
    **settings: Any,
) -> Any:
    """Give the client of an SDK such pools (webexteamssdk, webexpythonsdk, ciscosparkapi, wxc_sdk); `settings` as in
    `PoolSettings`. Clients with the same settings share their pools, so making one for each message costs nothing.

    Returns `api_instance`. The client's `single_request_timeout` stays as it is. What is no client, such as a mock in
    a test, is returned as it is with one warning; a `TypeError` if `strict`.
    """
    chosen = _settings(pool_connections, pool_maxsize, max_retries, settings)
    holder, session = _session_of(api_instance)
    if session is None:
        _unfit(f"{_API}, not {_name(api_instance)}", strict)
    else:
        _mount(session, chosen, "api", _attribute(holder, "single_request_timeout"))
    return api_instance


def configure_webex_bot_session(
    bot: Any,
    pool_connections: int = 50,
    pool_maxsize: int = 50,
    max_retries: int = 3,
    *,
    strict: bool = False,
    **settings: Any,
) -> Any:
    """Give the sessions of a bot such pools: `bot.teams` and the bare `bot.session` of a `webex_bot.WebexBot`,
    `bot.teams` and the clients that a `webexteamsbot.TeamsBot` makes later.

    Returns `bot`. A `single_request_timeout` of `bot.teams` below `request_timeout` is raised to it. What a bot does
    not have (a subclass need not call its base's `__init__`) is named in one warning; a `TypeError` if `strict`.
    """
    chosen = _settings(pool_connections, pool_maxsize, max_retries, settings)
    holder, inner = _session_of(_attribute(bot, "teams"))
    bare = _attribute(bot, "session")
    if not isinstance(bare, requests.Session):
        bare = None
    missing = [name for name, session in (("bot.teams", inner), ("bot.session", bare)) if session is None]
    if missing and (strict or len(missing) == 2):
        _unfit(f"{_BOT} has {' and '.join(missing)}, which {_name(bot)} has not", strict)
        return bot
    if inner is not None:
        _configure_inner(holder, inner, chosen)
    if bare is not None:
        _mount(bare, chosen, BARE_SESSION)
    elif _cover_other_clients(bot, chosen):
        return bot
    for name in missing:
        there = "bot.session" if name == "bot.teams" else "bot.teams"
        _unfit(f"{_BOT} has {name}, which {_name(bot)} has not: only {there} has such a pool", False)
    return bot


_API = (
    "configure_webex_api_session expects a client with a requests.Session (WebexTeamsAPI, WebexAPI, CiscoSparkAPI or "
    "WebexSimpleApi)"
)
_BOT = "what configure_webex_bot_session expects"


def _configure_inner(holder: Any, session: requests.Session, chosen: PoolSettings) -> None:
    """Configure the client inside a bot, whose time-out nobody could choose."""
    current = _attribute(holder, "single_request_timeout")
    if current is not None and current < chosen.request_timeout:
        holder.single_request_timeout = current = math.ceil(chosen.request_timeout)  # the SDKs accept only an int
    _mount(session, chosen, "bot.teams", current)


def _cover_other_clients(bot: Any, chosen: PoolSettings) -> bool:
    """Cover what the bots without a `bot.session` use instead; False if this bot is none of them.

    webexteamsbot makes a client for each card that is submitted. webex_bot before 1.0 fetches each message by a bare
    `requests.get`, without a time-out. Both find these by a name in their module, which is given another meaning.
    """
    for each in type(bot).__mro__:
        module: Any = sys.modules.get(each.__module__)
        if each.__module__ == "webexteamsbot.webexteamsbot":
            if isinstance(module.WebexTeamsAPI, type):
                module.WebexTeamsAPI = _configuring(module.WebexTeamsAPI, chosen)
            return True
        code = _attribute(_attribute(each, "__init__"), "__code__")
        if each.__module__ == "webex_bot.websockets.webex_websocket_client" and "session" not in code.co_names:
            if module.requests is requests:
                session = requests.Session()
                module.requests = types.ModuleType("requests")
                vars(module.requests).update(vars(requests), get=session.get)
                _mount(session, chosen, BARE_SESSION)
            return True
    return False


def _configuring(make: Any, chosen: PoolSettings) -> Any:
    """`make`, with what it makes configured."""

    def made(*args: Any, **kwargs: Any) -> Any:
        api = make(*args, **kwargs)
        _configure_inner(*_session_of(api), chosen)
        return api

    return made


class _Shared:
    """What is made once in a process. A child begins anew: its parent's connections are not its own."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.RLock()
        self.apis: dict[tuple[Any, str], Any] = {}
        self.adapters: dict[tuple[PoolSettings, str], _Adapter] = {}

    def adapter(self, settings: PoolSettings, label: str) -> _Adapter:
        """The adapter with these settings, whose pools outlive a client that is made for one message."""
        with self.lock:
            adapter = self.adapters.pop((settings, label), None) or _Adapter(settings, label)
            self.adapters[settings, label] = adapter
            if len(self.adapters) > _MOST_LINES:
                self.adapters.pop(next(iter(self.adapters)))
            return adapter


_shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.reset)


def get_webex_api(
    access_token: str,
    pool_connections: int = 50,
    pool_maxsize: int = 50,
    max_retries: int = 3,
    *,
    api_class: Any = None,
    **settings: Any,
) -> Any:
    """The one configured client of this process for `access_token`, made at the first call; safe across threads.

    `api_class` is `WebexTeamsAPI` or `WebexAPI`; left out, it is the first SDK installed of webexteamssdk and
    webexpythonsdk. The settings of the first call hold.
    """
    if not isinstance(access_token, str) or not access_token:
        raise TypeError(f"access_token must be a non-empty str, not {type(access_token).__name__}")
    chosen = _settings(pool_connections, pool_maxsize, max_retries, settings)
    api_class = api_class or _installed_api_class()
    with _shared.lock:
        key = (api_class, access_token)
        if key not in _shared.apis:
            api = api_class(access_token=access_token, single_request_timeout=math.ceil(chosen.request_timeout))
            _shared.apis[key] = configure_webex_api_session(api, **asdict(chosen))
        return _shared.apis[key]


def enable_pool_logging() -> None:
    """For debugging: log each connection opened, dropped or discarded, and each repeat.

    urllib3's own lines, switched on here, contain the paths and parameters of URLs, though no tokens.
    """
    for each in (logging.getLogger("urllib3.connectionpool"), logger):
        each.setLevel(logging.DEBUG)
        each.disabled = False  # as `logging.config` leaves loggers it does not know


def _installed_api_class() -> Any:
    try:
        from webexteamssdk import WebexTeamsAPI
    except ImportError:
        from webexpythonsdk import WebexAPI

        return WebexAPI
    return WebexTeamsAPI


def _session_of(api: Any) -> tuple[Any, Any]:
    """What holds a client's time-out, and its `requests.Session`; both None if it has none."""
    holder = _attribute(api, "_session")
    session = _attribute(holder, "_req_session")
    if isinstance(session, requests.Session):
        return holder, session
    session = _attribute(api, "session")  # wxc_sdk
    return (session, session) if isinstance(session, requests.Session) else (None, None)


def _attribute(thing: Any, name: str) -> Any:
    """An attribute of whatever we were given; None if it has none or fails to say so."""
    try:
        return getattr(thing, name, None)
    except Exception:  # a property of a class whose __init__ did not run
        return None


def _name(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _unfit(text: str, strict: bool) -> None:
    if strict:
        raise TypeError(text)
    _evidence.count("unfit")
    _evidence.warn_once(f"webex-pool not configured: {text}")


def _mount(session: requests.Session, settings: PoolSettings, label: str, timeout: float | None = None) -> None:
    """Put our adapter into `session` unless it is there already, and log it."""
    current = session.adapters.get("https://")
    if isinstance(current, _Adapter) and (current.settings, current.label) == (settings, label):
        return
    adapter = _shared.adapter(settings, label)
    replaced = {id(old): old for old in (session.adapters.get("https://"), session.adapters.get("http://")) if old}
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    for old in replaced.values():
        old.close()  # one of ours goes on for the others who share it: only its idle connections are closed
    in_force = {name: value for name, (_level, _option, value) in adapter.socket_options.items()}
    keepalive = "/".join(str(in_force.get(name, 0)) for name in ("idle", "interval", "count"))
    _evidence.ready(
        f"{label} pool_connections={settings.pool_connections} pool_maxsize={settings.pool_maxsize} "
        f"max_retries={settings.max_retries} timeout={timeout or settings.request_timeout:g} keepalive={keepalive} "
        f"user_timeout={in_force.get('user_timeout', 0) / 1000:g} max_idle={settings.max_idle:g} "
        f"connect_timeout={settings.connect_timeout:g} first_attempt={settings.first_attempt:g}"
    )
