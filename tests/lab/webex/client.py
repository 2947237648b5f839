"""A typed client of a running stand-in's control API, for tests and `make demo`. Standard library only."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from .books import LOST_AFTER, Entry, Overlap, Session, Summary
from .driver import Pattern
from .faults import Fault
from .server import HttpConnection


class WebexLabError(RuntimeError):
    """The stand-in refused a request; the message is its reason."""


@dataclass(frozen=True)
class BotBooks:
    """Everything about one bot. `requests` counts by `METHOD host/path status`; `devices` are its registrations."""

    total: Summary
    phases: dict[str, Summary]
    requests: dict[str, int]
    sessions: list[Session]
    two_consumers: list[Overlap]
    devices: int
    connections: list[HttpConnection]

    @property
    def connected(self) -> bool:
        return any(session.open for session in self.sessions)

    def down_time(self, since: float, until: float) -> float:
        """Seconds of [since, until] (epoch) in which the bot had no open websocket."""
        spans = sorted((s.opened_at, until if s.closed_at is None else s.closed_at) for s in self.sessions)
        down, covered_until = 0.0, since
        for opened, closed in spans:
            if opened >= until:
                break
            down += max(0.0, opened - covered_until)
            covered_until = max(covered_until, closed)
        return down + max(0.0, until - covered_until)


@dataclass(frozen=True)
class BooksPage:
    """A snapshot of the books. `now` is the stand-in's clock (epoch); `messages` is empty unless asked for.

    `strangers` counts requests with no or an unknown token, by `METHOD host/path`.
    """

    now: float
    phase: str
    driving: bool
    bots: dict[str, BotBooks]
    messages: list[Entry]
    strangers: dict[str, int]


def _bot_books(page: dict[str, Any]) -> BotBooks:
    return BotBooks(
        total=Summary(**page["total"]),
        phases={name: Summary(**summary) for name, summary in page["phases"].items()},
        requests=page["requests"],
        sessions=[Session(**row) for row in page["sessions"]],
        two_consumers=[Overlap(**row) for row in page["two_consumers"]],
        devices=page["devices"],
        connections=[HttpConnection(**row) for row in page["connections"]],
    )


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("stand-in", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class WebexLab:
    """A running stand-in, by the path of its control socket.

    Every method raises OSError if the stand-in is not there and WebexLabError if it refuses.
    """

    def __init__(self, control: Path) -> None:
        self._control = Path(control)

    def _call(self, method: str, path: str, body: object = None, timeout: float = 30.0, **query: object) -> Any:
        connection = _UnixConnection(self._control, timeout)
        try:
            target = f"{path}?{urlencode(query)}" if query else path
            payload = None if body is None else json.dumps(body)
            connection.request(method, target, payload, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise WebexLabError(f"{method} {path}: {answer.get('error', response.status)}")
        return answer

    def books(self, messages: bool = False, lost_after: float = LOST_AFTER) -> BooksPage:
        """A snapshot; `lost_after` is the age in seconds at which an unanswered message counts as lost."""
        page = self._call("GET", "/books", messages=int(messages), lost_after=lost_after)
        return BooksPage(
            now=page["now"],
            phase=page["phase"],
            driving=page["driving"],
            bots={bot: _bot_books(of_bot) for bot, of_bot in page["bots"].items()},
            messages=[Entry(**row) for row in page.get("messages", [])],
            strangers=page["strangers"],
        )

    def reset(self) -> None:
        """Forget the books."""
        self._call("POST", "/reset")

    def phase(self, name: str) -> None:
        """Messages sent from now on are summed up under this name."""
        self._call("POST", "/phase", {"name": name})

    def start(self, pattern: Pattern) -> None:
        """Start a pattern in place of the one that runs."""
        self._call("POST", "/pattern", asdict(pattern))

    def stop(self) -> None:
        """Stop the pattern."""
        self._call("DELETE", "/pattern")

    def burst(self, count: int, bots: Sequence[str] = (), spread: float = 0.4) -> list[str]:
        """Send `count` messages to each bot (default all) over `spread` seconds; returns their ids."""
        asked = {"bots": list(bots), "count": count, "spread": spread}
        return list(self._call("POST", "/burst", asked, timeout=30.0 + spread)["ids"])

    def wait_connected(self, bots: Sequence[str] = (), timeout: float = 60.0) -> bool:
        """Wait until each bot (default all) has an open websocket; False when `timeout` seconds are over."""
        query = {"bots": ",".join(bots)}
        return bool(
            self._call("GET", f"/wait/connected?{urlencode({**query, 'timeout': timeout})}", timeout=timeout + 30.0)[
                "done"
            ]
        )

    def wait_settled(self, timeout: float, lost_after: float = LOST_AFTER) -> bool:
        """Wait until every message is answered or lost; False when `timeout` seconds are over."""
        query = urlencode({"lost_after": lost_after, "timeout": timeout})
        return bool(self._call("GET", f"/wait/settled?{query}", timeout=timeout + 30.0)["done"])

    def faults(self) -> list[Fault]:
        """The rules in force, with their hits."""
        return [Fault(**row) for row in self._call("GET", "/faults")]

    def add_fault(self, fault: Fault) -> None:
        self._call("POST", "/faults", asdict(fault))

    def clear_faults(self) -> None:
        """Drop all rules; requests that hang end now."""
        self._call("DELETE", "/faults")

    def drop_websocket(self, bot: str, abort: bool = False) -> int:
        """End the bot's websockets, with `abort` by a reset; returns how many there were."""
        return int(self._call("POST", "/drop", {"bot": bot, "abort": abort})["dropped"])

    def say(self, bot: str, text: str) -> None:
        """Have an employee write this to a bot."""
        self._call("POST", "/say", {"bot": bot, "text": text})

    def sign_in(self, token: str, email: str = "prober@example.com") -> None:
        """Have an employee's account, with which somebody may write to the bots by the REST API."""
        self._call("POST", "/person", {"token": token, "email": email})

    def set_replay(self, replay: bool) -> None:
        """Whether a reconnecting bot gets its unacknowledged messages again."""
        self._call("POST", "/settings", {"replay": replay})

    def set_device_limit(self, limit: int) -> None:
        """Registrations per account."""
        self._call("POST", "/settings", {"device_limit": limit})
