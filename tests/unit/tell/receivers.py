"""Stand-ins for what events are sent to: a journal, and a service with incoming webhooks."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

from tests.unit.weather.hosts import Authority, Server


class Journal:
    """A datagram socket in journald's place; reads the native protocol by its published description."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(5)

    def entry(self) -> dict[str, bytes]:
        """The next entry."""
        data = self.socket.recv(1 << 20)
        fields: dict[str, bytes] = {}
        while data:
            line, _, rest = data.partition(b"\n")
            name, equals, value = line.partition(b"=")
            if not equals:
                (size,) = struct.unpack_from("<Q", rest)
                value, rest = rest[8 : 8 + size], rest[8 + size :]
                assert rest[:1] == b"\n"
                rest = rest[1:]
            assert name.decode() not in fields, name
            fields[name.decode()] = value
            data = rest
        return fields

    def entries(self) -> list[dict[str, bytes]]:
        """All that are there."""
        self.socket.setblocking(False)
        found = []
        try:
            while True:
                found.append(self.entry())
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(5)

    def close(self) -> None:
        self.socket.close()


class Service(Server):
    """A service with incoming webhooks, over TLS if it is given a CA: keeps what it was sent, answers as told."""

    def __init__(self, authority: Authority | None = None) -> None:
        self.context = authority.context() if authority else None
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[bytes] = []
        """The next ones; 200 when there are none."""
        self.pause = 0.0
        super().__init__()

    def url(self, path: str = "/services/SECRET?sig=SECRET") -> str:
        return f"{'https' if self.context else 'http'}://localhost:{self.port}{path}"

    def serve(self, connection: socket.socket) -> None:
        inside = self.context.wrap_socket(connection, server_side=True) if self.context else connection
        with inside, inside.makefile("rb") as reading:
            request = reading.readline().decode().rstrip()
            headers = dict(line.split(": ", 1) for line in iter(lambda: reading.readline().decode().rstrip(), ""))
            body = reading.read(int(headers["Content-Length"]))
            self.received.append((request, headers, body))
            answer = self.answers.pop(0) if self.answers else status(200)
            for part in [answer] if not self.pause else [answer[n : n + 1] for n in range(len(answer))]:
                inside.sendall(part)
                time.sleep(self.pause)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What it was sent, as JSON."""
        return [json.loads(body) for _, _, body in self.received]


def status(number: int, body: bytes = b"ok", *headers: str) -> bytes:
    """An answer of HTTP."""
    lines = [f"HTTP/1.1 {number} whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
