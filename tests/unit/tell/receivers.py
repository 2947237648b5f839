"""What events are sent to, standing in for the real ones: a journal, and a service with incoming webhooks."""

from __future__ import annotations

import socket
import struct
from pathlib import Path


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
