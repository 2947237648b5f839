# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a bot's process is at work: what its pool module counts, and what its connections carry.

Neither can be made by somebody who writes to the bot, and a process that hangs, has ended, or is another one than the
release's, makes neither. Counters of the pool module are of one process each; here they are summed over all processes
since the soak began.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .become import account_of, as_account
from .channel import Heard, channel_files, read_channel
from .errors import RolloutError
from .procfs import ancestors, read_stat
from .system import run_command, to_text

# Counters of a channel that add up to what a bot has done.
COUNTED = (
    *("requests", "answered", "timeouts", "connection_errors", "tls_errors", "other_errors", "server_errors"),
    *("rate_limited", "retried", "recycled", "errors"),
)
FAILURES = ("timeouts", "connection_errors", "tls_errors", "other_errors")
# A websocket is pinged every 20 s; what shows nothing for this long was not at work.
SILENCE = 180.0
# A bot not heard for this long is made known, and started anew, once; after as long again its release is at fault.
UNHEARD_SECONDS = 300.0
# One that is stopped, and was not heard at the look before either: that is no slow call, and nobody is answered.
STOPPED, STOPPED_SECONDS = "it is stopped by a signal", 20.0
# What lies between two looks is taken to be as they were, up to this long: longer than the timer's longest pause.
LONGEST_GAP = 600.0
# Seconds of a request in flight after which its answer will not come, where its session does not say a time-out.
HUNG = 600.0
# Sockets kept from one look to the next. A bot has a handful, or its pool, and its websocket may be any of them.
MOST_SOCKETS = 1024
MOST_CRASHES = 16


@dataclass
class Signs:
    """What one look at a bot's main process showed. `problem` says why it showed nothing, if so."""

    problem: str = ""
    drift: str = ""
    """Why what is there is not the release that is watched."""
    exchanged: str = ""
    """Why what runs is not what is there, though that is the release. Whatever either shows is no evidence of it."""
    pid: int = 0
    start_time: int = 0
    started: float = 0.0
    """When the process was started, in seconds since boot."""
    channels: dict[str, Heard] = field(default_factory=dict)
    """By file name, which names the process; those of ended processes too, as long as the directory holds them."""
    own: list[Heard] = field(default_factory=list)
    """The channels of the main process, and of what it was the launcher of."""
    traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes sent and received of each TCP socket, by inode."""

    @property
    def hung_after(self) -> float:
        """Seconds that no request of this process can take: half as long again as all its tries, and a minute."""
        known = [
            (_number(session.settings, "max_retries") + 1) * _number(session.settings, "timeout")
            for each in self.own
            for session in each.sessions
        ]
        return 1.5 * max(known) + 60 if known and min(known) > 0 else HUNG

    def oldest(self, now: float) -> float:
        """Age, in seconds, of the oldest request in flight."""
        return max((each.oldest_age(int(now * 1000)) for each in self.own), default=0.0)


def _number(settings: Mapping[str, str], name: str) -> float:
    """A setting of a session; 0 where it says none."""
    said = settings.get(name, "")
    return float(said) if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", said, re.ASCII) else 0.0


def listen(user: str, directory: str, main_pid: int) -> Signs:
    """Look at a bot's main process, and at the channels in its runtime directory.

    :param main_pid: of the bot's unit; 0 where none runs.
    """
    stat = read_stat(main_pid) if main_pid else None
    signs = Signs(problem="it does not run" if stat is None or stat.state in "ZX" else "")
    try:
        signs.channels = _channels(user, directory)
    except (RolloutError, OSError) as error:
        signs.problem = signs.problem or f"its channel cannot be read: {error}"
    if stat is not None:
        signs.pid, signs.start_time = main_pid, stat.start_time
        signs.started = stat.start_time / os.sysconf("SC_CLK_TCK")
        signs.own = [each for each in signs.channels.values() if _is_of(each, main_pid)]
        signs.traffic = traffic_of({main_pid, *(each.pid for each in signs.own)})
        if stat.state == "T":
            signs.problem = STOPPED
    if not signs.problem and not any(each.configured for each in signs.own):
        signs.problem = "its pool module is not heard"
    return signs


def configured_sessions(user: str, directory: str, main_pid: int) -> int:
    """Sessions that a bot's pool module has configured, as its channel says; 0 where that says nothing."""
    try:
        return sum(each.configured for each in _channels(user, directory).values() if _is_of(each, main_pid))
    except (RolloutError, OSError):
        return 0


def _channels(user: str, directory: str) -> dict[str, Heard]:
    """The channels of a directory that can be understood, by file name."""
    files = as_account(account_of(user), channel_files, directory, seconds=20)
    read = {name: read_channel(name, data) for name, data in files.items()}
    return {name: heard for name, heard in read.items() if isinstance(heard, Heard)}


def _is_of(heard: Heard, main_pid: int) -> bool:
    """Whether the process of a channel lives, and is a main process or was started by it."""
    stat = read_stat(heard.pid)
    if stat is None or stat.start_time != heard.start_time:
        return False
    return heard.pid == main_pid or any(each.pid == main_pid for each in ancestors(heard.pid))


