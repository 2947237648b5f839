"""The kernel's answers as they come, one datagram each, records of others in between."""

from __future__ import annotations

import socket
import struct

from tests.lab.recorder import _Audit

ERROR, GET, SYSCALL = 2, 1000, 1300
STATUS = (0, 1, 0, 4711, 0, 65536, 3, 0, 0)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def test_a_record_before_the_status_is_not_the_status() -> None:
    audit = _Audit()
    audit.close()
    audit._socket, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with audit._socket, kernel:
        kernel.send(message(ERROR, struct.pack("=i", 0)))
        kernel.send(message(SYSCALL, b"audit(1.0:1): arch=c000003e"))
        kernel.send(message(GET, struct.pack("=9I", *STATUS)))
        assert audit.status() == STATUS
