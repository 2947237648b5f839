"""A server on a real socket whose every misbehaviour is scripted, and which remembers what reached it.

Python 3.7 and the standard library only: the suite runs in the bots' environments, not in the controller's.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Callable


@dataclass
class Seen:
    """One request as it arrived; `connection` numbers the TCP connections from 1."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)


Script = Callable[["Connection", Seen], None]


def answer(status: int = 200, body: Any = None, **headers: str) -> Script:
    """Answer with a JSON body; header names are given with _ for -."""
    content = json.dumps({} if body is None else body).encode()

    def script(connection: Connection, _seen: Seen) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)

    return script


class HangUp(Exception):
    """Raised by a script to end the connection."""


def close(_connection: Connection, _seen: Seen) -> None:
    """The request was read, and perhaps processed; the connection ends without an answer."""
    raise HangUp


def reset(connection: Connection, _seen: Seen) -> None:
    """The same with a RST."""
    abort(connection.sock)
    raise HangUp


def abort(sock: socket.socket) -> None:
    """Make the close to come a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def truncate(connection: Connection, _seen: Seen) -> None:
    """Half an answer. In chunks: urllib3 1.26 does not notice what lacks from a Content-Length."""
    connection.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{")
    raise HangUp


def never(connection: Connection, _seen: Seen) -> None:
    """No answer, for longer than any time-out in the suite; then the end, so that a client without one fails too."""
    connection.server.over.wait(8)
    raise HangUp


def after(seconds: float) -> Script:
    """An answer that takes its time, for as long as the client waits for it."""

    def script(connection: Connection, seen: Seen) -> None:
        connection.server.over.wait(seconds)
        answer()(connection, seen)

    return script


class Connection:
    """The server's end of one TCP connection."""

    def __init__(self, server: Server, number: int, sock: socket.socket, peer_port: int) -> None:
        self.server = server
        self.number = number
        self.sock = sock
        self.peer_port = peer_port
        self.gone = threading.Event()
        """Set when the client has closed the connection, or the server has."""

    def write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        # A socket is closed only once the file made from it is.
        with contextlib.suppress(OSError, HangUp), self.sock, self.sock.makefile("rb") as stream:
            while True:
                seen = self._read(stream)
                if seen is None:
                    break
                self.server.seen.append(seen)
                self.server.script_for(seen)(self, seen)
        self.gone.set()

    def _read(self, stream: Any) -> Seen | None:
        first = stream.readline()
        if not first.strip():
            return None
        method, path, _version = first.decode().split(" ", 2)
        headers = {}
        for line in iter(stream.readline, b"\r\n"):
            if not line:
                return None
            name, value = line.decode().split(":", 1)
            headers[name.strip().lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(lambda: self._read_chunk(stream), b""))
        else:
            body = stream.read(int(headers.get("content-length", 0)))
        return Seen(method, path, headers, body, self.number)

    @staticmethod
    def _read_chunk(stream: Any) -> bytes:
        size = int(stream.readline(), 16)
        chunk = stream.read(size)
        stream.readline()
        return chunk


class Server:
    """Listens on `address`. `on` scripts what happens to the next requests of a method; else they get `{}`, 200."""

    def __init__(self, context: ssl.SSLContext | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        self.context = context
        self.seen: list[Seen] = []
        self.connections: list[Connection] = []
        self.before_request: list[Callable[[socket.socket], socket.socket | None]] = []
        """What happens to the next connections instead of a TLS handshake; returns the socket to go on with."""
        self.over = threading.Event()
        self._scripts: dict[tuple[str, str], list[Script]] = defaultdict(list)
        self._always: dict[tuple[str, str], Script] = {}
        self._lock = threading.Lock()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(128)
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://{address}:{self.port}"
        threading.Thread(target=self._accept, name="server", daemon=True).start()

    def on(self, method: str, *scripts: Script, path: str = "") -> None:
        """The next requests of `method` whose path contains `path` meet these scripts, one each."""
        self._scripts[method, path].extend(scripts)

    def always(self, method: str, script: Script, path: str = "") -> None:
        """Every request of `method` whose path contains `path`, once the scripts of `on` are used up."""
        self._always[method, path] = script

    def script_for(self, seen: Seen) -> Script:
        with self._lock:
            for (method, path), scripts in self._scripts.items():
                if method == seen.method and path in seen.path and scripts:
                    return scripts.pop(0)
            for (method, path), script in self._always.items():
                if method == seen.method and path in seen.path:
                    return script
        return answer()

    def count(self, method: str) -> int:
        """How many requests of `method` arrived."""
        return sum(seen.method == method for seen in self.seen)

    def stop(self) -> None:
        self.over.set()
        # Closing alone would leave the accepting thread in accept(), and with it the port.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self.connections:
            connection.end()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                sock, address = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._greet, args=(sock, address[1]), name="server", daemon=True).start()

    def _greet(self, sock: socket.socket, peer_port: int) -> None:
        with self._lock:
            before = self.before_request.pop(0) if self.before_request else None
        with contextlib.suppress(OSError):
            going_on = before(sock) if before else sock
            if going_on is None:
                return
            if self.context:
                going_on = self.context.wrap_socket(going_on, server_side=True)
            with self._lock:
                connection = Connection(self, len(self.connections) + 1, going_on, peer_port)
                self.connections.append(connection)
            connection.serve()


class Proxy(Server):
    """An HTTP proxy: CONNECT is answered by a tunnel to a port here, whatever host was asked for."""

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self.always("CONNECT", self._tunnel)
        self._target_port = target_port

    def _tunnel(self, connection: Connection, _seen: Seen) -> None:
        with socket.create_connection(("127.0.0.1", self._target_port)) as target:
            connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(target, connection.sock), name="server", daemon=True)
            back.start()
            _pump(connection.sock, target)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for data in iter(lambda: source.recv(65536), b""):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = 10) -> None:
    """Return when `condition` holds; fail by name when it does not within a generous time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.005)
