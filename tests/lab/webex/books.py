"""The books: what became of every message that was sent to a bot, and when each bot was listening.

Nothing here does I/O; times are seconds since the epoch as the stand-in's clock gives them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LOST_AFTER = 130.0
"""Seconds without an answer after which a message counts as lost: longer than the longest request time-out (120 s)."""

STAGES = ("push", "resolve", "fetch", "ack", "answer")
"""What must happen to a message, in this order: pushed on a websocket; its id looked up at the conversation service;
fetched with `messages.get`; acknowledged on the websocket; answered by a post."""


@dataclass
class Entry:
    """One message in the books.

    `expect` is text that only the real answer contains: a post with it is an answer, any other post to the same thread
    (progress, an error, the help card) is a note. Times are None until the thing has happened.
    """

    id: str
    bot: str
    phase: str
    room: str
    text: str
    expect: str
    sent_at: float
    pushes: list[float] = field(default_factory=list)
    resolved_at: float | None = None
    fetched_at: float | None = None
    acked_at: float | None = None
    answers: list[float] = field(default_factory=list)
    notes: list[float] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether it was pushed on a websocket at least once."""
        return bool(self.pushes)

    @property
    def latency(self) -> float | None:
        """Seconds from sending to the first answer."""
        return self.answers[0] - self.sent_at if self.answers else None

    @property
    def next_stage(self) -> str | None:
        """The first of STAGES that has not happened; None for an answered message."""
        if self.answers:
            return None
        done = (self.delivered, self.resolved_at, self.fetched_at, self.acked_at)
        return next((stage for stage, happened in zip(STAGES, done) if not happened), "answer")

    def lost(self, now: float, lost_after: float) -> bool:
        return not self.answers and now - self.sent_at > lost_after


@dataclass
class Session:
    """One websocket of a bot. `heard_at` is the last sign of life; a vanished client leaves it open."""

    device: str
    opened_at: float
    heard_at: float
    closed_at: float | None = None
    close_code: int | None = None

    @property
    def open(self) -> bool:
        return self.closed_at is None


@dataclass
class Overlap:
    """A time during which two websockets of one account both gave signs of life: every message is answered twice."""

    since: float
    until: float


@dataclass(frozen=True)
class Summary:
    """The messages of one bot in one phase, counted. Latencies in seconds, over answered messages; None without any.

    `answered + lost + pending == sent`; `answered_twice` are among the answered; `stalled` says at which of STAGES the
    lost and pending ones stand.
    """

    sent: int
    delivered: int
    answered: int
    answered_twice: int
    lost: int
    pending: int
    notes: int
    latency_p50: float | None
    latency_p99: float | None
    latency_max: float | None
    stalled: dict[str, int]


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; None for no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def summarise(entries: Iterable[Entry], now: float, lost_after: float = LOST_AFTER) -> Summary:
    """Count messages."""
    entries = list(entries)
    open_entries = [entry for entry in entries if not entry.answers]
    lost = sum(entry.lost(now, lost_after) for entry in open_entries)
    latencies = [entry.latency for entry in entries if entry.latency is not None]
    return Summary(
        sent=len(entries),
        delivered=sum(entry.delivered for entry in entries),
        answered=len(entries) - len(open_entries),
        answered_twice=sum(len(entry.answers) > 1 for entry in entries),
        lost=lost,
        pending=len(open_entries) - lost,
        notes=sum(len(entry.notes) for entry in entries),
        latency_p50=percentile(latencies, 0.50),
        latency_p99=percentile(latencies, 0.99),
        latency_max=max(latencies, default=None),
        stalled=dict(Counter(entry.next_stage for entry in open_entries if entry.next_stage)),
    )