def traffic_of(pids: Collection[int]) -> dict[str, tuple[int, int]]:
    """Bytes that each TCP socket of these processes has sent and received; nothing where `ss` is missing."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if target.startswith("socket:["):
                        inodes.add(target[len("socket:[") : -1])
    found: dict[str, tuple[int, int]] = {}
    if not inodes:
        return found
    try:
        output = to_text(run_command(["ss", "-Htnie", "state", "established"], timeout=20).stdout)
    except RolloutError:
        return found
    inode = ""
    for line in output.splitlines():
        named = re.search(r"\bino:([0-9]+)", line)
        inode = named[1] if named else inode
        if inode in inodes and len(found) < MOST_SOCKETS:
            sent = re.search(r"\bbytes_sent:([0-9]{1,15})", line)
            received = re.search(r"\bbytes_received:([0-9]{1,15})", line)
            if sent or received:
                found[inode] = (int(sent[1]) if sent else 0, int(received[1]) if received else 0)
    return found


@dataclass
class Work:
    """What a bot has been heard to do since its soak began, and when it was last heard. Plain JSON both ways.

    Moments are seconds since boot; `rebooted` forgets them.
    """

    counts: dict[str, int] = field(default_factory=dict)
    """Sums of `COUNTED` over all processes."""
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    """The counters of each channel at the last look, and its `sequence`."""
    traffic: dict[str, list[int]] = field(default_factory=dict)
    pid: int = 0
    start_time: int = 0
    ever: bool = False
    """Whether the pool module was heard at all."""
    heard_at: float | None = None
    """When the last sign of life was seen; None before the first."""
    worked_at: float | None = None
    """When a look last found new calls that were answered as they should."""
    unheard: float = 0.0
    """Seconds that did not count because nothing was heard."""
    still: float = 0.0
    """Seconds that did not count because Webex could not be reached."""
    excused: dict[str, int] = field(default_factory=dict)
    """What was counted in that time, or by something else than the release: not its fault, and not its merit."""
    left: dict[str, int] = field(default_factory=dict)
    """Requests that were in flight at the last look of such a time, by channel; they end after it, and may fail."""
    left_at: float = 0.0
    """When that look was."""
    problem: str = ""
    """Why the bot was not heard at the last look."""
    drift: bool = False
    """Whether that is because what ran was not the release that is watched."""
    since: float | None = None
    """From when on nothing was heard; None while it is heard."""
    restarted: float | None = None
    """When it was started anew because it was not heard."""
    restarts: int = -1
    """What systemd counted at the last look; -1 before the first."""
    unsettled: bool = False
    """Whether systemd had started the bot again since the look before the last one."""
    crashes: int = 0
    """How often systemd has started the bot again while Webex could be reached."""
    crash_times: list[float] = field(default_factory=list)
    """When that was seen, the last few times."""
    edited: int = 0
    """Files that were not what the release has, at the last look."""
    copies: int = 0
    """Processes beside the unit's, at the last look."""
    failing: dict[str, str] = field(default_factory=dict)
    """The operator's own checks that failed at the last look, with what they said."""
    failed_looks: dict[str, int] = field(default_factory=dict)
    """At how many looks in a row each of them has."""
    failed_since: dict[str, float] = field(default_factory=dict)
    """From when on, in seconds since boot."""
    probed: str = ""
    """How the last probe went, as `probe.Asked` has it; empty before the first."""
    probed_at: float | None = None
    """When that was."""
    unprobed: str = ""
    """Why the bot could not be asked, where it could not."""
    unprobed_looks: int = 0
    """At how many probes in a row."""

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Work:
        """Read back what `asdict` wrote."""
        return cls(**raw)

    def count(self, name: str) -> int:
        """One of the sums, without what is excused."""
        return self.counts.get(name, 0) - self.excused.get(name, 0)

    @property
    def failed(self) -> int:
        """Calls that got no answer in the end."""
        return sum(self.count(name) for name in FAILURES)

    @property
    def ended(self) -> int:
        """Calls that were made: with an answer, or without one."""
        return self.count("answered") + self.failed

    @property
    def worked(self) -> int:
        """Calls that were answered, and not with an error of the server's."""
        return self.count("answered") - self.count("server_errors")

    def take(self, signs: Signs, now: float, seconds: float, begun: float = 0.0, fair: bool = True) -> float:
        """Take in a look; returns how many of the seconds since the last one count as heard.

        :param now: seconds since boot.
        :param seconds: since the last look, while the machine was up.
        :param begun: seconds since boot at which the watch began; what a channel held before is not counted.
        :param fair: whether Webex could be reached meanwhile.
        """
        worked = self.worked
        moved = self._add(signs, now, begun, excused=not fair or bool(signs.drift or signs.exchanged))
        if self.worked > worked:
            self.worked_at = now
        same = (signs.pid, signs.start_time) == (self.pid, self.start_time)
        if signs.pid:
            self.pid, self.start_time = signs.pid, signs.start_time
        oldest = signs.oldest(now)
        if bool(signs.drift) != self.drift:
            self.since = None
        self.problem, self.drift = signs.drift or signs.exchanged or signs.problem, bool(signs.drift)
        if not self.problem and oldest > signs.hung_after:
            self.problem = f"a request has been in flight for {oldest:.0f} s"
        if not fair:
            self._stand_still(now, seconds)
        if self.problem:
            self.unheard += seconds
            self.since = now if self.since is None else self.since
            return 0.0
        self.ever = True
        if moved or not same or self.heard_at is None:
            self.heard_at = now
        silent = now - self.heard_at
        # A process that was started meanwhile was not at work before; one that fell silent is not at work any more.
        counted = min(
            seconds, LONGEST_GAP, max(0.0, now - signs.started), max(0.0, seconds - max(0.0, silent - SILENCE))
        )
        self.since = None
        if silent > SILENCE:
            self.since, self.problem = self.heard_at, f"no sign of life for {silent:.0f} s"
        self.unheard += seconds - counted
        return counted

    def _stand_still(self, now: float, seconds: float) -> None:
        """Have silence grow no longer: without Webex there is nothing to be heard."""
        for name in ("heard_at", "since", "restarted"):
            moment = getattr(self, name)
            if moment is not None:
                setattr(self, name, min(now, moment + seconds))

    def answered_lately(self, signs: Signs) -> bool:
        """Whether Webex has answered the bot since the last look, more often than not: then it can be reached."""
        counts = {"answered": 0, "failed": 0}
        for name, heard in signs.channels.items():
            before = self.last.get(name, {})
            counts["answered"] += heard.answered - before.get("answered", 0)
            counts["failed"] += heard.failed - sum(before.get(each, 0) for each in FAILURES)
        return counts["answered"] > max(0, counts["failed"])

    def silent_for(self, now: float) -> float:
        """Seconds for which nothing has been heard of it, at `now` since boot."""
        return 0.0 if self.since is None else max(0.0, now - self.since)

    def is_lost(self, now: float) -> bool:
        """Whether nothing has been heard of it for so long, at `now` since boot, that it is to be started anew."""
        return self.silent_for(now) > (STOPPED_SECONDS if self.problem == STOPPED else UNHEARD_SECONDS)

    def crashed(self, restarts: int, now: float, fair: bool) -> None:
        """Take in how often systemd has started the bot again; in bad weather that is nobody's fault."""
        if fair and 0 <= self.restarts < restarts:
            more = restarts - self.restarts
            self.crashes += more
            self.crash_times = [*self.crash_times, *[now] * more][-MOST_CRASHES:]
        self.restarts = restarts

    def checked(self, problems: Mapping[str, str], now: float, kept: Collection[str] = ()) -> None:
        """Take in what the operator's own checks found, by their names; empty for nothing.

        :param kept: those that were not asked this time, and are as they were.
        """
        still = {name: problem for name, problem in self.failing.items() if name in kept}
        self.failing = {**{name: problem for name, problem in problems.items() if problem}, **still}
        self.failed_looks = {name: self.failed_looks.get(name, 0) + (name not in still) for name in self.failing}
        self.failed_since = {name: self.failed_since.get(name, now) for name in self.failing}

    def rebooted(self) -> None:
        """Forget what was of the boot before: its moments, processes, and what systemd counted."""
        self.heard_at = self.worked_at = self.since = self.restarted = self.probed_at = None
        self.last, self.left, self.traffic, self.crash_times = {}, {}, {}, []
        self.pid, self.start_time, self.restarts = 0, 0, -1

    def _add(self, signs: Signs, at: float, begun: float, excused: bool) -> bool:
        """Add what was counted since the last look; whether that, or the connections, show a sign of life."""
        moved = False
        if excused:
            self.left, self.left_at = {name: heard.in_flight for name, heard in signs.channels.items()}, at
        last: dict[str, dict[str, int]] = {}
        for name, heard in signs.channels.items():
            now = {key: getattr(heard, key) for key in (*COUNTED, "sequence")}
            before = self.last.get(name) or (now if heard.opened_at < begun * 1000 else {})
            for key in COUNTED:
                more = max(0, now[key] - before.get(key, 0))
                self.counts[key] = self.counts.get(key, 0) + more
                not_its = more if excused else self._of_those_left(name, key, more)
                self.excused[key] = self.excused.get(key, 0) + not_its
            if not excused and (not heard.in_flight or heard.oldest_at > self.left_at * 1000):
                self.left.pop(name, None)
            moved = moved or (heard in signs.own and now["sequence"] > before.get("sequence", 0))
            last[name] = now
        for inode, (sent, received) in signs.traffic.items():
            before_sent, before_received = self.traffic.get(inode, (sent, received))
            moved = moved or (sent > before_sent and received > before_received)
        self.last = last
        self.traffic = {inode: list(each) for inode, each in signs.traffic.items()}
        return moved

    def _of_those_left(self, channel: str, key: str, more: int) -> int:
        """How many of these failures may be those of requests that were in flight without Webex."""
        if key not in FAILURES:
            return 0
        left = self.left.get(channel, 0)
        self.left[channel] = max(0, left - more)
        return min(left, more)
