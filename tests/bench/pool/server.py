"""The Webex stand-in of the benchmark: python -m tests.bench.pool.server CASE ADDRESS CERTIFICATE.

Prints its port, misbehaves as the case says, and prints what it saw as JSON when its standard input closes.
"""

from __future__ import annotations

import json
import ssl
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.pool.scale import Scale
from tests.unit.pool.suite.server import Connection, HangUp, Seen, Server, abort, answer

THINK = 0.05  # seconds that Webex takes for an answer
BAD_EVERY = 100  # case d: one request in so many is answered late or never
LIMITED_TIMES = 5  # case e: each call is told so often to wait a second
LOST_EVERY = 8  # case f: the first answer to one message in so many is lost


@dataclass
class Tally:
    """What reached the server."""

    connections: int = 0
    requests: int = 0
    waits_told: int = 0
    posted: int = 0
    posted_twice: int = 0


@dataclass
class Webex:
    """Answers the SDKs' calls, and misbehaves."""

    case: str
    lock: threading.Lock = field(default_factory=threading.Lock)
    requests: int = 0
    posted: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    last_used: dict[int, float] = field(default_factory=dict)

    def serve(self, connection: Connection, seen: Seen) -> None:
        with self.lock:
            self.requests += 1
            number = self.requests
        misbehave = getattr(self, f"_{self.case}", None)
        if misbehave is None or not misbehave(connection, seen, number):
            self._answer(connection, seen)
        self.last_used[connection.number] = time.monotonic()

    def _answer(self, connection: Connection, seen: Seen) -> None:
        if self.case != "steady":
            time.sleep(THINK)
        message = {"id": "m", "roomId": "r"}
        if seen.method == "POST":
            message["text"] = self._post(seen)
        answer(body=message)(connection, seen)

    def _post(self, seen: Seen) -> str:
        text = json.loads(seen.body)["text"]
        with self.lock:
            self.posted[text] += 1
        return text

    def _closing(self, connection: Connection, _seen: Seen, _number: int) -> bool:
        """The request meets the end of a connection that was idle for too long: it is not even read."""
        last = self.last_used.get(connection.number)
        if last is not None and time.monotonic() - last > Scale.server_idle_limit:
            abort(connection.sock)
            raise HangUp
        return False

    def _late(self, connection: Connection, seen: Seen, number: int) -> bool:
        """Processed, and answered after the default client's patience, or never."""
        if number % BAD_EVERY:
            return False
        if number // BAD_EVERY % 2:
            time.sleep(Scale.late_answer)
            self._answer(connection, seen)
        else:
            if seen.method == "POST":
                self._post(seen)
            connection.server.over.wait()
        return True

    def _slow(self, connection: Connection, seen: Seen, _number: int) -> bool:
        time.sleep(Scale.slow_answer - THINK)
        return False

    def _limited(self, connection: Connection, seen: Seen, _number: int) -> bool:
        key = f"{seen.method} {seen.path} {seen.body.decode()}"
        with self.lock:
            self.limited[key] += 1
            limited = self.limited[key] <= LIMITED_TIMES
        if limited:
            answer(429, Retry_After="1")(connection, seen)
        return limited

    def _lost(self, connection: Connection, seen: Seen, _number: int) -> bool:
        """A message is posted and the answer lost: the connection closed or reset, nothing, a gateway's 504."""
        if seen.method != "POST":
            return False
        text = json.loads(seen.body)["text"]
        number = int(text.split()[1])
        with self.lock:
            first = text not in self.posted
        if not first or number % LOST_EVERY:
            return False
        self._post(seen)
        mode = number // LOST_EVERY % 4
        if mode == 0:
            raise HangUp
        if mode == 1:
            abort(connection.sock)
            raise HangUp
        if mode == 2:
            connection.server.over.wait()
        answer(504)(connection, seen)
        return True

    def tally(self, server: Server) -> Tally:
        return Tally(
            connections=len(server.connections),
            requests=self.requests,
            waits_told=sum(min(count, LIMITED_TIMES) for count in self.limited.values()),
            posted=len(self.posted),
            posted_twice=sum(count > 1 for count in self.posted.values()),
        )


def main(case: str, address: str, certificate: Path) -> None:
    """Serve until standard input closes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    webex = Webex(case)
    server = Server(context, address)
    server.always("GET", webex.serve)
    server.always("POST", webex.serve)
    print(server.port, flush=True)
    sys.stdin.read()
    server.stop()
    print(json.dumps(asdict(webex.tally(server))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