class Books:
    """Everything that is written down while the stand-in runs. `clock` gives seconds since the epoch."""

    def __init__(self, bots: Iterable[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self.bots = tuple(bots)
        self.reset()

    def reset(self) -> None:
        """Forget messages, requests and closed websockets; what is open stays, from when it was opened."""
        open_sessions = getattr(self, "sessions", {})
        self.phase = "start"
        self.entries: dict[str, Entry] = {}
        self.requests: dict[str, Counter[str]] = {bot: Counter() for bot in self.bots}
        self.overlaps: dict[str, list[Overlap]] = {bot: [] for bot in self.bots}
        self.sessions: dict[str, list[Session]] = {
            bot: [session for session in open_sessions.get(bot, []) if session.open] for bot in self.bots
        }
        self._by_room: dict[str, list[Entry]] = {}

    # Messages

    def sent(self, key: str, bot: str, room: str, text: str, expect: str) -> Entry:
        """A message to a bot exists."""
        entry = Entry(key, bot, self.phase, room, text, expect, self._clock())
        self.entries[key] = entry
        self._by_room.setdefault(room, []).append(entry)
        return entry

    def pushed(self, key: str) -> None:
        """It went out on one websocket."""
        self._entry_do(key, lambda entry: entry.pushes.append(self._clock()))

    def resolved(self, key: str) -> None:
        """The bot asked the conversation service for its REST id."""
        self._entry_do(key, lambda entry: _set_once(entry, "resolved_at", self._clock()))

    def fetched(self, key: str) -> None:
        """The bot fetched it."""
        self._entry_do(key, lambda entry: _set_once(entry, "fetched_at", self._clock()))

    def acked(self, key: str) -> None:
        """The bot acknowledged it."""
        self._entry_do(key, lambda entry: _set_once(entry, "acked_at", self._clock()))

    def _entry_do(self, key: str, change: Callable[[Entry], None]) -> None:
        # Bots also see their own answers, which are no entries.
        if key in self.entries:
            change(self.entries[key])

    def posted(self, bot: str, room: str, parent: str | None, content: str) -> None:
        """The bot posted `content` to a room, with `parent` to a thread."""
        entry = self.entries.get(parent or "") or self._asked_in_room(bot, room, content)
        if entry is None or entry.bot != bot:
            return
        (entry.answers if entry.expect in content else entry.notes).append(self._clock())

    def _asked_in_room(self, bot: str, room: str, content: str) -> Entry | None:
        """Which message a post without a thread answers.

        The one that the bot has fetched last and not answered; without one the latest answered, which is then answered
        twice. A message that hangs before it is fetched cannot have been answered, and one fetched by a process that is
        gone must not take the answer of a later one.
        """
        asked = [e for e in self._by_room.get(room, []) if e.bot == bot and e.fetched_at and e.expect in content]
        open_ones = [e for e in asked if not e.answers]
        return max(open_ones, key=lambda e: e.fetched_at or 0, default=asked[-1] if asked else None)

    def unacked(self, bot: str, younger_than: float) -> list[Entry]:
        """Messages that Webex would send again after a reconnect, oldest first."""
        now = self._clock()
        return [e for e in self.entries.values() if e.bot == bot and not e.acked_at and now - e.sent_at < younger_than]

    def settled(self, lost_after: float = LOST_AFTER) -> bool:
        """Whether every message is answered or lost."""
        now = self._clock()
        return all(e.answers or e.lost(now, lost_after) for e in self.entries.values())

    # Websockets

    def opened(self, bot: str, device: str) -> Session:
        """A websocket of the bot is open and authorised."""
        now = self._clock()
        session = Session(device, opened_at=now, heard_at=now)
        self.sessions[bot].append(session)
        return session

    def heard(self, bot: str, session: Session) -> None:
        """A sign of life came on a websocket; two that both live are two consumers."""
        session.heard_at = now = self._clock()
        others = (other for other in self.sessions[bot] if other.open and other is not session)
        for other in others:
            since = max(session.opened_at, other.opened_at)
            if other.heard_at > since or (other.opened_at == since and now > since):
                self._overlapped(bot, since, now)

    def _overlapped(self, bot: str, since: float, until: float) -> None:
        for overlap in self.overlaps[bot]:
            if overlap.since == since:
                overlap.until = until
                return
        self.overlaps[bot].append(Overlap(since, until))

    def closed(self, session: Session, code: int | None) -> None:
        """The websocket is gone; `code` is the client's or our close code, None without a closing handshake."""
        session.closed_at, session.close_code = self._clock(), code

    def connected(self, bot: str) -> bool:
        return any(session.open for session in self.sessions[bot])

    # Reading

    def summary(self, bot: str, phase: str | None = None, lost_after: float = LOST_AFTER) -> Summary:
        """The bot's messages of one phase, or of all."""
        entries = (e for e in self.entries.values() if e.bot == bot and phase in (None, e.phase))
        return summarise(entries, self._clock(), lost_after)

    def phases(self) -> list[str]:
        """Phases in which messages were sent, in order."""
        return list(dict.fromkeys(entry.phase for entry in self.entries.values()))

    def to_json(self, lost_after: float, with_messages: bool) -> dict[str, Any]:
        """All of it, as the control API gives it out."""
        page: dict[str, Any] = {
            "now": self._clock(),
            "phase": self.phase,
            "bots": {bot: self._bot_to_json(bot, lost_after) for bot in self.bots},
        }
        if with_messages:
            page["messages"] = [asdict(entry) for entry in self.entries.values()]
        return page

    def _bot_to_json(self, bot: str, lost_after: float) -> dict[str, Any]:
        return {
            "total": asdict(self.summary(bot, None, lost_after)),
            "phases": {phase: asdict(self.summary(bot, phase, lost_after)) for phase in self.phases()},
            "requests": dict(self.requests[bot]),
            "sessions": [asdict(session) for session in self.sessions[bot]],
            "two_consumers": [asdict(overlap) for overlap in self.overlaps[bot]],
        }


def _set_once(entry: Entry, name: str, when: float) -> None:
    if getattr(entry, name) is None:
        setattr(entry, name, when)
