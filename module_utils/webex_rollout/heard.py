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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .become import account_of, as_account
from .channel import Heard, channel_files, read_channel
from .errors import RolloutError
from .procfs import read_stat
from .system import run_command, to_text

# Counters of a channel that add up to what a bot has done.
COUNTED = (
    *("requests", "answered", "timeouts", "connection_errors", "tls_errors", "other_errors", "server_errors"),
    *("rate_limited", "retried", "recycled"),
)
FAILURES = ("timeouts", "connection_errors", "tls_errors", "other_errors")
# A websocket is pinged every 20 s; what shows nothing for this long was not at work.
SILENCE = 180.0
# Seconds of a request in flight after which its answer will not come, where its session does not say a time-out.
HUNG = 600.0
# Sockets kept from one look to the next; a bot has a handful.
MOST_SOCKETS = 64


@dataclass
class Signs:
    """What one look at a bot's main process showed. `problem` says why it showed nothing, if so."""

    problem: str = ""
    pid: int = 0
    start_time: int = 0
    started: float = 0.0
    """When the process was started, in seconds since boot."""
    channels: dict[str, Heard] = field(default_factory=dict)
    """By file name, which names the process; those of ended processes too, as long as the directory holds them."""
    traffic: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Bytes sent and received of each TCP socket, by inode."""

    @property
    def own(self) -> list[Heard]:
        """The channels of the main process itself."""
        return [each for each in self.channels.values() if (each.pid, each.start_time) == (self.pid, self.start_time)]

    @property
    def hung_after(self) -> float:
        """Seconds that no request of this process can take: twice its longest time-out, and a minute."""
        said = [session.settings.get("timeout", "") for each in self.own for session in each.sessions]
        known = [float(each) for each in said if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", each, re.ASCII)]
        return 2 * max(known) + 60 if known else HUNG

    def oldest(self, now: float) -> float:
        """Age, in seconds, of the oldest request in flight."""
        return max((each.oldest_age(int(now * 1000)) for each in self.own), default=0.0)


def listen(user: str, directory: str, main_pid: int) -> Signs:
    """Look at a bot's main process, and at the channels in its runtime directory.

    :param main_pid: of the bot's unit; 0 where none runs.
    """
    stat = read_stat(main_pid) if main_pid else None
    signs = Signs(problem="it does not run" if stat is None or stat.state in "ZX" else "")
    try:
        files = as_account(account_of(user), channel_files, directory, seconds=20)
    except (RolloutError, OSError) as error:
        files, signs.problem = {}, signs.problem or f"its channel cannot be read: {error}"
    for name, data in files.items():
        heard = read_channel(name, data)
        if isinstance(heard, Heard):
            signs.channels[name] = heard
    if stat is not None:
        signs.pid, signs.start_time = main_pid, stat.start_time
        signs.started = stat.start_time / os.sysconf("SC_CLK_TCK")
        signs.traffic = _traffic(main_pid)
        if stat.state == "T":
            signs.problem = "it is stopped by a signal"
    if not signs.problem and not any(each.configured for each in signs.own):
        signs.problem = "its pool module is not heard"
    return signs


def _traffic(pid: int) -> dict[str, tuple[int, int]]:
    """Bytes that each TCP socket of a process has sent and received; nothing where `ss` is missing."""
    inodes = set()
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
    """What a bot has been heard to do since its soak began, and when it was last heard. Plain JSON both ways."""

    counts: dict[str, int] = field(default_factory=dict)
    """Sums of `COUNTED` over all processes."""
    last: dict[str, dict[str, int]] = field(default_factory=dict)
    """The counters of each channel at the last look, and its `sequence`."""
    traffic: dict[str, list[int]] = field(default_factory=dict)
    pid: int = 0
    start_time: int = 0
    heard_at: float | None = None
    """Seconds since boot of the last sign of life; None before the first."""
    ever: bool = False
    """Whether the pool module was heard at all."""
    unheard: float = 0.0
    """Seconds that did not count because nothing was heard."""
    still: float = 0.0
    """Seconds that did not count because Webex could not be reached."""
    excused: int = 0
    """Failed calls of that time."""
    problem: str = ""
    """Why the bot was not heard at the last look."""
    restarted: float | None = None
    """Seconds since boot at which it was started anew because it was not heard."""
    restarts: int = -1
    """What systemd counted at the last look; -1 before the first."""
    crashes: int = 0
    """How often systemd has started the bot again while Webex could be reached."""
    since: float | None = None
    """Seconds since boot from which on nothing was heard; None while it is heard."""

    @classmethod
    def load(cls, raw: Mapping[str, Any]) -> Work:
        """Read back what `asdict` wrote."""
        return cls(**raw)

    def count(self, name: str) -> int:
        """One of the sums."""
        return self.counts.get(name, 0)

    @property
    def failed(self) -> int:
        """Calls that got no answer in the end."""
        return sum(self.count(name) for name in FAILURES)

    @property
    def ended(self) -> int:
        """Calls that were made: with an answer, or without one."""
        return self.count("answered") + self.failed

    def take(self, signs: Signs, now: float, seconds: float) -> float:
        """Take in a look; returns how many of the seconds since the last one count as heard.

        :param now: seconds since boot.
        :param seconds: since the last look, while the machine was up.
        """
        moved = self._add(signs)
        same = (signs.pid, signs.start_time) == (self.pid, self.start_time)
        if not same and signs.pid:
            self.pid, self.start_time = signs.pid, signs.start_time
        oldest = signs.oldest(now)
        self.problem = signs.problem
        if not self.problem and oldest > signs.hung_after:
            self.problem = f"a request has been in flight for {oldest:.0f} s"
        if self.problem:
            self.unheard += seconds
            self.since = now if self.since is None or self.since > now else self.since
            return 0.0
        self.ever = True
        if moved or not same or self.heard_at is None or self.heard_at > now:
            self.heard_at = now
        # A process that was started meanwhile was not at work before; one that fell silent is not at work any more.
        counted = min(seconds, max(0.0, now - signs.started), max(0.0, seconds - (now - self.heard_at - SILENCE)))
        self.since = None
        if now - self.heard_at > SILENCE:
            self.since, self.problem = self.heard_at, f"no sign of life for {now - self.heard_at:.0f} s"
        self.unheard += seconds - counted
        return counted

    def silent_for(self, now: float) -> float:
        """Seconds for which nothing has been heard of it, at `now` since boot."""
        return 0.0 if self.since is None else max(0.0, now - self.since)

    def crashed(self, restarts: int, fair: bool) -> None:
        """Take in how often systemd has started the bot again; in bad weather that is nobody's fault."""
        if fair and 0 <= self.restarts < restarts:
            self.crashes += restarts - self.restarts
        self.restarts = restarts

    def _add(self, signs: Signs) -> bool:
        """Add what was counted since the last look; whether that, or the connections, show a sign of life."""
        moved = False
        last: dict[str, dict[str, int]] = {}
        for name, heard in signs.channels.items():
            before = self.last.get(name, {})
            now = {key: getattr(heard, key) for key in (*COUNTED, "sequence")}
            for key in COUNTED:
                self.counts[key] = self.counts.get(key, 0) + max(0, now[key] - before.get(key, 0))
            mine = (heard.pid, heard.start_time) == (signs.pid, signs.start_time)
            moved = moved or (mine and now["sequence"] > before.get("sequence", 0))
            last[name] = now
        for inode, (sent, received) in signs.traffic.items():
            before_sent, before_received = self.traffic.get(inode, (sent, received))
            moved = moved or (sent > before_sent and received > before_received)
        self.last = last
        self.traffic = {inode: list(each) for inode, each in signs.traffic.items()}
        return moved
